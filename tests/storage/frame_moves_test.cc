// Frames that go over from one table to another.
#include <atomic>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "storage/page_cache.h"
#include "tests/support/fault_fs.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::storage {
namespace {

// Two tables of the same units, numbered differently, as those of an old and a new version may be.
class AdoptTest : public testing::Test {
 protected:
  static constexpr uint32_t kUnits = 300;
  static constexpr uint32_t kUnitBytes = 2500;

  void MakeTables(uint64_t capacity_bytes) {
    ASSERT_OK_AND_ASSIGN(store_, ExtentStore::Open(fs_, "/x", 1));
    ASSERT_OK_AND_ASSIGN(
        cache_, PageCache::Create(*store_, pool_, budget_, {.capacity_bytes = capacity_bytes}));
    const std::unique_ptr<ExtentWriter> writer = store_->NewWriter();
    for (uint32_t unit = 0; unit < kUnits; ++unit) {
      ASSERT_OK_AND_ASSIGN(const ExtentRef ref, writer->Append(Content(unit), kPlaneAlignment));
      units_.push_back({.file = ref.file, .offset = ref.offset, .bytes = ref.bytes});
    }
    ASSERT_OK(writer->Finish());
    writer->Keep();
    old_ = MakeTable(units_);
    next_ = MakeTable({units_.rbegin(), units_.rend()});
  }

  std::unique_ptr<FrameTable> MakeTable(const std::vector<ByteRange>& units) {
    return std::make_unique<FrameTable>(
        *cache_, Priority::kFine, units,
        [](uint32_t, std::span<const std::byte>) { return absl::OkStatus(); });
  }

  static std::vector<std::byte> Content(uint32_t unit) {
    std::vector<std::byte> content(kUnitBytes);
    for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<std::byte>(unit * 31 + i);
    return content;
  }
  static bool HoldsUnit(const std::byte* data, uint32_t unit) {
    return std::memcmp(data, Content(unit).data(), kUnitBytes) == 0;
  }

  void AdoptAll() {
    for (uint32_t unit = 0; unit < kUnits; ++unit) {
      cache_->Adopt({.from = old_.get(),
                     .from_unit = unit,
                     .to = next_.get(),
                     .to_unit = kUnits - 1 - unit,
                     .count = 1});
    }
  }

  void FetchAll(FrameTable* table, FetchStats* stats) {
    CacheGuard guard;
    std::vector<FetchRequest> requests;
    for (uint32_t unit = 0; unit < kUnits; ++unit) requests.push_back({table, unit});
    ASSERT_OK(cache_->Fetch(guard, requests, [](size_t, const std::byte*) {}, stats));
  }

  FaultFs fs_;
  base::MemoryBudget budget_{uint64_t{1} << 30};
  PreadPool pool_{2};
  std::unique_ptr<ExtentStore> store_;
  std::unique_ptr<PageCache> cache_;
  std::vector<ByteRange> units_;
  std::unique_ptr<FrameTable> old_;
  std::unique_ptr<FrameTable> next_;  // the units of old_ in reverse order
};

TEST_F(AdoptTest, AdoptedFramesAreFoundInTheNewTableAndNotReadAgain) {
  MakeTables(8 << 20);
  FetchAll(old_.get(), nullptr);
  const uint64_t frames = cache_->stats().resident_frames;
  CacheGuard guard;
  const std::byte* before = old_->Peek(7);
  AdoptAll();
  EXPECT_EQ(old_->Peek(7), nullptr);
  EXPECT_EQ(next_->Peek(kUnits - 1 - 7), before);
  EXPECT_TRUE(HoldsUnit(before, 7));
  EXPECT_EQ(cache_->stats().resident_frames, frames);
  FetchStats stats;
  FetchAll(next_.get(), &stats);
  EXPECT_EQ(stats.reads, 0u);
  // The old table's readers read again; then each table forgets its own frames.
  FetchAll(old_.get(), &stats);
  EXPECT_GT(stats.reads, 0u);
  EXPECT_EQ(cache_->stats().resident_frames, 2 * frames);
  AdoptAll();  // what the new table has stays its own
  EXPECT_EQ(cache_->stats().resident_frames, frames);
  old_.reset();
  EXPECT_EQ(cache_->stats().resident_frames, frames);
  next_.reset();
  EXPECT_EQ(cache_->stats().resident_frames, 0u);
}

TEST_F(AdoptTest, AdoptedFramesAreEvictedFromTheNewTable) {
  MakeTables(256 << 10);
  FetchAll(old_.get(), nullptr);
  AdoptAll();
  old_.reset();
  const std::unique_ptr<FrameTable> other = MakeTable(units_);
  for (int round = 0; round < 2; ++round) FetchAll(other.get(), nullptr);
  CacheGuard guard;
  uint32_t left = 0;
  for (uint32_t unit = 0; unit < kUnits; ++unit) left += next_->Peek(unit) != nullptr ? 1 : 0;
  EXPECT_LT(left, kUnits / 4);
  EXPECT_LE(cache_->stats().charged_bytes, uint64_t{256} << 10);
}

// Readers of the old and of the new table, evictions, and frames that move from one to the other.
TEST_F(AdoptTest, FramesMoveUnderLoad) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(seed);
  MakeTables(384 << 10);
  std::atomic<uint64_t> wrong{0};
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> rounds{0};
  std::vector<std::thread> readers;
  for (uint64_t i = 0; i < 3; ++i) {
    readers.emplace_back([&, i] {
      std::mt19937_64 rng(seed + i);
      while (!stop.load()) {
        CacheGuard guard;
        std::vector<std::pair<uint32_t, const std::byte*>> seen;
        for (int query = 0; query < 20; ++query) {
          const auto unit = static_cast<uint32_t>(rng() % kUnits);
          FrameTable* table = rng() % 2 == 0 ? old_.get() : next_.get();
          const uint32_t number = table == next_.get() ? kUnits - 1 - unit : unit;
          if (const std::byte* data = table->Peek(number)) {
            seen.emplace_back(unit, data);
            continue;
          }
          const FetchRequest request{table, number};
          const auto use = [&](size_t, const std::byte* data) { seen.emplace_back(unit, data); };
          if (!cache_->Fetch(guard, {&request, 1}, use).ok()) ++wrong;
        }
        for (const auto& [unit, data] : seen) {
          if (!HoldsUnit(data, unit)) ++wrong;
        }
        ++rounds;
      }
    });
  }
  while (rounds.load() < 1000) AdoptAll();
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0u);
  old_.reset();
  next_.reset();
  EXPECT_EQ(cache_->stats().resident_frames, 0u);
}

}  // namespace
}  // namespace tessera::storage
