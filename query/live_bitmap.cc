#include "query/live_bitmap.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace tessera::query {

LiveBitmap::LiveBitmap(uint64_t bits) : bits_(bits) {}

LiveBitmap LiveBitmap::WithCleared(std::span<const uint64_t> positions) const {
  if (positions.empty()) return *this;
  std::vector<uint64_t> sorted(positions.begin(), positions.end());
  std::sort(sorted.begin(), sorted.end());
  TESSERA_CHECK(sorted.back() < bits_);

  auto root = root_ == nullptr ? std::make_shared<Root>((bits_ + kChunkBits - 1) / kChunkBits)
                               : std::make_shared<Root>(*root_);
  LiveBitmap next = *this;
  for (size_t i = 0; i < sorted.size();) {
    const uint64_t index = sorted[i] / kChunkBits;
    std::shared_ptr<const Chunk>& place = (*root)[index];
    auto chunk = std::make_shared<Chunk>();
    if (place == nullptr) {
      chunk->fill(~uint64_t{0});
    } else {
      *chunk = *place;
    }
    for (; i < sorted.size() && sorted[i] / kChunkBits == index; ++i) {
      uint64_t& word = (*chunk)[sorted[i] / 64 % kChunkWords];
      const uint64_t bit = uint64_t{1} << (sorted[i] % 64);
      next.dead_count_ += (word & bit) != 0 ? 1 : 0;
      word &= ~bit;
    }
    place = std::move(chunk);
  }
  next.root_ = std::move(root);
  return next;
}

bool LiveBitmap::LoadBlocks(uint64_t first_block, uint32_t count, uint64_t* out) const {
  uint64_t all = ~uint64_t{0};
  for (uint32_t i = 0; i < count; ++i) {
    out[i] = Block(first_block + i);
    all &= out[i];
  }
  return all != ~uint64_t{0};
}

uint32_t LiveBitmap::CountLive(uint64_t first_block, uint32_t rows) const {
  if (dead_count_ == 0) return rows;
  uint32_t live = 0;
  for (uint32_t row = 0; row < rows; row += 64) {
    uint64_t word = Block(first_block + row / 64);
    if (rows - row < 64) word &= (uint64_t{1} << (rows - row)) - 1;
    live += static_cast<uint32_t>(std::popcount(word));
  }
  return live;
}

uint64_t LiveBitmap::memory_bytes() const {
  if (root_ == nullptr) return 0;
  uint64_t bytes = root_->capacity() * sizeof(Root::value_type);
  for (const auto& chunk : *root_) bytes += chunk == nullptr ? 0 : sizeof(Chunk);
  return bytes;
}

}  // namespace tessera::query
