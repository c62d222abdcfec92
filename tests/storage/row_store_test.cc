#include "storage/row_store.h"

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/files/file_system.h"
#include "tests/storage/rows.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::storage {
namespace {

using testing::ElementsAre;
using testing::Eq;
using testing::IsEmpty;
using testing::Optional;
using testing::Pair;

std::unique_ptr<RowStore> MustOpen(const std::string& dir) {
  return storage::MustOpen(base::PosixFileSystem(), dir);
}

uint64_t TableFileCount(const std::string& dir) {
  const absl::StatusOr<std::vector<std::string>> names = base::PosixFileSystem().List(dir);
  EXPECT_OK(names);
  return static_cast<uint64_t>(
      std::count_if(names->begin(), names->end(),
                    [](const std::string& name) { return name.ends_with(".sst"); }));
}

TEST(RowStore, PutGetDeleteInEveryTable) {
  const TempDir dir;
  const std::unique_ptr<RowStore> store = MustOpen(dir.File("rows"));
  ASSERT_NE(store, nullptr);
  for (size_t i = 0; i < kTableCount; ++i) {
    const auto table = static_cast<Table>(i);
    const std::string key("k\0y", 3);
    EXPECT_THAT(store->Get(table, key), IsOkAndHolds(Eq(std::nullopt)));
    ASSERT_OK(PutOne(*store, table, key, absl::StrCat("value ", i)));
    EXPECT_THAT(store->Get(table, key), IsOkAndHolds(Optional(absl::StrCat("value ", i))));
    WriteSet erase;
    erase.Delete(table, key);
    ASSERT_OK(store->Write(erase, Durability::kBuffered));
    EXPECT_THAT(store->Get(table, key), IsOkAndHolds(Eq(std::nullopt)));
  }
}

TEST(RowStore, WriteSetSpansTablesAndLaterOperationsWin) {
  const TempDir dir;
  const std::unique_ptr<RowStore> store = MustOpen(dir.File("rows"));
  WriteSet set;
  EXPECT_TRUE(set.empty());
  set.Put(Table::kPoints, "a", "1");
  set.Put(Table::kPoints, "a", "2");
  set.Put(Table::kPoints, "b", "3");
  set.Put(Table::kPoints, "c", "4");
  set.Delete(Table::kPoints, "b");
  set.Put(Table::kIds, "a", "");
  EXPECT_GT(set.bytes(), 0U);
  ASSERT_OK(store->Write(set, Durability::kSynced));
  EXPECT_THAT(Rows(*store, Table::kPoints, ""), ElementsAre(Pair("a", "2"), Pair("c", "4")));
  EXPECT_THAT(Rows(*store, Table::kIds, ""), ElementsAre(Pair("a", "")));
  set.Clear();
  EXPECT_TRUE(set.empty());
}

TEST(RowStore, RowsSurviveReopeningFromTheLogAndFromTableFiles) {
  const TempDir dir;
  std::unique_ptr<RowStore> store = MustOpen(dir.File("rows"));
  ASSERT_OK(PutOne(*store, Table::kPoints, "flushed", "1"));
  ASSERT_OK(store->Flush());
  ASSERT_OK(PutOne(*store, Table::kPoints, "logged", "2", Durability::kBuffered));
  for (int i = 0; i < 3; ++i) {
    store.reset();
    store = MustOpen(dir.File("rows"));
    ASSERT_NE(store, nullptr);
    EXPECT_THAT(Rows(*store, Table::kPoints, ""),
                ElementsAre(Pair("flushed", "1"), Pair("logged", "2")));
  }
}

TEST(RowStore, SnapshotSeesOnePastState) {
  const TempDir dir;
  std::unique_ptr<RowStore> store = MustOpen(dir.File("rows"));
  ASSERT_OK(PutOne(*store, Table::kPoints, "a", "old"));
  std::shared_ptr<const RowSnapshot> snapshot = store->Snapshot();
  WriteSet set;
  set.Put(Table::kPoints, "a", "new");
  set.Put(Table::kPoints, "b", "new");
  ASSERT_OK(store->Write(set, Durability::kSynced));
  ASSERT_OK(store->Flush());
  const std::vector<std::string> keys = {"b", "a"};
  EXPECT_THAT(store->Get(Table::kPoints, "a", snapshot.get()), IsOkAndHolds(Optional(Eq("old"))));
  EXPECT_THAT(store->MultiGet(Table::kPoints, keys, snapshot.get()),
              IsOkAndHolds(ElementsAre(Eq(std::nullopt), Optional(Eq("old")))));
  EXPECT_THAT(Rows(*store, Table::kPoints, "", snapshot.get()), ElementsAre(Pair("a", "old")));
  EXPECT_THAT(Rows(*store, Table::kPoints, ""), ElementsAre(Pair("a", "new"), Pair("b", "new")));
  store.reset();  // a snapshot may be the last to go
  snapshot.reset();
  EXPECT_NE(MustOpen(dir.File("rows")), nullptr);
}

TEST(RowStore, IteratorStaysWithinItsPrefix) {
  const TempDir dir;
  const std::unique_ptr<RowStore> store = MustOpen(dir.File("rows"));
  WriteSet set;
  for (const char* key : {"a", "b1", "b2", "b3", "c", "\xff", "\xff\xff", "\xff\xff\x01"}) {
    set.Put(Table::kPoints, key, "");
  }
  ASSERT_OK(store->Write(set, Durability::kSynced));
  EXPECT_THAT(Rows(*store, Table::kPoints, "b"),
              ElementsAre(Pair("b1", ""), Pair("b2", ""), Pair("b3", "")));
  EXPECT_THAT(Rows(*store, Table::kPoints, "bb"), IsEmpty());
  EXPECT_THAT(Rows(*store, Table::kPoints, "\xff\xff"),
              ElementsAre(Pair("\xff\xff", ""), Pair("\xff\xff\x01", "")));
  const std::unique_ptr<RowIterator> it = store->NewIterator(Table::kPoints, "b");
  it->Seek("b2");
  ASSERT_TRUE(it->Valid());
  EXPECT_EQ(it->key(), "b2");
  it->Seek("a");  // before the prefix: its first key
  ASSERT_TRUE(it->Valid());
  EXPECT_EQ(it->key(), "b1");
  it->Seek("c");
  EXPECT_FALSE(it->Valid());
  EXPECT_OK(it->status());
}

TEST(RowStore, MultiGetAnswersInTheOrderAsked) {
  const TempDir dir;
  const std::unique_ptr<RowStore> store = MustOpen(dir.File("rows"));
  WriteSet set;
  for (int i = 0; i < 1000; ++i) set.Put(Table::kPoints, absl::StrCat("k", i), absl::StrCat(i));
  ASSERT_OK(store->Write(set, Durability::kSynced));
  ASSERT_OK(store->Flush());
  const std::vector<std::string> keys = {"k999", "nowhere", "k0", "k999", "k500"};
  EXPECT_THAT(store->MultiGet(Table::kPoints, keys),
              IsOkAndHolds(ElementsAre(Optional(Eq("999")), Eq(std::nullopt), Optional(Eq("0")),
                                       Optional(Eq("999")), Optional(Eq("500")))));
  EXPECT_THAT(store->MultiGet(Table::kPoints, {}), IsOkAndHolds(IsEmpty()));
}

TEST(RowStore, ConcurrentWritersAndReadersAgree) {
  const TempDir dir;
  std::unique_ptr<RowStore> store = MustOpen(dir.File("rows"));
  std::vector<std::thread> writers;
  for (int w = 0; w < 4; ++w) {
    writers.emplace_back([&store, w] {
      for (int i = 0; i < 100; ++i) {
        WriteSet set;
        const std::string key = absl::StrCat(w, ".", i);
        set.Put(Table::kPoints, key, key);
        set.Put(Table::kIds, key, key);
        EXPECT_OK(store->Write(set, i % 10 == 0 ? Durability::kSynced : Durability::kBuffered));
        EXPECT_THAT(store->Get(Table::kIds, key), IsOkAndHolds(Optional(Eq(key))));
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(Rows(*store, Table::kPoints, "").size(), 400U);
  store.reset();
  store = MustOpen(dir.File("rows"));
  EXPECT_EQ(Rows(*store, Table::kPoints, "").size(), 400U);
  EXPECT_EQ(Rows(*store, Table::kIds, "3.").size(), 100U);
}

TEST(RowStore, WrongUseIsAnswered) {
  const TempDir dir;
  const std::unique_ptr<RowStore> store = MustOpen(dir.File("rows"));
  EXPECT_THAT(RowStore::Open(base::PosixFileSystem(), dir.File("rows"), kSmallRowStore),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(PutOne(*store, Table::kPoints, std::string(kKeyBytesMax + 1, 'x'), ""),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_OK(PutOne(*store, Table::kPoints, std::string(kKeyBytesMax, 'x'), ""));
  EXPECT_THAT(RowStore::Open(base::PosixFileSystem(), dir.File("other"),
                             {.block_cache_bytes = 1, .write_buffer_bytes = 1 << 20}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(RowStore::Open(base::PosixFileSystem(), dir.File("no/such/parent"), kSmallRowStore),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST(RowStore, MemoryStaysWithinTheOptions) {
  const TempDir dir;
  const std::unique_ptr<RowStore> store = MustOpen(dir.File("rows"));
  const std::string value(1000, 'v');
  for (int i = 0; i < 20'000; ++i) {
    WriteSet set;
    set.Put(Table::kPoints, absl::StrCat("key", i), absl::StrCat(i, value));
    set.Put(Table::kFresh, absl::StrCat("key", i), value);
    ASSERT_OK(store->Write(set, Durability::kBuffered));
  }
  EXPECT_EQ(Rows(*store, Table::kPoints, "").size(), 20'000U);
  // Counted on both sides of the measurement, as compactions come and go.
  const uint64_t files_before = TableFileCount(dir.File("rows"));
  const uint64_t used = store->memory_bytes();
  const uint64_t files = std::max(files_before, TableFileCount(dir.File("rows")));
  EXPECT_GT(used, 0U);
  EXPECT_LE(used, kSmallRowStore.block_cache_bytes + kSmallRowStore.write_buffer_bytes +
                      std::min(files, kOpenTableFilesMax) * kOpenTableFileBytes);
}

}  // namespace
}  // namespace tessera::storage
