#include "query/searcher.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "query/exact_scan.h"
#include "query/list_scanner.h"
#include "query/planning/stopping_rule.h"
#include "query/raw_reader.h"
#include "query/search_context.h"
#include "query/search_space.h"
#include "query/top_hits.h"

namespace tessera::query {
namespace {

// Codecs a thread keeps prepared queries for; beyond that the oldest makes room.
constexpr size_t kCodecsMax = 4;

// Heads that are ranked at least when more are wanted.
constexpr size_t kPlacesMin = 16;
// Judging begins at this part of the lists that the calibration gives for all queries.
constexpr uint64_t kFirstStepDivisor = 2;

absl::Status CheckRequest(const SearchView& view, std::span<const float> query,
                          const SearchRequest& request) {
  if (query.size() != view.field.dim) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the query has ", query.size(), " components, the vector field has ", view.field.dim));
  }
  for (size_t i = 0; i < query.size(); ++i) {
    if (!std::isfinite(query[i])) {
      return absl::InvalidArgumentError(
          absl::StrCat("component ", i, " of the query is not a finite number"));
    }
  }
  if (request.limit == 0 || request.limit > base::kLimitMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("limit is ", request.limit, ", must be 1 .. ", base::kLimitMax));
  }
  const ProbeSettings& settings = request.settings;
  if (!request.exact && (settings.nprobe == 0 || !(settings.eps >= 0))) {
    return absl::InvalidArgumentError(absl::StrCat("nprobe is ", settings.nprobe,
                                                   ", must be at least 1; eps is ", settings.eps,
                                                   ", must be at least 0"));
  }
  return absl::OkStatus();
}

}  // namespace

struct Searcher::State {
  // A codec's prepared query; the codec may be gone.
  struct Prepared {
    std::weak_ptr<const index::Codec> codec;
    std::unique_ptr<index::QueryCode> code;
  };

  index::QueryCode* CodeFor(const std::shared_ptr<const index::Codec>& codec);
  uint64_t AddNearestLists(const SearchContext& context);
  absl::Status SearchLists(const SearchContext& context);
  void LearnPlaces(const SearchContext& context, size_t count);
  bool Pass(const SearchContext& context);
  size_t NextStop(const SearchContext& context);
  absl::Status ProbeByRule(const SearchContext& context);
  absl::Status ScanAll(const SearchContext& context);

  index::RowDistance distance;
  SearchSpace space;
  std::vector<float> query;  // in search space
  std::vector<Prepared> prepared;
  index::HeadCursor cursor;
  std::vector<index::HeadHit> heads;
  StoppingRule rule;
  std::vector<index::HeadHit> order;  // of the rule's places
  size_t passed = 0;                  // of these
  TopHits hits;
  RawReader raw;
  ListScanner scanner;
};

Searcher::Searcher() : state_(std::make_unique<State>()) {}
Searcher::~Searcher() = default;

index::QueryCode* Searcher::State::CodeFor(const std::shared_ptr<const index::Codec>& codec) {
  for (const Prepared& entry : prepared) {
    // The same control block: no reference count is touched.
    if (!entry.codec.owner_before(codec) && !codec.owner_before(entry.codec)) {
      return entry.code.get();
    }
  }
  if (prepared.size() == kCodecsMax) prepared.erase(prepared.begin());
  prepared.push_back({codec, codec->NewQuery()});
  return prepared.back().code.get();
}

// Probes the nearest lists that may have eligible rows: nprobe, or as many more as it takes to hold
// `limit` eligible rows.
uint64_t Searcher::State::AddNearestLists(const SearchContext& context) {
  const Eligibility& eligible = context.eligible;
  const uint64_t lists = context.view.index->list_count();
  const uint64_t nprobe = context.request.settings.nprobe;
  const auto enough = [&](uint64_t probed) {
    return probed >= nprobe && scanner.eligible_rows() >= context.request.limit;
  };
  cursor.Begin(*context.view.index->heads, query.data());
  uint64_t wanted = nprobe;
  // Those with matches may be anywhere; if they are spread evenly, this many hold nprobe of them.
  if (eligible.filtered()) {
    wanted = std::min(lists, nprobe * lists / std::max(eligible.lists(), 1U));
  }
  uint64_t probed = 0;
  for (uint64_t seen = 0; cursor.left() > 0 && probed < eligible.lists(); wanted = seen) {
    cursor.Next(wanted, &heads);
    if (heads.empty()) break;
    for (const index::HeadHit& head : heads) {
      if (!eligible.MayHave(head.list)) continue;
      if (eligible.filtered() && enough(probed)) break;
      scanner.AddList(head.list, head.distance2, head.dot);
      ++probed;
    }
    seen += heads.size();
    if (enough(probed)) break;
  }
  return probed;
}

absl::Status Searcher::State::SearchLists(const SearchContext& context) {
  const IndexView& index = *context.view.index;
  index::QueryCode* code = CodeFor(index.codec);
  index.codec->PrepareQuery(query.data(), code);
  raw.Begin(context, &hits);
  scanner.Begin(context, *code, hits, &raw);
  const ExactTarget target{.distance = &distance, .hits = &hits};
  ExactScanFresh(context, {&target, 1},
                 [&](float dissimilarity) { scanner.NoteDistance(dissimilarity); });
  if (context.eligible.filtered() && context.request.settings.theta > 0) {
    TESSERA_RETURN_IF_ERROR(ProbeByRule(context));
  } else {
    context.stats.lists_probed += AddNearestLists(context);
    TESSERA_RETURN_IF_ERROR(scanner.Scan());
  }
  return scanner.Finish();
}

// Lets the rule know `count` places, or all there are.
void Searcher::State::LearnPlaces(const SearchContext& context, size_t count) {
  if (count <= order.size() || cursor.left() == 0) return;
  cursor.Next(count - order.size(), &heads);
  const std::vector<uint32_t>& matches = context.request.filter->index()->list_matches;
  for (const index::HeadHit& head : heads) {
    rule.AddPlace(head, context.view.index->RowsOf(head.list), matches[head.list]);
  }
  order.insert(order.end(), heads.begin(), heads.end());
}

// Adds the list of the next place. False when there is no place left.
bool Searcher::State::Pass(const SearchContext& context) {
  if (passed == order.size()) LearnPlaces(context, passed + passed / 2 + kPlacesMin);
  if (passed == order.size()) return false;
  const index::HeadHit& head = order[passed++];
  if (!context.eligible.MayHave(head.list)) return true;
  scanner.AddList(head.list, head.distance2, head.dot);
  ++context.stats.lists_probed;
  return true;
}

// The place to scan to next: where the rule would hold with the distances found so far, which only
// fall, but at most as far again as was scanned. `passed` when it holds now.
size_t Searcher::State::NextStop(const SearchContext& context) {
  const double theta = context.request.settings.theta;
  const float kth = scanner.tau();
  size_t stop = passed;
  while (stop < 2 * passed) {
    while (!rule.SeesBeyond(stop) && cursor.left() > 0) {
      LearnPlaces(context, stop + stop / 2 + kPlacesMin);
    }
    if (stop >= order.size() || rule.At(stop, kth, theta) >= theta) break;
    stop = StoppingRule::NextCheck(stop);
  }
  return std::min(stop, order.size());
}

// Probes a part of what a filter that does not depend on the vector takes, and goes on from there
// until the rule holds.
absl::Status Searcher::State::ProbeByRule(const SearchContext& context) {
  const uint64_t lists = context.view.index->list_count();
  const uint64_t eligible = context.eligible.lists();
  const uint64_t& probed = context.stats.lists_probed;
  const uint64_t first =
      std::max<uint64_t>(1, context.request.settings.nprobe / kFirstStepDivisor);
  rule.Begin(*context.view.index->heads, query);
  order.clear();
  passed = 0;
  cursor.Begin(*context.view.index->heads, query.data());
  const uint64_t expected = std::min(lists, first * lists / std::max<uint64_t>(eligible, 1));
  LearnPlaces(context, kFirstStepDivisor * expected + kPlacesMin);
  while (probed < eligible &&
         (probed < first || scanner.eligible_rows() < context.request.limit)) {
    if (!Pass(context)) break;
  }
  // Beyond what the share of the matches accounts for they lie far from the query.
  const uint64_t widen_at =
      std::min(lists, context.request.settings.nprobe * lists / std::max<uint64_t>(eligible, 1));
  for (uint64_t scanned = 0; probed > scanned;) {
    TESSERA_RETURN_IF_ERROR(scanner.Scan());
    if (probed == eligible) break;
    TESSERA_RETURN_IF_ERROR(scanner.Settle());
    scanned = probed;
    // Past places without matches there is nothing to scan, but still to judge.
    for (size_t stop = NextStop(context); stop > passed; stop = NextStop(context)) {
      if (stop >= widen_at) scanner.Widen();
      while (passed < stop && probed < eligible && Pass(context)) {
      }
      if (probed > scanned) break;
    }
  }
  return absl::OkStatus();
}

absl::Status Searcher::State::ScanAll(const SearchContext& context) {
  const ExactTarget target{.distance = &distance, .hits = &hits};
  ExactScanFresh(context, {&target, 1}, [](float) {});
  if (context.view.index == nullptr) return absl::OkStatus();
  const IndexView& index = *context.view.index;
  context.stats.lists_probed += context.eligible.lists();
  if (context.eligible.filtered()) {
    raw.Begin(context, &hits);
    return ExactScanMatches(context, &raw);
  }
  return ExactScanParts(context, 0, static_cast<uint32_t>(index.parts.size()), {&target, 1});
}

absl::Status Searcher::Search(const SearchView& view, std::span<const float> query,
                              const SearchRequest& request, std::vector<Hit>* hits,
                              SearchStats* stats) {
  hits->clear();
  *stats = {};
  TESSERA_RETURN_IF_ERROR(CheckRequest(view, query, request));
  State& state = *state_;
  state.distance.Prepare(view.field.metric, view.field.type, query);
  state.hits.Reset(request.limit);

  storage::CacheGuard guard;
  const Eligibility eligible(view, request.filter);
  const SearchContext context{view, request, state.distance, guard, *stats, eligible, state.space};
  TESSERA_RETURN_IF_ERROR(context.CheckStop());
  stats->lists_eligible = eligible.lists();
  const bool scan_all = request.exact || view.index == nullptr;
  if (!scan_all) {
    state.space.Prepare(view.field.metric, view.index->heads->unit(), query, &state.query);
  }
  TESSERA_RETURN_IF_ERROR(scan_all ? state.ScanAll(context) : state.SearchLists(context));

  state.hits.TakeSorted(hits);
  if (request.dissimilarity_max.has_value()) {
    std::erase_if(*hits,
                  [&](const Hit& hit) { return hit.dissimilarity > *request.dissimilarity_max; });
  }
  return absl::OkStatus();
}

}  // namespace tessera::query
