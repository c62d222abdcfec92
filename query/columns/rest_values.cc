#include "query/columns/rest_values.h"

#include <array>

#include "base/status_macros.h"
#include "query/columns/rest_view.h"
#include "query/columns/unit.h"
#include "query/filter/field_record.h"

namespace tessera::query {

absl::Status ForEachRestValue(
    std::string_view rows_unit, std::string_view rest_unit, std::string_view path_key,
    const uint64_t* words, absl::FunctionRef<void(const FieldValue& value, uint32_t rows)> visit) {
  TESSERA_ASSIGN_OR_RETURN(const UnitView rows, ParseUnit(rows_unit));
  TESSERA_ASSIGN_OR_RETURN(const UnitView rest, ParseUnit(rest_unit));
  const Section* blocks = rows.Find(SectionKind::kBlocks);
  if (blocks == nullptr || rows.rows != rest.rows) {
    return absl::DataLossError("the units of a chunk do not belong together");
  }
  std::array<uint64_t, kChunkRowsMax / 64> wanted{};
  GatherRows(*blocks, words, rows.rows, wanted.data());
  const RestView view(rest);
  for (uint32_t i = 0; i < view.count(); ++i) {
    const uint16_t row = view.row(i);
    if (row >= rows.rows || (wanted[row / 64] >> (row % 64) & 1) == 0) continue;
    FieldRecordReader entries(view.record(i));
    std::string_view key;
    std::string_view values;
    while (entries.Next(&key, &values)) {
      if (key != path_key) continue;
      FieldValueReader reader(values);
      for (FieldValue value; reader.Next(&value);) visit(value, 1);
    }
  }
  return absl::OkStatus();
}

}  // namespace tessera::query
