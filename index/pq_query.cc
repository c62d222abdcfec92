#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "index/kernels/pq_scan.h"
#include "index/kernels/vector_ops.h"
#include "index/pq_codec.h"
#include "index/pq_layout.h"

namespace tessera::index {
namespace {

// Blocks per kernel call: their sums stay in the first-level cache.
constexpr size_t kChunkBlocks = 8;
// The entries of a pair of dictionaries fit a byte, less what rounding may add; all of them 16
// signed bits.
constexpr float kPairGoal = 253;
constexpr float kSumMost = 32767;
// Query components beyond this are treated as this.
constexpr float kComponentMost = 1e18F;

class PqQuery final : public QueryCode {
 public:
  PqQuery(size_t dim, size_t lines, std::unique_ptr<QueryCode> fine_code)
      : kernels(ActivePqScan()),
        ops(ActiveVectorOps()),
        centred(2 * ((dim + 1) / 2)),
        products(2 * lines * kPqWords),
        table(2 * lines * kPqWords),
        fine(std::move(fine_code)) {}

  const PqScanKernels& kernels;
  const VectorOps& ops;
  std::vector<float> centred;   // q - mu, padded with a zero
  std::vector<float> products;  // of the query with every word
  std::vector<uint8_t> table;   // the same in steps above their dictionary's least
  float step = 1;
  float least = 0;  // the sum of the dictionaries' least products
  float most = 0;   // the largest sum of entries there can be
  float norm2 = 0;  // |q|^2
  std::unique_ptr<QueryCode> fine;
};

const PqQuery& Cast(const QueryCode& code) {
  return static_cast<const PqQuery&>(code);
}

// The factor a of pq_codec.h and |q - a c|^2.
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

// Rounds the products to bytes such that no sum overflows.
void BuildTable(size_t dictionaries, PqQuery* q) {
  std::vector<float>& products = q->products;
  float widest_pair = 0;
  float width = 0;
  q->least = 0;
  float pair = 0;
  for (size_t m = 0; m < dictionaries; ++m) {
    float* of = products.data() + m * kPqWords;
    const auto [low, high] = std::minmax_element(of, of + kPqWords);
    const float least = *low;
    const float range = *high - least;
    q->least += least;
    width += range;
    pair = m % 2 == 0 ? range : pair + range;
    widest_pair = std::max(widest_pair, pair);
    for (size_t w = 0; w < kPqWords; ++w) of[w] -= least;
  }
  // Rounding adds at most a half to each entry.
  q->step =
      std::max(widest_pair / kPairGoal, width / (kSumMost - static_cast<float>(dictionaries)));
  if (!(q->step > 0)) q->step = 1;
  const float inverse = 1 / q->step;
  for (size_t i = 0; i < dictionaries * kPqWords; ++i) {
    // NOLINTNEXTLINE(bugprone-incorrect-roundings): not negative
    q->table[i] = static_cast<uint8_t>(products[i] * inverse + 0.5F);
  }
  q->most = std::min(kSumMost, width * inverse + static_cast<float>(dictionaries));
}

// The bound of one list in table steps and factor bytes: a row passes iff sum > base + slope * A.
struct ListForm {
  float base = 0;
  float slope = 0;
};

bool ToThreshold(const ListForm& form, PqScanArgs* args) {
  const float coef = std::nearbyint(form.slope * 256);
  const float base = std::nearbyint(form.base);
  if (!(std::abs(coef) + std::abs(base) <= kSumMost)) return false;
  args->coef = static_cast<int16_t>(coef);
  args->base = static_cast<int16_t>(base);
  return true;
}

}  // namespace

std::unique_ptr<QueryCode> PqCodec::NewQuery() const {
  return std::make_unique<PqQuery>(p_.dim, lines_, fine_ == nullptr ? nullptr : fine_->NewQuery());
}

void PqCodec::PrepareQuery(const float* query, QueryCode* code) const {
  auto* q = static_cast<PqQuery*>(code);
  for (size_t j = 0; j < p_.dim; ++j) {
    q->centred[j] = std::clamp(query[j] - p_.mean[j], -kComponentMost, kComponentMost);
  }
  q->norm2 = q->ops.norm2_f32(query, p_.dim);
  const size_t dictionaries = PqDictionaries(p_.dim);
  for (size_t m = 0; m < dictionaries; ++m) {
    const float x = q->centred[2 * m];
    const float y = q->centred[2 * m + 1];
    const float* words = p_.words.data() + m * kPqWords * kPqWordDims;
    float* products = q->products.data() + m * kPqWords;
    for (size_t w = 0; w < kPqWords; ++w) products[w] = x * words[2 * w] + y * words[2 * w + 1];
  }
  BuildTable(dictionaries, q);
  if (fine_ != nullptr) fine_->PrepareQuery(query, q->fine.get());
}

size_t PqCodec::ScanList(const QueryCode& code, const ListScan& scan, Survivor* out) const {
  const PqQuery& q = Cast(code);
  const pq::PlaneHeader header = pq::LoadHeader(scan.code_plane);
  const HeadFit fit = FitHead(p_.metric, q.norm2, scan.head_distance2, scan.head_dot);
  const float origin = OriginOf(p_.metric, scan.head_distance2, scan.head_dot);
  const float unit = UnitOf(p_.metric);
  // Of an estimate, before the unit: numerator + per_a * A - 2 step * sum.
  const float numerator = origin + fit.alpha * header.a_offset - 2 * q.least;
  const float per_a = fit.alpha * header.a_scale;
  const float half_inverse = 0.5F / q.step;
  PqScanArgs args;
  ListForm form;
  bool exact_threshold = false;  // too wide for 16 bits: rows are judged one by one
  if (scan.tau < std::numeric_limits<float>::max()) {
    form.slope = per_a * half_inverse;
    // The code's error, and the rounding of the table's entries and of the factor, each uniform
    // within a step.
    const float code_sd = p_.sigma * header.error / q.step;
    const float variance =
        code_sd * code_sd * fit.gap2 +
        (static_cast<float>(PqDictionaries(p_.dim)) + form.slope * form.slope) / 12;
    form.base = (numerator - scan.tau / unit) * half_inverse - scan.eps * std::sqrt(variance);
    if (form.base + std::min(0.0F, 255 * form.slope) >= q.most + 2) return 0;
    exact_threshold = !ToThreshold(form, &args);
  }
  args.table = q.table.data();
  args.pairs = lines_;
  const size_t stride = PqScanBlockBytes(lines_);
  const size_t blocks = BlockCount(scan.rows);
  size_t found = 0;
  // NOLINTBEGIN(cppcoreguidelines-pro-type-member-init): the scan writes what is read
  std::array<uint64_t, kChunkBlocks> eligible;
  std::array<uint64_t, kChunkBlocks> passed;
  std::array<uint16_t, kChunkBlocks * kPqScanRows> sums;
  // NOLINTEND(cppcoreguidelines-pro-type-member-init)
  for (size_t first = 0; first < blocks; first += kChunkBlocks) {
    args.block_count = std::min(kChunkBlocks, blocks - first);
    args.blocks = scan.code_plane + pq::kPlaneHeaderBytes + first * stride;
    for (size_t i = 0; i < args.block_count; ++i) {
      const size_t left = scan.rows - (first + i) * kBlockRows;
      const uint64_t rows = left < kBlockRows ? (uint64_t{1} << left) - 1 : ~uint64_t{0};
      eligible[i] = scan.block_mask == nullptr ? rows : rows & scan.block_mask[first + i];
    }
    args.eligible = eligible.data();
    const bool prefetch = scan.next_code_plane != nullptr && first < BlockCount(scan.next_rows);
    args.prefetch =
        prefetch ? scan.next_code_plane + pq::kPlaneHeaderBytes + first * stride : nullptr;
    args.prefetch_blocks = prefetch ? BlockCount(scan.next_rows) - first : 0;
    q.kernels.scan(args, passed.data(), sums.data());
    for (size_t i = 0; i < args.block_count; ++i) {
      const std::byte* factors = args.blocks + i * stride;
      for (uint64_t rest = passed[i]; rest != 0; rest &= rest - 1) {
        const auto row = static_cast<size_t>(std::countr_zero(rest));
        const auto a = static_cast<float>(std::to_integer<unsigned>(factors[row]));
        const auto sum = static_cast<float>(sums[i * kPqScanRows + row]);
        if (exact_threshold && sum <= form.base + form.slope * a) continue;
        out[found++] = {static_cast<uint32_t>((first + i) * kBlockRows + row),
                        unit * (numerator + per_a * a - 2 * q.step * sum)};
      }
    }
  }
  return found;
}

float PqCodec::FineEstimate(const QueryCode& code, const std::byte* fine_record,
                            float head_distance2, float head_dot) const {
  return fine_->FineEstimate(*Cast(code).fine, fine_record, head_distance2, head_dot);
}

void PqCodec::FineEstimates(const QueryCode& code, const std::byte* fine_plane,
                            float head_distance2, float head_dot,
                            std::span<Survivor> survivors) const {
  fine_->FineEstimates(*Cast(code).fine, fine_plane, head_distance2, head_dot, survivors);
}

}  // namespace tessera::index
