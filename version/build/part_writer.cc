#include "version/build/part_writer.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "index/parallel_for.h"
#include "index/search_space.h"
#include "version/build/search_rows.h"

namespace tessera::version {
namespace {

// Planes begin on cache lines of the batch's buffer.
size_t RoundUp(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

}  // namespace

PartWriter::PartWriter(const base::VectorFieldSchema& field, const index::HeadIndex& heads,
                       const index::Codec& codec, const PlaneWriters& writers,
                       const PartWriterOptions& options)
    : field_(field),
      heads_(heads),
      codec_(codec),
      planes_(PlanesOf(field, codec)),
      writers_(writers),
      options_(options) {
  TESSERA_CHECK(writers_.size() == planes_.size());
  scratch_.resize(index::EffectiveThreads(options.thread_count));
  for (Scratch& scratch : scratch_) scratch.head.resize(field.dim);
}

void PartWriter::Plan(const PartPlan& plan, uint32_t part, uint32_t end, Batch* batch) const {
  batch->first_part = part;
  batch->begins.clear();
  size_t bytes = 0;
  for (; part < end && (bytes == 0 || bytes < options_.batch_bytes); ++part) {
    for (const Plane& plane : planes_) {
      batch->begins.push_back(bytes);
      bytes = RoundUp(bytes + plane.bytes(plan.parts()[part].rows));
    }
  }
  batch->end_part = part;
  if (batch->bytes.size() < bytes) batch->bytes.resize(bytes);
}

void PartWriter::Encode(const PartPlan& plan, const RowGroup& group, Batch* batch, uint32_t part,
                        Scratch* scratch) const {
  const PlannedPart& planned = plan.parts()[part];
  const size_t dim = field_.dim;
  scratch->rows.resize(planned.rows * dim);
  for (uint32_t slot = 0; slot < planned.rows; ++slot) {
    ToSearchRow(field_, group.Record(part, slot),
                std::span(scratch->rows).subspan(slot * dim, dim));
  }
  index::ApplyUnit(heads_.unit(), scratch->rows);
  heads_.DecodeHead(planned.list, scratch->head.data());
  scratch->codes.resize(codec_.CodePlaneBytes(planned.rows));
  scratch->fine.resize(planned.rows * codec_.FineRecordBytes());
  codec_.EncodeList(scratch->head.data(), scratch->rows.data(), planned.rows, scratch->codes.data(),
                    scratch->fine.data());
  const auto record = [&](uint32_t slot) { return group.Record(part, slot); };
  const EncodedPart encoded = {
      .rows = planned.rows, .codes = scratch->codes, .fine = scratch->fine, .record = record};
  const size_t first = (part - batch->first_part) * planes_.size();
  for (size_t plane = 0; plane < planes_.size(); ++plane) {
    planes_[plane].write(encoded, batch->bytes.data() + batch->begins[first + plane]);
  }
}

absl::Status PartWriter::Append(const PartPlan& plan, const Batch& batch,
                                storage::VersionRecord* record) {
  for (size_t plane = 0; plane < planes_.size(); ++plane) {
    for (uint32_t part = 0; part < batch.parts(); ++part) {
      const uint64_t bytes = planes_[plane].bytes(plan.parts()[batch.first_part + part].rows);
      const size_t begin = batch.begins[part * planes_.size() + plane];
      TESSERA_ASSIGN_OR_RETURN(const storage::ExtentRef ref,
                               writers_[plane]->Append(std::span(batch.bytes).subspan(begin, bytes),
                                                       storage::kPlaneAlignment));
      record->planes[planes_[plane].kind].push_back(ref);
    }
  }
  for (uint32_t part = batch.first_part; part < batch.end_part; ++part) {
    record->list_rows.push_back(plan.parts()[part].rows);
  }
  return absl::OkStatus();
}

absl::Status PartWriter::Write(const PartPlan& plan, const RowGroup& group,
                               storage::VersionRecord* record) {
  Batch* encoding = &batches_[0];
  Batch* writing = &batches_[1];
  writing->first_part = writing->end_part = 0;
  for (uint32_t next = group.first_part; next < group.end_part || writing->parts() > 0;) {
    TESSERA_RETURN_IF_ERROR(options_.pace.Check());
    Plan(plan, next, group.end_part, encoding);
    next = encoding->end_part;
    absl::Status written;
    // Index 0 writes the batch before, the others encode.
    index::ParallelFor(size_t{encoding->parts()} + 1, options_.thread_count,
                       [&](size_t i, uint32_t worker) {
                         if (i == 0) {
                           written = Append(plan, *writing, record);
                         } else {
                           const auto part = static_cast<uint32_t>(encoding->first_part + i - 1);
                           Encode(plan, group, encoding, part, &scratch_[worker]);
                         }
                       });
    TESSERA_RETURN_IF_ERROR(written);
    if (options_.written) {
      uint64_t rows = 0;
      for (uint32_t part = writing->first_part; part < writing->end_part; ++part) {
        rows += plan.parts()[part].rows;
      }
      options_.written(rows);
    }
    std::swap(encoding, writing);
  }
  return absl::OkStatus();
}

}  // namespace tessera::version
