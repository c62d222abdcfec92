// What a page cache reads, finds, and answers when reading fails.
#include "storage/page_cache.h"

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/storage/page_cache_fixture.h"
#include "tests/support/fault_fs.h"
#include "tests/support/status_matchers.h"

namespace tessera::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

TEST_F(PageCacheTest, FetchedUnitsAreFoundByPeek) {
  OpenCache({.capacity_bytes = 1 << 20});
  const std::vector<uint32_t> sizes = {1, 64, 511, 512, 4096, 5000, 20000, 300000, 3};
  FrameTable& table = AddTable(Priority::kCodes, sizes);
  ASSERT_EQ(table.unit_count(), sizes.size());
  for (uint32_t unit = 0; unit < sizes.size(); ++unit) {
    EXPECT_EQ(table.unit_bytes(unit), sizes[unit]);
    EXPECT_FALSE(Resident(0, unit));
  }
  EXPECT_THAT(FetchUnits(0, {3, 1, 7, 0}), UnorderedElementsAre(0, 1, 3, 7));
  EXPECT_THAT(ResidentUnits(0), ElementsAre(0, 1, 3, 7));
  EXPECT_THAT(FetchUnits(0, {8, 7, 6, 5, 4, 3, 2, 1, 0}),
              UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8));
  EXPECT_EQ(ResidentUnits(0).size(), sizes.size());
  const PageCacheStats stats = cache_->stats();
  EXPECT_EQ(stats.resident_frames, sizes.size());
  EXPECT_EQ(stats.resident_bytes, 1u + 64 + 511 + 512 + 4096 + 5000 + 20000 + 300000 + 3);
  EXPECT_EQ(stats.evicted_frames, 0u);
  EXPECT_LE(stats.charged_bytes, stats.capacity_bytes);
}

TEST_F(PageCacheTest, WhatIsResidentIsNotReadAgainAndComesFirst) {
  OpenCache({.capacity_bytes = 1 << 20});
  AddTable(Priority::kCodes, std::vector<uint32_t>(10, 1000));
  FetchStats stats;
  FetchUnits(0, {4, 5}, nullptr, &stats);
  EXPECT_GT(stats.bytes_read, 0u);
  stats = {};
  const std::vector<uint32_t> order = FetchUnits(0, {0, 4, 1, 5}, nullptr, &stats);
  EXPECT_THAT(std::vector<uint32_t>(order.begin(), order.begin() + 2), ElementsAre(4, 5));
  EXPECT_EQ(stats.reads, 1u);
  stats = {};
  FetchUnits(0, {0, 4, 1, 5}, nullptr, &stats);
  EXPECT_EQ(stats.reads, 0u);
}

TEST_F(PageCacheTest, NeighboursAreReadTogetherWithinTheLimits) {
  OpenCache({.capacity_bytes = 1 << 20, .read_bytes_max = 16384, .read_gap_bytes_max = 1024});
  AddTable(Priority::kRaw, std::vector<uint32_t>(100, 512));
  const auto reads = [&](const std::vector<uint32_t>& units) {
    FetchStats stats;
    FetchUnits(0, units, nullptr, &stats);
    return std::pair(stats.reads, stats.bytes_read);
  };
  EXPECT_EQ(reads({3, 1, 2, 0}), std::pair(uint64_t{1}, uint64_t{2048}));  // any order
  EXPECT_EQ(reads({10, 13}), std::pair(uint64_t{1}, uint64_t{2048}));      // a gap of 1024
  EXPECT_EQ(reads({20, 24}), std::pair(uint64_t{2}, uint64_t{1024}));      // a gap of 1536
  EXPECT_EQ(reads({30, 30, 30}), std::pair(uint64_t{1}, uint64_t{512}));   // the same
  std::vector<uint32_t> many;
  for (uint32_t unit = 40; unit < 100; ++unit) {
    many.push_back(unit);
  }
  EXPECT_EQ(reads(many), std::pair(uint64_t{2}, uint64_t{60 * 512}));
}

TEST_F(PageCacheTest, ASmallWindowReadsInTurn) {
  OpenCache({.capacity_bytes = 1 << 20,
             .fetch_window_bytes = 4096,
             .read_bytes_max = 1024,
             .read_gap_bytes_max = 0});
  AddTable(Priority::kCodes, {1000, 9000, 1000, 3000, 1000, 1000, 1000, 1000, 1000, 1000});
  EXPECT_EQ(FetchUnits(0, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}).size(), 10u);
  EXPECT_EQ(budget_.used_bytes(), uint64_t{1} << 20);  // nothing stays reserved
}

TEST_F(PageCacheTest, EmptyUnitsNeedNoRead) {
  OpenCache({.capacity_bytes = 1 << 20});
  AddTable(Priority::kFine, {0, 100, 0});
  FetchStats stats;
  EXPECT_THAT(FetchUnits(0, {0, 2}, nullptr, &stats), ElementsAre(0, 2));
  EXPECT_EQ(stats.reads, 0u);
}

TEST_F(PageCacheTest, TablesKnowTheirRunsAndRanges) {
  OpenCache({.capacity_bytes = 1 << 20});
  FrameTable table(
      *cache_, Priority::kRaw,
      std::vector<UnitRun>{{.file = 1, .offset = 4096, .bytes = 3000, .stride = 3072, .count = 3},
                           {.file = 1, .offset = 9, .bytes = 9, .stride = 9, .count = 0},
                           {.file = 2, .offset = 512, .bytes = 5, .stride = 0, .count = 1}},
      [](uint32_t, std::span<const std::byte>) { return absl::OkStatus(); });
  ASSERT_EQ(table.unit_count(), 4u);
  EXPECT_EQ(table.unit_range(0), (ByteRange{1, 4096, 3000}));
  EXPECT_EQ(table.unit_range(2), (ByteRange{1, 4096 + 2 * 3072, 3000}));
  EXPECT_EQ(table.unit_range(3), (ByteRange{2, 512, 5}));

  // Given as ranges: found again exactly, whatever runs they make.
  std::mt19937_64 rng(TestSeed());
  std::vector<ByteRange> ranges;
  for (int i = 0; i < 1000; ++i) {
    ByteRange next{.file = 1, .offset = 4096, .bytes = 700};
    if (!ranges.empty() && rng() % 8 != 0) {
      next = ranges.back();
      next.offset += 1024;
    }
    if (rng() % 8 == 0) {
      next = {.file = static_cast<uint32_t>(rng() % 3), .offset = rng() >> 20, .bytes = 700};
    }
    ranges.push_back(next);
  }
  FrameTable from_ranges(*cache_, Priority::kRaw, ranges, nullptr);
  for (uint32_t unit = 0; unit < ranges.size(); ++unit) {
    ASSERT_EQ(from_ranges.unit_range(unit), ranges[unit]) << unit;
  }
  EXPECT_LT(from_ranges.memory_bytes(), 1000 * (8 + 16));
}

TEST_F(PageCacheTest, DamageIsDataLossAndNeverPublished) {
  OpenCache({.capacity_bytes = 1 << 20, .read_gap_bytes_max = 0});
  FrameTable& table = AddTable(Priority::kCodes, std::vector<uint32_t>(8, 2000), kListAlignment);
  for (size_t at = 0; at < 2000; at += 97) {
    const ByteRange range = table.unit_range(3);
    ASSERT_OK(fs_.CorruptByte(store_->FilePath(range.file), range.offset + at, 4));
    absl::Status status;
    EXPECT_THAT(FetchUnits(0, {2, 3, 4}, &status), UnorderedElementsAre(2, 4));
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr("unit 3 of 2000")));
    EXPECT_FALSE(Resident(0, 3));
    ASSERT_OK(fs_.CorruptByte(store_->FilePath(range.file), range.offset + at, 4));
  }
  EXPECT_THAT(FetchUnits(0, {3}), ElementsAre(3));  // nothing is remembered of the failure
}

TEST_F(PageCacheTest, ReadFaultsFailTheirUnitsOnly) {
  OpenCache({.capacity_bytes = 1 << 20, .read_gap_bytes_max = 0});
  AddTable(Priority::kCodes, std::vector<uint32_t>(100, 2000), kListAlignment);
  const ReadFault faults[] = {
      {.error = absl::DataLossError("broken"), .short_bytes = {}, .flipped_bit = {}, .last = false},
      {.error = {}, .short_bytes = 1999, .flipped_bit = {}, .last = false},
      {.error = {}, .short_bytes = 0, .flipped_bit = {}, .last = false},
      {.error = {}, .short_bytes = {}, .flipped_bit = 8 * 1999 + 7, .last = false},
  };
  uint64_t ordinal = 0;
  uint32_t first = 0;
  for (const ReadFault& fault : faults) {
    fault_ = fault;
    faulty_ = {ordinal + 1};
    absl::Status status;
    const std::vector<uint32_t> units = {first, first + 1, first + 2};
    EXPECT_THAT(FetchUnits(0, units, &status), UnorderedElementsAre(first, first + 2));
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss));
    EXPECT_FALSE(Resident(0, first + 1));
    EXPECT_TRUE(Resident(0, first + 2));
    ordinal += 3;
    first += 3;
  }
  // Delivered as they complete, not as they were asked for.
  fault_ = {.error = {}, .short_bytes = {}, .flipped_bit = {}, .last = true};
  faulty_ = {ordinal};
  EXPECT_EQ(FetchUnits(0, {first, first + 1, first + 2}).back(), first);
}

TEST_F(PageCacheTest, MissingFilesAreDataLoss) {
  OpenCache({.capacity_bytes = 1 << 20});
  FrameTable& table = AddTable(Priority::kCodes, {100, 200});
  ASSERT_OK(fs_.RemoveFile(store_->FilePath(table.unit_range(0).file)));
  absl::Status status;
  EXPECT_THAT(FetchUnits(0, {0, 1}, &status), IsEmpty());
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr("missing")));
}

TEST_F(PageCacheTest, TablesOutliveTheRemovalOfTheirFiles) {
  OpenCache({.capacity_bytes = 1 << 20});
  AddTable(Priority::kCodes, std::vector<uint32_t>(10, 1000));
  AddTable(Priority::kRaw, std::vector<uint32_t>(10, 1000));
  const std::string removed = store_->FilePath(tables_[0]->unit_range(0).file);
  const std::string kept = store_->FilePath(tables_[1]->unit_range(0).file);
  EXPECT_EQ(FetchUnits(0, {0, 1}).size(), 2U);
  for (int i = 0; i < 2; ++i) {  // also when there is nothing left to remove
    ASSERT_OK(store_->RemoveUnreferenced({tables_[1]->unit_range(0).file}));
    EXPECT_THAT(fs_.Files(), ElementsAre(kept));
    EXPECT_EQ(FetchUnits(0, {0, 1, 2, 3}).size(), 4U);
  }
  EXPECT_EQ(FetchUnits(0, {9}).size(), 1U);
  EXPECT_EQ(FetchUnits(1, {9}).size(), 1U);
  const uint32_t file = tables_[0]->unit_range(0).file;
  EXPECT_OK(store_->OpenFile(file));
  tables_[0].reset();
  EXPECT_THAT(store_->OpenFile(file), StatusIs(absl::StatusCode::kNotFound, HasSubstr(removed)));
}

TEST_F(PageCacheTest, PinnedFilesThatCannotBeOpenedAreRemovedLater) {
  OpenCache({.capacity_bytes = 1 << 20});
  AddTable(Priority::kCodes, {1000});
  fs_.AddRule({.op = FaultOp::kOpenForRead, .count = 1});
  ASSERT_OK(store_->RemoveUnreferenced({}));
  EXPECT_EQ(fs_.Files().size(), 1U);
  ASSERT_OK(store_->RemoveUnreferenced({}));
  EXPECT_THAT(fs_.Files(), IsEmpty());
  EXPECT_EQ(FetchUnits(0, {0}).size(), 1U);
}

TEST_F(PageCacheTest, ChargesTheBudgetAndRespectsItsLimit) {
  EXPECT_THAT(PageCache::Create(*store_, engine_, budget_, {.capacity_bytes = kBudget + 1}),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(PageCache::Create(*store_, engine_, budget_, {.capacity_bytes = 1000}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1000")));
  EXPECT_EQ(budget_.used_bytes(), 0u);
  OpenCache({.capacity_bytes = 1 << 20});
  EXPECT_EQ(budget_.used_bytes(), uint64_t{1} << 20);

  AddTable(Priority::kCodes, {100000});
  ASSERT_OK_AND_ASSIGN(base::MemoryReservation rest,
                       budget_.Reserve("else", budget_.available_bytes()));
  absl::Status status;
  EXPECT_THAT(FetchUnits(0, {0}, &status), IsEmpty());  // no room to read into
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
  ASSERT_OK(rest.Resize(0));
  EXPECT_THAT(FetchUnits(0, {0}), ElementsAre(0));
  tables_.clear();
  cache_.reset();
  EXPECT_EQ(budget_.used_bytes(), 0u);
}

}  // namespace
}  // namespace tessera::storage
