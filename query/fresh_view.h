// Fresh rows: acknowledged, not yet part of a list, kept in memory and scanned exactly.
//
// FreshRows is the writer's side: rows are appended under ever-growing sequence numbers, marked
// dead when they are deleted or replaced, and dropped from the front once absorbed. FreshView is
// what one search sees: a snapshot that shares the chunks.
//
// Rows are kept as they were sent, in the element type of their field.
//
// Threads: FreshRows from one thread at a time. A FreshView is a value that any thread may read
// while the writer goes on, provided the view was handed over with the usual synchronisation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/point_id.h"
#include "base/types.h"

namespace tessera::query {

struct FreshRowRef {
  uint64_t sequence = 0;
  base::RowId row;
  uint64_t version = 0;
  const base::PointId* id = nullptr;
  std::span<const std::byte> vector;
  std::string_view fields;  // what filters see of the payload, see query/filter/field_record.h
};

class FreshView {
 public:
  static constexpr uint32_t kChunkRows = 256;

  FreshView() = default;

  // Rows [first_sequence, end_sequence), some of them dead.
  uint64_t first_sequence() const { return first_; }
  uint64_t end_sequence() const { return end_; }
  uint64_t live_count() const { return live_count_; }
  bool empty() const { return live_count_ == 0; }

  // Null when the row is dead or outside the range.
  std::optional<FreshRowRef> Row(uint64_t sequence) const;

  // Calls `visit` with every live row, ascending.
  template <typename Visitor>
  void ForEach(Visitor&& visit) const {
    for (uint64_t sequence = first_; sequence < end_; ++sequence) {
      if (const std::optional<FreshRowRef> row = Row(sequence)) visit(*row);
    }
  }

  // Heap bytes of the rows.
  uint64_t memory_bytes() const;

 private:
  friend class FreshRows;
  struct Chunk;
  struct Dead;
  struct Entry {
    std::shared_ptr<Chunk> rows;
    std::shared_ptr<const Dead> dead;  // null: none is
  };

  uint64_t first_ = 0;
  uint64_t end_ = 0;
  uint64_t live_count_ = 0;
  uint64_t first_chunk_ = 0;  // chunk number of (*chunks_)[0]
  std::shared_ptr<const std::vector<Entry>> chunks_;
};

class FreshRows {
 public:
  // Pre: vector_bytes >= 1, the bytes of one row.
  explicit FreshRows(size_t vector_bytes) : vector_bytes_(vector_bytes) {}

  // Adds a live row and returns its sequence number: 0, 1, 2 ...
  uint64_t Append(base::RowId row, base::PointId id, uint64_t version,
                  std::span<const std::byte> vector, std::string_view fields = {});
  // Dead already, dropped or never there: nothing happens.
  void MarkDead(uint64_t sequence);
  // Forgets rows below `sequence`. Views taken before keep them.
  void DropBefore(uint64_t sequence);

  // Cost: O(rows / 256) after a change, else O(1).
  FreshView Snapshot();

 private:
  bool IsDead(uint64_t sequence) const;

  size_t vector_bytes_;
  FreshView view_;
  std::vector<FreshView::Entry> chunks_;
  bool changed_ = false;  // chunks_ differs from *view_.chunks_
};

}  // namespace tessera::query
