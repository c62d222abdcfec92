#include "db/publish/row_ranges.h"

#include <memory>

#include "base/status_macros.h"

namespace tessera::db {
namespace {

constexpr size_t kPortionBytes = size_t{256} << 10;

}  // namespace

absl::Status DeleteKeys(storage::RowStore& rows, storage::Table table, std::string_view prefix,
                        const KeyRange& range, absl::FunctionRef<absl::Status()> go_on) {
  std::string next = range.first;
  storage::WriteSet writes;
  while (true) {
    TESSERA_RETURN_IF_ERROR(go_on());
    {
      // A new iterator for each portion: an old one would keep all that is deleted meanwhile.
      const auto it = rows.NewIterator(table, prefix);
      if (!next.empty()) it->Seek(next);
      for (; it->Valid() && (range.end.empty() || it->key() < range.end); it->Next()) {
        if (writes.bytes() >= kPortionBytes) break;
        writes.Delete(table, it->key());
        next = it->key();
      }
      TESSERA_RETURN_IF_ERROR(it->status());
    }
    if (writes.empty()) return absl::OkStatus();
    TESSERA_RETURN_IF_ERROR(rows.Write(writes, storage::Durability::kBuffered));
    writes.Clear();
  }
}

}  // namespace tessera::db
