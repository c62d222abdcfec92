#include "db/row_ranges.h"

#include <memory>

#include "base/status_macros.h"

namespace tessera::db {
namespace {

constexpr size_t kPortionBytes = size_t{1} << 20;

}  // namespace

absl::Status DeleteKeys(const storage::RowStore& rows, storage::Table table,
                        std::string_view prefix, std::string_view end, storage::WriteSet* writes) {
  const auto it = rows.NewIterator(table, prefix);
  for (; it->Valid() && (end.empty() || it->key() < end); it->Next()) {
    writes->Delete(table, it->key());
  }
  return it->status();
}

absl::Status DeleteAllKeys(storage::RowStore& rows, storage::Table table, std::string_view prefix) {
  const auto it = rows.NewIterator(table, prefix);
  storage::WriteSet writes;
  for (; it->Valid(); it->Next()) {
    writes.Delete(table, it->key());
    if (writes.bytes() < kPortionBytes) continue;
    TESSERA_RETURN_IF_ERROR(rows.Write(writes, storage::Durability::kBuffered));
    writes.Clear();
  }
  TESSERA_RETURN_IF_ERROR(it->status());
  return writes.empty() ? absl::OkStatus() : rows.Write(writes, storage::Durability::kBuffered);
}

}  // namespace tessera::db
