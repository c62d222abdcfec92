#include "index/clustering.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "index/assigner.h"
#include "index/kmeans.h"
#include "index/parallel_for.h"

namespace tessera::index {
namespace {

constexpr size_t kBranchMax = 64;
// Splits of splits before the rest of a part is cut by order; 64^16 lists are never needed.
constexpr int kDepthMax = 16;
// Lists below this share of the wanted size are dissolved.
constexpr double kDissolveShare = 1.0 / 8;
constexpr size_t kSampleRows = 2048;

struct Part {
  std::vector<uint32_t> members;
  size_t lists = 1;
};

class Builder {
 public:
  Builder(std::span<const float> rows, size_t dim, const ClusterOptions& options)
      : rows_(rows.data()), n_(rows.size() / dim), dim_(dim), options_(options) {
    const uint64_t total = std::max<uint64_t>(options.total_rows, n_);
    const size_t lists =
        static_cast<size_t>(std::min<uint64_t>(ListCountFor(total, options.list_rows), n_));
    share_ = static_cast<double>(n_) / static_cast<double>(lists);
    max_rows_ = std::max<size_t>(
        2, static_cast<size_t>(share_ * static_cast<double>(options.list_rows_max_ratio)));
  }

  Clustering Build();

 private:
  bool Cancelled() const {
    return options_.cancelled != nullptr && options_.cancelled->load(std::memory_order_relaxed);
  }
  size_t ListsFor(size_t rows) const {
    return std::max<size_t>(1,
                            static_cast<size_t>(std::llround(static_cast<double>(rows) / share_)));
  }
  bool Done(const Part& part) const { return part.lists <= 1 && part.members.size() <= max_rows_; }
  RowSubset Subset(std::span<const uint32_t> members) const {
    return {.rows = rows_, .dim = dim_, .origin = origin_.data(), .members = members};
  }
  std::vector<Part> SplitToLists(Part root, uint64_t seed) const;
  std::vector<Part> SplitOnce(Part part, uint64_t seed, bool by_order, uint32_t threads) const;
  std::vector<Part> CutByOrder(Part part, const KMeansResult* tried) const;
  std::vector<float> HeadsOf(const std::vector<Part>& parts) const;
  void Refine(const std::vector<float>& sample);
  void Dissolve(const std::vector<float>& sample);
  void SplitOversized();
  Grouping Lists() const { return GroupByLabel(assignment_, heads_.size() / dim_); }
  void KeepLists(const std::vector<bool>& keep);

  const float* rows_;
  size_t n_;
  size_t dim_;
  ClusterOptions options_;
  double share_ = 0;  // rows of a list of the wanted size, among the given rows
  size_t max_rows_ = 0;
  std::vector<float> origin_;
  std::vector<float> heads_;
  std::vector<uint32_t> assignment_;
};

// Neighbouring numbers must give unrelated streams.
uint64_t MixSeed(uint64_t seed, uint64_t salt) {
  uint64_t x = seed + 0x9E3779B97F4A7C15ULL * (salt + 1);
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

size_t BranchesFor(size_t lists) {
  if (lists <= kBranchMax) return lists;
  const double count = static_cast<double>(lists);
  const double levels = std::ceil(std::log(count) / std::log(static_cast<double>(kBranchMax)));
  return std::clamp<size_t>(static_cast<size_t>(std::lround(std::pow(count, 1.0 / levels))), 2,
                            kBranchMax);
}

std::vector<Part> Builder::CutByOrder(Part part, const KMeansResult* tried) const {
  const size_t n = part.members.size();
  const size_t pieces = std::max(part.lists, (n + max_rows_ - 1) / max_rows_);
  std::vector<std::pair<float, uint32_t>> order(n);
  for (size_t i = 0; i < n; ++i) order[i] = {0.0F, part.members[i]};
  if (tried != nullptr && tried->counts.size() >= 2) {
    std::vector<float> row(dim_);
    for (size_t i = 0; i < n; ++i) {
      GatherCentred(Subset(part.members), i, i + 1, row.data());
      for (size_t j = 0; j < dim_; ++j) {
        order[i].first += row[j] * (tried->centres[dim_ + j] - tried->centres[j]);
      }
    }
    std::sort(order.begin(), order.end());
  }
  std::vector<Part> cut(pieces);
  for (size_t p = 0; p < pieces; ++p) {
    for (size_t i = p * n / pieces; i < (p + 1) * n / pieces; ++i) {
      cut[p].members.push_back(order[i].second);
    }
  }
  std::erase_if(cut, [](const Part& piece) { return piece.members.empty(); });
  return cut;
}

std::vector<Part> Builder::SplitOnce(Part part, uint64_t seed, bool by_order,
                                     uint32_t threads) const {
  if (by_order) return CutByOrder(std::move(part), nullptr);
  part.lists = std::max<size_t>(part.lists, 2);
  const size_t k = std::min(BranchesFor(part.lists), part.members.size());
  const KMeansResult split =
      BalancedKMeans(Subset(part.members), {.k = k, .seed = seed, .thread_count = threads});
  const auto largest = *std::max_element(split.counts.begin(), split.counts.end());
  // Rows that k-means cannot tell apart.
  if (largest == part.members.size()) return CutByOrder(std::move(part), &split);
  const Grouping groups = GroupByLabel(split.labels, k);
  std::vector<Part> children;
  for (size_t c = 0; c < k; ++c) {
    if (split.counts[c] == 0) continue;
    Part child;
    for (const uint32_t position : groups.of(c)) child.members.push_back(part.members[position]);
    child.lists = ListsFor(child.members.size());
    children.push_back(std::move(child));
  }
  return children;
}

std::vector<Part> Builder::SplitToLists(Part root, uint64_t seed) const {
  std::vector<Part> done;
  std::vector<Part> open;
  open.push_back(std::move(root));
  const uint32_t threads = EffectiveThreads(options_.thread_count);
  for (int depth = 0; !open.empty() && !Cancelled(); ++depth) {
    std::vector<std::vector<Part>> results(open.size());
    const auto split = [&](size_t i, uint32_t inner_threads) {
      if (Cancelled()) return;
      if (Done(open[i])) {
        results[i].push_back(std::move(open[i]));
        return;
      }
      const uint64_t salt = static_cast<uint64_t>(depth) << 32 | i;
      results[i] =
          SplitOnce(std::move(open[i]), MixSeed(seed, salt), depth >= kDepthMax, inner_threads);
    };
    if (open.size() < 2 * static_cast<size_t>(threads)) {
      for (size_t i = 0; i < open.size(); ++i) split(i, threads);
    } else {
      ParallelFor(open.size(), threads, [&](size_t i, uint32_t) { split(i, 1); });
    }
    open.clear();
    for (std::vector<Part>& parts : results) {
      for (Part& part : parts) {
        (Done(part) ? done : open).push_back(std::move(part));
      }
    }
  }
  return done;
}

std::vector<float> Builder::HeadsOf(const std::vector<Part>& parts) const {
  const std::vector<float> zero(dim_, 0.0F);
  std::vector<float> heads(parts.size() * dim_);
  ParallelFor(parts.size(), options_.thread_count, [&](size_t i, uint32_t) {
    const std::vector<float> mean =
        MeanOf({.rows = rows_, .dim = dim_, .origin = zero.data(), .members = parts[i].members});
    std::copy(mean.begin(), mean.end(), heads.begin() + static_cast<ptrdiff_t>(i * dim_));
  });
  return heads;
}

// Drops the heads of lists not kept; `assignment_` of their rows becomes meaningless.
void Builder::KeepLists(const std::vector<bool>& keep) {
  std::vector<uint32_t> renumbered(keep.size(), 0);
  std::vector<float> heads;
  for (size_t list = 0; list < keep.size(); ++list) {
    if (!keep[list]) continue;
    renumbered[list] = static_cast<uint32_t>(heads.size() / dim_);
    heads.insert(heads.end(), heads_.begin() + static_cast<ptrdiff_t>(list * dim_),
                 heads_.begin() + static_cast<ptrdiff_t>((list + 1) * dim_));
  }
  heads_ = std::move(heads);
  for (uint32_t& list : assignment_) list = renumbered[list];
}

void Builder::Refine(const std::vector<float>& sample) {
  for (uint32_t round = 0; round <= options_.refinements; ++round) {
    if (Cancelled()) return;
    const Assigner assigner(
        heads_, dim_, sample,
        {.seed = MixSeed(options_.seed, 1000 + round), .thread_count = options_.thread_count});
    assigner.Assign(rows_, n_, assignment_.data(), nullptr);
    const Grouping lists = Lists();
    std::vector<bool> keep(heads_.size() / dim_);
    for (size_t list = 0; list < keep.size(); ++list) keep[list] = !lists.of(list).empty();
    if (round < options_.refinements) {
      std::vector<Part> parts(keep.size());
      for (size_t list = 0; list < keep.size(); ++list) {
        parts[list].members.assign(lists.of(list).begin(), lists.of(list).end());
      }
      heads_ = HeadsOf(parts);
    }
    KeepLists(keep);
  }
}

void Builder::Dissolve(const std::vector<float>& sample) {
  const Grouping lists = Lists();
  const size_t count = heads_.size() / dim_;
  std::vector<bool> keep(count);
  std::vector<uint32_t> homeless;
  for (size_t list = 0; list < count; ++list) {
    const auto members = lists.of(list);
    keep[list] = static_cast<double>(members.size()) >= kDissolveShare * share_;
    if (!keep[list]) homeless.insert(homeless.end(), members.begin(), members.end());
  }
  if (homeless.empty() || std::none_of(keep.begin(), keep.end(), [](bool kept) { return kept; })) {
    return;
  }
  KeepLists(keep);
  std::vector<float> rows(homeless.size() * dim_);
  for (size_t i = 0; i < homeless.size(); ++i) {
    std::memcpy(rows.data() + i * dim_, rows_ + homeless[i] * dim_, dim_ * sizeof(float));
  }
  std::vector<uint32_t> lists_of_homeless(homeless.size());
  const Assigner assigner(
      heads_, dim_, sample,
      {.seed = MixSeed(options_.seed, 2000), .thread_count = options_.thread_count});
  assigner.Assign(rows.data(), homeless.size(), lists_of_homeless.data(), nullptr);
  for (size_t i = 0; i < homeless.size(); ++i) assignment_[homeless[i]] = lists_of_homeless[i];
}

void Builder::SplitOversized() {
  const Grouping lists = Lists();
  const size_t count = heads_.size() / dim_;
  for (size_t list = 0; list < count; ++list) {
    const auto members = lists.of(list);
    if (members.size() <= max_rows_) continue;
    const std::vector<Part> parts = SplitToLists(
        {.members = {members.begin(), members.end()}, .lists = ListsFor(members.size())},
        MixSeed(options_.seed, 3000 + list));
    if (Cancelled()) return;  // some parts may be missing
    const std::vector<float> heads = HeadsOf(parts);
    // The first part keeps the list's number, the others are appended.
    std::copy(heads.begin(), heads.begin() + static_cast<ptrdiff_t>(dim_),
              heads_.begin() + static_cast<ptrdiff_t>(list * dim_));
    for (size_t p = 1; p < parts.size(); ++p) {
      const uint32_t number = static_cast<uint32_t>(heads_.size() / dim_);
      heads_.insert(heads_.end(), heads.begin() + static_cast<ptrdiff_t>(p * dim_),
                    heads.begin() + static_cast<ptrdiff_t>((p + 1) * dim_));
      for (const uint32_t row : parts[p].members) assignment_[row] = number;
    }
  }
}

Clustering Builder::Build() {
  Part root;
  root.members.resize(n_);
  std::iota(root.members.begin(), root.members.end(), 0U);
  const std::vector<float> zero(dim_, 0.0F);
  origin_ = MeanOf({.rows = rows_, .dim = dim_, .origin = zero.data(), .members = root.members});
  root.lists = ListsFor(n_);
  assignment_.assign(n_, 0);
  if (Done(root)) {
    heads_ = origin_;
  } else {
    std::vector<float> sample;
    const size_t sample_rows = std::min(n_, kSampleRows);
    for (size_t i = 0; i < sample_rows; ++i) {
      const float* row = rows_ + i * n_ / sample_rows * dim_;
      sample.insert(sample.end(), row, row + dim_);
    }
    heads_ = HeadsOf(SplitToLists(std::move(root), options_.seed));
    if (!Cancelled()) Refine(sample);
    if (!Cancelled()) Dissolve(sample);
    if (!Cancelled()) SplitOversized();
  }
  if (Cancelled()) return {.dim = dim_, .heads = {}, .assignment = {}, .list_sizes = {}};
  Clustering clustering{.dim = dim_,
                        .heads = std::move(heads_),
                        .assignment = std::move(assignment_),
                        .list_sizes = {}};
  clustering.list_sizes.assign(clustering.heads.size() / dim_, 0);
  for (const uint32_t list : clustering.assignment) ++clustering.list_sizes[list];
  return clustering;
}

}  // namespace

uint64_t ListCountFor(uint64_t rows, uint32_t list_rows) {
  TESSERA_CHECK(list_rows > 0);
  return std::max<uint64_t>(1, (rows + list_rows / 2) / list_rows);
}

Clustering BuildClustering(std::span<const float> rows, size_t dim, const ClusterOptions& options) {
  TESSERA_CHECK(dim > 0 && !rows.empty() && rows.size() % dim == 0);
  TESSERA_CHECK(options.list_rows_max_ratio >= 1.5F);
  return Builder(rows, dim, options).Build();
}

}  // namespace tessera::index
