#include "db/collection_core.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tessera::db {
namespace {

// Bookkeeping of a fresh row beside its vectors.
constexpr uint64_t kFreshRowOverhead = 160;

}  // namespace

absl::Status CollectionCore::CheckLive() const {
  if (dropped.load(std::memory_order_relaxed)) {
    return absl::NotFoundError(absl::StrCat("collection \"", schema().name, "\" was dropped"));
  }
  return absl::OkStatus();
}

absl::Status CollectionCore::CheckWorking() const {
  if (absl::Status live = CheckLive(); !live.ok()) return live;
  if (stopping.load()) return absl::CancelledError("the database is closing");
  return absl::OkStatus();
}

absl::Status CollectionCore::CheckWritable() const {
  if (absl::Status live = CheckLive(); !live.ok()) return live;
  if (absl::Status writable = engine.CheckWritable(); !writable.ok()) return writable;
  if (stopping.load(std::memory_order_relaxed)) {
    return absl::UnavailableError("the database is closing");
  }
  if (state.loading) {
    return absl::UnavailableError(absl::StrCat(
        "collection \"", schema().name, "\" is being loaded in bulk; retry when it is done"));
  }
  return absl::OkStatus();
}

std::shared_ptr<const ReadView> CollectionCore::View() const {
  base::MutexLock lock(&view_mu);
  return view;
}

void CollectionCore::PublishView() {
  auto next = std::make_shared<ReadView>();
  state.FillView(next.get());
  next->rows = engine.rows->Snapshot();
  std::shared_ptr<const ReadView> old = std::move(next);  // goes after the lock
  base::MutexLock lock(&view_mu);
  view.swap(old);
  view_time = std::chrono::steady_clock::now();
}

void CollectionCore::RefreshView(std::chrono::steady_clock::duration age) {
  {
    base::MutexLock lock(&view_mu);
    if (view == nullptr || std::chrono::steady_clock::now() - view_time < age) return;
  }
  base::MutexLock lock(&write_mu);
  if (View() != nullptr) PublishView();
}

void CollectionCore::Release() {
  std::shared_ptr<const ReadView> last;
  {
    base::MutexLock lock(&view_mu);
    view.swap(last);
  }
  state.Clear();
  engine.fresh->Forget(record.uid);
}

uint64_t CollectionCore::FreshBytes(uint64_t rows, uint64_t field_bytes) const {
  return rows * (kFreshRowOverhead + base::VectorBytes(schema())) +
         field_bytes * schema().vectors.size();
}

// Rows that died while fresh take their place until they are absorbed.
absl::Status CollectionCore::ReserveFresh(uint64_t more_bytes) {
  return engine.fresh->Resize(
      record.uid, holder, FreshBytes(state.fresh_held(), state.fresh_fields_held()) + more_bytes);
}

MaintenanceNumbers CollectionCore::Numbers(const ReadView& of) const {
  const FieldView& field = of.fields[0];
  const query::FreshView& fresh = field.search.fresh;
  MaintenanceNumbers numbers;
  numbers.live_rows = of.point_count;
  numbers.fresh_rows = fresh.end_sequence() - fresh.first_sequence();
  numbers.fresh_bytes = FreshBytes(numbers.fresh_rows, of.fresh_field_bytes);
  numbers.all_fresh_bytes = engine.fresh->used_bytes();
  numbers.fresh_bytes_max = engine.fresh->bytes_max();
  numbers.largest_holder =
      numbers.all_fresh_bytes >= numbers.fresh_bytes_max / 2 && engine.fresh->IsLargest(record.uid);
  if (field.index == nullptr) return numbers;
  const uint64_t live = of.point_count - fresh.live_count();
  numbers.indexed = true;
  numbers.index_rows = field.search.index->rows;
  numbers.index_dead = numbers.index_rows - std::min(live, numbers.index_rows);
  numbers.built_rows = Counter(field.index->record, version::kBuiltRowsCounter);
  numbers.dead_at_calibration = Counter(field.index->record, kDeadAtCalibrationCounter);
  return numbers;
}

}  // namespace tessera::db
