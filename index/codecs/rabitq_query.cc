#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <memory>
#include <new>
#include <vector>

#include "base/coding/coding.h"
#include "index/codecs/rabitq_codec.h"
#include "index/codecs/rabitq_layout.h"
#include "index/kernels/codec_kernels.h"
#include "index/kernels/fastscan.h"
#include "index/kernels/vector_ops.h"

namespace tessera::index {
namespace {

constexpr size_t kAlignment = 64;
// Blocks per kernel call: their sums stay in the first-level cache.
constexpr size_t kChunkBlocks = 8;
// Of a byte, less what rounding may add (checked afterwards), and of 16 signed bits.
constexpr float kByteGoal = 247;
constexpr unsigned kByteMost = 255;
constexpr unsigned kSumMost = 32767;
// Query components beyond these are treated as these, and as zero: f32 holds no more of them.
constexpr float kComponentMost = 1e30F;
constexpr float kComponentLeast = 1e-30F;

struct AlignedDelete {
  void operator()(uint8_t* p) const { ::operator delete[](p, std::align_val_t{kAlignment}); }
};
using AlignedBytes = std::unique_ptr<uint8_t[], AlignedDelete>;

AlignedBytes NewAligned(size_t bytes) {
  return AlignedBytes(new (std::align_val_t{kAlignment}) uint8_t[bytes]());
}

class RaBitQQuery final : public QueryCode {
 public:
  RaBitQQuery(size_t dim, size_t code_dim, size_t lines)
      : fastscan(ActiveFastScan()),
        ops(ActiveVectorOps()),
        kernels(ActiveCodecKernels()),
        centred(dim),
        sums(code_dim),
        rotated(code_dim),
        cleared(FastScanLookups(lines) * kFastScanGroupBits),
        set(cleared.size()),
        bytes(dim + 1),
        table(NewAligned(FastScanLookups(lines) * kFastScanEntryBytes)) {}

  const FastScanKernels& fastscan;
  const VectorOps& ops;
  const CodecKernels& kernels;
  std::vector<float> centred;    // q - mu
  std::vector<int32_t> sums;     // of bytes, rotated
  std::vector<float> rotated;    // q'
  std::vector<uint8_t> cleared;  // weights of the dimensions
  std::vector<uint8_t> set;
  std::vector<int8_t> bytes;  // q - mu in steps of byte_step
  AlignedBytes table;
  float step = 1;        // of the table
  float half_total = 0;  // half the sum of all weights
  float total = 0;
  float norm2 = 0;  // |q|^2
  float byte_step = 0;
  float byte_middle = 0;  // sum of `bytes` times the middle code
  float rotation_sd = 0;  // of <x', q'> by rounding in the rotation
};

const RaBitQQuery& Cast(const QueryCode& code) {
  return static_cast<const RaBitQQuery&>(code);
}

// The factor a of rabitq_codec.h and |q - a c|^2.
struct HeadFit {
  float alpha = 1;
  float gap2 = 0;
};

HeadFit FitHead(base::Metric metric, float query_norm2, float distance2, float dot) {
  if (metric == base::Metric::kL2) return {1, distance2};
  // Any factor is right; where |c|^2 drowns in rounding errors take the plain one.
  const float head_norm2 = distance2 - query_norm2 + 2 * dot;
  if (!(head_norm2 > 1e-4F * (distance2 + query_norm2))) return {1, distance2};
  const float alpha = dot / head_norm2;
  return {alpha, std::max(0.0F, query_norm2 - alpha * dot)};
}

// The head's part of an estimate, before the row's is added.
float OriginOf(base::Metric metric, float distance2, float dot) {
  if (metric == base::Metric::kL2) return distance2;
  return (metric == base::Metric::kCosine ? 2.0F : 0.0F) - 2 * dot;
}

// What an estimate is multiplied with to become a search-space dissimilarity.
float UnitOf(base::Metric metric) {
  return metric == base::Metric::kInnerProduct ? 0.5F : 1.0F;
}

// The table's weights of dimensions begin .. end - 1; returns their sum.
unsigned AddWeights(size_t begin, size_t end, float inverse, RaBitQQuery* q) {
  unsigned sum = 0;
  for (size_t j = begin; j < end; ++j) {
    const float value = q->rotated[j];
    // NOLINTNEXTLINE(bugprone-incorrect-roundings): not negative
    const auto weight = static_cast<int>(std::abs(value) * inverse + 0.5F);
    const int mask = value > 0 ? -1 : 0;
    q->set[j] = static_cast<uint8_t>(weight & mask);
    q->cleared[j] = static_cast<uint8_t>(weight & ~mask);
    sum += static_cast<unsigned>(weight);
  }
  return sum;
}

// Rounds |q'_j| / step to bytes such that no byte of the scan's running sums overflows.
void BuildWeights(RaBitQQuery* q) {
  constexpr size_t kDimsPerWiden = kFastScanLookupsPerWiden * kFastScanGroupBits;
  const size_t dims = q->rotated.size();
  float worst = 0;
  float total = 0;
  for (size_t first = 0; first < dims; first += kDimsPerWiden) {
    const size_t count = std::min(kDimsPerWiden, dims - first);
    const float* part = q->rotated.data() + first;
    const float sum = q->kernels.sign_sums(part, part, count).magnitude;
    worst = std::max(worst, sum);
    total += sum;
  }
  float step =
      std::max(worst / kByteGoal, total / (static_cast<float>(kSumMost) - 4.0F * kDimsPerWiden));
  if (!(step > 0)) step = 1;
  for (bool fits = false; !fits; step *= 1.02F) {
    fits = true;
    unsigned weights = 0;
    for (size_t first = 0; first < dims && fits; first += kDimsPerWiden) {
      const unsigned sum = AddWeights(first, std::min(dims, first + kDimsPerWiden), 1 / step, q);
      weights += sum;
      fits = sum <= kByteMost;
    }
    fits = fits && weights <= kSumMost;
    q->total = static_cast<float>(weights);
    q->step = step;
  }
  q->half_total = q->total / 2;
}

// The bound of one list in table steps and factor bytes: a row passes iff
// sum > base + slope_a * A + slope_b * B.
struct ListForm {
  float base;
  float slope_a;
  float slope_b;
};

// `gap` is the dissimilarity of head and query less tau.
// NOLINTNEXTLINE(readability-function-size): one caller
ListForm FormOf(const rabitq::PlaneHeader& header, const HeadFit& fit, float gap,
                const RaBitQParameters& p, float eps, const RaBitQQuery& q) {
  const float inverse = 1 / q.step;
  ListForm form{};
  form.slope_a = fit.alpha * header.a.scale * inverse;
  form.slope_b = gap * header.b.scale * inverse;
  // The code's error, what rotating in bytes rounds away, and the rounding of the table's weights
  // and of the two factors, each uniform within a step.
  const float code_sd = p.sigma * inverse;
  const float rotation_sd = q.rotation_sd * inverse;
  const float variance =
      code_sd * code_sd * fit.gap2 + rotation_sd * rotation_sd +
      (static_cast<float>(p.code_dim) + form.slope_a * form.slope_a + form.slope_b * form.slope_b) /
          12;
  form.base = (fit.alpha * header.a.offset + gap * header.b.offset) * inverse + q.half_total -
              eps * std::sqrt(variance);
  return form;
}

bool ToThreshold(const ListForm& form, FastScanThreshold* threshold) {
  const float coef_a = std::nearbyint(form.slope_a * 256);
  const float coef_b = std::nearbyint(form.slope_b * 256);
  const float base = std::nearbyint(form.base);
  if (!(std::abs(coef_a) + std::abs(coef_b) <= 32767 && std::abs(base) <= 32767)) return false;
  threshold->coef_a = static_cast<int16_t>(coef_a);
  threshold->coef_b = static_cast<int16_t>(coef_b);
  threshold->base = static_cast<int16_t>(base);
  return true;
}

}  // namespace

std::unique_ptr<QueryCode> RaBitQCodec::NewQuery() const {
  return std::make_unique<RaBitQQuery>(p_.dim, p_.code_dim, lines_);
}

void RaBitQCodec::PrepareQuery(const float* query, QueryCode* code) const {
  auto* q = static_cast<RaBitQQuery*>(code);
  for (size_t i = 0; i < p_.dim; ++i) {
    q->centred[i] = std::clamp(query[i] - p_.mean[i], -kComponentMost, kComponentMost);
  }
  q->norm2 = q->ops.norm2_f32(query, p_.dim);
  const float most = q->kernels.extent(q->centred.data(), p_.dim).largest;
  const float inverse = most > kComponentLeast ? 127 / most : 0;
  q->byte_step = most / 127;
  const int32_t sum = q->kernels.round_bytes(q->centred.data(), p_.dim, inverse, q->bytes.data());
  q->byte_middle = static_cast<float>(sum) * (p_.fine_bits == 4 ? 7.5F : 127.5F);
  q->kernels.multiply_bytes(projection_bytes_.data(), p_.code_dim, q->bytes.data(), p_.dim,
                            q->sums.data());
  for (size_t j = 0; j < p_.code_dim; ++j) {
    q->rotated[j] = q->byte_step * row_step_[j] * static_cast<float>(q->sums[j] - 128 * sum);
  }
  // Both roundings are uniform within a step, and x' is +-1/2 in every dimension.
  const float noise =
      q->byte_step * q->byte_step * static_cast<float>(p_.code_dim) + row_step_norm2_ * q->norm2;
  q->rotation_sd = std::sqrt(noise / 48);
  BuildWeights(q);
  q->fastscan.build_table(q->cleared.data(), q->set.data(), lines_, q->table.get());
}

size_t RaBitQCodec::ScanList(const QueryCode& code, const ListScan& scan, Survivor* out) const {
  const RaBitQQuery& q = Cast(code);
  const rabitq::PlaneHeader header = rabitq::LoadHeader(scan.code_plane);
  const HeadFit fit = FitHead(p_.metric, q.norm2, scan.head_distance2, scan.head_dot);
  const float origin = OriginOf(p_.metric, scan.head_distance2, scan.head_dot);
  const float unit = UnitOf(p_.metric);
  FastScanArgs args;
  ListForm form{};
  bool exact_threshold = false;  // too wide for 16 bits: rows are judged one by one
  if (scan.tau < std::numeric_limits<float>::max()) {
    form = FormOf(header, fit, origin - scan.tau / unit, p_, scan.eps, q);
    const float least =
        form.base + std::min(0.0F, 255 * form.slope_a) + std::min(0.0F, 255 * form.slope_b);
    if (least >= q.total + 2) return 0;
    exact_threshold = !ToThreshold(form, &args.threshold);
  }
  args.table = q.table.get();
  args.lines = lines_;
  const size_t stride = FastScanBlockBytes(lines_);
  const float numerator = fit.alpha * header.a.offset + q.half_total * q.step;
  const float per_a = fit.alpha * header.a.scale;
  const size_t blocks = BlockCount(scan.rows);
  size_t found = 0;
  // NOLINTBEGIN(cppcoreguidelines-pro-type-member-init): the scan writes what is read
  std::array<uint64_t, kChunkBlocks> eligible;
  std::array<uint64_t, kChunkBlocks> passed;
  std::array<uint16_t, kChunkBlocks * kFastScanRows> sums;
  // NOLINTEND(cppcoreguidelines-pro-type-member-init)
  for (size_t first = 0; first < blocks; first += kChunkBlocks) {
    args.block_count = std::min(kChunkBlocks, blocks - first);
    args.blocks = scan.code_plane + rabitq::kPlaneHeaderBytes + first * stride;
    for (size_t i = 0; i < args.block_count; ++i) {
      const size_t left = scan.rows - (first + i) * kBlockRows;
      const uint64_t rows = left < kBlockRows ? (uint64_t{1} << left) - 1 : ~uint64_t{0};
      eligible[i] = scan.block_mask == nullptr ? rows : rows & scan.block_mask[first + i];
    }
    args.eligible = eligible.data();
    args.prefetch = nullptr;
    if (scan.next_code_plane != nullptr && first < BlockCount(scan.next_rows)) {
      args.prefetch = scan.next_code_plane + rabitq::kPlaneHeaderBytes + first * stride;
      args.prefetch_blocks = BlockCount(scan.next_rows) - first;
    } else {
      args.prefetch_blocks = 0;
    }
    q.fastscan.scan(args, passed.data(), sums.data());
    for (size_t i = 0; i < args.block_count; ++i) {
      const std::byte* factors = args.blocks + i * stride;
      for (uint64_t rest = passed[i]; rest != 0; rest &= rest - 1) {
        const auto row = static_cast<size_t>(std::countr_zero(rest));
        const auto a = static_cast<float>(std::to_integer<unsigned>(factors[row]));
        const auto b = static_cast<float>(std::to_integer<unsigned>(factors[kFastScanRows + row]));
        const auto sum = static_cast<float>(sums[i * kFastScanRows + row]);
        if (exact_threshold && sum <= form.base + form.slope_a * a + form.slope_b * b) continue;
        const float estimate = origin + (numerator + per_a * a - q.step * sum) /
                                            (header.b.offset + header.b.scale * b);
        out[found++] = {static_cast<uint32_t>((first + i) * kBlockRows + row), unit * estimate};
      }
    }
  }
  return found;
}

float RaBitQCodec::FineEstimate(const QueryCode& code, const std::byte* fine_record,
                                float head_distance2, float head_dot) const {
  Survivor one{0, 0};
  FineEstimates(code, fine_record, head_distance2, head_dot, {&one, 1});
  return one.estimate;
}

void RaBitQCodec::FineEstimates(const QueryCode& code, const std::byte* fine_plane,
                                float head_distance2, float head_dot,
                                std::span<Survivor> survivors) const {
  const RaBitQQuery& q = Cast(code);
  const float alpha = FitHead(p_.metric, q.norm2, head_distance2, head_dot).alpha;
  const float origin = OriginOf(p_.metric, head_distance2, head_dot);
  const float unit = UnitOf(p_.metric);
  const size_t half = (p_.dim + 1) / 2;
  for (Survivor& survivor : survivors) {
    const std::byte* record = fine_plane + survivor.slot * fine_bytes_;
    const auto* codes = reinterpret_cast<const uint8_t*>(record + rabitq::kFineFactorBytes);
    const int32_t dot = p_.fine_bits == 4
                            ? q.ops.code4_dot(codes, q.bytes.data(), q.bytes.data() + half, half)
                            : q.ops.code8_dot(codes, q.bytes.data(), p_.dim);
    const float projected = q.byte_step * (static_cast<float>(dot) - q.byte_middle);
    survivor.estimate =
        unit * (origin + alpha * base::LoadF32(record + 4) - 2 * base::LoadF32(record) * projected);
  }
}

}  // namespace tessera::index
