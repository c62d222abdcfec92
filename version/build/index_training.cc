#include "version/build/index_training.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>

#include "base/status_macros.h"
#include "index/assigner.h"
#include "index/clustering.h"
#include "index/codecs/codec_trainer.h"
#include "index/parallel_for.h"
#include "index/raw_plane.h"
#include "index/search_space.h"
#include "version/build/search_rows.h"

namespace tessera::version {
namespace {

// Rows of the sample for each list. More make training longer and hardly better: the number of rows
// that a search has to scan follows the list size, not the quality of the clustering.
constexpr uint64_t kSampleRowsPerList = 64;
constexpr uint64_t kSampleRowsMin = 4096;
// Heads are in memory this many times while they are trained.
constexpr uint64_t kHeadCopies = 4;
// Bytes of a sample row besides the row itself.
constexpr uint64_t kSampleRowExtraBytes = 32;
constexpr uint64_t kTrainingRowsMin = 1024;
constexpr size_t kReadBytes = 1 << 20;
constexpr uint64_t kAssignRowsMin = 256;
constexpr uint64_t kAssignRowsMax = 65536;
// Up to this many times the square root of the heads, comparing every row with every head is
// cheaper than grouping the heads first.
constexpr double kFlatRowsPerRoot = 16;
constexpr uint64_t kAssignerSampleRows = 2048;

void Report(const TrainingOptions& options, std::string_view phase, uint64_t done, uint64_t total) {
  if (options.progress) options.progress(phase, done, total);
}

uint64_t SampleRows(uint64_t rows, size_t dim, uint64_t memory_bytes) {
  const uint64_t lists = index::ListCountFor(rows, index::kListRowsDefault);
  const uint64_t head_bytes = kHeadCopies * lists * dim * sizeof(float);
  const uint64_t budget = memory_bytes / 10 * 6;
  const uint64_t row_bytes = dim * sizeof(float) + kSampleRowExtraBytes;
  const uint64_t fit = budget > head_bytes ? (budget - head_bytes) / row_bytes : 0;
  const uint64_t wanted = std::max(kSampleRowsPerList * lists, 4 * kSampleRowsMin);
  return std::min(rows, std::max(kSampleRowsMin, std::min(fit, wanted)));
}

// Decodes the records at `picked` (ascending); the unit of search space is 1.
absl::StatusOr<std::vector<float>> ReadRows(const FieldRecords& rows,
                                            const std::vector<uint64_t>& picked,
                                            const TrainingOptions& options) {
  const size_t dim = rows.field.dim;
  const size_t record_bytes = rows.records.record_bytes();
  const uint64_t per_read = std::max<uint64_t>(1, kReadBytes / record_bytes);
  std::vector<float> out(picked.size() * dim);
  std::vector<std::byte> buffer;
  for (size_t begin = 0; begin < picked.size();) {
    TESSERA_RETURN_IF_ERROR(options.pace.Check());
    size_t end = begin + 1;
    while (end < picked.size() && picked[end] - picked[begin] < per_read) ++end;
    TESSERA_RETURN_IF_ERROR(
        rows.records.Read(picked[begin], picked[end - 1] - picked[begin] + 1, &buffer));
    index::ParallelFor(end - begin, options.thread_count, [&](size_t i, uint32_t) {
      ToSearchRow(rows.field, buffer.data() + (picked[begin + i] - picked[begin]) * record_bytes,
                  std::span(out).subspan((begin + i) * dim, dim));
    });
    begin = end;
  }
  return out;
}

// One row out of each of `count` equal stretches; all rows when there are no more.
std::vector<uint64_t> DrawRows(uint64_t rows, uint64_t count, uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::vector<uint64_t> drawn(count);
  for (uint64_t i = 0; i < count; ++i) {
    const auto begin = static_cast<uint64_t>(static_cast<__uint128_t>(i) * rows / count);
    const auto end = static_cast<uint64_t>(static_cast<__uint128_t>(i + 1) * rows / count);
    drawn[i] = begin + (end > begin + 1 ? rng() % (end - begin) : 0);
  }
  return drawn;
}

// Keeps `count` evenly spread rows of a clustered sample.
void ThinOut(size_t count, size_t dim, std::vector<float>* rows, std::vector<uint32_t>* lists) {
  const size_t n = lists->size();
  if (count >= n) return;
  for (size_t i = 0; i < count; ++i) {
    const size_t from = i * n / count;
    (*lists)[i] = (*lists)[from];
    if (from == i) continue;
    std::copy_n(rows->data() + from * dim, dim, rows->data() + i * dim);
  }
  lists->resize(count);
  rows->resize(count * dim);
  rows->shrink_to_fit();
}

// All decoded heads [head_count x dim].
std::vector<float> DecodeHeads(const index::HeadIndex& heads, uint32_t thread_count) {
  std::vector<float> decoded(heads.head_count() * heads.dim());
  index::ParallelFor(heads.head_count(), thread_count, [&](size_t list, uint32_t) {
    heads.DecodeHead(static_cast<uint32_t>(list), decoded.data() + list * heads.dim());
  });
  return decoded;
}

}  // namespace

absl::StatusOr<IndexModel> TrainModel(const FieldRecords& rows, const TrainingOptions& options) {
  const size_t dim = rows.field.dim;
  const uint64_t row_count = rows.records.record_count();
  Report(options, "train", 0, row_count);
  const uint64_t sample_rows = SampleRows(row_count, dim, options.memory_bytes);
  TESSERA_ASSIGN_OR_RETURN(std::vector<float> sample,
                           ReadRows(rows, DrawRows(row_count, sample_rows, options.seed), options));
  TESSERA_RETURN_IF_ERROR(options.pace.Check());
  const float unit = index::UnitFor(rows.field.metric, sample);
  index::ApplyUnit(unit, sample);
  index::Clustering clustering = index::BuildClustering(sample, dim,
                                                        {.list_rows = index::kListRowsDefault,
                                                         .total_rows = row_count,
                                                         .seed = options.seed,
                                                         .thread_count = options.thread_count,
                                                         .cancelled = options.pace.cancelled});
  TESSERA_RETURN_IF_ERROR(options.pace.Check());
  IndexModel model;
  model.heads = index::HeadIndex::Build(clustering.heads, dim,
                                        {.metric = rows.field.metric,
                                         .spreads = {},
                                         .unit = unit,
                                         .seed = options.seed,
                                         .thread_count = options.thread_count});
  model.trained_heads = std::move(clustering.heads);
  const std::vector<float> heads = DecodeHeads(*model.heads, options.thread_count);
  TESSERA_RETURN_IF_ERROR(options.pace.Check());
  // The trainer copies what it draws.
  const uint64_t training_rows =
      std::max(kTrainingRowsMin, options.memory_bytes / 10 * 3 / (dim * sizeof(float)));
  ThinOut(training_rows, dim, &sample, &clustering.assignment);
  TESSERA_ASSIGN_OR_RETURN(
      model.codec,
      index::TrainRaBitQ(
          {.dim = dim, .rows = sample, .heads = heads, .assignment = clustering.assignment},
          {.metric = rows.field.metric,
           .type = rows.field.type,
           .seed = options.seed,
           .thread_count = options.thread_count,
           .cancelled = options.pace.cancelled}));
  Report(options, "train", row_count, row_count);
  return model;
}

std::unique_ptr<index::HeadIndex> WithSpreads(const IndexModel& model, const Assignment& assignment,
                                              const TrainingOptions& options) {
  const std::vector<uint32_t>& rows = assignment.list_rows;
  const std::vector<double>& sums = assignment.list_distance2;
  // A list without rows must not seem a tight one: it gets the mean spread.
  const double total = std::accumulate(sums.begin(), sums.end(), 0.0);
  const auto row_count = std::accumulate(rows.begin(), rows.end(), uint64_t{0});
  std::vector<float> spreads(rows.size());
  for (size_t list = 0; list < rows.size(); ++list) {
    spreads[list] = static_cast<float>(rows[list] > 0 ? sums[list] / rows[list]
                                                      : total / static_cast<double>(row_count));
  }
  return index::HeadIndex::Build(model.trained_heads, model.heads->dim(),
                                 {.metric = model.heads->metric(),
                                  .spreads = spreads,
                                  .unit = model.heads->unit(),
                                  .seed = options.seed,
                                  .thread_count = options.thread_count});
}

absl::StatusOr<Assignment> AssignRows(const FieldRecords& rows, const index::HeadIndex& heads,
                                      const TrainingOptions& options, AssignmentSpool* lists) {
  const size_t dim = rows.field.dim;
  const size_t record_bytes = rows.records.record_bytes();
  const uint64_t row_count = rows.records.record_count();
  std::vector<float> sample;
  const auto head_count = static_cast<double>(heads.head_count());
  if (static_cast<double>(row_count) > kFlatRowsPerRoot * std::sqrt(head_count)) {
    TESSERA_ASSIGN_OR_RETURN(
        sample,
        ReadRows(rows,
                 DrawRows(row_count, std::min(row_count, kAssignerSampleRows), options.seed + 1),
                 options));
    index::ApplyUnit(heads.unit(), sample);
  }
  const index::Assigner assigner(DecodeHeads(heads, options.thread_count), dim, sample,
                                 {.seed = options.seed, .thread_count = options.thread_count});
  sample = {};

  Assignment assignment;
  assignment.list_rows.assign(heads.head_count(), 0);
  assignment.list_distance2.assign(heads.head_count(), 0);
  const uint64_t batch_rows =
      std::clamp(options.memory_bytes / 8 / (dim * sizeof(float) + record_bytes), kAssignRowsMin,
                 kAssignRowsMax);
  std::vector<std::byte> buffer;
  std::vector<float> vectors;
  std::vector<uint32_t> nearest;
  std::vector<float> distances2;
  for (uint64_t first = 0; first < row_count; first += batch_rows) {
    TESSERA_RETURN_IF_ERROR(options.pace.Check());
    Report(options, "assign", first, row_count);
    const auto count = std::min<uint64_t>(batch_rows, row_count - first);
    TESSERA_RETURN_IF_ERROR(rows.records.Read(first, count, &buffer));
    vectors.resize(count * dim);
    nearest.resize(count);
    distances2.resize(count);
    index::ParallelFor(count, options.thread_count, [&](size_t i, uint32_t) {
      const std::span<float> vector = std::span(vectors).subspan(i * dim, dim);
      ToSearchRow(rows.field, buffer.data() + i * record_bytes, vector);
      index::ApplyUnit(heads.unit(), vector);
    });
    assigner.Assign(vectors.data(), count, nearest.data(), distances2.data());
    for (size_t i = 0; i < count; ++i) {
      ++assignment.list_rows[nearest[i]];
      assignment.list_distance2[nearest[i]] += std::max(distances2[i], 0.0F);
      TESSERA_RETURN_IF_ERROR(lists->Append(
          {.row = index::RawRowId(buffer.data() + i * record_bytes), .list = nearest[i]}));
    }
  }
  TESSERA_RETURN_IF_ERROR(lists->FinishWriting());
  Report(options, "assign", row_count, row_count);
  return assignment;
}

}  // namespace tessera::version
