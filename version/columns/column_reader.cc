#include "version/columns/column_reader.h"

#include <vector>

#include "base/status_macros.h"
#include "storage/epoch.h"

namespace tessera::version {
namespace {

// Units of one chunk, from memory or disk, valid as long as the guard is not refreshed.
class UnitFetcher {
 public:
  UnitFetcher(storage::PageCache& cache, LoadedColumns& columns)
      : cache_(cache), columns_(columns) {}

  absl::StatusOr<std::vector<std::string_view>> Fetch(std::span<const uint32_t> units) {
    guard_.Refresh();
    std::vector<storage::FetchRequest> requests;
    for (const uint32_t unit : units) requests.push_back({.table = &columns_.table, .unit = unit});
    std::vector<std::string_view> bytes(units.size());
    TESSERA_RETURN_IF_ERROR(
        cache_.Fetch(guard_, requests, [&](size_t request, const std::byte* data) {
          bytes[request] = {reinterpret_cast<const char*>(data),
                            columns_.set.units[units[request]].bytes};
        }));
    return bytes;
  }

 private:
  storage::PageCache& cache_;
  LoadedColumns& columns_;
  storage::CacheGuard guard_;
};

}  // namespace

absl::Status ForEachColumnRow(storage::PageCache& cache, LoadedColumns& columns,
                              const BuildPace& pace, query::RowVisitor visit) {
  UnitFetcher fetcher(cache, columns);
  std::vector<uint32_t> units;
  for (const ColumnChunk& chunk : columns.set.chunks) {
    TESSERA_RETURN_IF_ERROR(pace.Check());
    units.clear();
    for (uint32_t i = 0; i < chunk.units; ++i) units.push_back(chunk.first_unit + i);
    TESSERA_ASSIGN_OR_RETURN(const std::vector<std::string_view> bytes, fetcher.Fetch(units));
    TESSERA_RETURN_IF_ERROR(query::DecodeChunk(bytes, visit));
  }
  return absl::OkStatus();
}

absl::Status ForEachPathUnit(
    storage::PageCache& cache, LoadedColumns& columns, std::string_view path_key,
    absl::FunctionRef<absl::Status(const ColumnChunk& chunk, std::string_view rows_unit,
                                   std::string_view unit, query::UnitKind kind)>
        visit) {
  const auto path = columns.path_numbers.find(path_key);
  UnitFetcher fetcher(cache, columns);
  for (const ColumnChunk& chunk : columns.set.chunks) {
    uint32_t found = 0;  // the first unit is that of the rows
    for (uint32_t i = 1; i < chunk.units; ++i) {
      const ColumnUnit& unit = columns.set.units[chunk.first_unit + i];
      if (unit.kind == query::UnitKind::kRest && found == 0) found = i;
      if (path != columns.path_numbers.end() && unit.kind == query::UnitKind::kPath &&
          unit.path == path->second) {
        found = i;
        break;
      }
    }
    if (found == 0) continue;
    const uint32_t units[] = {chunk.first_unit, chunk.first_unit + found};
    TESSERA_ASSIGN_OR_RETURN(const std::vector<std::string_view> bytes, fetcher.Fetch(units));
    TESSERA_RETURN_IF_ERROR(visit(chunk, bytes[0], bytes[1], columns.set.units[units[1]].kind));
  }
  return absl::OkStatus();
}

}  // namespace tessera::version
