// The search executor: heads -> lists -> code bound -> finer estimates -> exact distances on raw
// rows, and the fresh rows beside them.
//
//   heads     the nearest nprobe lists, more if they hold fewer eligible rows than `limit`; lists
//             without matches of the filter are passed over and do not count. With a theta they
//             are probed in steps until the stopping rule holds (planning/stopping_rule.h)
//   codes     their 1-bit planes are scanned; a row stays if its bound can beat tau, the
//             limit-th best estimate so far. A first look at the nearest lists sets an early tau
//             Where few rows of a block pass the filter, these go on at once, codes unseen
//   fine      what stays is estimated by the second plane, which lowers tau; the best `rerank`
//   stay.
//             One-byte elements have no fine plane: their raw rows are the second plane
//   raw       those are compared exactly, best first
//
// Planes that are not in memory are read in batches and used as they arrive. Where the fine plane
// is not in memory and not worth reading, rows go from codes to raw, in rounds, best estimates
// first.
//
// Results: `limit` hits if that many rows are eligible; nearest first, ties to the smaller id. Of
// more equally far rows than there is room for, those are returned that the search came by: another
// limit may return others. An exact search compares all and returns those of the smallest ids.
// Threads: a Searcher is one thread's scratch, reused from search to search; after the first few it
//          allocates nothing. A search pins a cache epoch and writes nothing shared.
// Source:  the loop is described in ARCHITECTURE.md; bounds in index/codecs/codec.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"

#include "base/deadline.h"
#include "query/calibration/calibration.h"
#include "query/planning/filter_plan.h"
#include "query/hit.h"
#include "query/index_view.h"
#include "query/row_filter.h"

namespace tessera::query {

struct SearchRequest {
  uint32_t limit = 10;     // 1 .. base::kLimitMax
  ProbeSettings settings;  // from the index's calibration; ignored when exact. Its theta is read
                           // under a filter only; nprobe is then where judging begins
  bool exact = false;      // compare every live row
  // Only hits at most this far (squared L2, -inner product, -cosine).
  std::optional<float> dissimilarity_max;
  const RowFilter* filter =
      nullptr;        // only rows that pass; worked out for the view that is searched
  PlanPrices prices;  // why it was planned so; not read by the search
  base::Deadline deadline = base::Deadline::Never();
  const std::atomic<bool>* cancelled = nullptr;
};

struct SearchStats {
  uint64_t lists_probed = 0;   // under a filter, lists with matches alone
  uint64_t lists_eligible = 0;  // lists that may have eligible rows
  uint64_t blocks = 0;          // of 64 rows, in the probed lists
  uint64_t blocks_masked = 0;   // of these, without an eligible row
  bool codes_skipped = false;   // few rows passed the filter: codes were not looked at
  uint64_t codes_scanned = 0;  // rows of the scanned parts
  uint64_t survivors = 0;      // rows that passed the code bound
  uint64_t reranked = 0;       // rows compared on raw vectors, fresh ones included
  uint64_t bytes_read = 0;     // from disk
};

class Searcher {
 public:
  Searcher();
  ~Searcher();
  Searcher(const Searcher&) = delete;
  Searcher& operator=(const Searcher&) = delete;

  // Replaces `*hits` by what is found.
  //
  // Shapes: query [dim], finite; as the user sent it.
  // Errors: kInvalidArgument (dimension, NaN or infinity, limit, settings); kDeadlineExceeded;
  //         kCancelled; kDataLoss for damaged planes; kResourceExhausted.
  absl::Status Search(const SearchView& view, std::span<const float> query,
                      const SearchRequest& request, std::vector<Hit>* hits, SearchStats* stats);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tessera::query
