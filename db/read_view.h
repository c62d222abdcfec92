// What one read sees of a collection, all of it taken at one moment.
//
// Threads: immutable; shared by every read.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/types.h"
#include "query/index_view.h"
#include "storage/row_store.h"
#include "version/index_version.h"

namespace tessera::db {

struct FieldView {
  std::shared_ptr<const version::IndexVersion> index;  // null: nothing was absorbed yet
  query::SearchView search;
};

struct ReadView {
  std::vector<FieldView> fields;  // as in the schema
  std::shared_ptr<const storage::RowSnapshot> rows;
  base::RowId absorbed_end;  // rows below are in lists, the others are fresh
  uint64_t point_count = 0;
  uint64_t fresh_field_bytes = 0;  // WriterState::fresh_fields_held

  // To be called once the view is published, outside locks: see IndexVersion::AdoptFrames.
  void AdoptFrames() const {
    for (const FieldView& field : fields) {
      if (field.index != nullptr) field.index->AdoptFrames();
    }
  }
};

}  // namespace tessera::db
