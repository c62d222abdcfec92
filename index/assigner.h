// Assigns rows to their nearest head, in batches, by matrix products over two levels.
//
// Heads are grouped around super-centres. A row is compared exactly with the heads of its nearest
// few groups; how many groups that takes is found at construction, on sample rows, so that the
// wanted share of rows gets its true nearest head. When most groups would be needed, or heads are
// few, all heads are compared.
//
// Threads: Assign is const and may be called concurrently; it uses up to thread_count threads
//          itself. Results do not depend on the thread count.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tessera::index {

struct AssignerOptions {
  // Share of sample rows that must get their true nearest head, 0 .. 1. 1 compares all heads.
  double agreement = 0.997;
  uint64_t seed = 1;
  uint32_t thread_count = 0;  // 0: one per core
};

class Assigner {
 public:
  // Shapes: heads [n x dim], n >= 1; sample [sample_rows x dim]: rows like those to be assigned (up
  // to 2048, spread evenly, are used; none means that all heads are compared). Copies the heads.
  Assigner(std::span<const float> heads, size_t dim, std::span<const float> sample,
           const AssignerOptions& options);

  // Writes the nearest head of each row to lists [n]; distances2 [n] (|x - head|^2) may be null.
  // Cost: about 2 * dim * (heads compared) arithmetic operations a row.
  void Assign(const float* rows, size_t n, uint32_t* lists, float* distances2) const;

  size_t head_count() const { return heads_.size() / dim_; }
  // Groups compared for each row and groups in all; equal when all heads are compared.
  size_t probed_groups() const { return probes_; }
  size_t group_count() const { return group_begin_.size() - 1; }
  size_t memory_bytes() const;

 private:
  struct Batch;
  void AssignBatch(const float* rows, size_t n, size_t probes, Batch* batch) const;
  void CompareGroup(size_t group, std::span<const uint32_t> batch_rows, Batch* batch) const;
  void BuildGroups(const AssignerOptions& options);
  size_t ProbesFor(std::span<const float> sample, const AssignerOptions& options) const;
  void RankGroups(size_t row, size_t probes, Batch* batch) const;

  size_t dim_;
  uint32_t thread_count_;
  size_t probes_ = 1;
  std::vector<float> origin_;      // [dim] mean of the heads
  std::vector<float> heads_;       // [n x dim] in group order, relative to the origin
  std::vector<float> bias_;        // [n] half squared norms of heads_
  std::vector<uint32_t> list_of_;  // [n] list number of each of heads_
  std::vector<uint32_t> group_begin_;
  std::vector<float> super_;       // [groups x dim]
  std::vector<float> super_bias_;  // [groups]
};

}  // namespace tessera::index
