#include "db/publish/absorption.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"

#include "base/status_macros.h"
#include "db/filters/row_fields.h"
#include "db/jobs/build_memory.h"
#include "db/publish/new_versions.h"
#include "db/publish/publisher.h"
#include "index/raw_plane.h"
#include "version/build/field_spool.h"

namespace tessera::db {
namespace {

// Builds of less than this are short: some seconds.
constexpr uint64_t kShortBuildBytes = uint64_t{32} << 20;

absl::Status AppendFreshRecords(const query::SearchView& view, version::RecordSpool* spool) {
  std::vector<std::byte> record(index::RawRecordBytes(view.field));
  for (uint64_t i = view.fresh.first_sequence(); i < view.fresh.end_sequence(); ++i) {
    const std::optional<query::FreshRowRef> row = view.fresh.Row(i);
    if (!row.has_value()) continue;
    index::EncodeRawRecord(
        view.field,
        {.row = row->row, .version = row->version, .id = row->id, .vector = row->vector.data()},
        record.data());
    TESSERA_RETURN_IF_ERROR(spool->Append(record));
  }
  return absl::OkStatus();
}

NextVersion HowOf(MaintenanceAction action) {
  switch (action) {
    case MaintenanceAction::kAbsorb:
      return NextVersion::kAppend;
    case MaintenanceAction::kRecalibrate:
      return NextVersion::kRecalibrate;
    default:
      return NextVersion::kRebuild;
  }
}

// One attempt, from taking a view to publishing what was built from it.
class Attempt {
 public:
  Attempt(CollectionCore& core, NextVersion how, JobLength length)
      : core_(core), publisher_(core), how_(how), length_(length) {}

  absl::Status Run() {
    TESSERA_ASSIGN_OR_RETURN(const BuildMemory::Share memory,
                             core_.engine.builds->Take(length_, core_.stopping));
    TESSERA_RETURN_IF_ERROR(Begin());
    absl::Status status = absl::UnknownError("an exception");
    // Also when memory ends on the way: the collection must be as it was before.
    const absl::Cleanup end = [&] { publisher_.End(status); };
    status = Build(memory.bytes());
    if (status.ok()) status = publisher_.Publish(std::move(versions_));
    versions_ = {};
    return status;
  }

 private:
  absl::Status Begin() {
    base::MutexLock lock(&core_.write_mu);
    TESSERA_RETURN_IF_ERROR(core_.CheckWorking());
    view_ = core_.View();
    const query::FreshView& fresh = view_->fields[0].search.fresh;
    // A calibration leaves what is fresh alone.
    const bool all = how_ != NextVersion::kRecalibrate;
    versions_.absorbed_end = all ? core_.state.next_row : view_->absorbed_end;
    versions_.absorbed_sequence = all ? fresh.end_sequence() : fresh.first_sequence();
    publisher_.Begin(versions_.absorbed_end, core_.state);
    return absl::OkStatus();
  }

  absl::Status Build(uint64_t memory_bytes) {
    version::BuildOptions options;
    options.threads = core_.engine.threads;
    options.memory_bytes = memory_bytes;
    options.cancelled = &core_.stopping;
    version::Context& context = core_.engine.versions;
    RowFields fields(core_.engine, core_.record.uid, *view_);
    options.fields = &fields;
    for (const FieldView& field : view_->fields) {
      TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<version::RecordSpool> spool,
                               version::NewRecordSpool(context, field.search.field));
      if (how_ == NextVersion::kRebuild && field.index != nullptr) {
        TESSERA_RETURN_IF_ERROR(version::AppendLiveRecords(context, *field.index, field.search.live,
                                                           memory_bytes / 2, spool.get()));
      }
      if (how_ != NextVersion::kRecalibrate) {
        TESSERA_RETURN_IF_ERROR(AppendFreshRecords(field.search, spool.get()));
      }
      TESSERA_RETURN_IF_ERROR(spool->FinishWriting());
      TESSERA_RETURN_IF_ERROR(AddVersion(context, field.search.field, field.index,
                                         field.search.live, how_, *spool, options, &versions_));
    }
    return absl::OkStatus();
  }

  CollectionCore& core_;
  Publisher publisher_;
  const NextVersion how_;
  const JobLength length_;
  std::shared_ptr<const ReadView> view_;
  NewVersions versions_;
};

}  // namespace

absl::Status RunMaintenance(CollectionCore& core, MaintenanceAction action) {
  if (action == MaintenanceAction::kNothing) return absl::OkStatus();
  TESSERA_RETURN_IF_ERROR(core.engine.CheckWritable());
  JobLength length = JobLength::kShort;
  {
    const std::shared_ptr<const ReadView> view = core.View();
    if (view == nullptr) {
      TESSERA_RETURN_IF_ERROR(core.CheckWorking());
      return absl::CancelledError("the database is closed");
    }
    length = LengthOf(action, core.Numbers(*view), core.FreshBytes(1, 0));
  }
  NextVersion how = HowOf(action);
  absl::Status status = Attempt(core, how, length).Run();
  if (how == NextVersion::kAppend && AreRowsUnlike(status)) {
    how = NextVersion::kRebuild;
    status = Attempt(core, how, length).Run();
  }
  if (!status.ok()) return status;
  // Only now that the view is gone which the new versions were built from.
  core.engine.files->RemoveUnused().IgnoreError();
  if (how == NextVersion::kRebuild) SweepTombstones(core).IgnoreError();
  return absl::OkStatus();
}

JobLength LengthOf(MaintenanceAction action, const MaintenanceNumbers& numbers,
                   uint64_t row_bytes) {
  if (action != MaintenanceAction::kRebuild) return JobLength::kShort;
  return LengthOfBuild(numbers.live_rows * row_bytes);
}

JobLength LengthOfBuild(uint64_t bytes) {
  return bytes > kShortBuildBytes ? JobLength::kLong : JobLength::kShort;
}

}  // namespace tessera::db
