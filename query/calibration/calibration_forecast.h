// Forecast: what recall a way to search would reach, from where the true neighbours are.
//
// Of every true neighbour it is found out at which place its list is probed, which width of the
// code bound lets it pass, and at which place the second plane ranks it. It is found by a search
// that is wide enough in all three, nearly: what is left out is that tau falls during a search.
//
// Threads: const member functions concurrently.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "query/calibration/calibration_sample.h"
#include "query/index_view.h"
#include "query/searcher.h"
#include "storage/epoch.h"

namespace tessera::query {

// A mean with what it may be off by.
struct MeanRecall {
  double mean = 0;
  double error = 0;  // standard deviation of the mean

  // Of one recall per query. Pre: not empty.
  static MeanRecall Of(std::span<const double> recalls);
};

class Forecast {
 public:
  // For `k` results of every query, judged among `neighbours` (> k) of theirs;
  // `eps_grid` [at most 255], ascending: the widths told apart.
  // Reads the code planes, and the fine records where there are some, of the neighbours.
  //
  // Errors: as Searcher::Search.
  static absl::StatusOr<Forecast> Make(const SearchView& view, const SearchRequest& request,
                                       std::span<const CalibrationQuery> queries, size_t k,
                                       size_t neighbours, std::span<const float> eps_grid,
                                       uint32_t thread_count);

  // With eps_grid[eps] as width. Cost: about 1 ns per neighbour.
  MeanRecall Recall(uint32_t nprobe, size_t eps, uint32_t rerank) const;

 private:
  struct Entry {
    uint32_t list_place = 0;  // of its list in the query's probe order
    uint32_t fine_place = 0;  // among the neighbours, by the second plane's estimate
    uint8_t eps = 0;          // least index into the grid; its size if none is enough
  };
  struct Scratch;

  struct Task;

  static absl::Status Examine(const Task& task, const CalibrationQuery& query, Scratch* scratch,
                              std::vector<Entry>* entries);
  static void FindTaus(const Task& task, std::span<const Neighbour> ranked, Scratch* scratch);
  static absl::Status FindWidths(const Task& task, std::span<const Neighbour> nearest,
                                 storage::CacheGuard& guard, Scratch* scratch,
                                 std::vector<Entry>* entries);
  static absl::Status FindFinePlaces(const Task& task, std::span<const Neighbour> ranked,
                                     storage::CacheGuard& guard, Scratch* scratch,
                                     std::vector<Entry>* entries);

  std::vector<std::vector<Entry>> entries_;  // per query with neighbours
};

}  // namespace tessera::query
