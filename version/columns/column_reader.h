// Reads column sets back.
//
// Threads: one at a time; any number of readers of one table.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "query/columns/decode_chunk.h"
#include "version/build/build_pace.h"
#include "version/columns/column_table.h"

namespace tessera::version {

// The rows of a set as they were added, by ascending position.
// Errors: kDataLoss; kResourceExhausted; kCancelled; the visitor's. Memory: a chunk.
absl::Status ForEachColumnRow(storage::PageCache& cache, LoadedColumns& columns,
                              const BuildPace& pace, query::RowVisitor visit);

// Calls `visit` with the unit of the rows and the unit of a path of every chunk that has the path,
// or the unit of the rest where the path may be in it.
// Errors: kDataLoss; kResourceExhausted; the visitor's.
absl::Status ForEachPathUnit(
    storage::PageCache& cache, LoadedColumns& columns, std::string_view path_key,
    absl::FunctionRef<absl::Status(const ColumnChunk& chunk, std::string_view rows_unit,
                                   std::string_view unit, query::UnitKind kind)>
        visit);

}  // namespace tessera::version
