// Searches of an index in memory or on disk, and what they must answer.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "query/searcher.h"
#include "tests/query/index_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::query {

using base::ElementType;
using base::Metric;

inline constexpr uint64_t kTinyCache = storage::PageCache::kCapacityMin;
inline constexpr size_t kQueries = 12;

// Settings that can miss nothing.
inline SearchRequest Everything(uint32_t limit) {
  SearchRequest request;
  request.limit = limit;
  request.settings = {.recall = 1, .nprobe = 1U << 20, .eps = 8, .rerank = 1U << 16};
  return request;
}

inline SearchRequest Exact(uint32_t limit) {
  SearchRequest request;
  request.limit = limit;
  request.exact = true;
  return request;
}

inline SearchRequest Probing(uint32_t nprobe, uint32_t limit) {
  SearchRequest request;
  request.limit = limit;
  request.settings = {.recall = 0, .nprobe = nprobe, .eps = 1.4F, .rerank = 2 * limit};
  return request;
}

inline std::vector<Hit> SearchOk(Searcher& searcher, const SearchView& view,
                                 std::span<const float> query, const SearchRequest& request) {
  std::vector<Hit> hits;
  SearchStats stats;
  EXPECT_OK(searcher.Search(view, query, request, &hits, &stats));
  return hits;
}

inline void ExpectSameHits(const std::vector<Hit>& hits, const std::vector<Hit>& truth) {
  ASSERT_EQ(hits.size(), truth.size());
  for (size_t i = 0; i < hits.size(); ++i) {
    EXPECT_EQ(hits[i].row, truth[i].row) << i;
    EXPECT_EQ(hits[i].id, truth[i].id) << i;
    EXPECT_EQ(hits[i].version, truth[i].version) << i;
    EXPECT_EQ(hits[i].dissimilarity, truth[i].dissimilarity) << i;
  }
}

inline base::VectorFieldSchema Field(Metric metric, ElementType type, uint32_t dim = 40) {
  return {.name = "", .dim = dim, .metric = metric, .type = type};
}

class SearcherTest : public testing::Test {
 protected:
  // f32 rows have a fine plane, u8 rows have none.
  explicit SearcherTest(ElementType type = ElementType::kF32, bool fetch_fine = true)
      : field_(Field(Metric::kL2, type)),
        data_(TestSeed(), field_),
        index_({.field = field_, .fetch_fine = fetch_fine}, data_.DrawRows(2000)) {}

  absl::Status SearchStatus(std::span<const float> query, const SearchRequest& request) {
    std::vector<Hit> hits;
    SearchStats stats;
    return searcher_.Search(index_.View(), query, request, &hits, &stats);
  }

  base::VectorFieldSchema field_;
  ClusteredData data_;
  TestIndex index_;
  Searcher searcher_;
};

}  // namespace tessera::query
