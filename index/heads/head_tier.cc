#include "index/heads/head_tier.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/status_macros.h"
#include "index/kernels/head_kernels.h"

namespace tessera::index {
namespace {

// Width of the bound in the scan.
constexpr float kEps = 1.5F;
// With fewer wanted heads than this the limit is drawn from too few estimates.
constexpr size_t kWantedLeast = 32;
// Survivors that are compared exactly, for each wanted head.
constexpr size_t kCandidatesPerHead = 8;

uint64_t NextId() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

absl::Status ReadNumbers(base::Decoder* in, size_t count, std::vector<uint32_t>* numbers) {
  if (in->remaining() / sizeof(uint32_t) < count) {
    return absl::DataLossError(absl::StrCat("head tier ends before its ", count, " numbers"));
  }
  numbers->resize(count);
  for (uint32_t& number : *numbers) TESSERA_RETURN_IF_ERROR(in->U32(&number));
  return absl::OkStatus();
}

}  // namespace

HeadTier::HeadTier() : id_(NextId()) {}

void HeadTier::LayOutPlanes() {
  plane_begin_.assign(1, 0);
  for (size_t g = 0; g + 1 < begin_.size(); ++g) {
    plane_begin_.push_back(plane_begin_.back() + codec_->CodePlaneBytes(begin_[g + 1] - begin_[g]));
  }
}

// Between the measured numbers the logarithms are interpolated; beyond the last they grow alike.
size_t HeadTier::GroupsFor(size_t wanted) const {
  size_t level = 1;
  while (level + 1 < kWantedLevels.size() && kWantedLevels[level] < wanted) ++level;
  const auto low = static_cast<float>(group_counts_[level - 1]);
  const auto high = static_cast<float>(group_counts_[level]);
  const float share =
      std::log(static_cast<float>(wanted) / static_cast<float>(kWantedLevels[level - 1])) /
      std::log(static_cast<float>(kWantedLevels[level]) /
               static_cast<float>(kWantedLevels[level - 1]));
  const float count = std::ceil(low * std::pow(high / low, share));
  const auto groups = static_cast<float>(group_count());
  return static_cast<size_t>(std::clamp(count, 1.0F, groups));
}

void HeadTier::MakePoint(const HeadTierQuery& query, HeadTierScratch* scratch) const {
  if (projected_ == 0) {
    scratch->point_.assign(query.query, query.query + dim_);
  } else {
    scratch->point_.resize(projection_.padded_count());
    const HeadQuery bytes = QuantiseQuery({query.query, dim_}, &scratch->bytes_);
    ActiveHeadKernels().score_blocks(projection_.blocks(), bytes, scratch->point_.data());
    scratch->point_.resize(projected_);
    for (float& value : scratch->point_) value = -value;  // keys are negated products
  }
  scratch->point_.push_back(by_dot_ ? query.norm : 0.0F);
}

// The members of a group that are not excluded, as a scan's mask; false when there are none.
bool HeadTier::MaskGroup(uint32_t group, std::span<const uint64_t> excluded,
                         std::vector<uint64_t>* mask) const {
  const uint32_t begin = begin_[group];
  const uint32_t rows = begin_[group + 1] - begin;
  mask->assign(BlockCount(rows), 0);
  bool any = false;
  for (uint32_t row = 0; row < rows; ++row) {
    const uint32_t head = members_[begin + row];
    const uint64_t in = ~excluded[head / 64] >> (head % 64) & 1;
    (*mask)[row / 64] |= in << (row % 64);
    any = any || in != 0;
  }
  return any;
}

// Scans groups_[first, end of groups_); returns the number of survivors so far.
size_t HeadTier::ScanGroups(const HeadTierWish& wish, size_t first, size_t count,
                            HeadTierScratch* scratch) const {
  std::vector<Survivor>& survivors = scratch->survivors_;
  std::vector<float>& estimates = scratch->estimates_;
  float tau = std::numeric_limits<float>::infinity();
  size_t looked = 0;
  for (size_t i = first; i < scratch->groups_.size(); ++i) {
    // The limit moves as survivors come; looking again after a quarter more of them is enough.
    if (count >= wish.wanted && 4 * count > 5 * looked) {
      tau = LimitOfRank({estimates.data(), count}, wish.wanted);
      looked = count;
    }
    const HeadHit& group = scratch->groups_[i];
    ListScan scan{.code_plane = planes_.data() + plane_begin_[group.list],
                  .rows = begin_[group.list + 1] - begin_[group.list],
                  .head_distance2 = group.distance2,
                  .head_dot = group.dot,
                  .tau = tau,
                  .eps = kEps};
    if (!wish.excluded.empty()) {
      if (!MaskGroup(group.list, wish.excluded, &scratch->mask_)) continue;
      scan.block_mask = scratch->mask_.data();
    }
    if (i + 1 < scratch->groups_.size()) {
      const uint32_t next = scratch->groups_[i + 1].list;
      scan.next_code_plane = planes_.data() + plane_begin_[next];
      scan.next_rows = begin_[next + 1] - begin_[next];
    }
    const size_t added = codec_->ScanList(*scratch->code_, scan, survivors.data() + count);
    for (size_t s = count; s < count + added; ++s) {
      survivors[s].slot += begin_[group.list];
      estimates[s] = survivors[s].estimate;
    }
    count += added;
  }
  return count;
}

void HeadTier::Begin(const HeadTierQuery& query, HeadTierScratch* scratch) const {
  if (scratch->tier_ != id_) {
    scratch->code_ = codec_->NewQuery();
    scratch->tier_ = id_;
  }
  if (scratch->survivors_.size() < members_.size()) {
    scratch->survivors_.resize(members_.size());
    scratch->estimates_.resize(members_.size());
  }
  MakePoint(query, scratch);
  codec_->PrepareQuery(scratch->point_.data(), scratch->code_.get());
  scratch->cursor_.Begin(*centres_, scratch->point_.data());
  scratch->groups_.clear();
}

void HeadTier::Candidates(const HeadTierWish& wish, HeadTierScratch* scratch,
                          std::vector<uint32_t>* found) const {
  HeadTierWish wanted = wish;
  wanted.wanted = std::min(std::max(wish.wanted, kWantedLeast), wish.left);
  size_t count = 0;
  size_t scanned = 0;
  // The groups of an earlier call are scanned again: their other heads were dropped by its limit.
  size_t groups = GroupsFor(std::min(wanted.wanted + wish.returned, members_.size()));
  for (;; groups = std::min(2 * groups, group_count())) {
    std::vector<HeadHit>& visited = scratch->groups_;
    if (visited.size() < groups) {
      scratch->cursor_.Next(groups - visited.size(), &scratch->more_);
      visited.insert(visited.end(), scratch->more_.begin(), scratch->more_.end());
    }
    count = ScanGroups(wanted, scanned, count, scratch);
    scanned = visited.size();
    if (count >= wanted.wanted || scanned == group_count()) break;
    groups = std::max(groups, scanned);
  }
  const size_t most = wanted.wanted * kCandidatesPerHead + 32;
  const float limit = count > most ? LimitOfRank({scratch->estimates_.data(), count}, most)
                                   : std::numeric_limits<float>::infinity();
  if (found->size() < count) found->resize(count);
  size_t kept = 0;
  for (size_t i = 0; i < count; ++i) {
    (*found)[kept] = members_[scratch->survivors_[i].slot];
    kept += scratch->estimates_[i] <= limit ? 1 : 0;
  }
  // Estimates that are no numbers, by a codec that somebody made up, are in no order: take all.
  if (kept < wish.wanted) {
    kept = 0;
    for (; kept < count; ++kept) (*found)[kept] = members_[scratch->survivors_[kept].slot];
  }
  found->resize(kept);
}

size_t HeadTier::memory_bytes() const {
  return sizeof(*this) + projection_scales_.capacity() * sizeof(float) +
         projection_codes_.capacity() + projection_.memory_bytes() + centres_->memory_bytes() +
         codec_->memory_bytes() + (begin_.capacity() + members_.capacity()) * sizeof(uint32_t) +
         planes_.capacity() + plane_begin_.capacity() * sizeof(size_t);
}

void HeadTier::AppendTo(std::string* out) const {
  base::PutU32(out, static_cast<uint32_t>(projected_));
  for (const float scale : projection_scales_) base::PutF32(out, scale);
  out->append(reinterpret_cast<const char*>(projection_codes_.data()), projection_codes_.size());
  for (const uint32_t count : group_counts_) base::PutU32(out, count);
  base::PutBytes(out, centres_->Serialize());
  base::PutBytes(out, codec_->Serialize());
  for (const uint32_t begin : begin_) base::PutU32(out, begin);
  for (const uint32_t member : members_) base::PutU32(out, member);
  out->append(reinterpret_cast<const char*>(planes_.data()), planes_.size());
}

absl::Status HeadTier::ReadProjection(base::Decoder* in) {
  uint32_t projected = 0;
  TESSERA_RETURN_IF_ERROR(in->U32(&projected));
  if (projected > dim_) {
    return absl::DataLossError(
        absl::StrCat("head tier projects ", dim_, " dimensions on ", projected));
  }
  projected_ = projected;
  std::string_view codes;
  projection_scales_.resize(projected_);
  for (float& scale : projection_scales_) {
    TESSERA_RETURN_IF_ERROR(in->F32(&scale));
    if (!std::isfinite(scale)) return absl::DataLossError("head tier has an infinite scale");
  }
  TESSERA_RETURN_IF_ERROR(in->Raw(projected_ * dim_, &codes));
  projection_codes_.assign(codes.begin(), codes.end());
  if (projected_ > 0) projection_ = Pack(projection_codes_, projection_scales_, dim_);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<HeadTier>> HeadTier::Read(std::string_view bytes, size_t heads,
                                                         size_t dim) {
  base::Decoder in(bytes);
  auto tier = std::unique_ptr<HeadTier>(new HeadTier());
  tier->dim_ = dim;
  TESSERA_RETURN_IF_ERROR(tier->ReadProjection(&in));
  for (uint32_t& count : tier->group_counts_) TESSERA_RETURN_IF_ERROR(in.U32(&count));
  std::string_view centres;
  std::string_view codec;
  TESSERA_RETURN_IF_ERROR(in.Bytes(&centres));
  TESSERA_RETURN_IF_ERROR(in.Bytes(&codec));
  TESSERA_ASSIGN_OR_RETURN(tier->centres_, HeadIndex::Read(centres, heads / 2));
  TESSERA_ASSIGN_OR_RETURN(tier->codec_, DeserializeCodec(codec));
  tier->by_dot_ = tier->codec_->metric() == base::Metric::kInnerProduct;
  const size_t groups = tier->centres_->head_count();
  const bool fits =
      tier->centres_->dim() == tier->point_dim() && tier->codec_->dim() == tier->point_dim() &&
      tier->centres_->metric() == tier->codec_->metric() && groups > 0 && 2 * groups <= heads;
  if (!fits) return absl::DataLossError("head tier has centres or a codec of another shape");
  TESSERA_RETURN_IF_ERROR(ReadNumbers(&in, groups + 1, &tier->begin_));
  TESSERA_RETURN_IF_ERROR(ReadNumbers(&in, heads, &tier->members_));
  TESSERA_RETURN_IF_ERROR(tier->CheckMembers());
  tier->LayOutPlanes();
  std::string_view planes;
  TESSERA_RETURN_IF_ERROR(in.Raw(tier->plane_begin_.back(), &planes));
  TESSERA_RETURN_IF_ERROR(in.ExpectEnd());
  tier->planes_.resize(planes.size());
  std::memcpy(tier->planes_.data(), planes.data(), planes.size());
  for (size_t g = 0; g < groups; ++g) {
    const std::span<const std::byte> all(tier->planes_);
    TESSERA_RETURN_IF_ERROR(tier->codec_->ValidateCodePlane(
        all.subspan(tier->plane_begin_[g], tier->plane_begin_[g + 1] - tier->plane_begin_[g]),
        tier->begin_[g + 1] - tier->begin_[g]));
  }
  return tier;
}

// Every head is a member of exactly one group, and the counts are usable.
absl::Status HeadTier::CheckMembers() const {
  std::vector<bool> seen(members_.size(), false);
  for (const uint32_t member : members_) {
    if (member >= members_.size() || seen[member]) {
      return absl::DataLossError(
          absl::StrCat("head tier lists head ", member, " of ", members_.size(), " wrongly"));
    }
    seen[member] = true;
  }
  bool ordered = begin_.front() == 0 && begin_.back() == members_.size();
  for (size_t g = 0; g + 1 < begin_.size(); ++g) {
    ordered = ordered && begin_[g] < begin_[g + 1] && begin_[g + 1] - begin_[g] <= kListRowsMax;
  }
  ordered =
      ordered && group_counts_[0] > 0 && std::is_sorted(group_counts_.begin(), group_counts_.end());
  return ordered ? absl::OkStatus() : absl::DataLossError("head tier has groups out of order");
}

}  // namespace tessera::index
