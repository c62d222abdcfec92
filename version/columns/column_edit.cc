#include "version/columns/column_edit.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/coding/coding.h"
#include "base/status_macros.h"
#include "storage/external_sorter.h"
#include "version/columns/column_reader.h"
#include "version/columns/column_writer.h"

namespace tessera::version {
namespace {

// Sets before the newer ones are merged.
constexpr size_t kSetsMax = 8;
// Rows that are asked for at a time.
constexpr size_t kPortionRows = 8192;

std::string KeyOf(uint64_t position) {
  std::string key;
  base::PutBigEndian64(&key, position);
  return key;
}

// What is read in the order of rows, to be written in the order of positions.
class PositionSorter {
 public:
  explicit PositionSorter(const ColumnBuild& build)
      : build_(build),
        sorter_(*build.context->fs, build.context->scratch_path, build.memory_bytes) {}

  absl::Status Add(RowLocation location) {
    portion_.push_back(location);
    return portion_.size() < kPortionRows ? absl::OkStatus() : Flush();
  }

  absl::Status Flush() {
    TESSERA_RETURN_IF_ERROR(build_.pace.Check());
    // Rows that were moved come in the order of their lists.
    std::sort(portion_.begin(), portion_.end(),
              [](const RowLocation& a, const RowLocation& b) { return a.row < b.row; });
    std::vector<base::RowId> rows;
    rows.reserve(portion_.size());
    for (const RowLocation& location : portion_) rows.push_back(location.row);
    std::string value;
    const absl::Status status =
        build_.fields->Read(rows, [&](size_t i, std::string_view id_key, std::string_view fields) {
          value.clear();
          base::PutBytes(&value, id_key);
          value.append(fields);
          return sorter_.Add(KeyOf(portion_[i].position), value);
        });
    portion_.clear();
    return status;
  }

  absl::Status WriteTo(ColumnWriter* writer) {
    TESSERA_RETURN_IF_ERROR(Flush());
    TESSERA_RETURN_IF_ERROR(sorter_.Finish());
    std::string_view key;
    std::string_view value;
    for (uint64_t rows = 0;; ++rows) {
      if (rows % kPortionRows == 0) TESSERA_RETURN_IF_ERROR(build_.pace.Check());
      TESSERA_ASSIGN_OR_RETURN(const bool more, sorter_.Next(&key, &value));
      if (!more) return absl::OkStatus();
      base::Decoder in(value);
      std::string_view id_key;
      TESSERA_RETURN_IF_ERROR(in.Bytes(&id_key));
      TESSERA_RETURN_IF_ERROR(writer->Add(base::DecodeBigEndian64(key), id_key,
                                          value.substr(value.size() - in.remaining())));
    }
  }

 private:
  const ColumnBuild& build_;
  storage::ExternalSorter sorter_;
  std::vector<RowLocation> portion_;
};

}  // namespace

absl::StatusOr<std::vector<ColumnSet>> WriteColumns(const ColumnBuild& build,
                                                    std::span<const RowSource> sources,
                                                    const PartPlan& plan,
                                                    storage::ExtentWriter& writer) {
  std::vector<ColumnSet> sets;
  if (plan.parts().empty()) return sets;
  PositionSorter sorter(build);
  TESSERA_RETURN_IF_ERROR(ForEachLocation(
      sources, plan, [&](size_t, RowLocation location) { return sorter.Add(location); }));
  ColumnWriter columns(writer);
  TESSERA_RETURN_IF_ERROR(sorter.WriteTo(&columns));
  TESSERA_ASSIGN_OR_RETURN(std::optional<ColumnSet> set, columns.Finish());
  if (set.has_value()) sets.push_back(*std::move(set));
  return sets;
}

// As many of the newest sets are merged as it takes until the next older one is twice as large as
// those together, as with the segments of the location table. Merging more often would keep chunks
// full, but it is paid at every publish; a chunk that is not full costs a search about half a
// microsecond.
absl::StatusOr<std::vector<ColumnSet>> EditColumns(const ColumnBuild& build,
                                                   const IndexVersion& current,
                                                   const std::function<bool(uint64_t)>& stays,
                                                   std::vector<ColumnSet> added,
                                                   storage::ExtentWriter& writer) {
  const auto& old = current.columns.sets();
  std::vector<ColumnSet> sets;
  size_t kept = old.size();
  if (old.size() >= kSetsMax) {
    uint64_t rows = 0;
    while (kept > 0 && (old.size() - kept < 2 || old[kept - 1]->set.rows() < 2 * rows)) {
      rows += old[--kept]->set.rows();
    }
  }
  for (size_t i = 0; i < kept; ++i) sets.push_back(old[i]->set);
  if (kept < old.size()) {
    ColumnWriter merged(writer);
    for (size_t i = kept; i < old.size(); ++i) {
      TESSERA_RETURN_IF_ERROR(ForEachColumnRow(
          current.columns.cache(), *old[i], build.pace,
          [&](uint64_t position, std::string_view id_key, std::string_view fields) {
            return stays(position) ? merged.Add(position, id_key, fields) : absl::OkStatus();
          }));
    }
    TESSERA_ASSIGN_OR_RETURN(std::optional<ColumnSet> set, merged.Finish());
    if (set.has_value()) sets.push_back(*std::move(set));
  }
  for (ColumnSet& set : added) sets.push_back(std::move(set));
  return sets;
}

}  // namespace tessera::version
