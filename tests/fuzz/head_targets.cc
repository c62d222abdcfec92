#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/status_macros.h"
#include "index/heads/head_index.h"
#include "index/heads/head_tier.h"
#include "tests/fuzz/stored.h"
#include "tests/fuzz/targets.h"

namespace tessera::fuzz {
namespace {

using index::HeadIndex;
using index::HeadTier;

constexpr size_t kDim = 12;

absl::StatusOr<std::string> RewriteHeads(std::string_view input) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<HeadIndex> heads, HeadIndex::Deserialize(input));
  index::HeadCursor cursor;
  std::vector<index::HeadHit> hits;
  heads->Nearest(Grid(heads->dim()).data(), 5, &cursor, &hits);
  TESSERA_CHECK(hits.size() == std::min<size_t>(5, heads->head_count()));
  for (const index::HeadHit& hit : hits) TESSERA_CHECK(hit.list < heads->head_count());
  std::string bytes = heads->Serialize();
  TESSERA_CHECK(bytes == input);
  return bytes;
}

std::vector<Sample> Heads() {
  const std::vector<float> heads = Grid(9 * kDim);
  const std::vector<float> spreads = {1, 2, 3, 4, 5, 6, 7, 8, 0};
  return {{"l2_spreads", HeadIndex::Build(heads, kDim, {.spreads = spreads})->Serialize()},
          {"inner_product",
           HeadIndex::Build(heads, kDim, {.metric = base::Metric::kInnerProduct, .unit = 0.25F})
               ->Serialize()},
          {"none", HeadIndex::Build({}, kDim, {.metric = base::Metric::kCosine})->Serialize()}};
}

// A tier by itself, of fewer heads than would be given one: an index that has one is a megabyte.
constexpr size_t kTierHeads = 400;
constexpr size_t kTierDim = 4;

absl::StatusOr<std::string> RewriteTier(std::string_view input) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<HeadTier> tier,
                           HeadTier::Read(input, kTierHeads, kTierDim));
  const std::vector<float> query = Grid(kTierDim);
  index::HeadTierScratch scratch;
  tier->Begin({.query = query.data(), .norm = 6}, &scratch);
  std::vector<uint32_t> found;
  for (const size_t wanted : {size_t{1}, size_t{70}, kTierHeads}) {
    tier->Candidates({.wanted = wanted, .left = kTierHeads, .returned = 0, .excluded = {}},
                     &scratch, &found);
    TESSERA_CHECK(found.size() >= wanted && found.size() <= kTierHeads);
    for (const uint32_t head : found) TESSERA_CHECK(head < kTierHeads);
  }
  std::string bytes;
  tier->AppendTo(&bytes);
  TESSERA_CHECK(bytes == input);
  return bytes;
}

std::vector<Sample> Tiers() {
  std::vector<float> heads(kTierHeads * kTierDim);
  for (size_t i = 0; i < heads.size(); ++i) heads[i] = static_cast<float>(i * i * 31 % 101) - 50;
  const std::vector<float> terms(kTierHeads, 1);
  const auto tier = HeadTier::Build({.heads = heads, .terms = terms, .dim = kTierDim});
  TESSERA_CHECK(tier.ok());
  Sample sample;
  sample.name = "l2";
  (*tier)->AppendTo(&sample.bytes);
  sample.exact = false;  // clustering rounds
  return {sample};
}

}  // namespace

std::vector<Target> HeadTargets() {
  return {
      {.name = "head_index",
       .run = RunSealed<RewriteHeads>,
       .rewrite = RewriteHeads,
       .samples = Heads},
      {.name = "head_tier",
       .run = RunStored<RewriteTier>,
       .rewrite = RewriteTier,
       .samples = Tiers},
  };
}

}  // namespace tessera::fuzz
