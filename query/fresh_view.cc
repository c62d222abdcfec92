#include "query/fresh_view.h"

#include <algorithm>
#include <bitset>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace tessera::query {

// Slots are written once, before a view that covers them is handed out, and never again. Vectors
// are not zeroed: of a large chunk with a few rows only those take memory, which counts where many
// collections have a few rows each.
struct FreshView::Chunk {
  explicit Chunk(size_t row_bytes)
      : vector_bytes(row_bytes),
        vectors(std::make_unique_for_overwrite<std::byte[]>(row_bytes * kChunkRows)) {}

  struct Head {
    base::RowId row;
    uint64_t version = 0;
    base::PointId id;
    std::string fields;
  };
  const size_t vector_bytes;
  std::unique_ptr<Head[]> heads = std::make_unique<Head[]>(kChunkRows);
  std::unique_ptr<std::byte[]> vectors;
};

struct FreshView::Dead {
  std::bitset<kChunkRows> rows;
};

std::optional<FreshRowRef> FreshView::Row(uint64_t sequence) const {
  if (sequence < first_ || sequence >= end_) return std::nullopt;
  const Entry& entry = (*chunks_)[sequence / kChunkRows - first_chunk_];
  const size_t slot = sequence % kChunkRows;
  if (entry.dead != nullptr && entry.dead->rows.test(slot)) return std::nullopt;
  const Chunk& chunk = *entry.rows;
  const Chunk::Head& head = chunk.heads[slot];
  return FreshRowRef{
      .sequence = sequence,
      .row = head.row,
      .version = head.version,
      .id = &head.id,
      .vector = {chunk.vectors.get() + slot * chunk.vector_bytes, chunk.vector_bytes},
      .fields = head.fields};
}

uint64_t FreshView::memory_bytes() const {
  if (chunks_ == nullptr) return 0;
  uint64_t bytes = 0;
  for (const Entry& entry : *chunks_) {
    bytes += kChunkRows * (entry.rows->vector_bytes + sizeof(Chunk::Head));
    for (size_t i = 0; i < kChunkRows; ++i) bytes += entry.rows->heads[i].fields.size();
  }
  return bytes;
}

uint64_t FreshRows::Append(base::RowId row, base::PointId id, uint64_t version,
                           std::span<const std::byte> vector, std::string_view fields) {
  TESSERA_CHECK(vector.size() == vector_bytes_);
  const uint64_t sequence = view_.end_;
  const size_t slot = sequence % FreshView::kChunkRows;
  if (sequence / FreshView::kChunkRows - view_.first_chunk_ == chunks_.size()) {
    chunks_.push_back({std::make_shared<FreshView::Chunk>(vector_bytes_), nullptr});
    changed_ = true;
  }
  FreshView::Chunk& chunk = *chunks_.back().rows;
  chunk.heads[slot] = {row, version, std::move(id), std::string(fields)};
  std::memcpy(chunk.vectors.get() + slot * vector_bytes_, vector.data(), vector_bytes_);
  ++view_.end_;
  ++view_.live_count_;
  return sequence;
}

bool FreshRows::IsDead(uint64_t sequence) const {
  const FreshView::Entry& entry = chunks_[sequence / FreshView::kChunkRows - view_.first_chunk_];
  return entry.dead != nullptr && entry.dead->rows.test(sequence % FreshView::kChunkRows);
}

void FreshRows::MarkDead(uint64_t sequence) {
  if (sequence < view_.first_ || sequence >= view_.end_) return;
  if (IsDead(sequence)) return;
  FreshView::Entry& entry = chunks_[sequence / FreshView::kChunkRows - view_.first_chunk_];
  auto dead = entry.dead == nullptr ? std::make_shared<FreshView::Dead>()
                                    : std::make_shared<FreshView::Dead>(*entry.dead);
  dead->rows.set(sequence % FreshView::kChunkRows);
  entry.dead = std::move(dead);
  --view_.live_count_;
  changed_ = true;
}

void FreshRows::DropBefore(uint64_t sequence) {
  const uint64_t target = std::min(sequence, view_.end_);
  if (target <= view_.first_) return;
  for (uint64_t row = view_.first_; row < target; ++row) {
    view_.live_count_ -= IsDead(row) ? 0 : 1;
  }
  view_.first_ = target;
  const uint64_t first_chunk = target / FreshView::kChunkRows;
  chunks_.erase(chunks_.begin(),
                chunks_.begin() + static_cast<ptrdiff_t>(std::min<uint64_t>(
                                      first_chunk - view_.first_chunk_, chunks_.size())));
  view_.first_chunk_ = first_chunk;
  changed_ = true;
}

FreshView FreshRows::Snapshot() {
  if (changed_ || view_.chunks_ == nullptr) {
    view_.chunks_ = std::make_shared<const std::vector<FreshView::Entry>>(chunks_);
    changed_ = false;
  }
  return view_;
}

}  // namespace tessera::query
