// Where a build gets what filters can ask of its rows.
//
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "base/types.h"

namespace tessera::version {

class FieldSource {
 public:
  virtual ~FieldSource() = default;

  // id_key: PointId::EncodeKey; fields: a field record (query/filter/field_record.h).
  using Visitor = absl::FunctionRef<absl::Status(size_t index, std::string_view id_key,
                                                 std::string_view fields)>;

  // Calls `visit` once for each of `rows`, in their order. Rows of one call are many thousands at
  // most; calls may begin anew from smaller rows.
  // Pre: rows ascending. Errors: kDataLoss for a row that has none; those of `visit`.
  virtual absl::Status Read(std::span<const base::RowId> rows, Visitor visit) = 0;
};

}  // namespace tessera::version
