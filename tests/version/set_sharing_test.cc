// What a version shares with the one it follows: models, plane sets, frames, memory.
#include "version/set_sharing.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "query/searcher.h"
#include "tests/support/fault_fs.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"
#include "tests/version/index_fixture.h"
#include "version/build/index_builder.h"
#include "version/plane_set.h"

namespace tessera::version {
namespace {

class SharingTest : public testing::Test {
 protected:
  void MakeIndex(size_t rows, uint64_t cache_bytes) {
    context_ = MakeContext(fs_, cache_bytes);
    rows_ = std::make_unique<RowSet>(field_, RowSet::Options{.rows = rows}, 3);
    const auto spool = rows_->Spool(*context_);
    auto built = BuildIndex(*context_, field_, *spool, 1, options_);
    ASSERT_OK(built);
    version_ = MustOpen(*std::move(built), nullptr);
    live_ = query::LiveBitmap(version_->view->positions);
  }

  std::shared_ptr<const IndexVersion> MustOpen(BuiltIndex built,
                                               std::shared_ptr<const IndexVersion> base) {
    for (const auto& writer : built.writers) writer->Keep();
    auto version =
        OpenIndexVersion(*context_, field_, std::move(built.record), {.base = std::move(base)});
    EXPECT_OK(version);
    return version.ok() ? *version : nullptr;
  }

  // The version with `count` more rows, not opened yet.
  BuiltIndex Append(size_t count) {
    const RowSet added(field_, {.rows = count, .first_row = next_row_}, 3);
    next_row_ += count;
    const auto spool = added.Spool(*context_);
    auto built = AppendToIndex(*context_, version_, live_, *spool, version_->record.generation + 1,
                               options_);
    EXPECT_OK(built);
    return std::get<BuiltIndex>(*std::move(built));
  }

  void Publish(BuiltIndex built) {
    auto base = built.base;
    version_ = MustOpen(std::move(built), std::move(base));
    live_ = CarryLive(live_, *version_);
    version_->AdoptFrames();
  }

  // Bytes that 40 searches read.
  uint64_t Search(const IndexVersion& version, bool exact = false) {
    const query::SearchView view{.field = field_,
                                 .index = version.view,
                                 .live = query::LiveBitmap(version.view->positions),
                                 .fresh = {}};
    query::SearchRequest request;
    request.exact = exact;
    request.settings = {.recall = 1, .nprobe = 1000, .eps = 4, .rerank = 50};
    query::Searcher searcher;
    std::vector<query::Hit> hits;
    uint64_t bytes_read = 0;
    for (size_t i = 0; i < 40; ++i) {
      query::SearchStats stats;
      EXPECT_OK(searcher.Search(view, rows_->Floats(i * 7), request, &hits, &stats));
      // The row itself is the nearest one.
      EXPECT_EQ(hits.empty() ? base::RowId() : hits[0].row, rows_->row(i * 7));
      bytes_read += stats.bytes_read;
    }
    return bytes_read;
  }

  // Of all planes of the parts that `base` does not have.
  static uint64_t NewBytes(const IndexVersion& version, const IndexVersion& base) {
    uint64_t bytes = 0;
    for (const auto& [kind, extents] : version.record.planes) {
      const auto& before = base.record.planes.at(kind);
      for (const storage::ExtentRef& ref : extents) {
        if (std::find(before.begin(), before.end(), ref) == before.end()) bytes += ref.bytes;
      }
    }
    return bytes;
  }

  uint64_t Charged() { return context_->budget->UsageByComponent()["index"]; }

  FaultFs fs_;
  const base::VectorFieldSchema field_ = {
      .name = "", .dim = 32, .metric = base::Metric::kL2, .type = base::ElementType::kF32};
  const BuildOptions options_ = {.threads = 1, .memory_bytes = 32 << 20};
  std::unique_ptr<TestContext> context_;
  std::unique_ptr<RowSet> rows_;
  std::shared_ptr<const IndexVersion> version_;
  query::LiveBitmap live_;
  uint64_t next_row_ = 100'000;
};

TEST_F(SharingTest, AfterAPublishOnlyWhatIsNewIsReadAndCharged) {
  MakeIndex(4000, 64 << 20);
  const uint64_t cold = Search(*version_);
  EXPECT_EQ(Search(*version_), 0u);
  const uint64_t charged = Charged();

  const auto before = version_;
  Publish(Append(20));
  const uint64_t read = Search(*version_);
  EXPECT_GT(read, 0u);
  // Reads are whole units of 512 bytes, and may bridge gaps of 4 KiB between neighbours.
  EXPECT_LE(read, 2 * NewBytes(*version_, *before));
  EXPECT_LT(read, cold / 2);
  EXPECT_EQ(Search(*version_), 0u);
  EXPECT_EQ(version_->view->heads, before->view->heads);
  EXPECT_EQ(version_->view->codec, before->view->codec);
  EXPECT_LT(Charged() - charged, charged / 2);

  // The same record opened on its own has nothing to take over.
  ASSERT_OK_AND_ASSIGN(const auto alone, OpenIndexVersion(*context_, field_, version_->record));
  EXPECT_GT(Search(*alone), cold / 2);
}

TEST_F(SharingTest, TheMemoryOfOldVersionsIsGivenBack) {
  MakeIndex(2000, 64 << 20);
  Search(*version_);
  for (int i = 0; i < 12; ++i) ASSERT_NO_FATAL_FAILURE(Publish(Append(30)));
  Search(*version_);
  // What many publishes left is what one open would take, but for slots of parts that have gone.
  const uint64_t charged = Charged();
  ASSERT_OK_AND_ASSIGN(const auto alone, OpenIndexVersion(*context_, field_, version_->record));
  const uint64_t fresh = Charged() - charged;
  EXPECT_LE(charged, 2 * fresh);
  version_.reset();
  EXPECT_EQ(Charged(), fresh);
}

TEST_F(SharingTest, SetsStayFewAndRegroupingKeepsFrames) {
  MakeIndex(3000, 64 << 20);
  Search(*version_);
  size_t regrouped = 0;
  for (int i = 0; i < 24; ++i) {
    const auto before = version_;
    ASSERT_NO_FATAL_FAILURE(Publish(Append(15)));
    EXPECT_LE(version_->view->plane_sets.size(), 10u);
    if (version_->view->plane_sets.size() <= before->view->plane_sets.size()) ++regrouped;
    EXPECT_LE(Search(*version_), 2 * NewBytes(*version_, *before)) << i;
    // A reader of the old view reads again what has moved, and finds the same.
    Search(*before);
  }
  EXPECT_GT(regrouped, 5u);
}

TEST_F(SharingTest, CalibratingDoesNotEmptyTheCacheEither) {
  MakeIndex(1500, 64 << 20);
  Search(*version_);
  const auto before = version_;
  Publish(Append(600));
  EXPECT_NE(version_->view->calibration, before->view->calibration);
  // What calibrating read stays with the sets that the version takes over.
  EXPECT_LE(Search(*version_), NewBytes(*version_, *before));
}

TEST_F(SharingTest, DamageOfSharedBlobsIsNotReadAgainAndOfNewOnesFound) {
  MakeIndex(600, 64 << 20);
  BuiltIndex built = Append(10);
  const storage::ExtentRef parts = built.record.blobs.at(storage::BlobKind::kParts);
  ASSERT_OK(fs_.CorruptByte(context_->extents->FilePath(parts.file), parts.offset + 3, 1));
  EXPECT_THAT(OpenIndexVersion(*context_, field_, built.record, {.base = version_}),
              StatusIs(absl::StatusCode::kDataLoss));
}

// Searches of the newest and of the oldest version, in a cache too small for either, while versions
// follow each other.
TEST_F(SharingTest, VersionsFollowEachOtherUnderLoad) {
  MakeIndex(1500, 1 << 20);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> rounds{0};
  base::Mutex mu;
  std::shared_ptr<const IndexVersion> newest = version_;
  const std::shared_ptr<const IndexVersion> oldest = version_;
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&, i] {
      while (!stop.load()) {
        std::shared_ptr<const IndexVersion> seen = oldest;
        if (i == 0) {
          base::MutexLock lock(&mu);
          seen = newest;
        }
        Search(*seen, /*exact=*/rounds.load() % 2 == 0);
        ++rounds;
      }
    });
  }
  for (int i = 0; i < 10; ++i) {
    BuiltIndex built = Append(25);
    auto base = built.base;
    version_ = MustOpen(std::move(built), std::move(base));
    live_ = CarryLive(live_, *version_);
    {
      base::MutexLock lock(&mu);
      newest = version_;
    }
    version_->AdoptFrames();
  }
  while (rounds.load() < 4) std::this_thread::yield();
  stop = true;
  for (std::thread& reader : readers) reader.join();
}

TEST(ChooseRegrouped, SetsStayFewAndUnitsAreMovedSeldom) {
  std::mt19937_64 rng(TestSeed());
  std::vector<SetUse> sets = {{.live_units = 1'000'000, .total_units = 1'000'000}};
  uint64_t added = 0;
  uint64_t moved = 0;
  for (int publish = 0; publish < 20'000; ++publish) {
    const uint64_t units = 1 + rng() % 300;
    added += units;
    SetUse next{.live_units = units, .total_units = 0};
    const std::vector<bool> chosen = ChooseRegrouped(sets, units);
    std::vector<SetUse> kept;
    for (size_t i = 0; i < sets.size(); ++i) {
      if (chosen[i]) {
        moved += sets[i].live_units;
        next.live_units += sets[i].live_units;
      } else {
        kept.push_back(sets[i]);
      }
    }
    next.total_units = next.live_units;
    kept.push_back(next);
    sets = std::move(kept);
    ASSERT_LE(sets.size(), kPlaneSetsMax);
  }
  EXPECT_LE(moved, 20 * added);
}

TEST(ChooseRegrouped, WornSetsGoAndNothingElseWithoutNews) {
  const std::vector<SetUse> uses = {{.live_units = 100, .total_units = 110},
                                    {.live_units = 50, .total_units = 101},
                                    {.live_units = 0, .total_units = 30},
                                    {.live_units = 900, .total_units = 1000}};
  EXPECT_THAT(ChooseRegrouped(uses, 0), testing::ElementsAre(true, true, true, false));
  EXPECT_THAT(ChooseRegrouped({&uses[3], 1}, 0), testing::ElementsAre(false));
  EXPECT_THAT(ChooseRegrouped({}, 10), testing::IsEmpty());
}

}  // namespace
}  // namespace tessera::version
