#include "version/build/version_edit.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/strings.h"
#include "index/raw_plane.h"
#include "query/searcher.h"
#include "tests/support/fault_fs.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"
#include "tests/version/index_fixture.h"
#include "tests/version/version_checks.h"
#include "version/build/index_builder.h"

namespace tessera::version {
namespace {

// A version, its rows and which of them are dead, through appends.
class AppendTest : public testing::Test {
 protected:
  void Build(size_t rows) {
    rows_ = std::make_unique<RowSet>(field_, RowSet::Options{.rows = rows}, TestSeed());
    dead_.assign(rows, false);
    const auto spool = rows_->Spool(*context_);
    auto built = BuildIndex(*context_, field_, *spool, 1, options_);
    ASSERT_OK(built);
    Publish(*std::move(built));
    live_ = query::LiveBitmap(version_->view->positions);
  }

  void Append(size_t rows) {
    const RowSet added(field_, {.rows = rows, .first_row = next_row_}, TestSeed() + next_row_);
    next_row_ += rows + 3;
    const auto spool = added.Spool(*context_);
    auto built = AppendToIndex(*context_, version_, live_, *spool, version_->record.generation + 1,
                               options_);
    ASSERT_OK(built);
    ASSERT_TRUE(std::holds_alternative<BuiltIndex>(*built));
    Publish(std::get<BuiltIndex>(*std::move(built)));
    live_ = CarryLive(live_, *version_);
    rows_->Append(added);
    dead_.resize(rows_->size());
  }

  void Publish(BuiltIndex built) {
    for (const auto& writer : built.writers) writer->Keep();
    auto version = OpenIndexVersion(*context_, field_, std::move(built.record),
                                    {.base = std::move(built.base)});
    ASSERT_OK(version);
    version_ = *version;
    version_->AdoptFrames();
    ASSERT_OK(context_->extents->RemoveUnreferenced(version_->files()));
  }

  void Kill(const std::vector<size_t>& indexes) {
    std::vector<base::RowId> rows;
    for (const size_t index : indexes) {
      dead_[index] = true;
      rows.push_back(rows_->row(index));
    }
    std::sort(rows.begin(), rows.end());
    ASSERT_OK_AND_ASSIGN(const auto positions, version_->Locate(rows));
    std::vector<uint64_t> cleared;
    for (const auto& position : positions) {
      ASSERT_TRUE(position.has_value());
      cleared.push_back(*position);
    }
    live_ = live_.WithCleared(cleared);
  }

  void ExpectRight() {
    ExpectHolds(*context_, *version_, live_, *rows_, &dead_);
    ExpectReadable(*version_);
  }

  size_t LiveCount() const {
    return static_cast<size_t>(std::count(dead_.begin(), dead_.end(), false));
  }
  uint64_t rows() const { return version_->view->rows; }
  const query::IndexView& view() const { return *version_->view; }

  FaultFs fs_;
  const base::VectorFieldSchema field_ = SmallField();
  const BuildOptions options_ = {.threads = 2, .memory_bytes = kAmpleMemory};
  std::unique_ptr<TestContext> context_ = MakeContext(fs_);
  std::shared_ptr<const IndexVersion> version_;
  std::unique_ptr<RowSet> rows_;
  std::vector<bool> dead_;
  query::LiveBitmap live_;
  uint64_t next_row_ = 100'000;
};

TEST_F(AppendTest, OldAndNewRowsAreHeldAndFound) {
  Build(2000);
  std::mt19937_64 rng(TestSeed());
  for (int round = 0; round < 12; ++round) {
    SCOPED_TRACE(round);
    std::set<size_t> killed;
    while (killed.size() < 20) {
      const size_t index = rng() % rows_->size();
      if (!dead_[index]) killed.insert(index);
    }
    Kill({killed.begin(), killed.end()});
    Append(1 + rng() % 150);
    ASSERT_NO_FATAL_FAILURE(ExpectRight());
    EXPECT_LE(version_->locations.segment_count(), 9u);
  }
  EXPECT_EQ(version_->record.generation, 13u);
  EXPECT_EQ(version_->record.counters.at("built_rows"), 2000u);
  const RowSet queries(field_, {.rows = 50}, TestSeed() + 1);
  EXPECT_GE(Recall(*version_, live_, *rows_, queries, 0.95, &dead_), 0.85);
}

TEST_F(AppendTest, PositionsOfPartsThatStayDoNotChange) {
  Build(2000);
  std::vector<base::RowId> all;
  for (size_t i = 0; i < rows_->size(); ++i) all.push_back(rows_->row(i));
  ASSERT_OK_AND_ASSIGN(const auto before, version_->Locate(all));
  const uint64_t positions = view().positions;
  Append(300);
  ASSERT_OK_AND_ASSIGN(const auto after, version_->Locate(all));
  size_t moved = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    if (*after[i] == *before[i]) continue;
    ++moved;
    EXPECT_GE(*after[i], positions);
  }
  EXPECT_LT(moved, all.size() / 2);
  EXPECT_GT(view().positions, positions);
}

TEST_F(AppendTest, SmallTailsAreWrittenAnew) {
  Build(2000);
  for (int round = 0; round < 10; ++round) ASSERT_NO_FATAL_FAILURE(Append(20));
  for (uint32_t list = 0; list < view().list_count(); ++list) {
    for (uint32_t part = view().part_begin[list]; part + 1 < view().part_begin[list + 1]; ++part) {
      // All but the newest part of a list are over the limit, or of the build.
      if (view().parts[part].first_block * 64 < 2000) continue;
      EXPECT_GT(view().parts[part].rows, kTailRowsMax);
    }
    EXPECT_LE(view().part_begin[list + 1] - view().part_begin[list], 4u);
  }
  ExpectRight();
}

TEST_F(AppendTest, DeadPartsAndDeadTailRowsLeave) {
  Build(1500);
  // Every row of one part.
  std::vector<base::RowId> all;
  for (size_t i = 0; i < rows_->size(); ++i) all.push_back(rows_->row(i));
  ASSERT_OK_AND_ASSIGN(const auto positions, version_->Locate(all));
  std::vector<size_t> of_part;
  std::vector<base::RowId> rows_of_part;
  for (size_t i = 0; i < all.size(); ++i) {
    ASSERT_OK_AND_ASSIGN(const PartPlace place, version_->PlaceOf(*positions[i]));
    if (place.part != 1) continue;
    of_part.push_back(i);
    rows_of_part.push_back(all[i]);
  }
  const size_t parts = view().parts.size();
  Kill(of_part);
  Append(1);
  EXPECT_LE(view().parts.size(), parts);
  EXPECT_EQ(rows(), 1500 - of_part.size() + 1);
  ASSERT_OK_AND_ASSIGN(const auto gone, version_->Locate(rows_of_part));
  for (const auto& position : gone) EXPECT_EQ(position, std::nullopt);
  ExpectRight();
}

TEST_F(AppendTest, AppendingNothingDropsDeadParts) {
  Build(600);
  std::vector<size_t> everything(600);
  for (size_t i = 0; i < everything.size(); ++i) everything[i] = i;
  Kill(everything);
  Append(0);
  EXPECT_EQ(rows(), 0u);
  EXPECT_TRUE(view().parts.empty());
  ExpectRight();
  Append(50);
  EXPECT_EQ(rows(), 50u);
  ExpectRight();
}

TEST_F(AppendTest, CalibrationIsMeasuredAnewWhenTheRowsHaveGrown) {
  Build(1200);
  const query::Calibration first = view().calibration;
  EXPECT_EQ(first.rows(), 1200u);
  Append(100);
  EXPECT_EQ(view().calibration, first);
  Append(400);
  EXPECT_EQ(view().calibration.rows(), 1700u);
}

TEST_F(AppendTest, RowsUnlikeTheIndexAreAnOutcomeOfTheirOwnAndWriteNothing) {
  Build(1500);
  const size_t files = ExtentFileCount(fs_);
  // Around other centres, and twice as far apart.
  const RowSet other(field_, {.rows = 1000, .first_row = next_row_, .noise = 5}, TestSeed() + 99);
  const auto spool = other.Spool(*context_);
  const auto outcome = AppendToIndex(*context_, version_, live_, *spool, 2, options_);
  ASSERT_OK(outcome);
  ASSERT_TRUE(std::holds_alternative<RowsUnlikeIndex>(*outcome));
  EXPECT_GT(std::get<RowsUnlikeIndex>(*outcome).rows, 256u);
  EXPECT_EQ(ExtentFileCount(fs_), files);
  ExpectRight();
}

TEST_F(AppendTest, YieldsOftenAndCanBeCancelledThere) {
  Build(1500);
  const auto spool = RowSet(field_, {.rows = 400, .first_row = next_row_}, 1).Spool(*context_);
  BuildOptions options = options_;
  size_t yields = 0;
  std::atomic<bool> cancelled = false;
  options.cancelled = &cancelled;
  options.yield = [&] { ++yields; };
  ASSERT_OK(AppendToIndex(*context_, version_, live_, *spool, 2, options));
  EXPECT_GE(yields, 3u);
  const size_t files = ExtentFileCount(fs_);
  for (size_t at = 1; at <= yields; ++at) {
    size_t seen = 0;
    cancelled = false;
    options.yield = [&] { cancelled = ++seen == at || cancelled; };
    EXPECT_THAT(AppendToIndex(*context_, version_, live_, *spool, 2, options),
                StatusIs(absl::StatusCode::kCancelled))
        << at;
    EXPECT_EQ(ExtentFileCount(fs_), files);
  }
}

TEST_F(AppendTest, UnknownCountersAreKept) {
  Build(300);
  storage::VersionRecord record = version_->record;
  record.counters["other"] = 77;
  ASSERT_OK_AND_ASSIGN(version_, OpenIndexVersion(*context_, field_, record));
  Append(10);
  EXPECT_EQ(version_->record.counters.at("other"), 77u);
}

TEST_F(AppendTest, FullDiskLeavesTheOldVersionAlone) {
  Build(1500);
  const size_t files = ExtentFileCount(fs_);
  const auto spool = RowSet(field_, {.rows = 400, .first_row = next_row_}, 1).Spool(*context_);
  fs_.AddRule({.op = FaultOp::kAppend, .path_part = "extents", .kind = FaultKind::kNoSpace});
  EXPECT_THAT(AppendToIndex(*context_, version_, live_, *spool, 2, options_),
              StatusIs(absl::StatusCode::kResourceExhausted));
  fs_.ClearRules();
  EXPECT_EQ(ExtentFileCount(fs_), files);
  ExpectRight();
}

TEST_F(AppendTest, DamagedTailIsDataLoss) {
  Build(1500);
  Append(60);
  // Damages every raw plane: whichever tail is read first shows it.
  for (const storage::ExtentRef& ref : version_->record.planes.at(storage::PlaneKind::kRaw)) {
    ASSERT_OK(fs_.CorruptByte(context_->extents->FilePath(ref.file), ref.offset + 50, 1));
  }
  const auto spool = RowSet(field_, {.rows = 400, .first_row = next_row_}, 1).Spool(*context_);
  EXPECT_THAT(AppendToIndex(*context_, version_, live_, *spool, 3, options_),
              StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace tessera::version
