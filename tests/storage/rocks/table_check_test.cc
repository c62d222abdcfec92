// Damage at the end of a table file, where RocksDB does not look before it trusts.
#include "storage/rocks/table_check.h"

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "storage/bulk_writer.h"
#include "storage/row_store.h"
#include "tests/storage/rows.h"
#include "tests/support/fault_fs.h"
#include "tests/support/fs_image.h"
#include "tests/support/status_matchers.h"

namespace tessera::storage {
namespace {

using testing::HasSubstr;

constexpr char kDir[] = "/rows";
constexpr char kRows[] = "the bytes of a row";
constexpr size_t kFooterBytes = 53;

class CountedReads : public base::RandomAccessFile {
 public:
  explicit CountedReads(std::unique_ptr<base::RandomAccessFile> file) : file_(std::move(file)) {}
  absl::StatusOr<size_t> Read(uint64_t offset, std::span<std::byte> out) const override {
    ++reads_;
    return file_->Read(offset, out);
  }
  absl::StatusOr<uint64_t> Size() const override { return file_->Size(); }
  size_t reads() const { return reads_; }

 private:
  const std::unique_ptr<base::RandomAccessFile> file_;
  mutable size_t reads_ = 0;
};

// A store with one table file, written by a flush or by a bulk load.
class TableCheckTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    FaultFs fs;
    std::unique_ptr<RowStore> store = MustOpen(fs, kDir);
    if (GetParam()) {
      ASSERT_OK_AND_ASSIGN(const auto bulk, store->NewBulkWriter());
      ASSERT_OK(bulk->Put(Table::kFresh, "a", kRows));
      ASSERT_OK(bulk->Commit());
    } else {
      ASSERT_OK(PutOne(*store, Table::kFresh, "a", kRows));
      ASSERT_OK(store->Flush());
    }
    store.reset();
    image_ = Capture(fs);
    for (const auto& [path, bytes] : image_) {
      if (path.ends_with(".sst")) path_ = path;
    }
    // A block's first entry begins with three lengths of a byte each.
    properties_ = whole().find("rocksdb.") - 3;
    ASSERT_LT(properties_, whole().size() - kFooterBytes);
  }

  const std::string& whole() const { return image_.at(path_); }

  std::string Flipped(size_t at, unsigned mask) const {
    std::string bytes = whole();
    bytes[at] = static_cast<char>(static_cast<uint8_t>(bytes[at]) ^ mask);
    return bytes;
  }

  absl::Status Check(const std::string& bytes) const {
    FaultFs fs;
    PutFile(fs, path_, bytes);
    const auto file = fs.OpenForRead(path_, {});
    return file.ok() ? CheckTableFile(**file, path_) : file.status();
  }

  // What reading the row says when the table file is this one.
  absl::Status Read(const std::string& bytes) const {
    FsImage damaged = image_;
    damaged[path_] = bytes;
    const auto fs = Restore(damaged);
    const auto store = RowStore::Open(*fs, kDir, kSmallRowStore);
    if (!store.ok()) return store.status();
    const auto row = (*store)->Get(Table::kFresh, "a");
    EXPECT_EQ(row.value_or(kRows), kRows);
    return row.status();
  }

  FsImage image_;
  std::string path_;
  size_t properties_ = 0;
};

TEST_P(TableCheckTest, EveryBitOfTheEndIsLookedAt) {
  EXPECT_OK(Check(whole()));
  for (size_t at = properties_; at < whole().size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      const absl::Status status = Check(Flipped(at, 1U << bit));
      ASSERT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr(path_)))
          << "bit " << bit << " of byte " << at << " of " << whole().size();
    }
  }
}

TEST_P(TableCheckTest, EveryCutIsSeen) {
  for (size_t length = 0; length < whole().size(); ++length) {
    ASSERT_THAT(Check(whole().substr(0, length)), StatusIs(absl::StatusCode::kDataLoss)) << length;
  }
}

// A block's last number has a bit that promises an index of hashes before it. RocksDB, told so by
// properties that it has not checked yet, looks for one, and an assertion ends the process.
TEST_P(TableCheckTest, NoByteOfThePropertiesAbortsAnOpen) {
  for (size_t at = properties_; at < whole().size(); ++at) {
    ASSERT_THAT(Read(Flipped(at, 0x80)), StatusIs(absl::StatusCode::kDataLoss)) << at;
  }
}

INSTANTIATE_TEST_SUITE_P(FlushedAndLoaded, TableCheckTest, testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Loaded" : "Flushed"; });

// More than is read at once.
TEST(TableCheck, LongEndsAreReadInParts) {
  FaultFs fs;
  const std::unique_ptr<RowStore> store = MustOpen(fs, kDir);
  // The keys of an index are cut short, but not before they differ.
  for (int i = 0; i < 20; ++i) {
    const std::string key = absl::StrCat(std::string(kKeyBytesMax - 5, 'k'), 10'000 + i);
    ASSERT_OK(PutOne(*store, Table::kFresh, key, std::string(300, 'v'), Durability::kBuffered));
  }
  ASSERT_OK(store->Flush());
  const FsImage image = Capture(fs);
  size_t longest_reads = 0;
  for (const auto& [path, bytes] : image) {
    if (!path.ends_with(".sst")) continue;
    const CountedReads file(*fs.OpenForRead(path, {}));
    EXPECT_OK(CheckTableFile(file, path));
    longest_reads = std::max(longest_reads, file.reads());
  }
  EXPECT_EQ(longest_reads, 2);
}

}  // namespace
}  // namespace tessera::storage
