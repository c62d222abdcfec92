// Hierarchical balanced k-means: rows -> heads of lists of a wanted size.
//
// Rows are split top-down into at most 64 parts at a time until a part is one list, all heads are
// then refined together by a few rounds of assignment and averaging; lists far below the wanted
// size are dissolved and lists above the maximum are split, so the maximum holds on return.
//
// Everything here is squared L2 on f32 rows: rows of a cosine field are normalised before, rows of
// an inner-product field are clustered as they are.
//
// The result depends on the rows and the seed only, not on the thread count.
// Threads: free functions without shared state.
// Source:  SPTAG/SPANN's hierarchical balanced clustering (BKTree.h); few refinements, because the
//          quality of the clustering hardly changes what a search has to scan.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tessera::index {

inline constexpr uint32_t kListRowsDefault = 256;

struct ClusterOptions {
  // Wanted rows per list.
  uint32_t list_rows = kListRowsDefault;
  // Rows that the lists will hold in the end when `rows` is a uniform sample of them; 0: `rows` is
  // all there is. Fixes the number of heads.
  uint64_t total_rows = 0;
  // No list is returned with more than this many times its share of rows (>= 1.5).
  float list_rows_max_ratio = 2.5F;
  // Rounds of assignment and averaging over all heads after the hierarchical split.
  uint32_t refinements = 2;
  uint64_t seed = 1;
  uint32_t thread_count = 0;  // 0: one per core
  // Looked at between splits and rounds. Once set, and it is not reset, no lists are returned.
  const std::atomic<bool>* cancelled = nullptr;
};

struct Clustering {
  size_t dim = 0;
  std::vector<float> heads;          // [list_count x dim]
  std::vector<uint32_t> assignment;  // [rows] list of each row
  std::vector<uint32_t> list_sizes;  // [list_count] rows of each list; all > 0
  size_t list_count() const { return list_sizes.size(); }
};

// Lists for `rows` rows: at least 1, rounded to the nearest.
uint64_t ListCountFor(uint64_t rows, uint32_t list_rows);

// Returns nothing but `dim` when it was cancelled.
//
// Shapes: rows [n x dim], finite; n >= 1, dim >= 1. Identical rows may go to different lists when
//         there are more of them than a list may hold.
// Memory: about 16 bytes a row, the heads three times, and a few megabytes a thread; `rows` is not
//         copied.
// Cost:   339k x 100 into 1,300 lists takes about 3 s on two cores.
Clustering BuildClustering(std::span<const float> rows, size_t dim, const ClusterOptions& options);

}  // namespace tessera::index
