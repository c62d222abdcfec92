// A page cache that is smaller than what is wanted of it: what stays, what guards pin, and what
// happens when the budget has no room for that.
#include <atomic>
#include <chrono>
#include <map>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "storage/page_cache.h"
#include "tests/storage/page_cache_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

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

// Of a budget that is full, with as many guards as there are threads: what is set aside is enough.
TEST_F(PageCacheTest, AFullBudgetFailsNoFetch) {
  const uint64_t capacity = PageCache::kCapacityMin;
  OpenCache(
      {.capacity_bytes = capacity, .pin_reserve_bytes = 64 << 10, .read_reserve_bytes = 256 << 10});
  FrameTable& table = AddTable(Priority::kCodes, std::vector<uint32_t>(300, 3000));
  ASSERT_OK_AND_ASSIGN(base::MemoryReservation rest,
                       budget_.Reserve("else", budget_.available_bytes()));
  std::atomic<uint64_t> failed{0};
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (uint32_t portion = 0; portion < 200; ++portion) {
        CacheGuard guard;
        std::vector<FetchRequest> requests;
        for (uint32_t unit = 0; unit < 4; ++unit) {
          requests.push_back({.table = &table, .unit = (portion * 29 + unit * 7 + i * 71) % 300});
        }
        failed += cache_->Fetch(guard, requests, [](size_t, const std::byte*) {}).ok() ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 0u);
  EXPECT_EQ(budget_.used_bytes(), kBudget);
}

TEST_F(PageCacheTest, WhoBeganLaterWaitsForWhatAnOlderGuardPins) {
  const uint64_t capacity = PageCache::kCapacityMin;
  OpenCache({.capacity_bytes = capacity, .read_reserve_bytes = 256 << 10});
  AddTable(Priority::kCodes, std::vector<uint32_t>(300, 3000));
  ASSERT_OK_AND_ASSIGN(base::MemoryReservation rest,
                       budget_.Reserve("else", budget_.available_bytes()));
  std::atomic<bool> pinned{false};
  std::thread older([&] {
    const CacheGuard guard;
    pinned = true;
    // Until there is nothing left but what this guard pins, and for a while longer.
    while (cache_->stats().charged_bytes < capacity) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  });
  while (!pinned) std::this_thread::yield();
  for (uint32_t unit = 0; unit < 300; ++unit) {
    ASSERT_THAT(FetchUnits(0, {unit}), ElementsAre(unit));
  }
  older.join();
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

}  // namespace
}  // namespace tessera::storage
