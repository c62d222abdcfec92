// One bulk load: points go from a source straight into lists, in external-memory passes.
//
//   read     every point: its raw records to a spool per vector field, its payload to a table file,
//            its id to an external sorter
//   ids      in key order to a table file; of an id that comes twice the last point stays, and
//            points the collection had under the id are replaced
//   build    the index versions: of what is left of the collection and the loaded rows together, or
//            with the loaded rows appended if they are few beside it and like it
//   publish  table files and manifests in one atomic step
//
// Memory: little while the source is read, which may take as long as a client likes; the share of a
// build only afterwards. Rows that others replace are kept in scratch files, however many they are.
//
// Threads: one at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/memory_budget.h"
#include "base/types.h"
#include "db/collection_core.h"
#include "db/database.h"
#include "db/publish/new_versions.h"
#include "db/publish/row_list.h"
#include "storage/bulk_writer.h"
#include "storage/external_sorter.h"
#include "version/build/record_spool.h"
#include "version/columns/fields_spool.h"

namespace tessera::db {

class BulkLoader {
 public:
  // Pre: the collection's work slot is held, its writes are refused, nothing is fresh.
  // `cancelled` is polled in every step.
  BulkLoader(CollectionCore& core, const BulkLoadOptions& options,
             const std::atomic<bool>& cancelled)
      : core_(core),
        engine_(core.engine),
        options_(options),
        cancelled_(cancelled),
        dead_(core.engine.versions) {}

  // Errors: as Collection::BulkLoad; nothing has changed then.
  absl::StatusOr<BulkLoadOutcome> Run(const PointSource& source);

 private:
  absl::Status Prepare();
  absl::Status ReadPoints(const PointSource& source);
  absl::Status AddPoint(base::RowId row, const Point& point);
  absl::Status WriteIds();
  absl::Status WriteIdBatch();
  absl::Status AddDead(base::RowId row);
  absl::Status WriteTombstones();
  absl::Status MarkReplaced();
  absl::Status BuildIndexes();
  absl::Status BuildFields(NextVersion how, uint64_t memory_bytes);
  absl::StatusOr<std::unique_ptr<version::RecordSpool>> WithLiveRecords(size_t field,
                                                                        uint64_t memory_bytes);
  absl::Status Publish();
  void RemoveDeadPoints();
  absl::Status CheckCancelled() const;
  void Report(std::string_view phase, uint64_t done, uint64_t total) const;

  CollectionCore& core_;
  Engine& engine_;
  const BulkLoadOptions& options_;
  const std::atomic<bool>& cancelled_;

  std::shared_ptr<const ReadView> view_;
  base::MemoryReservation memory_;                             // of sorters and spools
  std::vector<std::unique_ptr<version::RecordSpool>> spools_;  // one per vector field
  std::unique_ptr<storage::ExternalSorter> ids_;
  std::unique_ptr<storage::ExternalSorter> dead_sorter_;
  std::unique_ptr<storage::BulkWriter> rows_;
  std::unique_ptr<version::FieldsSpool> fields_;
  std::vector<std::byte> record_;
  std::string id_key_;
  std::string field_record_;

  base::RowId first_row_;
  uint64_t read_count_ = 0;
  uint64_t replaced_count_ = 0;  // points the collection had
  uint64_t added_count_ = 0;     // distinct ids
  // Distinct ids in key order, not yet written.
  std::vector<std::string> id_keys_;
  std::vector<base::RowId> id_rows_;
  RowList dead_;  // rows of this load and older ones that other rows replaced, ascending
  std::vector<query::LiveBitmap> live_;  // what is left of the collection's rows, per field
  NewVersions versions_;
};

}  // namespace tessera::db
