// What filters can ask of the points of a read view, from the row store.
//
// Threads: one at a time.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"

#include "db/engine.h"
#include "db/read_view.h"
#include "version/columns/field_source.h"
#include "version/columns/fields_spool.h"

namespace tessera::db {

class RowFields final : public version::FieldSource {
 public:
  // Rows from `loaded->first_row()` on are in the spool, if there is one. All outlive the source.
  RowFields(Engine& engine, uint32_t uid, const ReadView& view,
            version::FieldsSpool* loaded = nullptr)
      : engine_(engine), uid_(uid), view_(view), loaded_(loaded) {}

  absl::Status Read(std::span<const base::RowId> rows, Visitor visit) override;

 private:
  absl::Status ReadStored(std::span<const base::RowId> rows, Visitor visit);

  Engine& engine_;
  const uint32_t uid_;
  const ReadView& view_;
  version::FieldsSpool* const loaded_;
  std::unique_ptr<storage::RowIterator> it_;  // of the points; null at first
};

}  // namespace tessera::db
