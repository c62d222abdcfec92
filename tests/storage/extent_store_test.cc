#include "storage/extent_store.h"

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "storage/aligned_buffer.h"
#include "tests/support/fault_fs.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr char kDir[] = "/extents";

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string RandomText(std::mt19937_64& rng, size_t bytes) {
  std::string text(bytes, '\0');
  for (char& c : text) {
    c = static_cast<char>(rng());
  }
  return text;
}

std::unique_ptr<ExtentStore> MustOpen(base::FileSystem& fs, const std::string& dir,
                                      uint32_t next_file, const ExtentStoreOptions& options = {}) {
  absl::StatusOr<std::unique_ptr<ExtentStore>> store =
      ExtentStore::Open(fs, dir, next_file, options);
  EXPECT_OK(store);
  return *std::move(store);
}

TEST(ExtentStore, ExtentsComeBackFromTheRealFileSystem) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(seed);
  std::mt19937_64 rng(seed);
  TempDir dir;
  for (const bool direct_io : {true, false}) {
    auto store = MustOpen(base::PosixFileSystem(), dir.File("x"), 1,
                          {.file_bytes_max = 4 << 20, .open_files_max = 2, .direct_io = direct_io});
    const std::unique_ptr<ExtentWriter> writer = store->NewWriter();
    std::vector<std::pair<ExtentRef, std::string>> written;
    for (const size_t bytes : {1u, 511u, 512u, 513u, 4096u, 5000u, 70000u, 3000000u, 2000000u,
                               1048576u, 9000000u, 10u}) {
      const size_t alignment = rng() % 2 == 0 ? kPlaneAlignment : kListAlignment;
      std::string text = RandomText(rng, bytes);
      ASSERT_OK_AND_ASSIGN(const ExtentRef ref, writer->Append(Bytes(text), alignment));
      EXPECT_EQ(ref.offset % alignment, 0u);
      EXPECT_GE(ref.offset, kExtentFileHeaderBytes);
      EXPECT_EQ(ref.bytes, bytes);
      EXPECT_EQ(ref.crc, base::Crc32c(text));
      written.emplace_back(ref, std::move(text));
    }
    ASSERT_OK(writer->Finish());
    writer->Keep();
    EXPECT_THAT(writer->files(), SizeIs(testing::Ge(4u)));
    for (const auto& [ref, text] : written) {
      EXPECT_THAT(store->Read(ref), IsOkAndHolds(text));
    }
  }
}

TEST(ExtentStore, ExtentsOfAFileDoNotOverlapAndRollAtTheMaximum) {
  FaultFs fs;
  auto store = MustOpen(fs, kDir, 1, {.file_bytes_max = 64 << 10});
  const std::unique_ptr<ExtentWriter> writer = store->NewWriter();
  std::mt19937_64 rng(TestSeed());
  std::vector<ExtentRef> refs;
  for (int i = 0; i < 100; ++i) {
    const std::string text = RandomText(rng, 1 + rng() % 9000);
    ASSERT_OK_AND_ASSIGN(refs.emplace_back(), writer->Append(Bytes(text), kPlaneAlignment));
  }
  const std::string large = RandomText(rng, 200 << 10);
  ASSERT_OK_AND_ASSIGN(refs.emplace_back(), writer->Append(Bytes(large), kListAlignment));
  ASSERT_OK(writer->Finish());

  for (size_t i = 1; i < refs.size(); ++i) {
    if (refs[i].file == refs[i - 1].file) {
      EXPECT_GE(refs[i].offset, refs[i - 1].offset + refs[i - 1].bytes);
    } else {
      EXPECT_GT(refs[i].file, refs[i - 1].file);
      EXPECT_EQ(refs[i].offset, kExtentFileHeaderBytes);
    }
  }
  uint64_t sum = 0;
  for (const uint32_t file : writer->files()) {
    ASSERT_OK_AND_ASSIGN(const uint64_t bytes, fs.FileSize(store->FilePath(file)));
    EXPECT_EQ(bytes % kListAlignment, 0u);
    if (file != refs.back().file) {
      EXPECT_LE(bytes, 64u << 10);
    }
    sum += bytes;
  }
  EXPECT_EQ(store->disk_bytes(), sum);
  EXPECT_EQ(writer->file_bytes(), sum);
}

TEST(ExtentStore, HeaderBytesAreThoseOfTheFormatPage) {
  FaultFs fs;
  auto store = MustOpen(fs, kDir, 7);
  const std::unique_ptr<ExtentWriter> writer = store->NewWriter();
  ASSERT_OK_AND_ASSIGN(const ExtentRef ref, writer->Append(Bytes("abc"), kPlaneAlignment));
  ASSERT_OK(writer->Finish());
  EXPECT_EQ(ref.file, 7u);
  EXPECT_EQ(ref.offset, 4096u);
  EXPECT_EQ(store->FilePath(7), "/extents/0000000007.extents");

  ASSERT_OK_AND_ASSIGN(const auto file, fs.OpenForRead(store->FilePath(7), {}));
  std::string bytes(8192, 'x');
  ASSERT_THAT(file->Read(0, std::as_writable_bytes(std::span(bytes))), IsOkAndHolds(8192u));
  std::string expected("TESSEXT\n\x01\0\0\0\x07\0\0\0", 16);
  base::PutU32(&expected, base::Crc32c(expected));
  expected.resize(4096, '\0');
  expected += "abc";
  expected.resize(8192, '\0');
  EXPECT_EQ(bytes, expected);
}

TEST(ExtentStore, DamagedHeadersAreRefused) {
  FaultFs fs;
  {
    auto store = MustOpen(fs, kDir, 1);
    const std::unique_ptr<ExtentWriter> writer = store->NewWriter();
    ASSERT_OK(writer->Append(Bytes("abc"), kPlaneAlignment));
    ASSERT_OK(writer->Finish());
    writer->Keep();
  }
  for (uint64_t at = 0; at < 20; ++at) {
    auto store = MustOpen(fs, kDir, 1);
    ASSERT_OK(fs.CorruptByte(store->FilePath(1), at, 0x10));
    EXPECT_THAT(store->OpenFile(1), StatusIs(absl::StatusCode::kDataLoss)) << at;
    ASSERT_OK(fs.CorruptByte(store->FilePath(1), at, 0x10));
    EXPECT_OK(store->OpenFile(1));
  }
  auto store = MustOpen(fs, kDir, 1);
  EXPECT_THAT(store->OpenFile(5), StatusIs(absl::StatusCode::kNotFound));
  // Another file's bytes under this name.
  ASSERT_OK(fs.Link(store->FilePath(1), store->FilePath(2)));
  EXPECT_THAT(store->OpenFile(2), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("file 1")));
}

TEST(ExtentStore, NewerFormatIsUnimplemented) {
  FaultFs fs;
  auto store = MustOpen(fs, kDir, 1);
  std::string header("TESSEXT\n\x02\0\0\0\x03\0\0\0", 16);
  base::PutU32(&header, base::Crc32c(header));
  ASSERT_OK_AND_ASSIGN(auto file, fs.OpenForWrite(store->FilePath(3), base::WriteMode::kTruncate));
  ASSERT_OK(file->Append(Bytes(header)));
  ASSERT_OK(file->Close());
  EXPECT_THAT(store->OpenFile(3), StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("2")));
}

TEST(ExtentStore, DamagedOrMissingExtentsAreDataLoss) {
  FaultFs fs;
  auto store = MustOpen(fs, kDir, 1);
  const std::unique_ptr<ExtentWriter> writer = store->NewWriter();
  ASSERT_OK_AND_ASSIGN(const ExtentRef ref, writer->Append(Bytes("some bytes"), kPlaneAlignment));
  ASSERT_OK(writer->Finish());
  for (uint64_t at = 0; at < ref.bytes; ++at) {
    ASSERT_OK(fs.CorruptByte(store->FilePath(ref.file), ref.offset + at, 1));
    EXPECT_THAT(store->Read(ref), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("checksum")));
    ASSERT_OK(fs.CorruptByte(store->FilePath(ref.file), ref.offset + at, 1));
  }
  EXPECT_THAT(store->Read(ref), IsOkAndHolds("some bytes"));

  ExtentRef wrong = ref;
  wrong.bytes = 0xffffffff;  // answered before 4 GiB are taken for it
  EXPECT_THAT(store->Read(wrong), StatusIs(absl::StatusCode::kDataLoss));
  wrong = ref;
  wrong.offset = uint64_t{1} << 63;
  EXPECT_THAT(store->Read(wrong), StatusIs(absl::StatusCode::kDataLoss));
  wrong = ref;
  wrong.file = 99;
  EXPECT_THAT(store->Read(wrong), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("missing")));
}

TEST(ExtentStore, FileNumbersAreNeverUsedAgain) {
  FaultFs fs;
  uint32_t last = 0;
  for (int open = 0; open < 3; ++open) {
    auto store = MustOpen(fs, kDir, 1);
    for (int i = 0; i < 2; ++i) {
      const std::unique_ptr<ExtentWriter> writer = store->NewWriter();
      ASSERT_OK_AND_ASSIGN(const ExtentRef ref, writer->Append(Bytes("x"), kPlaneAlignment));
      EXPECT_GT(ref.file, last);
      last = ref.file;
      ASSERT_OK(writer->Finish());
      writer->Keep();
    }
    EXPECT_EQ(store->next_file(), last + 1);
  }
  // Also when the files are gone, given what was stored.
  auto store = MustOpen(fs, kDir, 1);
  ASSERT_OK(store->RemoveUnreferenced({}));
  store = MustOpen(fs, kDir, last + 1);
  EXPECT_EQ(store->next_file(), last + 1);

  store = MustOpen(fs, kDir, UINT32_MAX);
  const std::unique_ptr<ExtentWriter> writer = store->NewWriter();
  ASSERT_OK(writer->Append(Bytes("x"), kPlaneAlignment));
  const std::unique_ptr<ExtentWriter> none_left = store->NewWriter();
  EXPECT_THAT(none_left->Append(Bytes("x"), kPlaneAlignment),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(ExtentStore, UnfinishedWritersLeaveNothingBehind) {
  FaultFs fs;
  auto store = MustOpen(fs, kDir, 1);
  {
    const std::unique_ptr<ExtentWriter> writer = store->NewWriter();
    ASSERT_OK(writer->Append(Bytes("x"), kPlaneAlignment));
  }
  EXPECT_THAT(fs.Files(), IsEmpty());
  EXPECT_EQ(store->disk_bytes(), 0u);
  {
    const std::unique_ptr<ExtentWriter> writer = store->NewWriter();
    EXPECT_OK(writer->Finish());  // nothing written is fine too
  }
  EXPECT_THAT(fs.Files(), IsEmpty());
}

// What was built in vain must not wait for the next publish: it is as large as an index.
TEST(ExtentStore, FinishedFilesGoWithTheirWriterUnlessTheyAreKept) {
  FaultFs fs;
  auto store = MustOpen(fs, kDir, 1);
  ExtentRef dropped;
  ExtentRef pinned;
  ExtentRef kept;
  ExtentPin pin;
  {
    const std::unique_ptr<ExtentWriter> writer = store->NewWriter();
    ASSERT_OK_AND_ASSIGN(dropped, writer->Append(Bytes("abc"), kPlaneAlignment));
    ASSERT_OK(writer->Finish());
    const std::unique_ptr<ExtentWriter> read_on = store->NewWriter();
    ASSERT_OK_AND_ASSIGN(pinned, read_on->Append(Bytes("def"), kPlaneAlignment));
    ASSERT_OK(read_on->Finish());
    pin = store->Pin({pinned.file});
    const std::unique_ptr<ExtentWriter> published = store->NewWriter();
    ASSERT_OK_AND_ASSIGN(kept, published->Append(Bytes("ghi"), kPlaneAlignment));
    ASSERT_OK(published->Finish());
    published->Keep();
    EXPECT_EQ(store->disk_bytes(), 3u * 8192);
  }
  EXPECT_THAT(fs.Files(), ElementsAre(store->FilePath(kept.file)));
  EXPECT_EQ(store->disk_bytes(), 8192u);
  EXPECT_THAT(store->Read(dropped), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(store->Read(pinned), IsOkAndHolds("def"));
  EXPECT_THAT(store->Read(kept), IsOkAndHolds("ghi"));
}

TEST(ExtentStore, RemoveUnreferencedSparesLiveFilesAndWriters) {
  FaultFs fs;
  auto store = MustOpen(fs, kDir, 1);
  std::vector<ExtentRef> refs;
  for (int i = 0; i < 3; ++i) {
    const std::unique_ptr<ExtentWriter> writer = store->NewWriter();
    ASSERT_OK_AND_ASSIGN(refs.emplace_back(), writer->Append(Bytes("abc"), kPlaneAlignment));
    ASSERT_OK(writer->Finish());
    writer->Keep();
  }
  const std::unique_ptr<ExtentWriter> unpublished = store->NewWriter();
  ASSERT_OK_AND_ASSIGN(refs.emplace_back(), unpublished->Append(Bytes("abc"), kPlaneAlignment));
  ASSERT_OK(unpublished->Finish());
  ASSERT_OK_AND_ASSIGN(auto foreign,
                       fs.OpenForWrite("/extents/notes.txt", base::WriteMode::kTruncate));
  ASSERT_OK(foreign->Close());

  ASSERT_OK_AND_ASSIGN(const auto held, store->OpenFile(refs[0].file));
  ASSERT_OK(store->RemoveUnreferenced({refs[1].file}));
  EXPECT_THAT(fs.Files(), ElementsAre(store->FilePath(refs[1].file), store->FilePath(refs[3].file),
                                      "/extents/notes.txt"));
  EXPECT_EQ(store->disk_bytes(), 2u * 8192);
  AlignedBuffer buffer(512);
  EXPECT_THAT(held->Read(refs[0].offset, buffer.span()), IsOkAndHolds(512u));
  EXPECT_THAT(store->OpenFile(refs[0].file), StatusIs(absl::StatusCode::kNotFound));
}

TEST(ExtentStore, WriteErrorsStickAndFinishFails) {
  FaultFs fs;
  auto store = MustOpen(fs, kDir, 1);
  fs.AddRule({.op = FaultOp::kAppend, .path_part = "", .kind = FaultKind::kNoSpace});
  {
    const std::unique_ptr<ExtentWriter> writer = store->NewWriter();
    const std::string large(3 << 20, 'x');
    EXPECT_THAT(writer->Append(Bytes(large), kPlaneAlignment),
                StatusIs(absl::StatusCode::kResourceExhausted));
    fs.ClearRules();
    EXPECT_THAT(writer->Append(Bytes("x"), kPlaneAlignment),
                StatusIs(absl::StatusCode::kResourceExhausted));
    EXPECT_THAT(writer->Finish(), StatusIs(absl::StatusCode::kResourceExhausted));
  }
  EXPECT_THAT(fs.Files(), IsEmpty());
  const std::unique_ptr<ExtentWriter> writer = store->NewWriter();
  EXPECT_THAT(writer->Append({}, kPlaneAlignment), StatusIs(absl::StatusCode::kInvalidArgument));
  ASSERT_OK_AND_ASSIGN(const ExtentRef ref, writer->Append(Bytes("abc"), kPlaneAlignment));
  ASSERT_OK(writer->Finish());
  EXPECT_THAT(store->Read(ref), IsOkAndHolds("abc"));
}

// Power cut at every durable step: after an acknowledged Finish all extents are there; whatever a
// cut leaves otherwise is removed or ignored, and the next open goes on.
TEST(ExtentStore, FinishedFilesSurviveEveryPowerCut) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(seed);
  const auto run = [&](FaultFs& fs, std::vector<ExtentRef>* finished) {
    auto store = ExtentStore::Open(fs, kDir, 1, {.file_bytes_max = 32 << 10});
    if (!store.ok() || !fs.SyncDirectory("/").ok()) {
      return;
    }
    std::mt19937_64 rng(1);
    for (int flush = 0; flush < 3; ++flush) {
      const std::unique_ptr<ExtentWriter> writer = (*store)->NewWriter();
      std::vector<ExtentRef> refs;
      for (int i = 0; i < 10; ++i) {
        const std::string text = RandomText(rng, 1 + rng() % 9000);
        const absl::StatusOr<ExtentRef> ref = writer->Append(Bytes(text), kListAlignment);
        if (!ref.ok()) {
          return;
        }
        refs.push_back(*ref);
      }
      if (!writer->Finish().ok()) {
        return;
      }
      writer->Keep();
      finished->insert(finished->end(), refs.begin(), refs.end());
    }
  };
  FaultFs dry_run(seed);
  std::vector<ExtentRef> all;
  run(dry_run, &all);
  ASSERT_EQ(all.size(), 30u);
  ASSERT_GT(dry_run.operations(), 15);

  for (int64_t cut = 0; cut <= dry_run.operations(); ++cut) {
    for (const Tear tear : {Tear::kNothing, Tear::kUnsyncedTail, Tear::kHalfOfLastWrite}) {
      SCOPED_TRACE(testing::Message() << "cut before operation " << cut << ", " << ToString(tear));
      FaultFs fs(seed);
      fs.FailFrom(cut);
      std::vector<ExtentRef> finished;
      run(fs, &finished);
      fs.CutPower(tear);

      auto store = MustOpen(fs, kDir, 1);
      std::set<uint32_t> live;
      for (const ExtentRef& ref : finished) {
        EXPECT_OK(store->Read(ref));
        live.insert(ref.file);
      }
      ASSERT_OK(store->RemoveUnreferenced(live));
      EXPECT_THAT(fs.Files(), SizeIs(live.size()));
      const std::unique_ptr<ExtentWriter> writer = store->NewWriter();
      ASSERT_OK_AND_ASSIGN(const ExtentRef ref, writer->Append(Bytes("abc"), kListAlignment));
      ASSERT_OK(writer->Finish());
      writer->Keep();
      EXPECT_FALSE(live.contains(ref.file));
      EXPECT_THAT(store->Read(ref), IsOkAndHolds("abc"));
    }
  }
}

TEST(ExtentStore, OptionsOutOfRangeAreRefused) {
  FaultFs fs;
  EXPECT_THAT(ExtentStore::Open(fs, kDir, 1, {.file_bytes_max = 100}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("100")));
  EXPECT_THAT(ExtentStore::Open(fs, kDir, 1, {.open_files_max = 0}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace tessera::storage
