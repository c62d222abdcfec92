#include "db/filters/row_fields.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "db/records.h"
#include "query/filter/field_record.h"

namespace tessera::db {
namespace {

// Rows that are passed over one by one rather than by a seek.
constexpr uint64_t kStepsMax = 16;

}  // namespace

absl::Status RowFields::Read(std::span<const base::RowId> rows, Visitor visit) {
  size_t stored = rows.size();
  if (loaded_ != nullptr) {
    stored = static_cast<size_t>(std::lower_bound(rows.begin(), rows.end(), loaded_->first_row()) -
                                 rows.begin());
  }
  if (stored > 0) TESSERA_RETURN_IF_ERROR(ReadStored(rows.first(stored), visit));
  if (stored == rows.size()) return absl::OkStatus();
  return loaded_->Read(rows.subspan(stored),
                       [&](size_t i, std::string_view id_key, std::string_view fields) {
                         return visit(stored + i, id_key, fields);
                       });
}

absl::Status RowFields::ReadStored(std::span<const base::RowId> rows, Visitor visit) {
  if (it_ == nullptr) {
    it_ = engine_.rows->NewIterator(storage::Table::kPoints, UidKey(uid_), view_.rows.get());
  }
  std::string id_key;
  std::string fields;
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::string key = RowKey(uid_, rows[i]);
    uint64_t steps = 0;
    if (it_->Valid() && it_->key() <= key) {
      for (; it_->Valid() && it_->key() < key && steps < kStepsMax; ++steps) it_->Next();
    }
    if (!it_->Valid() || it_->key() != key) it_->Seek(key);
    TESSERA_RETURN_IF_ERROR(it_->status());
    if (!it_->Valid() || it_->key() != key) {
      return absl::DataLossError(absl::StrCat("row ", rows[i].value, " has no point"));
    }
    TESSERA_ASSIGN_OR_RETURN(const PointRecord record, DecodePointRecord(it_->value()));
    id_key.clear();
    fields.clear();
    record.id.EncodeKey(&id_key);
    TESSERA_RETURN_IF_ERROR(query::EncodeFieldsOfJson(record.payload_json, &fields));
    TESSERA_RETURN_IF_ERROR(visit(i, id_key, fields));
  }
  return absl::OkStatus();
}

}  // namespace tessera::db
