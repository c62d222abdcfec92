#include "db/writer_state.h"

#include <utility>

#include "base/check.h"

namespace tessera::db {
WriterState::WriterState(const base::CollectionSchema& schema) : indexes_(schema.vectors.size()) {
  for (const base::VectorFieldSchema& field : schema.vectors) {
    fields_.emplace_back(field, base::VectorBytes(field));
  }
}

Layout WriterState::GetLayout() const {
  Layout layout{.number = layout_,
                .current = indexes_,
                .absorbed_end = absorbed_end_,
                .pending = {},
                .pending_end = {}};
  if (pending_ != nullptr) {
    layout.pending = pending_->indexes;
    layout.pending_end = pending_->absorbed_end;
  }
  return layout;
}

void WriterState::ApplyDeaths(std::span<const OldRow> old,
                              const DeadPositions& positions) noexcept {
  for (const OldRow& entry : old) {
    if (deaths_ != nullptr && IsAbsorbing(entry.row)) deaths_->Add(entry.row);
    const auto it = fresh_sequence_.find(entry.row.value);
    if (it == fresh_sequence_.end()) continue;
    for (Field& field : fields_) field.fresh.MarkDead(it->second);
    fresh_sequence_.erase(it);
  }
  for (size_t field = 0; field < fields_.size(); ++field) {
    if (!positions.current.empty() && !positions.current[field].empty()) {
      fields_[field].live = fields_[field].live.WithCleared(positions.current[field]);
    }
    if (!positions.pending.empty()) MarkPendingDead(field, positions.pending[field]);
  }
  TESSERA_CHECK(point_count_ >= old.size());
  point_count_ -= old.size();
}

void WriterState::AppendFresh(base::RowId row, uint64_t version, const Point& point,
                              std::string_view fields) noexcept {
  TESSERA_CHECK(row >= absorbed_end_);
  for (size_t field = 0; field < fields_.size(); ++field) {
    RecoverFresh(field, row, point.id, version,
                 std::as_bytes(std::span(point.vectors[field].bytes)), fields);
  }
  ++point_count_;
}

void WriterState::RecoverFresh(size_t field, base::RowId row, base::PointId id, uint64_t version,
                               std::span<const std::byte> vector, std::string_view fields) {
  const uint64_t sequence =
      fields_[field].fresh.Append(row, std::move(id), version, vector, fields);
  if (field == 0) {
    field_bytes_.push_back(static_cast<uint32_t>(fields.size()));
    fields_held_ += fields.size();
    fresh_sequence_.emplace(row.value, sequence);
    fresh_end_ = sequence + 1;
  }
  TESSERA_CHECK(sequence + 1 == fresh_end_);
}

void WriterState::CountRecovered() {
  point_count_ = fresh_sequence_.size();
  if (indexes_[0] == nullptr) return;
  for (const query::ListPart& part : indexes_[0]->view->parts) {
    point_count_ += fields_[0].live.CountLive(part.first_block, part.rows);
  }
}

void WriterState::SetAbsorbed(Indexes indexes, base::RowId absorbed_end) {
  TESSERA_CHECK(indexes.size() == fields_.size());
  indexes_ = std::move(indexes);
  absorbed_end_ = absorbed_end;
  ++layout_;
}

void WriterState::BeginAbsorb(base::RowId end, std::unique_ptr<RowList> deaths) {
  TESSERA_CHECK(absorbing_end_.value == 0 && pending_ == nullptr);
  absorbing_end_ = end;
  deaths_ = std::move(deaths);
}

std::unique_ptr<RowList> WriterState::SetPending(NewVersions versions) {
  TESSERA_CHECK(deaths_ != nullptr && pending_ == nullptr);
  pending_ = std::make_unique<NewVersions>(std::move(versions));
  ++layout_;
  return std::move(deaths_);
}

void WriterState::MarkPendingDead(size_t field, std::span<const uint64_t> positions) {
  if (positions.empty()) return;
  TESSERA_CHECK(pending_ != nullptr);
  pending_->live[field] = pending_->live[field].WithCleared(positions);
}

Indexes WriterState::Install(NewVersions* versions) {
  TESSERA_CHECK(versions->absorbed_end >= absorbed_end_ && versions->absorbed_end <= next_row);
  indexes_.swap(versions->indexes);
  for (size_t field = 0; field < fields_.size(); ++field) {
    fields_[field].live = std::move(versions->live[field]);
    fields_[field].fresh.DropBefore(versions->absorbed_sequence);
  }
  absorbed_end_ = versions->absorbed_end;
  std::erase_if(fresh_sequence_,
                [&](const auto& entry) { return entry.second < versions->absorbed_sequence; });
  for (; fresh_begin_ < versions->absorbed_sequence; ++fresh_begin_) {
    fields_held_ -= field_bytes_.front();
    field_bytes_.pop_front();
  }
  TESSERA_CHECK(fresh_begin_ <= fresh_end_);
  ++layout_;
  return std::move(versions->indexes);
}

NewVersions WriterState::InstallPending() {
  TESSERA_CHECK(pending_ != nullptr);
  NewVersions versions = std::move(*pending_);
  pending_.reset();
  versions.indexes = Install(&versions);
  return versions;
}

Indexes WriterState::InstallLoaded(NewVersions versions, uint64_t points_added) {
  TESSERA_CHECK(pending_ == nullptr && fresh_held() == 0);
  next_row = versions.absorbed_end;
  reserved_end = versions.absorbed_end;
  point_count_ += points_added;
  return Install(&versions);
}

std::unique_ptr<NewVersions> WriterState::EndAbsorb() noexcept {
  absorbing_end_ = {};
  deaths_.reset();
  if (pending_ != nullptr) ++layout_;
  return std::move(pending_);
}

void WriterState::FillView(ReadView* view) {
  for (size_t i = 0; i < fields_.size(); ++i) {
    Field& field = fields_[i];
    view->fields.push_back(
        {.index = indexes_[i],
         .search = {.field = field.schema,
                    .index = indexes_[i] == nullptr ? nullptr : indexes_[i]->view,
                    .live = field.live,
                    .fresh = field.fresh.Snapshot()}});
  }
  view->absorbed_end = absorbed_end_;
  view->point_count = point_count_;
  view->fresh_field_bytes = fields_held_;
}

void WriterState::Clear() {
  for (Field& field : fields_) field = Field(field.schema, base::VectorBytes(field.schema));
  indexes_.assign(fields_.size(), nullptr);
  fresh_sequence_ = {};
  fresh_begin_ = 0;
  fresh_end_ = 0;
  field_bytes_ = {};
  fields_held_ = 0;
  point_count_ = 0;
  ++layout_;
}

}  // namespace tessera::db
