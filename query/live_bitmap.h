// Which slots of an index version hold live rows: a persistent bitmap. Clearing bits makes a new
// value that shares all untouched chunks with the old one, so every read view keeps its own at the
// price of one pointer.
//
// Two levels: a root of pointers to chunks of 4096 bits. A chunk without cleared bits is not
// allocated. Positions are 64 * first_block + slot, see ListPart.
//
// Threads: a value; concurrent reads allowed, also of values that share chunks.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace tessera::query {

class LiveBitmap {
 public:
  static constexpr uint64_t kChunkBits = 4096;
  static constexpr uint64_t kChunkWords = kChunkBits / 64;

  LiveBitmap() = default;
  // All of `bits` positions are live.
  explicit LiveBitmap(uint64_t bits);

  // A bitmap in which `positions` are dead too. Positions may repeat or be dead already.
  // Pre:  every position < bits().
  // Cost: O(bits / 4096) pointer copies and one chunk copy per chunk touched.
  LiveBitmap WithCleared(std::span<const uint64_t> positions) const;

  // Liveness of positions 64 * block .. 64 * block + 63; those at or beyond bits() read as live.
  uint64_t Block(uint64_t block) const {
    if (root_ == nullptr) return ~uint64_t{0};
    const uint64_t chunk = block / kChunkWords;
    if (chunk >= root_->size()) return ~uint64_t{0};
    const Chunk* words = (*root_)[chunk].get();
    return words == nullptr ? ~uint64_t{0} : (*words)[block % kChunkWords];
  }
  bool IsLive(uint64_t position) const {
    return (Block(position / 64) >> (position % 64) & 1) != 0;
  }

  // Copies the words of `count` blocks to `out` and says whether any of them has a dead row; when
  // none has, a scan needs no mask.
  bool LoadBlocks(uint64_t first_block, uint32_t count, uint64_t* out) const;

  // Live positions among the `rows` that begin at 64 * first_block. Cost: O(rows / 64).
  uint32_t CountLive(uint64_t first_block, uint32_t rows) const;

  uint64_t bits() const { return bits_; }
  uint64_t dead_count() const { return dead_count_; }
  // Heap bytes, shared chunks counted in full.
  uint64_t memory_bytes() const;

 private:
  using Chunk = std::array<uint64_t, kChunkWords>;
  using Root = std::vector<std::shared_ptr<const Chunk>>;

  std::shared_ptr<const Root> root_;  // null while nothing is dead
  uint64_t bits_ = 0;
  uint64_t dead_count_ = 0;
};

}  // namespace tessera::query
