// The field records of rows with consecutive numbers, in a scratch file: what a load has read, for
// the build that follows.
//
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/files/file_system.h"
#include "base/types.h"
#include "version/columns/field_source.h"
#include "version/context.h"

namespace tessera::version {

class FieldsSpool final : public FieldSource {
 public:
  static absl::StatusOr<std::unique_ptr<FieldsSpool>> Create(Context& context,
                                                             base::RowId first_row);
  ~FieldsSpool() override;

  // Of the next row. Errors: kResourceExhausted when no space is left.
  absl::Status Append(std::string_view id_key, std::string_view fields);
  // Ends writing; needed before the first read.
  absl::Status FinishWriting();

  base::RowId first_row() const { return first_row_; }

  // Pre: every row was appended. Cheap when rows follow those of the call before.
  absl::Status Read(std::span<const base::RowId> rows, Visitor visit) override;

 private:
  // Rows between two known offsets, and bytes written and read at a time.
  static constexpr uint64_t kRowsPerMark = 1024;
  static constexpr size_t kBufferBytes = size_t{256} << 10;

  FieldsSpool(base::FileSystem& fs, std::string path, base::RowId first_row)
      : fs_(fs), path_(std::move(path)), first_row_(first_row) {}
  absl::Status SeekTo(uint64_t row);
  absl::Status Next(std::string_view* id_key, std::string_view* fields);
  absl::Status Fill(size_t bytes);

  base::FileSystem& fs_;
  const std::string path_;
  const base::RowId first_row_;
  std::unique_ptr<base::WritableFile> writer_;
  std::unique_ptr<base::RandomAccessFile> reader_;
  uint64_t rows_ = 0;
  uint64_t bytes_ = 0;             // of the file, with what is in buffer_
  std::vector<uint64_t> marks_;    // offset of each kRowsPerMark-th row
  std::vector<std::byte> buffer_;  // to be written; or read, from buffer_offset_ on
  uint64_t buffer_offset_ = 0;
  size_t at_ = 0;  // in buffer_, of row next_
  uint64_t next_ = 0;
};

}  // namespace tessera::version
