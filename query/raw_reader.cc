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
constexpr size_t kRowsAhead = 6;
// Rows whose slots in the frame table are asked for at once.
constexpr size_t kSlotsAhead = 64;

void PrefetchBytes(const std::byte* at, size_t bytes) {
  for (size_t i = 0; i < bytes; i += kCacheLine) __builtin_prefetch(at + i);
  __builtin_prefetch(at + bytes - 1);
}

}  // namespace

void RawReader::Begin(const SearchContext& context, TopHits* hits) {
  const IndexView& index = *context.view.index;
  context_ = &context;
  hits_ = hits;
  divider_ = UnitDivider(index.raw_rows_per_unit);
  record_bytes_ = index::RawRecordBytes(index.field);
  prefetch_bytes_ = std::min(index.field.dim * base::ElementBytes(index.field.type),
                             kPrefetchLinesMax * kCacheLine);
}

const std::byte* RawReader::PeekRecord(RowPlace place) const {
  const std::byte* unit = context_->view.index->raw->Peek(UnitOf(place));
  if (unit == nullptr) return nullptr;
  const std::byte* record = unit + divider_.row(place.slot) * record_bytes_;
  // What is before the vector is read of the best rows only.
  PrefetchBytes(index::RawVector(record), prefetch_bytes_);
  return record;
}

float RawReader::Distance(const std::byte* record) const {
  return Ordered(context_->distance(index::RawVector(record)));
}

void RawReader::Offer(const std::byte* record, float dissimilarity) {
  ++context_->stats.reranked;
  // Rows at the threshold may enter by their id.
  if (dissimilarity <= hits_->threshold()) hits_->Push(ToHit(record, dissimilarity));
}

absl::Status RawReader::CompareAll(std::span<const RowPlace> places) {
  records_.clear();
  pending_.clear();
  const IndexView& index = *context_->view.index;
  for (const RowPlace& place : places.first(std::min(places.size(), kSlotsAhead))) {
    index.raw->Prefetch(UnitOf(place));
  }
  size_t compared = 0;
  const auto compare_next = [&] {
    const std::byte* record = records_[compared++];
    Offer(record, Distance(record));
  };
  for (size_t i = 0; i < places.size(); ++i) {
    if (const std::byte* record = PeekRecord(places[i])) {
      records_.push_back(record);
      if (records_.size() - compared > kRowsAhead) compare_next();
    } else {
      pending_.push_back({.unit = UnitOf(places[i]), .tag = static_cast<uint32_t>(i)});
    }
  }
  while (compared < records_.size()) compare_next();
  if (pending_.empty()) return absl::OkStatus();
  return FetchRows(
      *context_, index.raw.get(), &pending_, &requests_, [&](uint32_t tag, const std::byte* unit) {
        const std::byte* record = unit + divider_.row(places[tag].slot) * record_bytes_;
        Offer(record, Distance(record));
      });
}

}  // namespace tessera::query
