#include "query/search_context.h"

#include <algorithm>
#include <span>

#include "base/status_macros.h"

namespace tessera::query {
namespace {

// Units read together; what they hold stays in memory until the next portion.
constexpr size_t kPortionUnits = 256;

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

absl::Status FetchRows(const SearchContext& context, storage::FrameTable* table,
                       std::vector<PendingRow>* rows, std::vector<storage::FetchRequest>* requests,
                       absl::FunctionRef<void(uint32_t tag, const std::byte* unit)> use) {
  std::sort(rows->begin(), rows->end(),
            [](const PendingRow& a, const PendingRow& b) { return a.unit < b.unit; });
  storage::PageCache& cache = *context.view.index->cache;
  for (size_t begin = 0; begin < rows->size();) {
    TESSERA_RETURN_IF_ERROR(context.CheckStop());
    requests->clear();
    size_t end = begin;
    for (; end < rows->size(); ++end) {
      const uint32_t unit = (*rows)[end].unit;
      if (!requests->empty() && requests->back().unit == unit) continue;
      if (requests->size() == kPortionUnits) break;
      requests->push_back({.table = table, .unit = unit});
    }
    storage::FetchStats fetched;
    const auto portion = std::span(*rows).subspan(begin, end - begin);
    const absl::Status status = cache.Fetch(
        context.guard, *requests,
        [&](size_t request, const std::byte* data) {
          const uint32_t unit = (*requests)[request].unit;
          auto row = std::lower_bound(
              portion.begin(), portion.end(), unit,
              [](const PendingRow& pending, uint32_t wanted) { return pending.unit < wanted; });
          for (; row != portion.end() && row->unit == unit; ++row) use(row->tag, data);
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
