// What a collection must hold while clients write to it, search it and judge its answers.
//
// Every id has a history of writes: a generation (0: deleted), when the write was sent and when it
// was acknowledged, in ticks of the model's own clock. An answer that was asked for at one tick and
// came at another may show of an id any write that was the last one at a moment between the two.
// The vector of an id and generation is computed, not kept.
//
// Threads: any; an id is written by one thread at a time.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <mutex>
#include <span>
#include <vector>

namespace tessera::bench {

class SoakModel {
 public:
  SoakModel(uint64_t rows, uint32_t dim, uint64_t seed);

  uint64_t rows() const { return rows_; }
  uint32_t dim() const { return dim_; }
  uint64_t Tick() { return clock_.fetch_add(1); }

  // The vector of a generation (>= 1). Shapes: out [dim].
  void Vector(uint64_t id, uint32_t generation, std::span<float> out) const;

  // A write of `id` is about to be sent: an upsert, whose generation is returned, or a delete (0).
  uint32_t Send(uint64_t id, bool upsert);
  // The last write of `id` has been acknowledged.
  void Acknowledge(uint64_t id);

  // The generation after the last write sent; 0 when the id is absent.
  uint32_t Current(uint64_t id) const;

  // Whether an answer between the ticks may show `id` at squared distance `distance` of the query.
  bool MayShow(uint64_t id, std::span<const float> query, float distance, uint64_t asked,
               uint64_t answered) const;

  // The rest: while nobody writes.

  uint64_t live_count() const;
  struct Neighbour {
    uint64_t id = 0;
    float distance = 0;  // squared
  };
  // The k nearest of every query, nearest first. Shapes: queries [count x dim].
  // Cost: reads every row once.
  std::vector<std::vector<Neighbour>> Nearest(std::span<const float> queries, uint32_t k) const;

 private:
  static constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();
  static constexpr size_t kShards = 64;
  static constexpr size_t kKept = 4;  // writes; one that had more during a search is not judged

  struct Write {
    uint32_t generation = 0;
    uint64_t sent = 0;
    uint64_t acknowledged = 0;
  };
  struct History {
    uint32_t generations = 0;
    std::array<Write, kKept> writes;  // the last is the newest
  };

  std::mutex& shard(uint64_t id) const { return shards_[id % kShards]; }

  const uint64_t rows_;
  const uint32_t dim_;
  const uint64_t seed_;
  std::vector<float> centers_;
  std::atomic<uint64_t> clock_{1};
  mutable std::array<std::mutex, kShards> shards_;
  std::vector<History> histories_;  // each guarded by its shard
};

// Squared Euclidean distance.
float SoakDistance(std::span<const float> a, std::span<const float> b);

}  // namespace tessera::bench
