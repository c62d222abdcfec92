#include "version/columns/fields_spool.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/coding/coding.h"
#include "base/status_macros.h"

namespace tessera::version {
namespace {

constexpr size_t kHeaderBytes = 8;  // u32 bytes of the id's key, u32 bytes of the record

}  // namespace

absl::StatusOr<std::unique_ptr<FieldsSpool>> FieldsSpool::Create(Context& context,
                                                                 base::RowId first_row) {
  auto spool = std::unique_ptr<FieldsSpool>(
      new FieldsSpool(*context.fs, context.ScratchFile("fields"), first_row));
  TESSERA_ASSIGN_OR_RETURN(spool->writer_,
                           context.fs->OpenForWrite(spool->path_, base::WriteMode::kTruncate));
  return spool;
}

FieldsSpool::~FieldsSpool() {
  writer_.reset();
  reader_.reset();
  fs_.RemoveFile(path_).IgnoreError();
}

absl::Status FieldsSpool::Append(std::string_view id_key, std::string_view fields) {
  if (rows_++ % kRowsPerMark == 0) marks_.push_back(bytes_);
  const size_t begin = buffer_.size();
  buffer_.resize(begin + kHeaderBytes);
  base::StoreU32(&buffer_[begin], static_cast<uint32_t>(id_key.size()));
  base::StoreU32(&buffer_[begin + 4], static_cast<uint32_t>(fields.size()));
  for (const std::string_view part : {id_key, fields}) {
    const auto bytes = std::as_bytes(std::span(part));
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }
  bytes_ += buffer_.size() - begin;
  if (buffer_.size() < kBufferBytes) return absl::OkStatus();
  TESSERA_RETURN_IF_ERROR(writer_->Append(buffer_));
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status FieldsSpool::FinishWriting() {
  if (!buffer_.empty()) TESSERA_RETURN_IF_ERROR(writer_->Append(buffer_));
  TESSERA_RETURN_IF_ERROR(writer_->Flush());
  TESSERA_RETURN_IF_ERROR(writer_->Close());
  writer_.reset();
  buffer_.clear();
  buffer_offset_ = 0;
  TESSERA_ASSIGN_OR_RETURN(reader_, fs_.OpenForRead(path_, {}));
  return absl::OkStatus();
}

// Makes `bytes` bytes from at_ on available.
absl::Status FieldsSpool::Fill(size_t bytes) {
  if (buffer_.size() - at_ >= bytes) return absl::OkStatus();
  buffer_offset_ += at_;
  at_ = 0;
  const uint64_t left = bytes_ - buffer_offset_;
  buffer_.resize(static_cast<size_t>(std::min<uint64_t>(left, std::max(bytes, kBufferBytes))));
  TESSERA_ASSIGN_OR_RETURN(const size_t got, reader_->Read(buffer_offset_, buffer_));
  if (got == buffer_.size() && got >= bytes) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("spool ", path_, " is shorter than what was written"));
}

absl::Status FieldsSpool::Next(std::string_view* id_key, std::string_view* fields) {
  TESSERA_RETURN_IF_ERROR(Fill(kHeaderBytes));
  const size_t id_bytes = base::LoadU32(&buffer_[at_]);
  const size_t field_bytes = base::LoadU32(&buffer_[at_ + 4]);
  TESSERA_RETURN_IF_ERROR(Fill(kHeaderBytes + id_bytes + field_bytes));
  const char* data = reinterpret_cast<const char*>(buffer_.data()) + at_ + kHeaderBytes;
  *id_key = {data, id_bytes};
  *fields = {data + id_bytes, field_bytes};
  at_ += kHeaderBytes + id_bytes + field_bytes;
  ++next_;
  return absl::OkStatus();
}

absl::Status FieldsSpool::SeekTo(uint64_t row) {
  const uint64_t mark = row / kRowsPerMark;
  if (row < next_ || mark > next_ / kRowsPerMark) {
    buffer_.clear();
    at_ = 0;
    buffer_offset_ = marks_[mark];
    next_ = mark * kRowsPerMark;
  }
  std::string_view id_key;
  std::string_view fields;
  while (next_ < row) TESSERA_RETURN_IF_ERROR(Next(&id_key, &fields));
  return absl::OkStatus();
}

absl::Status FieldsSpool::Read(std::span<const base::RowId> rows, Visitor visit) {
  TESSERA_CHECK(reader_ != nullptr);
  std::string_view id_key;
  std::string_view fields;
  for (size_t i = 0; i < rows.size(); ++i) {
    TESSERA_CHECK(rows[i] >= first_row_ && rows[i].value - first_row_.value < rows_);
    TESSERA_RETURN_IF_ERROR(SeekTo(rows[i].value - first_row_.value));
    TESSERA_RETURN_IF_ERROR(Next(&id_key, &fields));
    TESSERA_RETURN_IF_ERROR(visit(i, id_key, fields));
  }
  return absl::OkStatus();
}

}  // namespace tessera::version
