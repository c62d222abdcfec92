#include "storage/page_cache.h"

#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/crc32c.h"
#include "tests/support/fault_fs.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// What the 8 bytes at `word` of a unit are to be.
uint64_t WordOf(uint32_t table, uint32_t unit, size_t word) {
  return (uint64_t{table} << 56) + (uint64_t{unit} << 24) + word * 0x9e37;
}

std::vector<std::byte> UnitContent(uint32_t table, uint32_t unit, uint32_t bytes) {
  std::vector<std::byte> content(bytes);
  for (size_t at = 0; at < bytes; at += 8) {
    const uint64_t word = WordOf(table, unit, at / 8);
    std::memcpy(content.data() + at, &word, std::min<size_t>(8, bytes - at));
  }
  return content;
}

bool HoldsUnit(const std::byte* data, uint32_t table, uint32_t unit, uint32_t bytes) {
  return bytes == 0 || std::memcmp(data, UnitContent(table, unit, bytes).data(), bytes) == 0;
}

class PageCacheTest : public testing::Test {
 protected:
  static constexpr uint64_t kBudget = uint64_t{1} << 30;

  void SetUp() override {
    absl::StatusOr<std::unique_ptr<ExtentStore>> store = ExtentStore::Open(fs_, "/x", 1);
    ASSERT_OK(store);
    store_ = *std::move(store);
  }

  void OpenCache(const PageCacheOptions& options) {
    absl::StatusOr<std::unique_ptr<PageCache>> cache =
        PageCache::Create(*store_, engine_, budget_, options);
    ASSERT_OK(cache);
    cache_ = *std::move(cache);
  }

  // Writes units of the given sizes and makes the table of them, number tables_.size() - 1.
  FrameTable& AddTable(Priority priority, const std::vector<uint32_t>& sizes,
                       size_t alignment = kPlaneAlignment) {
    const auto number = static_cast<uint32_t>(tables_.size());
    const std::unique_ptr<ExtentWriter> writer = store_->NewWriter();
    std::vector<ByteRange> ranges;
    auto& crcs = crcs_.emplace_back();
    for (uint32_t unit = 0; unit < sizes.size(); ++unit) {
      if (sizes[unit] == 0) {
        ranges.push_back({});
        crcs.push_back(0);
        continue;
      }
      const absl::StatusOr<ExtentRef> ref =
          writer->Append(UnitContent(number, unit, sizes[unit]), alignment);
      EXPECT_OK(ref);
      ranges.push_back({.file = ref->file, .offset = ref->offset, .bytes = ref->bytes});
      crcs.push_back(ref->crc);
    }
    EXPECT_OK(writer->Finish());
    writer->Keep();
    auto verifier = [this, number](uint32_t unit, std::span<const std::byte> bytes) {
      return base::Crc32c(bytes) == crcs_[number][unit]
                 ? absl::OkStatus()
                 : absl::DataLossError(absl::StrCat("table ", number, " wrong checksum"));
    };
    tables_.push_back(std::make_unique<FrameTable>(*cache_, priority, ranges, verifier));
    return *tables_.back();
  }

  // Fetches units of table `number`, checks what arrives, returns the units in order of arrival.
  std::vector<uint32_t> FetchUnits(uint32_t number, const std::vector<uint32_t>& units,
                                   absl::Status* status = nullptr, FetchStats* stats = nullptr) {
    CacheGuard guard;
    std::vector<FetchRequest> requests;
    for (const uint32_t unit : units) {
      requests.push_back({.table = tables_[number].get(), .unit = unit});
    }
    std::vector<uint32_t> arrived;
    const absl::Status result = cache_->Fetch(
        guard, requests,
        [&](size_t i, const std::byte* data) {
          const uint32_t bytes = tables_[number]->unit_bytes(units[i]);
          EXPECT_TRUE(HoldsUnit(data, number, units[i], bytes)) << units[i];
          EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u);
          arrived.push_back(units[i]);
        },
        stats);
    if (status != nullptr) {
      *status = result;
    } else {
      EXPECT_OK(result);
    }
    return arrived;
  }

  bool Resident(uint32_t number, uint32_t unit) {
    CacheGuard guard;
    const std::byte* data = tables_[number]->Peek(unit);
    return data != nullptr && HoldsUnit(data, number, unit, tables_[number]->unit_bytes(unit));
  }

  std::vector<uint32_t> ResidentUnits(uint32_t number) {
    std::vector<uint32_t> units;
    for (uint32_t unit = 0; unit < tables_[number]->unit_count(); ++unit) {
      if (Resident(number, unit)) {
        units.push_back(unit);
      }
    }
    return units;
  }

  FaultFs fs_;
  base::MemoryBudget budget_{kBudget};
  PreadPool pool_{2};
  ReadFault fault_;  // of requests whose ordinal is in faulty_
  std::set<uint64_t> faulty_;
  FaultingEngine engine_{pool_, [this](const ReadRequest&, uint64_t ordinal) {
                           return faulty_.contains(ordinal) ? fault_ : ReadFault();
                         }};
  std::unique_ptr<ExtentStore> store_;
  std::unique_ptr<PageCache> cache_;
  std::vector<std::vector<uint32_t>> crcs_;
  std::vector<std::unique_ptr<FrameTable>> tables_;
};

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

TEST_F(PageCacheTest, EvictionKeepsWithinTheCapacity) {
  const uint64_t capacity = 256 << 10;
  OpenCache({.capacity_bytes = capacity});
  std::mt19937_64 rng(TestSeed());
  std::vector<uint32_t> sizes;
  for (int i = 0; i < 1000; ++i) {
    sizes.push_back(static_cast<uint32_t>(1 + rng() % (rng() % 20 == 0 ? 30000 : 6000)));
  }
  AddTable(Priority::kRaw, sizes);
  for (uint32_t unit = 0; unit < sizes.size(); ++unit) {
    FetchUnits(0, {unit});  // one guard each
    const PageCacheStats stats = cache_->stats();
    ASSERT_LE(stats.charged_bytes, capacity);
    ASSERT_LE(budget_.used_bytes(), capacity);
  }
  const PageCacheStats stats = cache_->stats();
  EXPECT_GT(stats.evicted_frames, 500u);
  EXPECT_GT(stats.resident_bytes, capacity / 2);
  EXPECT_EQ(ResidentUnits(0).size(), stats.resident_frames);
}

TEST_F(PageCacheTest, UsedFramesOutliveUnusedOnes) {
  OpenCache({.capacity_bytes = 512 << 10});
  AddTable(Priority::kRaw, std::vector<uint32_t>(2000, 2048));
  const std::vector<uint32_t> hot = {0, 1, 2, 3, 4, 5, 6, 7};
  FetchUnits(0, hot);
  uint64_t hot_misses = 0;
  for (uint32_t unit = 8; unit < 2000; ++unit) {
    FetchUnits(0, {unit});
    for (const uint32_t used : hot) {
      if (!Resident(0, used)) {
        ++hot_misses;
        FetchUnits(0, {used});
      }
    }
  }
  EXPECT_EQ(hot_misses, 0u);
  EXPECT_GT(cache_->stats().evicted_frames, 1500u);
}

TEST_F(PageCacheTest, LowerPrioritiesGoFirst) {
  OpenCache({.capacity_bytes = 1 << 20});
  const std::vector<uint32_t> sizes(150, 2048);  // 300 KiB each
  AddTable(Priority::kCodes, sizes);
  AddTable(Priority::kFine, sizes);
  AddTable(Priority::kRaw, std::vector<uint32_t>(2000, 2048));
  for (uint32_t unit = 0; unit < sizes.size(); ++unit) {
    FetchUnits(0, {unit});
    FetchUnits(1, {unit});
  }
  for (uint32_t unit = 0; unit < 2000; ++unit) {
    FetchUnits(2, {unit});
    Resident(2, unit / 2);  // use does not lift raw frames above the others
  }
  EXPECT_EQ(ResidentUnits(0).size(), sizes.size());
  EXPECT_EQ(ResidentUnits(1).size(), sizes.size());
  EXPECT_LT(ResidentUnits(2).size(), 250u);

  AddTable(Priority::kCodes, std::vector<uint32_t>(225, 2048));
  for (uint32_t unit = 0; unit < 225; ++unit) {
    FetchUnits(3, {unit});
  }
  EXPECT_EQ(ResidentUnits(0).size(), sizes.size());
  EXPECT_EQ(ResidentUnits(3).size(), 225u);
  EXPECT_LT(ResidentUnits(1).size(), sizes.size());
}

TEST_F(PageCacheTest, AGuardKeepsWhatItGotEvenBeyondATinyCapacity) {
  const uint64_t capacity = PageCache::kCapacityMin;
  OpenCache({.capacity_bytes = capacity});
  const uint32_t count = 500;
  FrameTable& table = AddTable(Priority::kCodes, std::vector<uint32_t>(count, 3000));
  std::vector<FetchRequest> requests;
  for (uint32_t unit = 0; unit < count; ++unit) {
    requests.push_back({.table = &table, .unit = unit});
  }
  std::map<size_t, const std::byte*> got;
  {
    CacheGuard guard;
    ASSERT_OK(
        cache_->Fetch(guard, requests, [&](size_t i, const std::byte* data) { got[i] = data; }));
    ASSERT_EQ(got.size(), count);
    for (const auto& [unit, data] : got) {
      ASSERT_TRUE(HoldsUnit(data, 0, static_cast<uint32_t>(unit), 3000)) << unit;
    }
    const PageCacheStats stats = cache_->stats();
    EXPECT_GT(stats.charged_bytes, uint64_t{count} * 3000 - capacity);
    // The documented bound; a frame takes 3008 + 24 bytes and a segment of 16 KiB holds 5.
    EXPECT_LE(stats.charged_bytes, capacity + (count / 5 + 1) * (16 << 10));
    EXPECT_GE(budget_.used_bytes(), stats.charged_bytes);  // all of it is accounted for
    EXPECT_LE(stats.resident_bytes, capacity);
  }
  EXPECT_LE(cache_->stats().charged_bytes, capacity);
  EXPECT_EQ(budget_.used_bytes(), capacity);
}

TEST_F(PageCacheTest, RefreshLetsGo) {
  const uint64_t capacity = PageCache::kCapacityMin;
  OpenCache({.capacity_bytes = capacity});
  FrameTable& table = AddTable(Priority::kRaw, std::vector<uint32_t>(500, 3000));
  CacheGuard guard;
  for (uint32_t unit = 0; unit < 500; ++unit) {
    const FetchRequest request{.table = &table, .unit = unit};
    ASSERT_OK(cache_->Fetch(guard, {&request, 1}, [&](size_t, const std::byte* data) {
      EXPECT_TRUE(HoldsUnit(data, 0, unit, 3000));
    }));
    guard.Refresh();
    ASSERT_LE(cache_->stats().charged_bytes, capacity);
  }
  {
    // Not inside another guard: the outer one's pointers stay.
    const FetchRequest request{.table = &table, .unit = 0};
    const std::byte* kept = nullptr;
    ASSERT_OK(
        cache_->Fetch(guard, {&request, 1}, [&](size_t, const std::byte* data) { kept = data; }));
    for (uint32_t unit = 1; unit < 300; ++unit) {
      CacheGuard inner;
      const FetchRequest other{.table = &table, .unit = unit};
      ASSERT_OK(cache_->Fetch(inner, {&other, 1}, [](size_t, const std::byte*) {}));
      inner.Refresh();
    }
    EXPECT_TRUE(HoldsUnit(kept, 0, 0, 3000));
    EXPECT_GT(cache_->stats().charged_bytes, capacity);
  }
}

TEST_F(PageCacheTest, ExcessThatTheBudgetRefusesIsAnErrorAndPassesAway) {
  const uint64_t capacity = PageCache::kCapacityMin;
  OpenCache({.capacity_bytes = capacity, .fetch_window_bytes = 8192, .read_bytes_max = 4096});
  const uint32_t count = 500;
  FrameTable& table = AddTable(Priority::kCodes, std::vector<uint32_t>(count, 3000));
  ASSERT_OK_AND_ASSIGN(base::MemoryReservation rest,
                       budget_.Reserve("else", budget_.available_bytes() - (200 << 10)));
  std::vector<FetchRequest> requests;
  for (uint32_t unit = 0; unit < count; ++unit) {
    requests.push_back({.table = &table, .unit = unit});
  }
  {
    CacheGuard guard;
    size_t delivered = 0;
    EXPECT_THAT(cache_->Fetch(guard, requests, [&](size_t, const std::byte*) { ++delivered; }),
                StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("page_cache")));
    EXPECT_GT(delivered, 40u);
    EXPECT_LT(delivered, count);
  }
  for (uint32_t unit = 0; unit < count; ++unit) {  // one at a time all of them can be had
    ASSERT_THAT(FetchUnits(0, {unit}), ElementsAre(unit));
  }
}

TEST_F(PageCacheTest, FramesOfADestroyedTableStayForGuardsAndAreFreedAfterwards) {
  OpenCache({.capacity_bytes = 1 << 20});
  AddTable(Priority::kCodes, std::vector<uint32_t>(100, 4000));
  AddTable(Priority::kCodes, std::vector<uint32_t>(100, 4000));
  for (uint32_t unit = 0; unit < 100; ++unit) {
    FetchUnits(unit % 2, {unit});
    FetchUnits(1 - unit % 2, {unit});
  }
  {
    CacheGuard guard;
    const std::byte* data = tables_[0]->Peek(17);
    ASSERT_NE(data, nullptr);
    tables_[0].reset();
    EXPECT_TRUE(HoldsUnit(data, 0, 17, 4000));
  }
  EXPECT_EQ(ResidentUnits(1).size(), 100u);
  EXPECT_EQ(cache_->stats().resident_frames, 100u);
  tables_[1].reset();
  EXPECT_EQ(cache_->stats().resident_bytes, 0u);
}

// Searchers over three priorities in a cache of a tenth of the data: what they see is always right.
TEST_F(PageCacheTest, ManyThreadsAlwaysSeeRightBytes) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(seed);
  const uint64_t capacity = 512 << 10;
  OpenCache({.capacity_bytes = capacity, .read_gap_bytes_max = 512});
  std::mt19937_64 sizes_rng(seed);
  for (const Priority priority : {Priority::kCodes, Priority::kFine, Priority::kRaw}) {
    std::vector<uint32_t> sizes;
    for (int i = 0; i < 500; ++i) {
      sizes.push_back(static_cast<uint32_t>(8 + sizes_rng() % 6000));
    }
    AddTable(priority, sizes);
  }
  std::atomic<uint64_t> wrong{0};
  std::atomic<uint64_t> failed{0};
  std::atomic<uint64_t> peeked{0};
  constexpr int kThreads = 4;
  constexpr size_t kUnitsPerQuery = 12;
  const auto search = [&](uint64_t thread) {
    std::mt19937_64 rng(seed + thread);
    for (int query = 0; query < 600; ++query) {
      CacheGuard guard;
      std::vector<FetchRequest> missing;
      std::vector<std::pair<const std::byte*, FetchRequest>> seen;
      for (size_t i = 0; i < kUnitsPerQuery; ++i) {
        FrameTable* table = tables_[rng() % tables_.size()].get();
        const auto unit =
            static_cast<uint32_t>(rng() % (rng() % 2 == 0 ? 30 : table->unit_count()));
        table->Prefetch(unit);
        if (const std::byte* data = table->Peek(unit)) {
          seen.emplace_back(data, FetchRequest{table, unit});
          peeked.fetch_add(1, std::memory_order_relaxed);
        } else {
          missing.push_back({table, unit});
        }
      }
      const absl::Status status = cache_->Fetch(
          guard, missing,
          [&](size_t i, const std::byte* data) { seen.emplace_back(data, missing[i]); });
      failed += status.ok() ? 0 : 1;
      for (const auto& [data, request] : seen) {
        const auto table = static_cast<uint32_t>(request.table == tables_[0].get()   ? 0
                                                 : request.table == tables_[1].get() ? 1
                                                                                     : 2);
        if (!HoldsUnit(data, table, request.unit, request.table->unit_bytes(request.unit))) {
          ++wrong;
        }
      }
    }
  };
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < kThreads; ++i) {
    threads.emplace_back(search, i + 1);
  }
  // What is charged has no bound here: a searcher that is not scheduled for long pins what the
  // others evict meanwhile.
  for (int i = 0; i < 200; ++i) {
    EXPECT_LE(cache_->stats().resident_bytes, capacity);
    std::this_thread::yield();
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(failed, 0u);
  EXPECT_GT(peeked, 1000u);
  const PageCacheStats stats = cache_->stats();
  EXPECT_GT(stats.evicted_frames, 1000u);
  EXPECT_LE(stats.charged_bytes, capacity);
  EXPECT_EQ(budget_.used_bytes(), capacity);
}

// Tables come and go (new index versions) while others are searched.
TEST_F(PageCacheTest, TablesComeAndGoUnderLoad) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(seed);
  OpenCache({.capacity_bytes = 256 << 10});
  FrameTable& table = AddTable(Priority::kFine, std::vector<uint32_t>(200, 2500));
  std::vector<ByteRange> ranges;
  for (uint32_t unit = 0; unit < table.unit_count(); ++unit) {
    ranges.push_back(table.unit_range(unit));
  }
  std::atomic<uint64_t> wrong{0};
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      std::mt19937_64 rng(seed + i);
      for (int version = 0; version < 40; ++version) {
        std::vector<const std::byte*> seen(ranges.size(), nullptr);
        CacheGuard guard;
        {
          FrameTable own(*cache_, static_cast<Priority>(rng() % kPriorityCount), ranges,
                         [](uint32_t, std::span<const std::byte>) { return absl::OkStatus(); });
          for (int query = 0; query < 20; ++query) {
            const FetchRequest request{&own, static_cast<uint32_t>(rng() % ranges.size())};
            if (!cache_
                     ->Fetch(guard, {&request, 1},
                             [&](size_t, const std::byte* data) { seen[request.unit] = data; })
                     .ok()) {
              ++wrong;
            }
          }
        }
        for (uint32_t unit = 0; unit < seen.size(); ++unit) {
          if (seen[unit] != nullptr && !HoldsUnit(seen[unit], 0, unit, 2500)) {
            ++wrong;
          }
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(cache_->stats().resident_frames, 0u);
}

TEST(Epoch, MemoryPassesWhenTheLastGuardThatCouldSeeItIsGone) {
  EXPECT_EQ(OldestPinnedEpoch(), UINT64_MAX);
  const auto passed = [](uint64_t stamp) { return EpochPassed(stamp, OldestPinnedEpoch()); };
  EXPECT_TRUE(passed(RetireEpoch()));
  auto first = std::make_unique<CacheGuard>();
  const uint64_t stamp = RetireEpoch();
  EXPECT_FALSE(passed(stamp));
  {
    // A thread that begins afterwards does not hold it back, and leaves no trace.
    std::thread([&] {
      CacheGuard other;
      EXPECT_FALSE(passed(stamp));
    }).join();
    CacheGuard nested;
    first.reset();
    EXPECT_FALSE(passed(stamp));  // the nested one keeps the outer one's pin
  }
  EXPECT_TRUE(passed(stamp));
  CacheGuard later;
  EXPECT_TRUE(passed(stamp));
  const uint64_t second = RetireEpoch();
  EXPECT_FALSE(passed(second));
  later.Refresh();
  EXPECT_TRUE(passed(second));
}

}  // namespace
}  // namespace tessera::storage
