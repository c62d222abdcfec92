#include "query/raw_reader.h"

#include <algorithm>

#include "base/status_macros.h"
#include "index/raw_plane.h"

namespace tessera::query {
namespace {

constexpr size_t kCacheLine = 64;
// Lines of a record fetched ahead; the processor's own prefetcher follows a longer row.
constexpr size_t kPrefetchLinesMax = 10;
// Rows ahead of the one being compared whose bytes are asked for.
constexpr size_t kRowsAhead = 4;

void PrefetchBytes(const std::byte* at, size_t bytes) {
  for (size_t i = 0; i < bytes; i += kCacheLine) __builtin_prefetch(at + i);
}

}  // namespace

void RawReader::Begin(const SearchContext& context, TopHits* hits) {
  const IndexView& index = *context.view.index;
  context_ = &context;
  hits_ = hits;
  divider_ = UnitDivider(index.raw_rows_per_unit);
  record_bytes_ = index::RawRecordBytes(index.field);
  prefetch_bytes_ = std::min(record_bytes_, kPrefetchLinesMax * kCacheLine);
}

const std::byte* RawReader::PeekRecord(RowPlace place) const {
  const IndexView& index = *context_->view.index;
  const std::byte* unit =
      index.raw->Peek(index.parts[place.part].raw_unit + divider_.unit(place.slot));
  if (unit == nullptr) return nullptr;
  const std::byte* record = unit + divider_.row(place.slot) * record_bytes_;
  PrefetchBytes(record, prefetch_bytes_);
  return record;
}

float RawReader::Compare(const std::byte* record) {
  ++context_->stats.reranked;
  const float dissimilarity = context_->distance(index::RawVector(record));
  // Rows at the threshold may enter by their id.
  if (dissimilarity <= hits_->threshold()) hits_->Push(ToHit(record, dissimilarity));
  return dissimilarity;
}

absl::Status RawReader::CompareAll(std::span<const RowPlace> places) {
  records_.clear();
  pending_.clear();
  const IndexView& index = *context_->view.index;
  size_t compared = 0;
  for (size_t i = 0; i < places.size(); ++i) {
    if (const std::byte* record = PeekRecord(places[i])) {
      records_.push_back(record);
      if (records_.size() - compared > kRowsAhead) Compare(records_[compared++]);
    } else {
      const uint32_t unit = index.parts[places[i].part].raw_unit + divider_.unit(places[i].slot);
      pending_.push_back({.unit = unit, .tag = static_cast<uint32_t>(i)});
    }
  }
  while (compared < records_.size()) Compare(records_[compared++]);
  if (pending_.empty()) return absl::OkStatus();
  return FetchRows(*context_, index.raw.get(), &pending_, &requests_,
                   [&](uint32_t tag, const std::byte* unit) {
                     Compare(unit + divider_.row(places[tag].slot) * record_bytes_);
                   });
}

}  // namespace tessera::query
