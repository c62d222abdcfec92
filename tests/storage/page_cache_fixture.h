// A page cache over extents in memory, whose units have contents that can be computed.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/coding/crc32c.h"
#include "storage/page_cache.h"
#include "tests/support/fault_fs.h"
#include "tests/support/status_matchers.h"

namespace tessera::storage {

// What the 8 bytes at `word` of a unit are to be.
inline uint64_t WordOf(uint32_t table, uint32_t unit, size_t word) {
  return (uint64_t{table} << 56) + (uint64_t{unit} << 24) + word * 0x9e37;
}

inline std::vector<std::byte> UnitContent(uint32_t table, uint32_t unit, uint32_t bytes) {
  std::vector<std::byte> content(bytes);
  for (size_t at = 0; at < bytes; at += 8) {
    const uint64_t word = WordOf(table, unit, at / 8);
    std::memcpy(content.data() + at, &word, std::min<size_t>(8, bytes - at));
  }
  return content;
}

inline bool HoldsUnit(const std::byte* data, uint32_t table, uint32_t unit, uint32_t bytes) {
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

}  // namespace tessera::storage
