#include "version/index_version.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "query/searcher.h"
#include "tests/support/fault_fs.h"
#include "tests/support/status_matchers.h"
#include "tests/version/index_fixture.h"
#include "version/build/index_builder.h"
#include "version/fine_plane.h"

namespace tessera::version {
namespace {

using absl::StatusCode;
using storage::BlobKind;
using storage::ExtentRef;
using storage::PlaneKind;
using testing::HasSubstr;

class IndexVersionTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto spool = rows_.Spool(*context_);
    auto built = BuildIndex(*context_, field_, *spool, 1, {.memory_bytes = 32 << 20});
    ASSERT_OK(built);
    built_ = *std::move(built);
    built_.base.reset();
  }

  absl::StatusOr<std::shared_ptr<const IndexVersion>> Open(
      const storage::VersionRecord& record) const {
    return OpenIndexVersion(*context_, field_, record);
  }
  void Flip(const ExtentRef& ref, uint64_t at) {
    ASSERT_OK(fs_.CorruptByte(context_->extents->FilePath(ref.file), ref.offset + at, 0x20));
  }
  absl::Status Search(const IndexVersion& version) const {
    const query::SearchView view{.field = field_,
                                 .index = version.view,
                                 .live = query::LiveBitmap(version.view->positions),
                                 .fresh = {}};
    query::SearchRequest request;
    request.settings = {.recall = 1, .nprobe = 1000, .eps = 4, .rerank = 100};
    query::Searcher searcher;
    std::vector<query::Hit> hits;
    query::SearchStats stats;
    return searcher.Search(view, rows_.Floats(0), request, &hits, &stats);
  }

  FaultFs fs_;
  const base::VectorFieldSchema field_ = {
      .name = "", .dim = 20, .metric = base::Metric::kCosine, .type = base::ElementType::kF32};
  std::unique_ptr<TestContext> context_ = MakeContext(fs_);
  const RowSet rows_ = RowSet(field_, {.rows = 1500}, 4);
  BuiltIndex built_;
};

TEST_F(IndexVersionTest, OpensWithAllItsFilesAndMemory) {
  ASSERT_OK_AND_ASSIGN(auto version, Open(built_.record));
  EXPECT_EQ(version->view->rows, 1500u);
  EXPECT_EQ(version->view->list_count(), built_.record.counters.at("lists"));
  std::set<uint32_t> written;
  for (const auto& writer : built_.writers) {
    for (const uint32_t file : writer->files()) written.insert(file);
  }
  EXPECT_EQ(version->files(), written);
  const auto charged = [&] { return context_->budget->UsageByComponent()["index"]; };
  EXPECT_GE(charged(), version->view->heads->memory_bytes());
  EXPECT_LE(charged(), 2 * version->memory_bytes());
  // A search may hold the view alone.
  std::shared_ptr<const query::IndexView> view = version->view;
  version.reset();
  EXPECT_GT(charged(), 0u);
  view.reset();
  EXPECT_EQ(charged(), 0u);
}

TEST_F(IndexVersionTest, WithoutCalibrationTheDefaultIsTaken) {
  built_.record.blobs.erase(BlobKind::kCalibration);
  ASSERT_OK_AND_ASSIGN(const auto version, Open(built_.record));
  EXPECT_EQ(version->view->calibration, query::Calibration::Default(version->view->list_count()));
}

TEST_F(IndexVersionTest, EveryDamagedBlobIsDataLoss) {
  for (const auto& [kind, ref] : built_.record.blobs) {
    for (const uint64_t at : {uint64_t{0}, uint64_t{ref.bytes / 2}, uint64_t{ref.bytes - 1}}) {
      SCOPED_TRACE(absl::StrCat("blob ", static_cast<int>(kind), " byte ", at));
      Flip(ref, at);
      EXPECT_THAT(Open(built_.record), StatusIs(StatusCode::kDataLoss));
      Flip(ref, at);
    }
  }
  EXPECT_OK(Open(built_.record));
}

TEST_F(IndexVersionTest, EveryMissingBlobIsDataLoss) {
  for (const auto& [kind, ref] : built_.record.blobs) {
    if (kind == BlobKind::kCalibration) continue;
    storage::VersionRecord record = built_.record;
    record.blobs.erase(kind);
    EXPECT_THAT(Open(record), StatusIs(StatusCode::kDataLoss)) << static_cast<int>(kind);
  }
}

TEST_F(IndexVersionTest, BlobOfAnotherKindIsRefused) {
  for (const auto& [kind, ref] : built_.record.blobs) {
    for (const auto& [other, other_ref] : built_.record.blobs) {
      if (kind == other) continue;
      storage::VersionRecord record = built_.record;
      record.blobs[kind] = other_ref;
      // To the calibration another blob looks like one of a newer version.
      EXPECT_THAT(Open(record), testing::AnyOf(StatusIs(StatusCode::kDataLoss),
                                               StatusIs(StatusCode::kUnimplemented)))
          << static_cast<int>(kind) << " is " << static_cast<int>(other);
    }
  }
}

TEST_F(IndexVersionTest, ContradictoryRecordsAreDataLoss) {
  const auto expect = [&](std::string_view what, auto change) {
    storage::VersionRecord record = built_.record;
    change(record);
    EXPECT_THAT(Open(record), StatusIs(StatusCode::kDataLoss)) << what;
  };
  for (const char* name : {"rows", "positions", "lists", "built_rows"}) {
    expect(name, [&](auto& record) { record.counters.erase(name); });
  }
  expect("rows", [](auto& record) { ++record.counters["rows"]; });
  expect("positions", [](auto& record) { record.counters["positions"] -= 64; });
  expect("lists", [](auto& record) { ++record.counters["lists"]; });
  expect("rows of a part", [](auto& record) { ++record.list_rows[0]; });
  expect("no rows in a part", [](auto& record) { record.list_rows[0] = 0; });
  expect("a part missing", [](auto& record) {
    record.list_rows.pop_back();
    for (auto& [kind, extents] : record.planes) extents.pop_back();
  });
  for (const PlaneKind kind : {PlaneKind::kCodes, PlaneKind::kFine, PlaneKind::kRaw}) {
    expect("plane missing", [&](auto& record) { record.planes.erase(kind); });
    expect("extent missing", [&](auto& record) { record.planes[kind].pop_back(); });
    expect("extent empty", [&](auto& record) { record.planes[kind][0] = {}; });
    expect("extent longer", [&](auto& record) { ++record.planes[kind][0].bytes; });
    expect("no such file", [&](auto& record) { record.planes[kind][0].file = 4711; });
    expect("beyond the file", [&](auto& record) { record.planes[kind][0].offset += 1 << 30; });
  }
}

TEST_F(IndexVersionTest, RecordOfAnotherFieldIsDataLoss) {
  base::VectorFieldSchema other = field_;
  other.dim = 21;
  EXPECT_THAT(OpenIndexVersion(*context_, other, built_.record), StatusIs(StatusCode::kDataLoss));
  other = field_;
  other.metric = base::Metric::kL2;
  EXPECT_THAT(OpenIndexVersion(*context_, other, built_.record), StatusIs(StatusCode::kDataLoss));
}

TEST_F(IndexVersionTest, OverlappingPartsAreDataLoss) {
  const auto writer = context_->extents->NewWriter();
  ASSERT_OK_AND_ASSIGN(const auto version, Open(built_.record));
  std::vector<PartHome> homes = version->homes;
  homes[1].first_block = homes[0].first_block;
  const std::string bytes = EncodePartHomes(homes);
  ASSERT_OK_AND_ASSIGN(built_.record.blobs[BlobKind::kParts],
                       writer->Append(std::as_bytes(std::span(bytes)), 512));
  ASSERT_OK(writer->Finish());
  EXPECT_THAT(Open(built_.record), StatusIs(StatusCode::kDataLoss, HasSubstr("block")));
}

TEST_F(IndexVersionTest, MissingFileIsDataLoss) {
  for (const uint32_t file : storage::ReferencedFiles(built_.record)) {
    SCOPED_TRACE(file);
    const std::string path = context_->extents->FilePath(file);
    ASSERT_OK(fs_.Rename(path, "/data/away"));
    const auto reopened = MakeContext(fs_);
    EXPECT_THAT(OpenIndexVersion(*reopened, field_, built_.record),
                StatusIs(StatusCode::kDataLoss));
    ASSERT_OK(fs_.Rename("/data/away", path));
  }
}

// A damaged plane is found by the first search that reads it.
TEST_F(IndexVersionTest, DamagedPlanesAreDataLossForSearches) {
  for (const PlaneKind kind : {PlaneKind::kCodes, PlaneKind::kFine, PlaneKind::kRaw}) {
    SCOPED_TRACE(static_cast<int>(kind));
    for (const ExtentRef& ref : built_.record.planes.at(kind)) Flip(ref, 70);
    ASSERT_OK_AND_ASSIGN(const auto version, Open(built_.record));
    EXPECT_THAT(Search(*version), StatusIs(StatusCode::kDataLoss));
    for (const ExtentRef& ref : built_.record.planes.at(kind)) Flip(ref, 70);
  }
  ASSERT_OK_AND_ASSIGN(const auto version, Open(built_.record));
  EXPECT_OK(Search(*version));
}

TEST_F(IndexVersionTest, FullBudgetIsAnAnswer) {
  auto small = MakeContext(fs_);
  const uint64_t used = small->budget->used_bytes();
  small->owned_cache.reset();
  small->owned_budget = std::make_unique<base::MemoryBudget>(used + 1000);
  small->budget = small->owned_budget.get();
  auto cache = storage::PageCache::Create(*small->extents, *small->reads, *small->budget,
                                          {.capacity_bytes = used});
  ASSERT_OK(cache);
  small->owned_cache = *std::move(cache);
  small->cache = small->owned_cache.get();
  EXPECT_THAT(OpenIndexVersion(*small, field_, built_.record),
              StatusIs(StatusCode::kResourceExhausted));
}

TEST_F(IndexVersionTest, PositionsOutsidePartsHaveNoPlace) {
  ASSERT_OK_AND_ASSIGN(const auto version, Open(built_.record));
  uint64_t with_place = 0;
  for (uint64_t position = 0; position < version->view->positions + 100; ++position) {
    const auto place = version->FindPlace(position);
    EXPECT_EQ(version->PlaceOf(position).ok(), place.has_value());
    if (!place.has_value()) continue;
    ++with_place;
    const query::ListPart& part = version->view->parts[place->part];
    EXPECT_LT(place->slot, part.rows);
    EXPECT_EQ(uint64_t{part.first_block} * 64 + place->slot, position);
  }
  EXPECT_EQ(with_place, version->view->rows);
  EXPECT_THAT(version->PlaceOf(version->view->positions), StatusIs(StatusCode::kDataLoss));
}

TEST(PartHomes, DamageIsDataLoss) {
  const std::vector<PartHome> homes = {{1, 0}, {0, 4}, {1, 9}};
  const std::string good = EncodePartHomes(homes);
  EXPECT_THAT(DecodePartHomes(good, 3), IsOkAndHolds(testing::Eq(homes)));
  EXPECT_THAT(DecodePartHomes(good, 2), StatusIs(StatusCode::kDataLoss));
  EXPECT_THAT(DecodePartHomes(good.substr(1), 3), StatusIs(StatusCode::kDataLoss));
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    EXPECT_THAT(DecodePartHomes(bad, 3), StatusIs(StatusCode::kDataLoss)) << at;
  }
}

TEST(FinePlane, UnitsComeBackAndDamageIsFound) {
  for (const size_t record_bytes : {1, 60, 264, 4092, 4093, 9000}) {
    for (const uint32_t rows : {1, 2, 70, 301}) {
      SCOPED_TRACE(absl::StrCat(record_bytes, " x ", rows));
      std::vector<std::byte> records(record_bytes * rows);
      for (size_t i = 0; i < records.size(); ++i) records[i] = static_cast<std::byte>(i * 7 + 1);
      std::vector<std::byte> plane(FinePlaneBytes(record_bytes, rows), std::byte{0xEE});
      WriteFinePlane(record_bytes, rows, records.data(), plane.data());
      uint32_t row = 0;
      for (uint32_t unit = 0; unit < FineUnitCount(record_bytes, rows); ++unit) {
        const uint32_t unit_rows = FineUnitRows(record_bytes, rows, unit);
        const auto bytes = std::span(plane).subspan(unit * FineUnitStride(record_bytes),
                                                    FineUnitBytes(record_bytes, unit_rows));
        EXPECT_OK(CheckFineUnit(record_bytes, unit_rows, bytes));
        EXPECT_TRUE(std::equal(bytes.begin(),
                               bytes.begin() + static_cast<ptrdiff_t>(unit_rows * record_bytes),
                               records.begin() + static_cast<ptrdiff_t>(row * record_bytes)));
        row += unit_rows;
        bytes[bytes.size() / 2] ^= std::byte{4};
        EXPECT_THAT(CheckFineUnit(record_bytes, unit_rows, bytes), StatusIs(StatusCode::kDataLoss));
        EXPECT_THAT(CheckFineUnit(record_bytes, unit_rows, bytes.first(bytes.size() - 1)),
                    StatusIs(StatusCode::kDataLoss));
      }
      EXPECT_EQ(row, rows);
    }
  }
}

}  // namespace
}  // namespace tessera::version
