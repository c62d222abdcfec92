// Searches whose planes are on disk.
#include "query/list_scanner.h"

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

#include "tests/query/index_fixture.h"
#include "tests/query/searcher_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::query {
namespace {

using testing::HasSubstr;

// Planes that are not in memory, for codecs with and without a fine plane.
class SearcherOnDisk : public SearcherTest,
                       public testing::WithParamInterface<std::tuple<ElementType, bool>> {
 protected:
  SearcherOnDisk() : SearcherTest(std::get<0>(GetParam()), std::get<1>(GetParam())) {}

  // Of a search that finds nothing in memory; at least 1.
  uint64_t CountReads(std::span<const float> query, const SearchRequest& request) {
    uint64_t reads = 0;
    index_.ResetCache(kTinyCache, [&](const storage::ReadRequest&, uint64_t ordinal) {
      reads = ordinal + 1;
      return storage::ReadFault{};
    });
    EXPECT_OK(SearchStatus(query, request));
    EXPECT_GT(reads, 0U);
    return reads;
  }
};

TEST_P(SearcherOnDisk, AnswersAreThoseOfBruteForceWithACacheOfAnySize) {
  for (const uint64_t bytes : {kTinyCache, kTinyCache * 3, kTinyCache * 8}) {
    index_.ResetCache(bytes);
    for (size_t i = 0; i < kQueries; ++i) {
      const std::vector<float> query = data_.DrawQuery();
      for (const uint32_t limit : {1U, 10U, 400U}) {
        ExpectSameHits(SearchOk(searcher_, index_.View(), query, Everything(limit)),
                       index_.Nearest(query, limit));
      }
      EXPECT_EQ(SearchOk(searcher_, index_.View(), query, Probing(2, 10)).size(), 10U);
    }
  }
}

TEST_P(SearcherOnDisk, EveryDamagedUnitIsDataLoss) {
  const std::vector<float> query = data_.DrawQuery();
  for (const SearchRequest& request : {Everything(10), Exact(10)}) {
    const uint64_t reads = CountReads(query, request);
    for (uint64_t damaged = 0; damaged < reads; damaged += 1 + reads / 20) {
      index_.ResetCache(kTinyCache, [&](const storage::ReadRequest&, uint64_t ordinal) {
        storage::ReadFault fault;
        if (ordinal == damaged) {
          fault.flipped_bit = data_.rng()() % 512;  // every read begins with a unit
        }
        return fault;
      });
      EXPECT_THAT(SearchStatus(query, request), StatusIs(absl::StatusCode::kDataLoss)) << damaged;
      // What was damaged on its way only is read again.
      EXPECT_OK(SearchStatus(query, request));
    }
  }
}

TEST_P(SearcherOnDisk, FailedAndShortReadsAreAnswered) {
  const std::vector<float> query = data_.DrawQuery();
  for (const SearchRequest& request : {Everything(10), Exact(10)}) {
    const uint64_t reads = CountReads(query, request);
    for (const uint64_t failing : {uint64_t{0}, reads / 2, reads - 1}) {
      index_.ResetCache(kTinyCache, [&](const storage::ReadRequest&, uint64_t ordinal) {
        storage::ReadFault fault;
        if (ordinal == failing) fault.short_bytes = 100;
        return fault;
      });
      EXPECT_THAT(SearchStatus(query, request), StatusIs(absl::StatusCode::kDataLoss)) << failing;
      index_.ResetCache(kTinyCache, [&](const storage::ReadRequest&, uint64_t ordinal) {
        storage::ReadFault fault;
        if (ordinal == failing) fault.error = absl::ResourceExhaustedError("no more handles");
        return fault;
      });
      EXPECT_THAT(SearchStatus(query, request), StatusIs(absl::StatusCode::kResourceExhausted));
    }
  }
}

TEST_P(SearcherOnDisk, ReadsCompleteInAnyOrder) {
  for (size_t i = 0; i < kQueries; ++i) {
    index_.ResetCache(kTinyCache, [&](const storage::ReadRequest&, uint64_t) {
      storage::ReadFault fault;
      fault.last = data_.rng()() % 2 == 0;
      return fault;
    });
    const std::vector<float> query = data_.DrawQuery();
    ExpectSameHits(SearchOk(searcher_, index_.View(), query, Everything(20)),
                   index_.Nearest(query, 20));
  }
}

TEST_P(SearcherOnDisk, ConcurrentSearchesAgreeWithBruteForce) {
  std::vector<std::vector<float>> queries;
  std::vector<std::vector<Hit>> truths;
  for (size_t i = 0; i < kQueries; ++i) {
    queries.push_back(data_.DrawQuery());
    truths.push_back(index_.Nearest(queries[i], 10));
  }
  index_.ResetCache(kTinyCache * 4);
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      Searcher searcher;
      const SearchView view = index_.View();
      for (size_t i = 0; i < 2 * kQueries; ++i) {
        const size_t query = (i + thread * 3) % kQueries;
        const SearchRequest request = i % 5 == 4 ? Exact(10) : Everything(10);
        ExpectSameHits(SearchOk(searcher, view, queries[query], request), truths[query]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

INSTANTIATE_TEST_SUITE_P(All, SearcherOnDisk,
                         testing::Values(std::make_tuple(ElementType::kF32, true),
                                         std::make_tuple(ElementType::kF32, false),
                                         std::make_tuple(ElementType::kU8, true)),
                         [](const auto& test) {
                           return absl::StrCat(std::string(base::ToString(std::get<0>(test.param))),
                                               std::get<1>(test.param) ? "" : "_fine_not_fetched");
                         });

}  // namespace
}  // namespace tessera::query
