// What must hold of every index version, however it was built.
#pragma once

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
#include "version/build/index_builder.h"
#include "version/build/live_records.h"

namespace tessera::version {

inline constexpr uint64_t kAmpleMemory = 64 << 20;

inline std::shared_ptr<const IndexVersion> MustOpen(Context& context,
                                                    const base::VectorFieldSchema& field,
                                                    const BuiltIndex& built) {
  auto version = OpenIndexVersion(context, field, built.record);
  EXPECT_OK(version);
  return version.ok() ? *version : nullptr;
}

// Every live row of `rows` is in exactly one part, unchanged, where its location says.
inline void ExpectHolds(Context& context, const IndexVersion& version,
                        const query::LiveBitmap& live, const RowSet& rows,
                        const std::vector<bool>* dead = nullptr) {
  std::map<uint64_t, size_t> index_of;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (dead == nullptr || !(*dead)[i]) index_of[rows.row(i).value] = i;
  }
  std::map<uint64_t, uint64_t> found;  // row -> position
  std::vector<uint32_t> parts(version.view->parts.size());
  for (uint32_t part = 0; part < parts.size(); ++part) parts[part] = part;
  ASSERT_OK(ReadLiveRecordsOf(
      context, version, live, parts,
      [&](uint32_t part, uint32_t slot, std::span<const std::byte> record) {
        const uint64_t row = index::RawRowId(record.data()).value;
        const uint64_t first = uint64_t{version.view->parts[part].first_block} * 64;
        EXPECT_TRUE(found.emplace(row, first + slot).second) << "twice: row " << row;
        const auto at = index_of.find(row);
        EXPECT_NE(at, index_of.end()) << "not a live row: " << row;
        if (at != index_of.end()) {
          const std::vector<std::byte> expected = rows.Record(at->second);
          EXPECT_TRUE(std::equal(record.begin(), record.end(), expected.begin(), expected.end()));
        }
        return absl::OkStatus();
      }));
  EXPECT_EQ(found.size(), index_of.size());

  std::vector<base::RowId> wanted;
  for (const auto& [row, index] : index_of) wanted.push_back({row});
  ASSERT_OK_AND_ASSIGN(const auto positions, version.Locate(wanted));
  for (size_t i = 0; i < wanted.size(); ++i) {
    ASSERT_TRUE(positions[i].has_value()) << wanted[i].value;
    ASSERT_EQ(*positions[i], found[wanted[i].value]) << wanted[i].value;
    ASSERT_OK_AND_ASSIGN(const PartPlace place, version.PlaceOf(*positions[i]));
    EXPECT_EQ(uint64_t{version.view->parts[place.part].first_block} * 64 + place.slot,
              *positions[i]);
  }
}

// Reads every unit of every plane, so that all of them pass their checks.
inline void ExpectReadable(const IndexVersion& version) {
  const query::IndexView& view = *version.view;
  std::vector<storage::FrameTable*> tables;
  for (const auto& set : view.plane_sets) {
    tables.push_back(&*set->codes);
    tables.push_back(set->fine.has_value() ? &*set->fine : nullptr);
    tables.push_back(&*set->raw);
  }
  for (storage::FrameTable* table : tables) {
    if (table == nullptr) continue;
    for (uint32_t unit = 0; unit < table->unit_count(); ++unit) {
      storage::CacheGuard guard;
      const storage::FetchRequest request{.table = table, .unit = unit};
      ASSERT_OK(view.cache->Fetch(guard, {&request, 1}, [](size_t, const std::byte*) {}));
    }
  }
}

inline double Recall(const IndexVersion& version, const query::LiveBitmap& live, const RowSet& rows,
                     const RowSet& queries, double target,
                     const std::vector<bool>* dead = nullptr) {
  constexpr uint32_t kTop = 10;
  query::Searcher searcher;
  const query::SearchView view{
      .field = rows.field(), .index = version.view, .live = live, .fresh = {}};
  query::SearchRequest request;
  request.limit = kTop;
  request.settings = version.view->calibration.ForTarget(target, kTop);
  size_t hits_right = 0;
  size_t wanted = 0;
  for (size_t i = 0; i < queries.size(); ++i) {
    std::vector<query::Hit> hits;
    query::SearchStats stats;
    EXPECT_OK(searcher.Search(view, queries.Floats(i), request, &hits, &stats));
    const std::vector<base::RowId> truth = BruteForce(rows, queries.Floats(i), kTop, dead);
    wanted += truth.size();
    for (const query::Hit& hit : hits) {
      hits_right += static_cast<size_t>(std::count(truth.begin(), truth.end(), hit.row));
    }
  }
  return static_cast<double>(hits_right) / static_cast<double>(wanted);
}

inline base::VectorFieldSchema SmallField() {
  return {.name = {}, .dim = 12, .metric = base::Metric::kL2, .type = base::ElementType::kF32};
}

inline size_t ExtentFileCount(FaultFs& fs) {
  const auto names = fs.List("/data/extents");
  EXPECT_OK(names);
  return names.ok() ? names->size() : 0;
}

}  // namespace tessera::version
