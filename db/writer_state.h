// What the writer of a collection knows: which rows are in lists, which are fresh, which are dead.
// Plain state, no I/O.
//
// Every upsert gives its point a new row; the row it replaces is dead. Rows below `absorbed_end`
// are in the lists of every field's index version, dead ones marked in its live bitmap and by a
// tombstone in the row store; rows from there on are fresh: their vectors are in the row store and
// in memory.
//
// While new versions are built, rows that die are noted. Once the versions are complete they are
// `pending`, and deaths are marked in them as well as in the current ones, so that the publish
// itself has nothing to look up.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/point_id.h"
#include "base/schema.h"
#include "base/types.h"
#include "db/database.h"
#include "db/publish/new_versions.h"
#include "db/publish/row_list.h"
#include "db/read_view.h"
#include "query/fresh_view.h"
#include "query/live_bitmap.h"
#include "version/index_version.h"

namespace tessera::db {

// A point that a write replaces or deletes.
struct OldRow {
  base::PointId id;
  base::RowId row;
};

using Indexes = std::vector<std::shared_ptr<const version::IndexVersion>>;

// Where rows are looked up, taken from the state at one moment.
struct Layout {
  uint64_t number = 0;
  Indexes current;
  base::RowId absorbed_end;
  Indexes pending;  // empty: none
  base::RowId pending_end;
};

// Positions of dead rows, per field, true for one layout.
struct DeadPositions {
  std::vector<std::vector<uint64_t>> current;
  std::vector<std::vector<uint64_t>> pending;
};

class WriterState {
 public:
  explicit WriterState(const base::CollectionSchema& schema);

  // Versions of a point grow because the rows it gets do.
  static uint64_t VersionOf(base::RowId row) { return row.value + 1; }

  const Indexes& indexes() const { return indexes_; }
  base::RowId absorbed_end() const { return absorbed_end_; }
  uint64_t point_count() const { return point_count_; }
  // Fresh rows that take memory: those that died since they came, too.
  uint64_t fresh_held() const { return fresh_end_ - fresh_begin_; }
  // Bytes of their field records, in one vector field.
  uint64_t fresh_fields_held() const { return fields_held_; }
  size_t fresh_live() const { return fresh_sequence_.size(); }

  // A number that changes whenever rows may be found elsewhere than before.
  uint64_t layout_number() const { return layout_; }
  Layout GetLayout() const;

  // Row numbers. `next_row` is what the next write takes, `reserved_end` is durable.
  base::RowId next_row;
  base::RowId reserved_end;
  bool loading = false;  // writes are refused

  // What a write did, once the row store has it. If memory ends here the process does: what is
  // durable and what searches see must not differ, and the next open puts it right.
  void ApplyDeaths(std::span<const OldRow> old, const DeadPositions& positions) noexcept;
  // `fields`: the field record of its payload (query/filter/field_record.h).
  void AppendFresh(base::RowId row, uint64_t version, const Point& point,
                   std::string_view fields) noexcept;

  // Whether a fresh row that dies needs a tombstone, since new versions will have it.
  bool IsAbsorbing(base::RowId row) const { return row < absorbing_end_; }

  // An absorption of the rows below `end` begins; `deaths` notes rows that die.
  void BeginAbsorb(base::RowId end, std::unique_ptr<RowList> deaths);
  // The versions are complete: deaths noted so far are returned, to be marked by MarkPendingDead,
  // later ones are marked as they come.
  std::unique_ptr<RowList> SetPending(NewVersions versions);
  void MarkPendingDead(size_t field, std::span<const uint64_t> positions);
  const NewVersions& pending() const { return *pending_; }
  // The pending versions become the current ones; returns those they replace, and the writers.
  NewVersions InstallPending();
  // Ends an absorption that failed; also after InstallPending. Gives what was pending.
  std::unique_ptr<NewVersions> EndAbsorb() noexcept;

  // A load's publish. Pre: nothing is fresh, nothing is pending.
  Indexes InstallLoaded(NewVersions versions, uint64_t points_added);

  // Recovery.
  void SetAbsorbed(Indexes indexes, base::RowId absorbed_end);
  void SetLive(size_t field, query::LiveBitmap live) { fields_[field].live = std::move(live); }
  const query::LiveBitmap& live(size_t field) const { return fields_[field].live; }
  // Adds a row's vector in one field; fields take turns.
  void RecoverFresh(size_t field, base::RowId row, base::PointId id, uint64_t version,
                    std::span<const std::byte> vector, std::string_view fields);
  void CountRecovered();

  // The fields of a read view, and the counts beside them.
  void FillView(ReadView* view);
  // Lets go of all rows and versions.
  void Clear();

 private:
  struct Field {
    Field(base::VectorFieldSchema field, size_t vector_bytes)
        : schema(std::move(field)), fresh(vector_bytes) {}

    base::VectorFieldSchema schema;
    query::LiveBitmap live;
    query::FreshRows fresh;
  };

  Indexes Install(NewVersions* versions);

  std::vector<Field> fields_;
  Indexes indexes_;  // one per field, null before the first absorption
  base::RowId absorbed_end_;
  uint64_t point_count_ = 0;
  // Live fresh rows -> their sequence in every field's FreshRows.
  std::unordered_map<uint64_t, uint64_t> fresh_sequence_;
  uint64_t fresh_begin_ = 0;
  uint64_t fresh_end_ = 0;
  std::deque<uint32_t> field_bytes_;  // of the rows from fresh_begin_ on
  uint64_t fields_held_ = 0;          // their sum

  uint64_t layout_ = 1;
  base::RowId absorbing_end_;        // 0: no absorption is under way
  std::unique_ptr<RowList> deaths_;  // noted while versions are being built
  std::unique_ptr<NewVersions> pending_;
};

}  // namespace tessera::db
