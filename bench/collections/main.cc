// tessera_collections: what many collections of one data directory cost, and what one of them may
// do to another.
//
//   many  --dir D [--count 1000] [--rows 1000] [--dim 64] [--limit 512MiB]
//         creates, fills, absorbs and searches them all; opens them again, then at half the limit
//   two   --dir D [--rows 200000] [--dim 64] [--limit 512MiB]
//         the 99th percentile of searches on one collection, idle and while the other is loaded,
//         absorbs, is rebuilt and is dropped
//
// Prints one line per phase. Errors: exit code 1 and the status.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"

#include "base/memory_budget.h"
#include "base/status_macros.h"
#include "db/database.h"

namespace tessera::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Flags {
  std::string dir;
  std::string limit = "512MiB";
  uint64_t memory_limit = 0;
  int count = 1000;
  uint64_t rows = 0;
  uint32_t dim = 64;
};

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Resident memory that is not of files, in MiB.
double AnonymousMiB() {
  std::ifstream status("/proc/self/status");
  std::string key;
  double kib = 0;
  for (std::string line; std::getline(status, line);) {
    if (std::sscanf(line.c_str(), "RssAnon: %lf", &kib) == 1) break;
  }
  return kib / 1024;
}

void Report(const std::string& phase, double seconds) {
  std::printf("%-44s %8.2f s   %7.1f MiB\n", phase.c_str(), seconds, AnonymousMiB());
  std::fflush(stdout);
}

std::vector<float> Vector(std::mt19937_64& rng, uint32_t dim) {
  std::normal_distribution<float> normal;
  std::vector<float> vector(dim);
  for (float& value : vector) value = normal(rng);
  return vector;
}

std::vector<db::Point> Points(std::mt19937_64& rng, uint64_t first, uint64_t count, uint32_t dim) {
  std::vector<db::Point> points(count);
  for (uint64_t i = 0; i < count; ++i) {
    points[i].id = base::PointId(first + i);
    const std::vector<float> vector = Vector(rng, dim);
    points[i].vectors.resize(1);
    points[i].vectors[0].bytes.assign(reinterpret_cast<const char*>(vector.data()),
                                      vector.size() * sizeof(float));
  }
  return points;
}

base::CollectionSchema Schema(const std::string& name, uint32_t dim) {
  return {.name = name, .vectors = {{.name = "", .dim = dim, .metric = base::Metric::kL2}}};
}

absl::StatusOr<std::unique_ptr<db::Database>> Open(const Flags& flags, uint64_t limit) {
  db::DatabaseOptions options;
  options.memory_limit = limit;
  return db::Database::Open(flags.dir, options);
}

absl::Status ForAll(db::Database& database, const Flags& flags,
                    const std::function<absl::Status(db::Collection&)>& call) {
  for (int i = 0; i < flags.count; ++i) {
    TESSERA_ASSIGN_OR_RETURN(const auto collection, database.GetCollection(absl::StrCat("c", i)));
    if (absl::Status status = call(*collection); !status.ok()) {
      return absl::Status(status.code(), absl::StrCat("collection ", i, ": ", status.message()));
    }
  }
  return absl::OkStatus();
}

absl::Status UseAll(db::Database& database, const Flags& flags, std::mt19937_64& rng,
                    const std::string& where, uint64_t rows) {
  Clock::time_point begin = Clock::now();
  TESSERA_RETURN_IF_ERROR(ForAll(database, flags, [&](db::Collection& collection) {
    return collection.Upsert(Points(rng, 0, rows, flags.dim), db::Ack::kMemory).status();
  }));
  Report(absl::StrCat("upsert ", rows, " rows into each, ", where), SecondsSince(begin));
  begin = Clock::now();
  uint64_t fresh = 0;
  TESSERA_RETURN_IF_ERROR(ForAll(database, flags, [&](db::Collection& collection) -> absl::Status {
    TESSERA_ASSIGN_OR_RETURN(const db::CollectionStats stats, collection.Stats());
    fresh += stats.fields[0].fresh_rows;
    return collection.Absorb();
  }));
  Report(absl::StrCat("absorb the ", fresh, " rows left fresh, ", where), SecondsSince(begin));
  begin = Clock::now();
  TESSERA_RETURN_IF_ERROR(ForAll(database, flags, [&](db::Collection& collection) -> absl::Status {
    TESSERA_ASSIGN_OR_RETURN(const db::SearchResult found,
                             collection.Search(Vector(rng, flags.dim), {}));
    return found.hits.size() == 10 ? absl::OkStatus() : absl::InternalError("too few hits");
  }));
  Report(absl::StrCat("search each once, ", where), SecondsSince(begin));
  return absl::OkStatus();
}

absl::Status Many(const Flags& flags) {
  std::mt19937_64 rng(1);
  Clock::time_point begin = Clock::now();
  {
    TESSERA_ASSIGN_OR_RETURN(const auto database, Open(flags, flags.memory_limit));
    for (int i = 0; i < flags.count; ++i) {
      TESSERA_RETURN_IF_ERROR(database->CreateCollection(Schema(absl::StrCat("c", i), flags.dim)));
    }
    Report(absl::StrCat("create ", flags.count, " collections"), SecondsSince(begin));
    TESSERA_RETURN_IF_ERROR(UseAll(*database, flags, rng, "first", flags.rows));
  }
  for (const uint64_t limit : {flags.memory_limit, flags.memory_limit / 2}) {
    begin = Clock::now();
    TESSERA_ASSIGN_OR_RETURN(const auto database, Open(flags, limit));
    const std::string where = absl::StrCat("at ", limit >> 20, " MiB");
    Report(absl::StrCat("open ", where), SecondsSince(begin));
    TESSERA_RETURN_IF_ERROR(UseAll(*database, flags, rng, where, flags.rows / 4));
    for (const auto& [component, bytes] : database->Memory().components) {
      std::printf("    %-24s %7.1f MiB\n", component.c_str(),
                  static_cast<double>(bytes) / (1 << 20));
    }
  }
  return absl::OkStatus();
}

// Searches until told to stop; the latencies' percentile in milliseconds.
double SearchP99(db::Collection& collection, uint32_t dim, const std::function<bool()>& go_on) {
  std::mt19937_64 rng(2);
  std::vector<double> times;
  do {
    const std::vector<float> query = Vector(rng, dim);
    const Clock::time_point begin = Clock::now();
    const auto found = collection.Search(query, {});
    if (!found.ok()) std::printf("search: %s\n", found.status().ToString().c_str());
    times.push_back(SecondsSince(begin) * 1000);
  } while (times.size() < 200 || go_on());
  std::sort(times.begin(), times.end());
  return times[times.size() * 99 / 100];
}

absl::Status Two(const Flags& flags) {
  std::mt19937_64 rng(1);
  TESSERA_ASSIGN_OR_RETURN(const auto database, Open(flags, flags.memory_limit));
  const auto load = [&](db::Collection& collection, uint64_t rows) {
    uint64_t done = 0;
    return collection
        .BulkLoad(
            [&](std::vector<db::Point>* batch) {
              const uint64_t count = std::min<uint64_t>(1000, rows - done);
              *batch = Points(rng, done, count, flags.dim);
              done += count;
              return absl::OkStatus();
            },
            {.threads = 1, .progress = nullptr})
        .status();
  };
  for (const char* name : {"a", "b"}) {
    TESSERA_RETURN_IF_ERROR(database->CreateCollection(Schema(name, flags.dim)));
  }
  TESSERA_ASSIGN_OR_RETURN(const auto a, database->GetCollection("a"));
  TESSERA_ASSIGN_OR_RETURN(const auto b, database->GetCollection("b"));
  TESSERA_RETURN_IF_ERROR(load(*b, flags.rows / 4));
  SearchP99(*b, flags.dim, [] { return false; });  // warm
  const auto idle_until = [&] {
    const Clock::time_point end = Clock::now() + std::chrono::seconds(3);
    return SearchP99(*b, flags.dim, [&] { return Clock::now() < end; });
  };
  const double idle = idle_until();
  std::printf("%-44s p99 %8.3f ms\n", "idle", idle);
  const auto beside = [&](const char* what,
                          const std::function<absl::Status()>& work) -> absl::Status {
    std::atomic<bool> done{false};
    absl::Status status;
    const Clock::time_point begin = Clock::now();
    std::thread worker([&] {
      status = work();
      done = true;
    });
    const double p99 = SearchP99(*b, flags.dim, [&] { return !done; });
    worker.join();
    std::printf("%-44s p99 %8.3f ms  (%.2f x idle, %.1f s)\n", what, p99, p99 / idle,
                SecondsSince(begin));
    std::fflush(stdout);
    return status;
  };
  TESSERA_RETURN_IF_ERROR(beside("the other is loaded", [&] { return load(*a, flags.rows); }));
  const auto write = [&]() -> absl::Status {
    for (uint64_t i = 0; i < 10; ++i) {
      TESSERA_RETURN_IF_ERROR(
          a->Upsert(Points(rng, i * 1000, 1000, flags.dim), db::Ack::kWal).status());
    }
    return a->Absorb();
  };
  TESSERA_RETURN_IF_ERROR(beside("the other is written to and absorbs", write));
  const auto shrink = [&]() -> absl::Status {
    std::vector<base::PointId> ids;
    for (uint64_t i = 0; i < flags.rows / 2; ++i) ids.emplace_back(i);
    TESSERA_RETURN_IF_ERROR(a->Delete(ids, db::Ack::kWal).status());
    return a->Absorb();
  };
  TESSERA_RETURN_IF_ERROR(beside("the other loses half its rows, is rebuilt", shrink));
  TESSERA_RETURN_IF_ERROR(
      beside("the other is dropped", [&] { return database->DropCollection("a"); }));
  std::printf("%-44s p99 %8.3f ms\n", "while its rows are removed", idle_until());
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Many collections in one data directory, and two side by side");
  app.require_subcommand(1);
  CLI::App* const many = app.add_subcommand("many", "costs of many collections");
  CLI::App* const two = app.add_subcommand("two", "searches beside another collection's work");
  for (CLI::App* command : {many, two}) {
    command->add_option("--dir", flags.dir, "a new data directory")->required();
    command->add_option("--limit", flags.limit, "memory limit");
    command->add_option("--rows", flags.rows, "rows of a collection");
    command->add_option("--dim", flags.dim, "dimensions");
  }
  many->add_option("--count", flags.count, "collections");
  CLI11_PARSE(app, argc, argv);
  if (flags.rows == 0) flags.rows = many->parsed() ? 1000 : 200'000;
  absl::StatusOr<uint64_t> limit = base::ParseByteSize(flags.limit);
  absl::Status status = limit.status();
  if (status.ok()) {
    flags.memory_limit = *limit;
    status = many->parsed() ? Many(flags) : Two(flags);
  }
  if (!status.ok()) std::printf("%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace tessera::bench

int main(int argc, char** argv) {
  return tessera::bench::Main(argc, argv);
}
