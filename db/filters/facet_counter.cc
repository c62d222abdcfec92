#include "db/filters/facet_counter.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "index/codecs/codec.h"
#include "query/columns/decode_chunk.h"
#include "query/columns/rest_values.h"
#include "query/eligibility.h"
#include "query/filter/field_record.h"
#include "version/columns/column_reader.h"

namespace tessera::db {
namespace {

using query::FieldKind;
using query::FieldValue;

// What a value takes in the map, beside its bytes.
constexpr uint64_t kValueBytes = 96;
constexpr uint64_t kReservedBytes = uint64_t{1} << 20;  // at a time

std::optional<base::Value> ToValue(const FieldValue& value) {
  switch (value.kind) {
    case FieldKind::kFalse:
    case FieldKind::kTrue:
      return base::Value(value.kind == FieldKind::kTrue);
    case FieldKind::kInt:
      return base::Value(value.integer);
    case FieldKind::kDouble:
      return base::Value(value.number);
    case FieldKind::kString:
      return base::Value(std::string(value.text));
    case FieldKind::kNull:
    case FieldKind::kGeo:
      break;
  }
  return std::nullopt;  // nothing that a filter can be equal to
}

// The value of a path in one record, nothing if it lacks the path.
std::optional<std::string_view> ValuesOf(std::string_view record, std::string_view key) {
  query::FieldRecordReader reader(record);
  std::string_view at;
  std::string_view values;
  while (reader.Next(&at, &values)) {
    if (at == key) return values;
  }
  return std::nullopt;
}

}  // namespace

absl::Status FacetCounter::Add(std::string_view value, uint64_t points) {
  if (const auto found = counts_.find(value); found != counts_.end()) {
    found->second += points;
    return absl::OkStatus();
  }
  if (counts_.size() == kValuesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the path has more than ", kValuesMax, " values; narrow it by a filter"));
  }
  bytes_ += value.size() + kValueBytes;
  if (bytes_ > memory_.bytes()) {
    TESSERA_ASSIGN_OR_RETURN(base::MemoryReservation more,
                             engine_.budget->Reserve("filters", bytes_ + kReservedBytes));
    memory_ = std::move(more);
  }
  counts_.emplace(value, points);
  return absl::OkStatus();
}

absl::Status FacetCounter::Count(const query::FieldPath& path) {
  const std::string key = query::PathKey(path);
  TESSERA_RETURN_IF_ERROR(CountLists(key));
  return CountFresh(key);
}

absl::Status FacetCounter::CountLists(std::string_view key) {
  if (view_.index == nullptr) return absl::OkStatus();
  // A column set also has rows that are dead, or of parts that are gone: parts say which count.
  const query::Eligibility eligible(view_.search, filter_);
  std::vector<uint64_t> words(view_.index->view->positions / index::kBlockRows + 1);
  for (const query::ListPart& part : view_.index->view->parts) {
    uint64_t* mask = &words[part.first_block];
    points_ += eligible.MaskOf(part, mask);
    if (const uint32_t rest = part.rows % index::kBlockRows; rest > 0) {
      mask[part.rows / index::kBlockRows] &= (uint64_t{1} << rest) - 1;
    }
  }
  storage::PageCache& cache = *view_.index->view->cache;
  std::string value_bytes;
  const auto count_unit = [&](const version::ColumnChunk& chunk, std::string_view rows_unit,
                              std::string_view unit, query::UnitKind kind) -> absl::Status {
    TESSERA_RETURN_IF_ERROR(stop_.Check());
    const uint64_t* chunk_words = &words[chunk.first_block];
    absl::Status added;
    const auto add = [&](const FieldValue& value, uint32_t rows) {
      if (rows == 0 || !added.ok()) return;
      value_bytes.clear();
      query::PutFieldValue(value, &value_bytes);
      added = Add(value_bytes, rows);
    };
    const absl::Status read = kind == query::UnitKind::kRest
                                  ? query::ForEachRestValue(rows_unit, unit, key, chunk_words, add)
                                  : query::ForEachValue(rows_unit, unit, chunk_words, add);
    return read.ok() ? added : read;
  };
  for (const auto& columns : view_.index->columns.sets()) {
    TESSERA_RETURN_IF_ERROR(version::ForEachPathUnit(cache, *columns, key, count_unit));
  }
  return absl::OkStatus();
}

absl::Status FacetCounter::CountFresh(std::string_view key) {
  absl::Status status;
  const query::Eligibility eligible(view_.search, filter_);
  eligible.ForEachFresh([&](const query::FreshRowRef& row) {
    ++points_;
    const std::optional<std::string_view> values = ValuesOf(row.fields, key);
    if (!values.has_value()) return;
    query::FieldValueReader reader(*values);
    FieldValue value;
    std::string bytes;
    while (status.ok() && reader.Next(&value)) {
      bytes.clear();
      query::PutFieldValue(value, &bytes);
      status = Add(bytes, 1);
    }
  });
  return status;
}

FacetResult FacetCounter::Take(uint32_t limit) {
  FacetResult result;
  result.points = points_;
  struct Counted {
    FieldValue value;
    uint64_t points;
  };
  std::vector<Counted> order;
  for (const auto& [bytes, points] : counts_) {
    query::FieldValueReader reader(bytes);
    Counted counted{.value = {}, .points = points};
    if (reader.Next(&counted.value) && ToValue(counted.value).has_value()) order.push_back(counted);
  }
  result.distinct = order.size();
  const size_t kept = std::min<size_t>(limit, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(kept), order.end(),
                    [](const Counted& a, const Counted& b) {
                      if (a.points != b.points) return a.points > b.points;
                      return query::Compare(a.value, b.value) < 0;
                    });
  for (size_t i = 0; i < kept; ++i) {
    result.values.push_back({.value = *ToValue(order[i].value), .count = order[i].points});
  }
  return result;
}

}  // namespace tessera::db
