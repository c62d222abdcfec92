#include "query/raw_reader.h"

#include <algorithm>

#include "base/status_macros.h"

namespace tessera::query {
namespace {

constexpr size_t kCacheLine = 64;
// Lines of a record fetched ahead; the processor's own prefetcher follows a longer row.
constexpr size_t kPrefetchLinesMax = 10;
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
  shape_ = index::RawUnitShape(index.field);
  prefetch_bytes_ = std::min(index.field.dim * base::ElementBytes(index.field.type),
                             kPrefetchLinesMax * kCacheLine);
}

std::optional<RawReader::Row> RawReader::Peek(RowPlace place) const {
  const ListPart& part = PartOf(place);
  const std::byte* unit = part.planes->raw->Peek(UnitOf(part, place));
  if (unit == nullptr) return std::nullopt;
  const uint32_t row = divider_.row(place.slot);
  return Row{shape_.Header(unit, row), shape_.Vector(unit, row)};
}

const std::byte* RawReader::PeekVector(RowPlace place) const {
  const std::optional<Row> row = Peek(place);
  if (!row.has_value()) return nullptr;
  PrefetchBytes(row->vector, prefetch_bytes_);
  return row->vector;
}

float RawReader::Distance(const std::byte* vector) const {
  return Ordered(context_->distance(vector));
}

void RawReader::Compare(const Row& row) {
  const float dissimilarity = Distance(row.vector);
  ++context_->stats.reranked;
  // Rows at the threshold may enter by their id.
  if (dissimilarity <= hits_->threshold()) hits_->Push(ToHit(row.header, dissimilarity));
}

absl::Status RawReader::CompareAll(std::span<const RowPlace> places, size_t rows_ahead) {
  rows_.clear();
  pending_.clear();
  for (const RowPlace& place : places.first(std::min(places.size(), kSlotsAhead))) {
    const ListPart& part = PartOf(place);
    part.planes->raw->Prefetch(UnitOf(part, place));
  }
  size_t compared = 0;
  for (size_t i = 0; i < places.size(); ++i) {
    if (i + kSlotsAhead < places.size()) {
      const RowPlace& later = places[i + kSlotsAhead];
      PartOf(later).planes->raw->Prefetch(UnitOf(PartOf(later), later));
    }
    if (const std::optional<Row> row = Peek(places[i])) {
      __builtin_prefetch(row->header);
      PrefetchBytes(row->vector, prefetch_bytes_);
      rows_.push_back(*row);
      if (rows_.size() - compared > rows_ahead) Compare(rows_[compared++]);
    } else {
      const ListPart& part = PartOf(places[i]);
      pending_.push_back({.table = &*part.planes->raw,
                          .unit = UnitOf(part, places[i]),
                          .tag = static_cast<uint32_t>(i)});
    }
  }
  while (compared < rows_.size()) Compare(rows_[compared++]);
  if (pending_.empty()) return absl::OkStatus();
  return FetchRows(*context_, &pending_, &requests_, [&](uint32_t tag, const std::byte* unit) {
    const uint32_t row = divider_.row(places[tag].slot);
    Compare({shape_.Header(unit, row), shape_.Vector(unit, row)});
  });
}

}  // namespace tessera::query
