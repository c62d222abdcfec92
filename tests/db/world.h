// A database on disk with one collection, and the model that it must agree with.
#pragma once

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "db/database.h"
#include "tests/db/model.h"
#include "tests/support/temp_dir.h"

namespace tessera::db {

inline constexpr uint64_t kMemoryLimit = uint64_t{256} << 20;

inline base::CollectionSchema OneField(base::Metric metric, uint32_t dim = 12,
                                       base::ElementType type = base::ElementType::kF32) {
  return {.name = "c", .vectors = {{.name = "", .dim = dim, .metric = metric, .type = type}}};
}

inline base::CollectionSchema TwoFields() {
  return {
      .name = "c",
      .vectors = {
          {.name = "image", .dim = 16, .metric = base::Metric::kCosine},
          {.name = "text", .dim = 8, .metric = base::Metric::kL2, .type = base::ElementType::kU8}}};
}

// Numbers, UUIDs, short and long strings.
inline base::PointId MakeId(uint64_t number) {
  switch (number % 5) {
    case 0:
      return base::PointId(std::string("id-") + std::to_string(number));
    case 1:
      return base::PointId(std::string("a-rather-long-identifier-number-") +
                           std::to_string(number));
    case 2: {
      base::Uuid uuid;
      for (int i = 0; i < 8; ++i) uuid.bytes[i] = static_cast<uint8_t>(number >> (8 * i));
      return base::PointId(uuid);
    }
    default:
      return base::PointId(number);
  }
}

class World {
  TempDir dir_;  // outlives the database

 public:
  World(const base::CollectionSchema& schema, uint64_t seed, bool background)
      : model(schema), maker(schema, seed), background_(background) {
    Open();
    const absl::Status created = database->CreateCollection(schema);
    EXPECT_TRUE(created.ok()) << created;
    Find();
  }

  void Open() {
    DatabaseOptions options;
    options.memory_limit = kMemoryLimit;
    options.threads = 2;
    options.background_absorb = background_;
    auto opened = Database::Open(dir_.path(), options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    database = *std::move(opened);
  }
  void Find() {
    auto found = database->GetCollection("c");
    ASSERT_TRUE(found.ok()) << found.status();
    collection = *std::move(found);
  }
  void Reopen() {
    collection.reset();
    ASSERT_TRUE(database->Close().ok());
    database.reset();
    Open();
    Find();
    ++reopen_count;
  }

  std::vector<Point> MakePoints(size_t count, uint64_t id_range) {
    std::set<uint64_t> numbers;
    while (numbers.size() < count) numbers.insert(maker.rng()() % id_range);
    std::vector<Point> points;
    for (const uint64_t number : numbers) points.push_back(maker.Make(MakeId(number)));
    std::shuffle(points.begin(), points.end(), maker.rng());
    return points;
  }
  void Upsert(std::vector<Point> points) {
    const size_t expected = model.points().size() + points.size();
    model.Upsert(points);
    const auto outcome = collection->Upsert(std::move(points), Ack::kMemory);
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_EQ(expected - outcome->replaced, model.points().size());
  }
  // Every second id is there.
  std::vector<base::PointId> SomeIds(size_t count) {
    std::vector<base::PointId> ids;
    for (size_t i = 0; i < count; ++i) ids.push_back(MakeId(maker.rng()() % 3000));
    return ids;
  }
  void Load(size_t count, uint64_t id_range) {
    // Ids may come twice within a load: the last one stays.
    std::vector<std::vector<Point>> batches;
    for (size_t done = 0; done < count; done += 100) batches.push_back(MakePoints(100, id_range));
    const size_t before = model.points().size();
    for (const auto& batch : batches) model.Upsert(batch);
    size_t next = 0;
    const auto loaded = collection->BulkLoad(
        [&](std::vector<Point>* batch) {
          if (next < batches.size()) *batch = batches[next++];
          return absl::OkStatus();
        },
        {});
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(loaded->rows, batches.size() * 100);
    EXPECT_EQ(before + loaded->rows - loaded->replaced, model.points().size());
    ++load_count;
  }
  void Check(const std::string& after) {
    ASSERT_EQ(Difference(*collection, model, maker), "") << "after " << after;
  }
  FieldStats Field(size_t i = 0) {
    const auto stats = collection->Stats();
    EXPECT_TRUE(stats.ok()) << stats.status();
    return stats->fields[i];
  }

  Model model;
  PointMaker maker;
  std::unique_ptr<Database> database;
  std::shared_ptr<Collection> collection;
  int reopen_count = 0;
  int load_count = 0;

 private:
  const bool background_;
};

}  // namespace tessera::db
