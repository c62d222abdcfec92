#include "query/search_context.h"

#include <algorithm>
#include <functional>
#include <span>

#include "base/status_macros.h"

namespace tessera::query {
namespace {

// Units read together; what they hold stays in memory until the next portion.
constexpr size_t kPortionUnits = 256;

bool Before(const PendingRow& a, const PendingRow& b) {
  return a.table != b.table ? std::less<>()(a.table, b.table) : a.unit < b.unit;
}

}  // namespace

absl::Status SearchContext::CheckStop() const {
  if (request.cancelled != nullptr && request.cancelled->load(std::memory_order_relaxed)) {
    return absl::CancelledError("the search was cancelled");
  }
  if (request.deadline.Passed()) {
    return absl::DeadlineExceededError("the search ran into its deadline");
  }
  return absl::OkStatus();
}

absl::Status FetchRows(const SearchContext& context, std::vector<PendingRow>* rows,
                       std::vector<storage::FetchRequest>* requests,
                       absl::FunctionRef<void(uint32_t tag, const std::byte* unit)> use) {
  std::sort(rows->begin(), rows->end(), Before);
  storage::PageCache& cache = *context.view.index->cache;
  for (size_t begin = 0; begin < rows->size();) {
    TESSERA_RETURN_IF_ERROR(context.CheckStop());
    requests->clear();
    size_t end = begin;
    for (; end < rows->size(); ++end) {
      const PendingRow& row = (*rows)[end];
      if (end > begin && !Before((*rows)[end - 1], row)) continue;
      if (requests->size() == kPortionUnits) break;
      requests->push_back({.table = row.table, .unit = row.unit});
    }
    storage::FetchStats fetched;
    const auto portion = std::span(*rows).subspan(begin, end - begin);
    const absl::Status status = cache.Fetch(
        context.guard, *requests,
        [&](size_t request, const std::byte* data) {
          const PendingRow wanted = {(*requests)[request].table, (*requests)[request].unit};
          auto row = std::lower_bound(portion.begin(), portion.end(), wanted, Before);
          for (; row != portion.end() && !Before(wanted, *row); ++row) use(row->tag, data);
        },
        &fetched);
    context.stats.bytes_read += fetched.bytes_read;
    TESSERA_RETURN_IF_ERROR(status);
    begin = end;
    if (begin < rows->size()) context.guard.Refresh();
  }
  return absl::OkStatus();
}

}  // namespace tessera::query
