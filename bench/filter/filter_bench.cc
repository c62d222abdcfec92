#include "bench/filter/filter_bench.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <iomanip>
#include <memory>
#include <ostream>
#include <random>
#include <set>
#include <utility>

#include <unistd.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "base/status_macros.h"
#include "bench/filter/filter_data.h"
#include "db/database.h"

namespace tessera::bench {
namespace {

constexpr double kShares[] = {1,    0.5,   0.2,   0.1,    0.05,   0.02,
                              0.01, 0.005, 0.002, 0.0005, 0.0002, 0.0001};
constexpr double kFewShares[] = {0.5, 0.1, 0.01, 0.001, 0.0001};
constexpr std::array kPlans = {db::SearchPlan::kAuto, db::SearchPlan::kExact,
                               db::SearchPlan::kProbe};
constexpr const char* kPlanNames[] = {"auto", "exact", "probe"};

// A filter of the sweep; with `per_query` its text depends on the query.
struct SweepFilter {
  std::string name;
  std::string text;
  size_t without_cells = 0;  // anti-correlated: so many of the nearest cells are left out
  double share = 0;
};

std::vector<SweepFilter> MakeSweep(const FilterData& data) {
  std::vector<SweepFilter> sweep;
  const auto add = [&](std::string name, std::string text) {
    sweep.push_back({.name = std::move(name), .text = std::move(text)});
  };
  for (const double share : kShares) {
    add(absl::StrCat("range ", share), share == 1 ? "u >= 0" : absl::StrCat("u < ", share));
  }
  for (const double share : kFewShares) {
    add(absl::StrCat("correlated ", share), absl::StrCat("c < ", data.CorrelatedBelow(share)));
    add(absl::StrCat("not ", 1 - share), absl::StrCat("NOT (u < ", 1 - share, ")"));
  }
  for (const double share : {0.08, 0.01, 0.001, 0.0001}) {
    add(absl::StrCat("= ", share), absl::StrCat("z = ", data.ZipfValue(share)));
  }
  std::mt19937_64 rng(11);
  for (const size_t span : {100'000, 1'000'000}) {
    std::set<uint64_t> numbers;
    while (numbers.size() < 1000) numbers.insert(rng() % span);
    add(absl::StrCat("IN of 1000 of ", span),
        absl::StrCat("n IN (", absl::StrJoin(numbers, ","), ")"));
  }
  add("and .1", "u < 0.2 AND n < 500000");
  add("and .01", "u < 0.02 AND n < 500000");
  add("or .19", "u < 0.1 OR n < 100000");
  for (const double share : {1.0, 0.1, 0.01}) {
    sweep.push_back({.name = absl::StrCat("anti 8 cells ", share),
                     .text = share == 1 ? "" : absl::StrCat(" AND u < ", share),
                     .without_cells = 8});
  }
  return sweep;
}

std::string TextFor(const SweepFilter& filter, const FilterData& data, const float* query) {
  if (filter.without_cells == 0) return filter.text;
  return absl::StrCat("cell NOT IN (",
                      absl::StrJoin(data.NearestCells(query, filter.without_cells), ","), ")",
                      filter.text);
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

struct PlanResult {
  double recall = 0;
  double microseconds = 0;
  double lists = 0;
  double codes = 0;
  uint64_t is_short = 0;  // queries with fewer hits than there are matches
};

class FilterBench {
 public:
  FilterBench(const FilterBenchOptions& options, std::ostream& lines, std::ostream& out)
      : options_(options), lines_(lines), out_(out) {}

  absl::Status Run() {
    const std::string dir = absl::StrCat(options_.work_dir, "/tessera-filter-", getpid());
    const absl::Cleanup tidy = [&] { std::filesystem::remove_all(dir); };
    TESSERA_ASSIGN_OR_RETURN(database_,
                             db::Database::Open(dir, {.memory_limit = options_.memory_limit}));
    const absl::Cleanup close = [&] {
      collection_.reset();
      database_.reset();
    };
    // Once without any field, for what they cost.
    TESSERA_ASSIGN_OR_RETURN(const double bare, Load(false));
    TESSERA_RETURN_IF_ERROR(database_->DropCollection("c"));
    TESSERA_ASSIGN_OR_RETURN(const double loaded, Load(true));
    TESSERA_ASSIGN_OR_RETURN(const db::CollectionStats stats, collection_->Stats());
    out_ << data_->name() << ": loaded in " << loaded << " s, " << bare << " s without fields; "
         << stats.fields[0].disk_bytes << " bytes on disk\n";
    for (const uint32_t limit : options_.limits) {
      TESSERA_ASSIGN_OR_RETURN(unfiltered_[limit], MeasureUnfiltered(limit));
      out_ << "k = " << limit << ", no filter: " << unfiltered_[limit] << " us\n";
      out_ << "filter | matches | " << "auto us, recall, lists | exact us | probe us, recall\n";
    }
    std::vector<SweepFilter> sweep;
    if (!options_.only_these) sweep = MakeSweep(*data_);
    for (const std::string& text : options_.filters) sweep.push_back({.name = text, .text = text});
    for (const SweepFilter& filter : sweep) {
      for (const uint32_t limit : options_.limits) {
        TESSERA_RETURN_IF_ERROR(Measure(filter, limit));
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<double> Load(bool fields) {
    TESSERA_ASSIGN_OR_RETURN(data_, FilterData::Open(options_.set, options_.metric, fields));
    TESSERA_RETURN_IF_ERROR(database_->CreateCollection(data_->schema()));
    TESSERA_ASSIGN_OR_RETURN(collection_, database_->GetCollection("c"));
    const auto start = std::chrono::steady_clock::now();
    std::chrono::duration<double> making{0};
    const auto next = [&](std::vector<db::Point>* batch) {
      const auto begin = std::chrono::steady_clock::now();
      const absl::Status status = data_->Next(batch);
      making += std::chrono::steady_clock::now() - begin;
      return status;
    };
    TESSERA_RETURN_IF_ERROR(collection_->BulkLoad(next, {}).status());
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    return (took - making).count();
  }

  uint32_t dim() const { return data_->schema().vectors[0].dim; }
  std::span<const float> Query(size_t i) const {
    return std::span(data_->queries()).subspan(i * dim(), dim());
  }
  size_t QueryCount() const {
    return std::min<size_t>(options_.queries, data_->queries().size() / dim());
  }

  absl::StatusOr<double> MeasureUnfiltered(uint32_t limit) {
    std::vector<double> best(QueryCount(), 1e30);
    for (int pass = 0; pass < options_.passes; ++pass) {
      for (size_t i = 0; i < QueryCount(); ++i) {
        TESSERA_ASSIGN_OR_RETURN(
            const db::SearchResult found,
            collection_->Search(Query(i),
                                {.limit = limit, .recall_target = options_.recall_target}));
        best[i] = std::min(best[i], found.seconds * 1e6);
      }
    }
    return Median(best);
  }

  absl::Status Measure(const SweepFilter& filter, uint32_t limit) {
    std::array<PlanResult, kPlans.size()> results;
    std::array<std::vector<double>, kPlans.size()> times;
    for (auto& plan_times : times) plan_times.assign(QueryCount(), 1e30);
    uint64_t matches = 0;
    double first_us = 0;  // the first search with the filter, which evaluates it
    double answers = 0;
    for (size_t i = 0; i < QueryCount(); ++i) {
      const db::FilterText text{.expression = TextFor(filter, *data_, Query(i).data())};
      const auto start = std::chrono::steady_clock::now();
      TESSERA_ASSIGN_OR_RETURN(
          const db::SearchResult truth,
          collection_->Search(Query(i), {.limit = limit, .exact = true, .filter = text}));
      if (i == 0) {
        first_us =
            std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
                .count();
        TESSERA_ASSIGN_OR_RETURN(const db::CountResult count,
                                 collection_->CountWhere({.filter = text}));
        matches = count.count;
      }
      std::set<uint64_t> ids;
      for (const db::Hit& hit : truth.hits) ids.insert(*hit.id.number());
      answers += static_cast<double>(ids.size());
      for (int pass = 0; pass < options_.passes; ++pass) {
        for (size_t plan = 0; plan < kPlans.size(); ++plan) {
          const auto begin = std::chrono::steady_clock::now();
          TESSERA_ASSIGN_OR_RETURN(
              const db::SearchResult found,
              collection_->Search(Query(i), {.limit = limit,
                                             .recall_target = options_.recall_target,
                                             .filter = text,
                                             .plan = kPlans[plan]}));
          const std::chrono::duration<double, std::micro> took =
              std::chrono::steady_clock::now() - begin;
          times[plan][i] = std::min(times[plan][i], took.count());
          if (pass > 0) continue;
          PlanResult& result = results[plan];
          for (const db::Hit& hit : found.hits) {
            result.recall += ids.contains(*hit.id.number()) ? 1 : 0;
          }
          result.lists += static_cast<double>(found.stats.lists_probed);
          result.codes += static_cast<double>(found.stats.codes_scanned);
          result.is_short += found.hits.size() < ids.size() ? 1 : 0;
        }
      }
    }
    const auto queries = static_cast<double>(QueryCount());
    out_ << filter.name.substr(0, 24) << " k=" << limit << " | " << matches << " | ";
    for (size_t plan = 0; plan < kPlans.size(); ++plan) {
      PlanResult& result = results[plan];
      result.microseconds = Median(times[plan]);
      result.recall = answers > 0 ? result.recall / answers : 1;
      lines_ << "{\"set\":\"" << data_->name() << "\",\"filter\":" << base::Value(filter.name).ToJson()
             << ",\"k\":" << limit << ",\"matches\":" << matches << ",\"plan\":\""
             << kPlanNames[plan] << "\",\"us\":" << result.microseconds
             << ",\"recall\":" << result.recall << ",\"lists\":" << result.lists / queries
             << ",\"codes\":" << result.codes / queries << ",\"short\":" << result.is_short
             << ",\"first_us\":" << first_us << ",\"unfiltered_us\":" << unfiltered_[limit]
             << "}\n";
      out_ << std::fixed << std::setprecision(1) << result.microseconds << " us r "
           << std::setprecision(3) << result.recall << " l " << std::setprecision(0)
           << result.lists / queries << (result.is_short > 0 ? " SHORT" : "") << " | ";
    }
    out_ << "\n" << std::flush;
    return absl::OkStatus();
  }

  const FilterBenchOptions& options_;
  std::ostream& lines_;
  std::ostream& out_;
  std::unique_ptr<db::Database> database_;
  std::shared_ptr<db::Collection> collection_;
  std::unique_ptr<FilterData> data_;
  std::map<uint32_t, double> unfiltered_;
};

}  // namespace

absl::Status RunFilterBench(const FilterBenchOptions& options, std::ostream& lines,
                            std::ostream& out) {
  return FilterBench(options, lines, out).Run();
}

}  // namespace tessera::bench
