#include "version/build/record_spool.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/status_macros.h"

namespace tessera::version {

absl::StatusOr<std::unique_ptr<RecordSpool>> RecordSpool::Create(base::FileSystem& fs,
                                                                 const std::string& path,
                                                                 size_t record_bytes,
                                                                 size_t buffer_bytes) {
  TESSERA_CHECK(record_bytes > 0);
  const size_t whole = std::max(record_bytes, buffer_bytes / record_bytes * record_bytes);
  auto spool = std::unique_ptr<RecordSpool>(new RecordSpool(fs, path, record_bytes, whole));
  TESSERA_ASSIGN_OR_RETURN(spool->writer_, fs.OpenForWrite(path, base::WriteMode::kTruncate));
  return spool;
}

RecordSpool::~RecordSpool() {
  writer_.reset();
  reader_.reset();
  fs_.RemoveFile(path_).IgnoreError();
}

absl::Status RecordSpool::Append(std::span<const std::byte> record) {
  TESSERA_DCHECK(record.size() == record_bytes_);
  buffer_.insert(buffer_.end(), record.begin(), record.end());
  ++record_count_;
  return buffer_.size() >= buffer_bytes_ ? FlushBuffer() : absl::OkStatus();
}

absl::Status RecordSpool::FlushBuffer() {
  TESSERA_RETURN_IF_ERROR(writer_->Append(buffer_));
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status RecordSpool::FinishWriting() {
  TESSERA_RETURN_IF_ERROR(FlushBuffer());
  TESSERA_RETURN_IF_ERROR(writer_->Flush());
  TESSERA_RETURN_IF_ERROR(writer_->Close());
  writer_.reset();
  buffer_ = {};
  TESSERA_ASSIGN_OR_RETURN(reader_, fs_.OpenForRead(path_, {}));
  return absl::OkStatus();
}

absl::Status RecordSpool::Read(uint64_t first, size_t count, std::vector<std::byte>* out) const {
  TESSERA_CHECK(reader_ != nullptr && first + count <= record_count_);
  out->resize(count * record_bytes_);
  TESSERA_ASSIGN_OR_RETURN(const size_t bytes, reader_->Read(first * record_bytes_, *out));
  if (bytes != out->size()) {
    return absl::DataLossError(absl::StrCat("spool ", path_, " gave ", bytes, " bytes at record ",
                                            first, ", ", out->size(), " were written"));
  }
  return absl::OkStatus();
}

}  // namespace tessera::version
