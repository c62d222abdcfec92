#include "db/publish/row_list.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/status_macros.h"

namespace tessera::db {
namespace {

constexpr size_t kSpoolBufferBytes = size_t{64} << 10;

}  // namespace

void RowList::Add(base::RowId row) {
  TESSERA_CHECK(!reading_);
  if (rows_.size() == kPortionRows && failed_.ok()) failed_ = Spill();
  if (failed_.ok()) rows_.push_back(row);
}

absl::Status RowList::Spill() {
  if (spool_ == nullptr) {
    TESSERA_ASSIGN_OR_RETURN(
        spool_, version::RecordSpool::Create(*context_.fs, context_.ScratchFile("rows"),
                                             sizeof(uint64_t), kSpoolBufferBytes));
  }
  for (const base::RowId row : rows_) {
    TESSERA_RETURN_IF_ERROR(spool_->Append(std::as_bytes(std::span(&row.value, 1))));
  }
  spilled_ += rows_.size();
  rows_.clear();
  return absl::OkStatus();
}

absl::Status RowList::ForEachPortion(
    absl::FunctionRef<absl::Status(std::span<const base::RowId> rows)> visit) {
  TESSERA_RETURN_IF_ERROR(failed_);
  if (spool_ != nullptr && !reading_) TESSERA_RETURN_IF_ERROR(spool_->FinishWriting());
  reading_ = true;
  std::vector<std::byte> bytes;
  std::vector<base::RowId> portion;
  for (uint64_t first = 0; first < spilled_; first += portion.size()) {
    const auto count = static_cast<size_t>(std::min<uint64_t>(kPortionRows, spilled_ - first));
    TESSERA_RETURN_IF_ERROR(spool_->Read(first, count, &bytes));
    portion.resize(count);
    for (size_t i = 0; i < count; ++i) {
      std::memcpy(&portion[i].value, bytes.data() + i * sizeof(uint64_t), sizeof(uint64_t));
    }
    TESSERA_RETURN_IF_ERROR(visit(portion));
  }
  return rows_.empty() ? absl::OkStatus() : visit(rows_);
}

}  // namespace tessera::db
