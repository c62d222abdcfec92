#include "version/build/live_records.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "index/raw_plane.h"
#include "storage/aligned_buffer.h"
#include "storage/read_batch.h"

namespace tessera::version {
namespace {

// One read, and all reads under way.
constexpr uint64_t kReadBytes = 1 << 20;
constexpr uint64_t kWindowBytes = 4 << 20;

// Consecutive units of one part.
struct Chunk {
  uint32_t part = 0;
  uint32_t first_unit = 0;  // of the part
  uint32_t end_unit = 0;
  storage::ByteRange range;
  std::shared_ptr<const base::RandomAccessFile> file;
  storage::AlignedBuffer buffer;
  size_t bytes_read = 0;
};

class LiveReader {
 public:
  LiveReader(Context& context, const IndexVersion& version, const query::LiveBitmap& live,
             LiveRecordVisitor visit)
      : context_(context), view_(*version.view), live_(live), visit_(visit) {}

  absl::Status Add(uint32_t part);
  absl::Status Flush();

 private:
  absl::Status Open(Chunk* chunk) const;
  absl::Status ReadAll();
  absl::Status Visit(const Chunk& chunk) const;

  Context& context_;
  const query::IndexView& view_;
  const query::LiveBitmap& live_;
  const LiveRecordVisitor visit_;
  std::vector<Chunk> window_;
  uint64_t window_bytes_ = 0;
};

absl::Status LiveReader::Add(uint32_t number) {
  const query::ListPart& part = view_.parts[number];
  if (live_.CountLive(part.first_block, part.rows) == 0) return absl::OkStatus();
  const uint32_t units = view_.raw_units(part);
  const auto per_read =
      static_cast<uint32_t>(std::max<uint64_t>(1, kReadBytes / index::RawUnitStride(view_.field)));
  for (uint32_t unit = 0; unit < units; unit += per_read) {
    const uint32_t end = std::min(units, unit + per_read);
    const storage::ByteRange first = part.planes->raw->unit_range(part.raw_unit + unit);
    const storage::ByteRange last = part.planes->raw->unit_range(part.raw_unit + end - 1);
    Chunk chunk;
    chunk.part = number;
    chunk.first_unit = unit;
    chunk.end_unit = end;
    chunk.range = first;
    chunk.range.bytes = static_cast<uint32_t>(last.offset + last.bytes - first.offset);
    if (!window_.empty() && window_bytes_ + chunk.range.bytes > kWindowBytes) {
      TESSERA_RETURN_IF_ERROR(Flush());
    }
    window_bytes_ += chunk.range.bytes;
    window_.push_back(std::move(chunk));
  }
  return absl::OkStatus();
}

absl::Status LiveReader::Open(Chunk* chunk) const {
  auto file = context_.extents->OpenFile(chunk->range.file);
  if (absl::IsNotFound(file.status())) {
    return absl::DataLossError(absl::StrCat("extent file ", chunk->range.file, " is missing"));
  }
  TESSERA_RETURN_IF_ERROR(file.status());
  chunk->file = *std::move(file);
  chunk->buffer = storage::AlignedBuffer(chunk->range.bytes);
  return absl::OkStatus();
}

absl::Status LiveReader::ReadAll() {
  std::vector<storage::ReadRequest> requests;
  for (size_t i = 0; i < window_.size(); ++i) {
    Chunk& chunk = window_[i];
    TESSERA_RETURN_IF_ERROR(Open(&chunk));
    requests.push_back({.file = chunk.file.get(),
                        .offset = chunk.range.offset,
                        .out = chunk.buffer.span(),
                        .tag = i});
  }
  const std::unique_ptr<storage::ReadBatch> batch = context_.reads->NewBatch();
  batch->Submit(requests);
  while (const std::optional<storage::ReadCompletion> done = batch->Next()) {
    TESSERA_RETURN_IF_ERROR(done->status);
    window_[done->tag].bytes_read = done->bytes;
  }
  return absl::OkStatus();
}

absl::Status LiveReader::Flush() {
  TESSERA_RETURN_IF_ERROR(ReadAll());
  for (const Chunk& chunk : window_) TESSERA_RETURN_IF_ERROR(Visit(chunk));
  window_.clear();
  window_bytes_ = 0;
  return absl::OkStatus();
}

absl::Status LiveReader::Visit(const Chunk& chunk) const {
  if (chunk.bytes_read < chunk.range.bytes) {
    return absl::DataLossError(absl::StrCat("extent file ", chunk.range.file, " ends at ",
                                            chunk.range.offset + chunk.bytes_read,
                                            ", a raw plane goes on"));
  }
  const query::ListPart& part = view_.parts[chunk.part];
  const index::RawUnitShape shape(view_.field);
  std::vector<std::byte> record(index::RawRecordBytes(view_.field));
  const uint64_t first = uint64_t{part.first_block} * index::kBlockRows;
  std::span<const std::byte> rest = chunk.buffer.span();
  for (uint32_t unit = chunk.first_unit; unit < chunk.end_unit; ++unit) {
    const size_t rows = index::RawUnitRows(view_.field, part.rows, unit);
    const size_t bytes = index::RawUnitBytes(view_.field, rows);
    if (const absl::Status valid = index::ValidateRawUnit(view_.field, rows, rest.first(bytes));
        !valid.ok()) {
      return absl::Status(valid.code(), absl::StrCat("raw plane in extent file ", chunk.range.file,
                                                     ": ", valid.message()));
    }
    for (uint32_t i = 0; i < rows; ++i) {
      const uint32_t slot = unit * view_.raw_rows_per_unit + i;
      if (!live_.IsLive(first + slot)) continue;
      shape.LoadRecord(rest.data(), i, record.data());
      TESSERA_RETURN_IF_ERROR(visit_(chunk.part, slot, record));
    }
    rest = rest.subspan(bytes);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadLiveRecordsOf(Context& context, const IndexVersion& version,
                               const query::LiveBitmap& live, std::span<const uint32_t> parts,
                               LiveRecordVisitor visit) {
  LiveReader reader(context, version, live, visit);
  for (const uint32_t part : parts) TESSERA_RETURN_IF_ERROR(reader.Add(part));
  return reader.Flush();
}

absl::Status ReadLiveRecords(
    Context& context, const IndexVersion& version, const query::LiveBitmap& live,
    absl::FunctionRef<absl::Status(std::span<const std::byte> record)> visit) {
  // In the order in which the parts are in the files.
  std::vector<uint32_t> parts = version.parts_by_block;
  return ReadLiveRecordsOf(
      context, version, live, parts,
      [&](uint32_t, uint32_t, std::span<const std::byte> record) { return visit(record); });
}

}  // namespace tessera::version
