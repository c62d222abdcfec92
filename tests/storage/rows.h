// Row stores for tests: opening small ones, writing and listing rows.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "base/files/file_system.h"
#include "storage/row_store.h"
#include "tests/support/fault_fs.h"
#include "tests/support/status_matchers.h"

namespace tessera::storage {

inline constexpr RowStoreOptions kSmallRowStore = {.block_cache_bytes = uint64_t{4} << 20,
                                                   .write_buffer_bytes = uint64_t{2} << 20};

// Null, and a failed test, if the store cannot be opened.
inline std::unique_ptr<RowStore> MustOpen(base::FileSystem& fs, const std::string& dir) {
  absl::StatusOr<std::unique_ptr<RowStore>> store = RowStore::Open(fs, dir, kSmallRowStore);
  EXPECT_OK(store);
  return store.ok() ? *std::move(store) : nullptr;
}

inline absl::Status PutOne(RowStore& store, Table table, std::string_view key,
                           std::string_view value, Durability durability = Durability::kSynced) {
  WriteSet set;
  set.Put(table, key, value);
  return store.Write(set, durability);
}

// What the store still tries to do while it is closed fails, and so cannot reach what is left.
inline void PowerCut(FaultFs& fs, Tear tear, std::unique_ptr<RowStore> store) {
  fs.FailFrom(fs.operations());
  store.reset();
  fs.CutPower(tear);
}

using RowList = std::vector<std::pair<std::string, std::string>>;

inline RowList Rows(const RowStore& store, Table table, std::string_view prefix = "",
                    const RowSnapshot* snapshot = nullptr) {
  RowList rows;
  const std::unique_ptr<RowIterator> it = store.NewIterator(table, prefix, snapshot);
  for (; it->Valid(); it->Next()) {
    rows.emplace_back(it->key(), it->value());
  }
  EXPECT_OK(it->status());
  return rows;
}

}  // namespace tessera::storage
