#include "api/ingest.h"

#include "tests/api/grpc_fixture.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

// Gives `batches` batches of `rows` points of dimension `dim`, then ends or fails.
class Source {
 public:
  Source(int batches, uint64_t rows, uint32_t dim, absl::Status end = absl::OkStatus())
      : left_(batches), rows_(rows), dim_(dim), end_(std::move(end)) {}

  db::PointSource Get() {
    return [this](std::vector<db::Point>* batch) { return Next(batch); };
  }
  int calls_after_end() const { return calls_after_end_; }

 private:
  absl::Status Next(std::vector<db::Point>* batch) {
    batch->clear();
    if (left_ == 0) {
      if (ended_) ++calls_after_end_;
      ended_ = true;
      return end_;
    }
    --left_;
    for (uint64_t i = 0; i < rows_; ++i) {
      batch->push_back(MakePoint(next_id_++, std::vector<float>(dim_, 1)));
    }
    return absl::OkStatus();
  }

  int left_;
  const uint64_t rows_;
  const uint32_t dim_;
  const absl::Status end_;
  uint64_t next_id_ = 0;
  bool ended_ = false;
  int calls_after_end_ = 0;
};

TEST(Ingest, AutoIsBulkFromTheFirstPointThatMakesItLarge) {
  for (const uint64_t points : {kBulkPointsMin - 1, kBulkPointsMin}) {
    FakeCollection collection(FloatSchema("c", 4));
    Source source(1, points, 4);
    ASSERT_OK_AND_ASSIGN(const IngestSummary summary, IngestPoints(collection, source.Get(), {}));
    EXPECT_EQ(summary.stored, points);
    EXPECT_EQ(summary.bulk, points == kBulkPointsMin);
    EXPECT_EQ(collection.bulk_loads, points == kBulkPointsMin ? 1 : 0);
    EXPECT_EQ(collection.Count().value(), points);
    EXPECT_EQ(source.calls_after_end(), 0);
  }
}

// The same rule on every path, within a batch and beyond.
TEST(Ingest, OfAnIdThatComesAgainTheLastPointStays) {
  for (const IngestMode mode : {IngestMode::kAuto, IngestMode::kBulk, IngestMode::kUpsert}) {
    FakeCollection collection(FloatSchema("c", 1));
    ASSERT_OK(collection.Upsert({MakePoint(1, {0}), MakePoint(9, {0})}, db::Ack::kWal));
    int batches = 0;
    const db::PointSource source = [&](std::vector<db::Point>* batch) {
      batch->clear();
      if (++batches == 1) *batch = {MakePoint(1, {1}), MakePoint(2, {2}), MakePoint(1, {3})};
      if (batches == 2) *batch = {MakePoint(2, {4}), MakePoint(3, {5})};
      return absl::OkStatus();
    };
    IngestOptions options;
    options.mode = mode;
    ASSERT_OK_AND_ASSIGN(const IngestSummary summary, IngestPoints(collection, source, options));
    EXPECT_EQ(summary.stored, 5U);
    EXPECT_EQ(summary.replaced, 3U);
    const std::vector<base::PointId> ids = {base::PointId(1), base::PointId(2), base::PointId(3)};
    ASSERT_OK_AND_ASSIGN(const auto stored,
                         collection.Get(ids, {.payload = false, .vectors = true}));
    ASSERT_EQ(stored.size(), 3U);
    EXPECT_EQ(stored[0].vectors[0].bytes, FloatBytes({3}));
    EXPECT_EQ(stored[1].vectors[0].bytes, FloatBytes({4}));
    EXPECT_EQ(stored[2].vectors[0].bytes, FloatBytes({5}));
    EXPECT_EQ(collection.Count().value(), 4U);
  }
}

TEST(Ingest, AutoCountsBytesOfLongVectorsToo) {
  FakeCollection collection(FloatSchema("c", 16'384));
  Source source(8, 8, 16'384);  // 4 MiB
  ASSERT_OK_AND_ASSIGN(const IngestSummary summary, IngestPoints(collection, source.Get(), {}));
  EXPECT_TRUE(summary.bulk);
  EXPECT_EQ(collection.Count().value(), 64U);
}

TEST(Ingest, AutoCountsPayloadsAsTheyAreInMemory) {
  base::Value::List numbers(4096, base::Value(int64_t{1}));
  const base::Value many(base::Value::Object{{"a", base::Value(std::move(numbers))}});
  for (const bool text : {false, true}) {
    HeldPoints held;
    std::vector<db::Point> points(64);
    for (db::Point& point : points) {
      if (text) {
        point.payload_json = std::string(4096 * sizeof(base::Value), ' ');
      } else {
        point.payload = many;
      }
    }
    EXPECT_FALSE(held.PayForBulk());
    held.Add(std::move(points));
    EXPECT_GE(held.bytes(), uint64_t{64} * 4096 * sizeof(base::Value));
    EXPECT_TRUE(held.PayForBulk());
    held.Take();
    EXPECT_EQ(held.bytes(), 0U);
  }
}

TEST(Ingest, AutoIntoAFilledCollectionNeverHoldsBack) {
  FakeCollection collection(FloatSchema("c", 4));
  ASSERT_OK(collection.Upsert({MakePoint(1'000'000, {1, 2, 3, 4})}, db::Ack::kWal));
  Source source(3, kBulkPointsMin, 4);
  ASSERT_OK_AND_ASSIGN(const IngestSummary summary, IngestPoints(collection, source.Get(), {}));
  EXPECT_FALSE(summary.bulk);
  EXPECT_EQ(collection.upserts, 1 + 3);
}

TEST(Ingest, ASourceThatFailsLeavesAnEmptyCollectionEmpty) {
  for (const uint64_t rows : {uint64_t{10}, kBulkPointsMin}) {
    FakeCollection collection(FloatSchema("c", 4));
    Source source(2, rows, 4, absl::DataLossError("torn"));
    EXPECT_THAT(IngestPoints(collection, source.Get(), {}).status(),
                StatusIs(absl::StatusCode::kDataLoss));
    EXPECT_EQ(collection.Count().value(), 0U);
  }
}

TEST(Ingest, UpsertsWaitForAbsorptionWhenThereIsNoRoom) {
  FakeCollection collection(FloatSchema("c", 4));
  collection.upserts_until_full = 1;
  Source source(6, 10, 4);
  IngestOptions options;
  options.mode = IngestMode::kUpsert;
  ASSERT_OK_AND_ASSIGN(const IngestSummary summary,
                       IngestPoints(collection, source.Get(), options));
  EXPECT_EQ(summary.stored, 60U);
  EXPECT_EQ(collection.upserts, 6);
  EXPECT_EQ(collection.absorbs, 3);  // before the 2nd, the 4th and the 6th batch
}

TEST(Ingest, UpsertsFailWhenAbsorptionMakesNoRoom) {
  FakeCollection collection(FloatSchema("c", 4));
  collection.upserts_until_full = 1;
  collection.room_after_absorb = 0;
  Source source(6, 10, 4);
  IngestOptions options;
  options.mode = IngestMode::kUpsert;
  EXPECT_THAT(IngestPoints(collection, source.Get(), options).status(),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(collection.Count().value(), 10U);
}

TEST(Ingest, ProgressOfUpsertsTellsWhatIsStoredBeforeAnError) {
  FakeCollection collection(FloatSchema("c", 4));
  Source source(2, 10, 4, absl::DataLossError("torn"));
  IngestProgress last;
  IngestOptions options;
  options.mode = IngestMode::kUpsert;
  options.ack = db::Ack::kMemory;
  options.progress = [&](const IngestProgress& progress) { last = progress; };
  EXPECT_THAT(IngestPoints(collection, source.Get(), options).status(),
              StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_EQ(last.stored, 20U);
  EXPECT_EQ(last.received, 20U);
  EXPECT_EQ(last.phase, "upsert");
  EXPECT_EQ(collection.last_ack(), db::Ack::kMemory);
}

TEST(Ingest, ProgressOfABulkLoadCountsWhatIsReceivedAndStoresAtTheEnd) {
  FakeCollection collection(FloatSchema("c", 4));
  Source source(3, 1000, 4);
  std::vector<IngestProgress> told;
  IngestOptions options;
  options.mode = IngestMode::kBulk;
  options.progress = [&](const IngestProgress& progress) { told.push_back(progress); };
  ASSERT_OK(IngestPoints(collection, source.Get(), options));
  uint64_t received = 0;
  for (size_t i = 0; i < told.size(); ++i) {
    EXPECT_TRUE(told[i].bulk);
    EXPECT_GE(told[i].received, received);
    received = told[i].received;
    EXPECT_EQ(told[i].stored, i + 1 < told.size() ? 0U : 3000U);
  }
  EXPECT_EQ(received, 3000U);
}

}  // namespace
}  // namespace tessera::api
