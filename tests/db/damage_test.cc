// Damages every file of a data directory in every way a disk or an operator can, opens it, and
// demands that it is refused, or that whatever it answers is right; and that nothing was removed
// that is needed to make it whole again.
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <sched.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "db/database.h"
#include "tests/db/model.h"
#include "tests/support/fault_fs.h"
#include "tests/support/fs_image.h"
#include "tests/support/seed.h"

// RocksDB waits for a second after a compaction has failed, and closing waits for that: of half an
// hour of damaged table files most was that. Its clock sleeps with this.
extern "C" int usleep(useconds_t) {
  return sched_yield();
}

namespace tessera::db {
namespace {

constexpr char kData[] = "/data";

base::CollectionSchema SchemaOf(const std::string& name) {
  if (name == "one") {
    return {.name = name, .vectors = {{.name = "", .dim = 8, .metric = base::Metric::kL2}}};
  }
  return {
      .name = name,
      .vectors = {
          {.name = "a", .dim = 16, .metric = base::Metric::kCosine},
          {.name = "b", .dim = 8, .metric = base::Metric::kL2, .type = base::ElementType::kU8}}};
}

DatabaseOptions Options(FaultFs& fs) {
  DatabaseOptions options;
  options.memory_limit = kMemoryLimitFloor;
  options.threads = 1;
  options.background_absorb = false;
  options.fs = &fs;
  return options;
}

// A collection as it is meant to be, and what searches of it find.
struct Twin {
  explicit Twin(const std::string& name)
      : model(SchemaOf(name)), maker(SchemaOf(name), TestSeed()) {}

  std::vector<Point> Points(uint64_t first, uint64_t count) {
    std::vector<Point> points;
    for (uint64_t i = first; i < first + count; ++i) {
      points.push_back(maker.Make(base::PointId(i)));
    }
    model.Upsert(points);
    return points;
  }

  Model model;
  PointMaker maker;
  std::vector<std::vector<float>> queries;  // of the first field
  std::vector<std::vector<base::PointId>> found;
};

SearchParams ParamsOf(const Twin& twin) {
  SearchParams params;
  params.field = twin.model.schema().vectors[0].name;
  params.limit = 5;
  params.with = {.payload = true, .vectors = false};
  return params;
}

// A directory that was closed cleanly, or whose process was killed, and what is in it.
struct Directory {
  FsImage image;
  FsImage used;  // the extent files that an open of the whole image keeps
  std::vector<std::unique_ptr<Twin>> twins;
};

// Loaded rows, absorbed ones and fresh ones, of each some deleted and some replaced.
void Fill(Collection& collection, Twin& twin) {
  std::vector<Point> load = twin.Points(0, 300);
  bool given = false;
  ASSERT_TRUE(collection
                  .BulkLoad(
                      [&](std::vector<Point>* batch) {
                        if (!given) *batch = load;
                        given = true;
                        return absl::OkStatus();
                      },
                      {.threads = 1, .progress = nullptr})
                  .ok());
  ASSERT_TRUE(collection.Upsert(twin.Points(250, 80), Ack::kWal).ok());
  ASSERT_TRUE(collection.Absorb().ok());
  ASSERT_TRUE(collection.Upsert(twin.Points(320, 60), Ack::kWal).ok());
  std::vector<base::PointId> deleted;
  for (uint64_t i = 0; i < 380; i += 9) deleted.emplace_back(i);
  for (const base::PointId& id : deleted) twin.model.points().erase(id);
  ASSERT_TRUE(collection.Delete(deleted, Ack::kWal).ok());
  for (int i = 0; i < 8; ++i) {
    twin.queries.push_back(twin.maker.Query(0));
    const auto result = collection.Search(twin.queries.back(), ParamsOf(twin));
    ASSERT_TRUE(result.ok()) << result.status();
    std::vector<base::PointId>& ids = twin.found.emplace_back();
    for (const Hit& hit : result->hits) ids.push_back(hit.id);
  }
}

FsImage Extents(FsImage image) {
  std::erase_if(image,
                [](const auto& file) { return !absl::StartsWith(file.first, "/data/extents/"); });
  return image;
}

Directory Build(bool killed) {
  Directory directory;
  FaultFs fs;
  // Two lives, so that there are table files from before and a log of its own for the last.
  for (const std::string name : {"one", "two"}) {
    auto database = Database::Open(kData, Options(fs));
    EXPECT_TRUE(database.ok()) << database.status();
    Twin& twin = *directory.twins.emplace_back(std::make_unique<Twin>(name));
    EXPECT_TRUE((*database)->CreateCollection(SchemaOf(name)).ok());
    Fill(**(*database)->GetCollection(name), twin);
    if (!killed || name == "one") {
      EXPECT_TRUE((*database)->Close().ok());
      continue;
    }
    fs.FailFrom(fs.operations());
    database->reset();
    fs.KillProcess();
  }
  directory.image = Capture(fs);
  const std::unique_ptr<FaultFs> opened = Restore(directory.image);
  EXPECT_TRUE(Database::Open(kData, Options(*opened)).ok());
  directory.used = Extents(Capture(*opened));
  EXPECT_GE(directory.used.size(), 4U);
  return directory;
}

// "" if the collection says nothing that is wrong: it may say that something is damaged.
std::string Falsehood(Collection& collection, Twin& twin) {
  const std::string difference = Difference(collection, twin.model, twin.maker);
  if (!difference.empty() && !absl::StrContains(difference, ": DATA_LOSS")) return difference;
  for (size_t i = 0; i < twin.queries.size(); ++i) {
    const auto result = collection.Search(twin.queries[i], ParamsOf(twin));
    if (absl::IsDataLoss(result.status())) continue;
    if (!result.ok()) return absl::StrCat("search: ", result.status().ToString());
    std::vector<base::PointId> ids;
    for (const Hit& hit : result->hits) ids.push_back(hit.id);
    if (ids != twin.found[i]) return absl::StrCat("search ", i, " finds other points");
  }
  for (uint64_t id = 1; id < 400; id += 13) {
    const bool there = twin.model.points().contains(base::PointId(id));
    const auto got = collection.Get(std::vector{base::PointId(id)}, {.payload = true});
    if (absl::IsDataLoss(got.status())) continue;
    if (!got.ok()) return absl::StrCat("get: ", got.status().ToString());
    if (got->size() != (there ? 1 : 0)) return absl::StrCat("get of ", id, " answers otherwise");
  }
  return "";
}

struct Damage {
  std::string path;
  std::string what;
  std::optional<std::string> bytes;  // none: the file is missing
};

std::vector<Damage> Damages(const std::string& path, const std::string& bytes, size_t cuts,
                            size_t flips, std::mt19937_64& rng) {
  std::vector<Damage> damages = {{path, "missing", std::nullopt}};
  if (bytes.empty()) return damages;
  damages.push_back({path, "empty", ""});
  for (size_t i = 0; i < cuts; ++i) {
    const size_t length = rng() % bytes.size();
    damages.push_back({path, absl::StrCat("cut at ", length), bytes.substr(0, length)});
  }
  for (size_t i = 0; i < flips; ++i) {
    const size_t at = rng() % bytes.size();
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(static_cast<uint8_t>(flipped[at]) ^ (1U << (rng() % 8)));
    damages.push_back({path, absl::StrCat("bit flipped in byte ", at), std::move(flipped)});
  }
  return damages;
}

FsImage Damaged(const FsImage& image, const Damage& damage) {
  FsImage damaged = image;
  if (damage.bytes.has_value()) {
    damaged[damage.path] = *damage.bytes;
  } else {
    damaged.erase(damage.path);
  }
  return damaged;
}

// Which of the files is there no more, or changed.
std::string Changed(const FsImage& before, FaultFs& fs) {
  const FsImage after = Capture(fs);
  for (const auto& [path, bytes] : before) {
    const auto found = after.find(path);
    if (found == after.end()) return absl::StrCat(path, " was removed");
    if (found->second != bytes) return absl::StrCat(path, " was changed");
  }
  return "";
}

std::string Falsehood(Database& database, const Directory& directory) {
  if (database.ListCollections().size() != directory.twins.size()) return "collections are gone";
  for (const auto& twin : directory.twins) {
    const std::string& name = twin->model.schema().name;
    auto collection = database.GetCollection(name);
    if (!collection.ok()) return collection.status().ToString();
    const std::string wrong = Falsehood(**collection, *twin);
    if (!wrong.empty()) return absl::StrCat("collection ", name, ": ", wrong);
  }
  return "";
}

struct Tally {
  int refused = 0;
  int opened = 0;
};

void CheckDamage(const Directory& directory, const Damage& damage, bool read_only, Tally* tally) {
  SCOPED_TRACE(testing::Message() << damage.path << ": " << damage.what
                                  << (read_only ? ", opened for reading" : ""));
  if (std::getenv("TESSERA_TEST_TRACE") != nullptr) {  // of an abort there is no other trace
    std::cerr << damage.path << ": " << damage.what << (read_only ? " (reading)" : "") << std::endl;
  }
  const FsImage damaged = Damaged(directory.image, damage);
  const std::unique_ptr<FaultFs> fs = Restore(damaged);
  DatabaseOptions options = Options(*fs);
  options.read_only = read_only;
  fs->SetReadOnly(read_only);
  // An open that succeeds removes what no version names; one that is refused removes nothing.
  FsImage used = Extents(damaged);
  std::erase_if(used, [&](const auto& file) { return !directory.used.contains(file.first); });
  absl::StatusCode first = absl::StatusCode::kOk;
  for (int open = 0; open < 2; ++open) {
    auto database = Database::Open(kData, options);
    if (open == 0) first = database.status().code();
    ASSERT_EQ(database.status().code(), first) << "the second open answers otherwise";
    if (database.ok()) {
      ASSERT_EQ(Falsehood(**database, directory), "");
      database->reset();
    } else {
      ASSERT_TRUE(absl::IsDataLoss(database.status())) << database.status();
    }
    ASSERT_EQ(Changed(read_only                        ? damaged
                      : first == absl::StatusCode::kOk ? used
                                                       : Extents(damaged),
                      *fs),
              "");
  }
  ++(first == absl::StatusCode::kOk ? tally->opened : tally->refused);
  if (first == absl::StatusCode::kOk || read_only) return;
  // What was refused can be mended: nothing has been lost meanwhile.
  PutFile(*fs, damage.path, directory.image.at(damage.path));
  auto mended = Database::Open(kData, options);
  ASSERT_TRUE(mended.ok()) << mended.status();
  for (const auto& twin : directory.twins) {
    const auto collection = (*mended)->GetCollection(twin->model.schema().name);
    ASSERT_TRUE(collection.ok());
    ASSERT_EQ(Difference(**collection, twin->model, twin->maker), "");
  }
}

void DamageEverything(bool killed, size_t cuts, size_t flips) {
  const Directory directory = Build(killed);
  std::mt19937_64 rng(TestSeed());
  for (const auto& [path, bytes] : directory.image) {
    Tally tally;
    for (const Damage& damage : Damages(path, bytes, cuts, flips, rng)) {
      CheckDamage(directory, damage, /*read_only=*/false, &tally);
      if (rng() % 4 == 0) CheckDamage(directory, damage, /*read_only=*/true, &tally);
      if (testing::Test::HasFailure()) return;
    }
    testing::Test::RecordProperty(
        path, absl::StrCat(tally.refused, " refused, ", tally.opened, " opened"));
  }
}

TEST(Damage, AfterACleanClose) {
  DamageEverything(/*killed=*/false, 2, 4);
}
TEST(Damage, AfterAKill) {
  DamageEverything(/*killed=*/true, 2, 4);
}
TEST(DamageAll, AfterACleanClose) {
  DamageEverything(/*killed=*/false, 50, 200);
}
TEST(DamageAll, AfterAKill) {
  DamageEverything(/*killed=*/true, 50, 200);
}

// Nothing of a whole subdirectory is there, with and without what is kept beside it.
TEST(Damage, AMissingSubdirectoryIsDataLoss) {
  for (const bool killed : {false, true}) {
    const Directory directory = Build(killed);
    for (const std::string folder : {"/data/rows/", "/data/extents/", "/data/rows"}) {
      FsImage damaged = directory.image;
      std::erase_if(damaged,
                    [&](const auto& file) { return absl::StartsWith(file.first, folder); });
      ASSERT_LT(damaged.size(), directory.image.size());
      const std::unique_ptr<FaultFs> fs = Restore(damaged);
      for (int open = 0; open < 2; ++open) {
        const auto database = Database::Open(kData, Options(*fs));
        ASSERT_TRUE(absl::IsDataLoss(database.status())) << folder << ": " << database.status();
        ASSERT_EQ(Changed(Extents(damaged), *fs), "");
      }
      for (const auto& [path, bytes] : directory.image) PutFile(*fs, path, bytes);
      if (folder == "/data/extents/") continue;  // RocksDB has gone on
      const auto mended = Database::Open(kData, Options(*fs));
      ASSERT_TRUE(mended.ok()) << mended.status();
      ASSERT_EQ(Falsehood(**mended, directory), "");
    }
  }
}

}  // namespace
}  // namespace tessera::db
