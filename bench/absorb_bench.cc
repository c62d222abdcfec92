// Question: what do searches of a warm index read, and how long do they take, while small batches
// of points are absorbed into it again and again?
//
//   tessera_absorb_bench DIRECTORY [rows] [rounds] [memory limit]
//
// Loads `rows` clustered rows of 128 f32 and warms the cache. Each of `rounds` rounds searches the
// same 400 queries alone, again and again for as long as the absorption before took, and then
// beside another thread that writes 100 points and absorbs them, and once more after that. Only
// what both kinds of searches show is to be compared, as they take turns on the same machine.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "base/memory_budget.h"
#include "base/status_macros.h"
#include "base/thread_priority.h"
#include "db/database.h"

namespace tessera::bench {
namespace {

constexpr size_t kDim = 128;
constexpr size_t kQueries = 400;
constexpr size_t kBatch = 100;
constexpr size_t kCentres = 2000;

// Rows around centres that are the same in every run.
class Rows {
 public:
  Rows() {
    std::mt19937_64 rng(7);
    std::normal_distribution<float> normal;
    centres_.resize(kCentres * kDim);
    for (float& value : centres_) value = normal(rng);
  }

  std::vector<float> Row(uint64_t number) const {
    std::mt19937_64 rng(number * 2 + 1);
    std::normal_distribution<float> normal(0, 0.5F);
    const float* centre = &centres_[rng() % kCentres * kDim];
    std::vector<float> row(kDim);
    for (size_t i = 0; i < kDim; ++i) row[i] = centre[i] + normal(rng);
    return row;
  }

  db::Point Point(uint64_t number) const {
    const std::vector<float> row = Row(number);
    std::string bytes(kDim * sizeof(float), '\0');
    std::memcpy(bytes.data(), row.data(), bytes.size());
    db::Point point;
    point.id = base::PointId(number);
    point.vectors.push_back({.field = "", .bytes = std::move(bytes)});
    return point;
  }

 private:
  std::vector<float> centres_;
};

struct Measured {
  std::vector<double> micros;
  uint64_t bytes = 0;

  double Quantile(double q) {
    std::sort(micros.begin(), micros.end());
    return micros[static_cast<size_t>(q * static_cast<double>(micros.size() - 1))];
  }
};

absl::Status SearchAll(db::Collection& collection, const Rows& rows, Measured* measured) {
  for (size_t i = 0; i < kQueries; ++i) {
    const std::vector<float> query = rows.Row((uint64_t{1} << 40) + i);
    const absl::Time begin = absl::Now();
    TESSERA_ASSIGN_OR_RETURN(const db::SearchResult result, collection.Search(query, {}));
    measured->micros.push_back(absl::ToDoubleMicroseconds(absl::Now() - begin));
    measured->bytes += result.stats.bytes_read;
  }
  return absl::OkStatus();
}

absl::Status AbsorbBatch(db::Collection& collection, const Rows& rows, uint64_t* next) {
  std::vector<db::Point> points;
  for (size_t i = 0; i < kBatch; ++i) points.push_back(rows.Point((*next)++));
  TESSERA_RETURN_IF_ERROR(collection.Upsert(std::move(points), db::Ack::kMemory).status());
  return collection.Absorb();
}

absl::Status Run(const std::string& directory, uint64_t row_count, int rounds,
                 uint64_t memory_limit) {
  db::DatabaseOptions options;
  options.memory_limit = memory_limit;
  options.background_absorb = false;
  TESSERA_ASSIGN_OR_RETURN(const auto database, db::Database::Open(directory, options));
  base::CollectionSchema schema;
  schema.name = "absorb";
  schema.vectors = {
      {.name = "", .dim = kDim, .metric = base::Metric::kL2, .type = base::ElementType::kF32}};
  TESSERA_RETURN_IF_ERROR(database->CreateCollection(schema));
  TESSERA_ASSIGN_OR_RETURN(const auto collection, database->GetCollection("absorb"));
  const Rows rows;
  uint64_t next = 0;
  const auto source = [&](std::vector<db::Point>* batch) {
    batch->clear();
    while (batch->size() < 1000 && next < row_count) batch->push_back(rows.Point(next++));
    return absl::OkStatus();
  };
  TESSERA_RETURN_IF_ERROR(collection->BulkLoad(source, {}).status());

  Measured cold;
  TESSERA_RETURN_IF_ERROR(SearchAll(*collection, rows, &cold));
  Measured alone;
  Measured beside;
  uint64_t absorbed = 0;
  size_t passes = 1;
  for (int round = 0; round < rounds; ++round) {
    for (size_t pass = 0; pass < passes; ++pass) {
      TESSERA_RETURN_IF_ERROR(SearchAll(*collection, rows, &alone));
    }
    absl::Status written;
    std::atomic<bool> done{false};
    std::thread writer([&] {
      base::YieldToOthers();  // as the threads of maintenance do
      written = AbsorbBatch(*collection, rows, &next);
      done = true;
    });
    absl::Status searched;
    passes = 1;
    for (bool last = false; searched.ok() && !last; ++passes) {
      last = done.load();  // once more, over what was published
      searched = SearchAll(*collection, rows, &beside);
    }
    writer.join();
    TESSERA_RETURN_IF_ERROR(searched);
    TESSERA_RETURN_IF_ERROR(written);
    absorbed += kBatch;
  }
  std::printf("%zu rows x %zu, limit %s, %d rounds, %zu points absorbed\n",
              static_cast<size_t>(row_count), kDim, base::FormatByteSize(memory_limit).c_str(),
              rounds, static_cast<size_t>(absorbed));
  std::printf("%-8s %10s %14s %10s %10s\n", "", "searches", "bytes/search", "p50 us", "p99 us");
  for (auto& [name, m] :
       {std::pair<const char*, Measured*>{"cold", &cold}, {"alone", &alone}, {"beside", &beside}}) {
    std::printf("%-8s %10zu %14.0f %10.0f %10.0f\n", name, m->micros.size(),
                static_cast<double>(m->bytes) / static_cast<double>(m->micros.size()),
                m->Quantile(0.5), m->Quantile(0.99));
  }
  return database->Close();
}

}  // namespace
}  // namespace tessera::bench

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s DIRECTORY [rows] [rounds] [memory limit]\n", argv[0]);
    return 2;
  }
  const uint64_t rows = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1'000'000;
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 20;
  const absl::StatusOr<uint64_t> limit = tessera::base::ParseByteSize(argc > 4 ? argv[4] : "2GiB");
  const absl::Status status =
      limit.ok() ? tessera::bench::Run(argv[1], rows, rounds, *limit) : limit.status();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
