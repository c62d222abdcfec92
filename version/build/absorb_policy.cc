#include "version/build/absorb_policy.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "base/status_macros.h"
#include "index/raw_plane.h"
#include "version/build/live_records.h"

namespace tessera::version {
namespace {

constexpr size_t kTailBufferBytes = 64 << 10;
// A list's new rows are misfits when their mean squared distance to the head is this many times
// that of its first rows. So many of them, as a share of the rows the index was built with and of
// those appended, are borne: in few dimensions chance makes some.
constexpr double kMisfitSpread = 1.3;
constexpr double kMisfitBuiltShare = 0.02;
constexpr double kMisfitAppendedShare = 0.15;
constexpr double kMisfitRowsLeast = 256;

uint64_t Counter(const IndexVersion& version, std::string_view name) {
  const auto it = version.record.counters.find(std::string(name));
  return it == version.record.counters.end() ? 0 : it->second;
}

}  // namespace

// Of all appends since the build, this one included.
uint64_t AbsorbPolicy::CountMisfits() const {
  uint64_t misfits = Counter(current_, kMisfitRowsCounter);
  for (uint32_t list = 0; list < assignment_.list_rows.size(); ++list) {
    const uint32_t rows = assignment_.list_rows[list];
    const double usual = static_cast<double>(rows) * current_.view->heads->spread(list);
    if (assignment_.list_distance2[list] > kMisfitSpread * usual) misfits += rows;
  }
  return misfits;
}

bool AbsorbPolicy::TooMany(uint64_t misfits) const {
  const uint64_t built = Counter(current_, kBuiltRowsCounter);
  const uint64_t rows = current_.view->rows + records_.record_count();
  const double borne = kMisfitRowsLeast + kMisfitBuiltShare * static_cast<double>(built) +
                       kMisfitAppendedShare * static_cast<double>(rows - std::min(built, rows));
  return static_cast<double>(misfits) > borne;
}

// Decides which parts leave the version: those without live rows, and small newest parts of lists
// that get rows, as far as the locations of their rows fit the memory. Rewriting only the newest
// part costs kTailRowsMax rows per list and publish at most; joining all small parts of a list was
// no better for searches, as a list has few, and wrote more.
void AbsorbPolicy::ChooseTails(uint64_t memory_bytes) {
  const query::IndexView& view = *current_.view;
  const uint64_t tail_rows_max = memory_bytes / 8 / sizeof(RowLocation);
  uint64_t tail_rows = 0;
  dropped_.assign(view.parts.size(), false);
  for (uint32_t list = 0; list < view.list_count(); ++list) {
    for (uint32_t part = view.part_begin[list]; part < view.part_begin[list + 1]; ++part) {
      const uint32_t live = live_.CountLive(view.parts[part].first_block, view.parts[part].rows);
      const bool newest = part + 1 == view.part_begin[list + 1];
      const bool tail = newest && live <= kTailRowsMax && assignment_.list_rows[list] > 0 &&
                        tail_rows + live <= tail_rows_max;
      dropped_[part] = live == 0 || tail;
      if (live == 0 || !tail) continue;
      tail_rows += live;
      tail_parts_.push_back(part);
    }
  }
}

absl::Status AbsorbPolicy::ReadTails() {
  const size_t record_bytes = index::RawRecordBytes(current_.view->field);
  TESSERA_ASSIGN_OR_RETURN(tails_, RecordSpool::Create(*context_.fs, context_.ScratchFile("tails"),
                                                       record_bytes, kTailBufferBytes));
  TESSERA_ASSIGN_OR_RETURN(tail_lists_, AssignmentSpool::Create(context_));
  TESSERA_RETURN_IF_ERROR(ReadLiveRecordsOf(
      context_, current_, live_, tail_parts_,
      [&](uint32_t part, uint32_t, std::span<const std::byte> record) {
        const uint32_t list = current_.view->parts[part].list;
        ++assignment_.list_rows[list];
        if (absl::Status status = tails_->Append(record); !status.ok()) return status;
        return tail_lists_->Append({.row = index::RawRowId(record.data()), .list = list});
      }));
  TESSERA_RETURN_IF_ERROR(tails_->FinishWriting());
  return tail_lists_->FinishWriting();
}

absl::StatusOr<std::variant<VersionEdit, RowsUnlikeIndex>> AbsorbPolicy::Decide(
    const TrainingOptions& options) {
  TESSERA_ASSIGN_OR_RETURN(lists_, AssignmentSpool::Create(context_));
  const FieldRecords rows{.field = current_.view->field, .records = records_};
  TESSERA_ASSIGN_OR_RETURN(assignment_, AssignRows(rows, *current_.view->heads, options, &*lists_));
  const uint64_t misfits = CountMisfits();
  if (TooMany(misfits)) return RowsUnlikeIndex{.rows = misfits};
  ChooseTails(options.memory_bytes);
  TESSERA_RETURN_IF_ERROR(ReadTails());
  VersionEdit edit;
  edit.dropped = dropped_;
  edit.rows = {{.records = &records_, .lists = &*lists_, .ascending = true},
               {.records = tails_.get(), .lists = &*tail_lists_, .ascending = false}};
  edit.list_rows = assignment_.list_rows;
  edit.counters[std::string(kMisfitRowsCounter)] = misfits;
  return edit;
}

}  // namespace tessera::version
