// A temporary file of fixed-size records: written once, read front to back any number of times. The
// external-memory passes of index building live on it. Nothing of it needs to survive a crash; the
// file is removed when the spool is destroyed, and scratch/ is emptied at open.
//
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/files/file_system.h"

namespace tessera::version {

class RecordSpool {
 public:
  // Pre: record_bytes >= 1; buffer_bytes is rounded to whole records, at least one.
  static absl::StatusOr<std::unique_ptr<RecordSpool>> Create(base::FileSystem& fs,
                                                             const std::string& path,
                                                             size_t record_bytes,
                                                             size_t buffer_bytes);
  ~RecordSpool();
  RecordSpool(const RecordSpool&) = delete;
  RecordSpool& operator=(const RecordSpool&) = delete;

  // Appends a record of record_bytes. Errors: kResourceExhausted when no space is left.
  absl::Status Append(std::span<const std::byte> record);

  // Ends writing; needed before the first read.
  absl::Status FinishWriting();

  // Records [first, first + count) into `out`, resized to fit. Errors: kDataLoss if the file is
  // shorter than what was written.
  absl::Status Read(uint64_t first, size_t count, std::vector<std::byte>* out) const;

  uint64_t record_count() const { return record_count_; }
  size_t record_bytes() const { return record_bytes_; }

 private:
  RecordSpool(base::FileSystem& fs, std::string path, size_t record_bytes, size_t buffer_bytes)
      : fs_(fs), path_(std::move(path)), record_bytes_(record_bytes), buffer_bytes_(buffer_bytes) {}
  absl::Status FlushBuffer();

  base::FileSystem& fs_;
  const std::string path_;
  const size_t record_bytes_;
  const size_t buffer_bytes_;
  std::unique_ptr<base::WritableFile> writer_;
  std::unique_ptr<base::RandomAccessFile> reader_;
  std::vector<std::byte> buffer_;
  uint64_t record_count_ = 0;
};

}  // namespace tessera::version
