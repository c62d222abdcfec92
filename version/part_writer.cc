#include "version/part_writer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "index/parallel_for.h"
#include "index/raw_plane.h"
#include "version/fine_plane.h"
#include "version/search_rows.h"
#include "index/search_space.h"

namespace tessera::version {
namespace {

using storage::PlaneKind;

// Planes begin on cache lines of the batch's buffer.
size_t RoundUp(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

}  // namespace

PartWriter::PartWriter(const base::VectorFieldSchema& field, const index::HeadIndex& heads,
                       const index::Codec& codec, const PlaneWriters& writers,
                       const PartWriterOptions& options)
    : field_(field), heads_(heads), codec_(codec), writers_(writers), options_(options) {
  scratch_.resize(index::EffectiveThreads(options.thread_count));
  for (Scratch& scratch : scratch_) scratch.head.resize(field.dim);
}

uint32_t PartWriter::Plan(const PartPlan& plan, uint32_t part, uint32_t end, Batch* batch) const {
  const size_t record_bytes = codec_.FineRecordBytes();
  batch->parts.clear();
  size_t bytes = 0;
  for (; part < end && (bytes == 0 || bytes < options_.batch_bytes); ++part) {
    const uint32_t rows = plan.parts()[part].rows;
    Part planned{.number = part, .codes = bytes};
    planned.fine = planned.codes + RoundUp(codec_.CodePlaneBytes(rows));
    planned.raw =
        planned.fine + (record_bytes > 0 ? RoundUp(FinePlaneBytes(record_bytes, rows)) : 0);
    planned.end = planned.raw + index::RawPlaneBytes(field_, rows);
    bytes = RoundUp(planned.end);
    batch->parts.push_back(planned);
  }
  if (batch->bytes.size() < bytes) batch->bytes.resize(bytes);
  return part;
}

void PartWriter::WriteRawPlane(const RowGroup& group, uint32_t part, uint32_t rows,
                               std::byte* plane) const {
  const index::RawUnitShape shape(field_);
  const size_t stride = index::RawUnitStride(field_);
  const uint32_t per_unit = index::RawRowsPerUnit(field_);
  for (uint32_t begin = 0; begin < rows; begin += per_unit, plane += stride) {
    const uint32_t count = std::min(per_unit, rows - begin);
    std::memset(plane, 0, index::RawUnitBytes(field_, count));
    for (uint32_t i = 0; i < count; ++i) {
      shape.StoreRecord(group.Record(part, begin + i), i, plane);
    }
  }
}

void PartWriter::Encode(const PartPlan& plan, const RowGroup& group, Batch* batch, size_t index,
                        Scratch* scratch) const {
  const Part& part = batch->parts[index];
  const PlannedPart& planned = plan.parts()[part.number];
  const size_t dim = field_.dim;
  scratch->rows.resize(planned.rows * dim);
  for (uint32_t slot = 0; slot < planned.rows; ++slot) {
    ToSearchRow(field_, group.Record(part.number, slot),
                std::span(scratch->rows).subspan(slot * dim, dim));
  }
  index::ApplyUnit(heads_.unit(), scratch->rows);
  heads_.DecodeHead(planned.list, scratch->head.data());
  const size_t record_bytes = codec_.FineRecordBytes();
  scratch->fine.resize(planned.rows * record_bytes);
  codec_.EncodeList(scratch->head.data(), scratch->rows.data(), planned.rows,
                    batch->bytes.data() + part.codes, scratch->fine.data());
  if (record_bytes > 0) {
    WriteFinePlane(record_bytes, planned.rows, scratch->fine.data(),
                   batch->bytes.data() + part.fine);
  }
  WriteRawPlane(group, part.number, planned.rows, batch->bytes.data() + part.raw);
}

absl::Status PartWriter::Append(const PartPlan& plan, const Batch& batch,
                                storage::VersionRecord* record) {
  const size_t record_bytes = codec_.FineRecordBytes();
  const auto append = [&](PlaneKind kind, storage::ExtentWriter& writer, const Part& part,
                          size_t begin, size_t bytes) -> absl::Status {
    TESSERA_ASSIGN_OR_RETURN(
        const storage::ExtentRef ref,
        writer.Append(std::span(batch.bytes).subspan(begin, bytes), storage::kPlaneAlignment));
    record->planes[kind].push_back(ref);
    if (kind == PlaneKind::kCodes) record->list_rows.push_back(plan.parts()[part.number].rows);
    return absl::OkStatus();
  };
  for (const Part& part : batch.parts) {
    TESSERA_RETURN_IF_ERROR(append(PlaneKind::kCodes, *writers_.codes, part, part.codes,
                                   codec_.CodePlaneBytes(plan.parts()[part.number].rows)));
  }
  for (const Part& part : batch.parts) {
    if (record_bytes == 0) break;
    TESSERA_RETURN_IF_ERROR(append(PlaneKind::kFine, *writers_.fine, part, part.fine,
                                   FinePlaneBytes(record_bytes, plan.parts()[part.number].rows)));
  }
  for (const Part& part : batch.parts) {
    TESSERA_RETURN_IF_ERROR(
        append(PlaneKind::kRaw, *writers_.raw, part, part.raw, part.end - part.raw));
  }
  return absl::OkStatus();
}

absl::Status PartWriter::Write(const PartPlan& plan, const RowGroup& group,
                               storage::VersionRecord* record) {
  Batch* encoding = &batches_[0];
  Batch* writing = &batches_[1];
  writing->parts.clear();
  for (uint32_t next = group.first_part; next < group.end_part || !writing->parts.empty();) {
    if (options_.cancelled != nullptr && options_.cancelled->load(std::memory_order_relaxed)) {
      return absl::CancelledError("the index build was cancelled");
    }
    next = Plan(plan, next, group.end_part, encoding);
    absl::Status written;
    // Index 0 writes the batch before, the others encode.
    index::ParallelFor(encoding->parts.size() + 1, options_.thread_count,
                       [&](size_t i, uint32_t worker) {
                         if (i == 0) {
                           written = Append(plan, *writing, record);
                         } else {
                           Encode(plan, group, encoding, i - 1, &scratch_[worker]);
                         }
                       });
    TESSERA_RETURN_IF_ERROR(written);
    if (options_.written) {
      uint64_t rows = 0;
      for (const Part& part : writing->parts) rows += plan.parts()[part.number].rows;
      options_.written(rows);
    }
    std::swap(encoding, writing);
  }
  return absl::OkStatus();
}

}  // namespace tessera::version
