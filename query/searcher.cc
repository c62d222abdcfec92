#include "query/searcher.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "query/exact_scan.h"
#include "query/list_scanner.h"
#include "query/raw_reader.h"
#include "query/search_context.h"
#include "query/search_space.h"
#include "query/top_hits.h"

namespace tessera::query {
namespace {

// Codecs a thread keeps prepared queries for; beyond that the oldest makes room.
constexpr size_t kCodecsMax = 4;

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
  absl::Status ScanAll(const SearchContext& context);

  index::RowDistance distance;
  SearchSpace space;
  std::vector<float> query;  // in search space
  std::vector<Prepared> prepared;
  index::HeadCursor cursor;
  std::vector<index::HeadHit> heads;
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
  context.stats.lists_probed += AddNearestLists(context);
  return scanner.Run();
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
