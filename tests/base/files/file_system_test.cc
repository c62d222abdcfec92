#include "base/files/file_system.h"

#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"

#include "tests/support/fault_fs.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::base {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

absl::Status WriteFile(FileSystem& fs, const std::string& path, std::string_view text,
                       WriteMode mode = WriteMode::kTruncate) {
  TESSERA_ASSIGN_OR_RETURN(const auto file, fs.OpenForWrite(path, mode));
  TESSERA_RETURN_IF_ERROR(file->Append(Bytes(text)));
  return file->Close();
}

absl::StatusOr<std::string> ReadFile(FileSystem& fs, const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(const auto file, fs.OpenForRead(path, {}));
  TESSERA_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  std::string text(size + 10, '\0');
  TESSERA_ASSIGN_OR_RETURN(const size_t got,
                           file->Read(0, std::as_writable_bytes(std::span(text))));
  text.resize(got);
  return text;
}

// What every file system must do, on the machine's own and on the one the crash tests use.
class FileSystemTest : public testing::TestWithParam<bool> {
 protected:
  FileSystemTest() : fs_(GetParam() ? static_cast<FileSystem&>(fault_fs_) : PosixFileSystem()) {
    if (GetParam()) {
      EXPECT_OK(fs_.CreateDirectory("/root"));
    }
  }
  std::string Path(std::string_view name) const {
    return GetParam() ? JoinPath("/root", name) : dir_.File(name);
  }

  TempDir dir_;
  FaultFs fault_fs_;
  FileSystem& fs_;
};

TEST_P(FileSystemTest, ReadsBackWhatWasAppended) {
  std::mt19937_64 rng(TestSeed());
  ASSERT_OK_AND_ASSIGN(const auto file, fs_.OpenForWrite(Path("f"), WriteMode::kTruncate));
  std::string want;
  for (const size_t size : {0, 1, 100, 65535, 1, 65536, 65537, 200000, 3}) {
    std::string piece(size, '\0');
    for (char& c : piece) c = static_cast<char>(rng());
    ASSERT_OK(file->Append(Bytes(piece)));
    want += piece;
    EXPECT_EQ(file->size(), want.size());
  }
  ASSERT_OK(file->Flush());
  EXPECT_THAT(ReadFile(fs_, Path("f")), IsOkAndHolds(want));
  EXPECT_THAT(fs_.FileSize(Path("f")), IsOkAndHolds(want.size()));
  ASSERT_OK(file->Sync());
  ASSERT_OK(file->Close());
  EXPECT_OK(file->Close());
  EXPECT_THAT(file->Append(Bytes("x")), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(ReadFile(fs_, Path("f")), IsOkAndHolds(want));
}

TEST_P(FileSystemTest, ADroppedFileIsWrittenOut) {
  {
    ASSERT_OK((*fs_.OpenForWrite(Path("f"), WriteMode::kTruncate))->Append(Bytes("kept")));
  }
  EXPECT_THAT(ReadFile(fs_, Path("f")), IsOkAndHolds("kept"));
}

TEST_P(FileSystemTest, ModesTruncateOrAppend) {
  ASSERT_OK(WriteFile(fs_, Path("f"), "one", WriteMode::kAppend));
  ASSERT_OK(WriteFile(fs_, Path("f"), "two", WriteMode::kAppend));
  EXPECT_THAT(ReadFile(fs_, Path("f")), IsOkAndHolds("onetwo"));
  {
    ASSERT_OK_AND_ASSIGN(const auto file, fs_.OpenForWrite(Path("f"), WriteMode::kAppend));
    EXPECT_EQ(file->size(), 6U);
  }
  ASSERT_OK(WriteFile(fs_, Path("f"), "3", WriteMode::kTruncate));
  EXPECT_THAT(ReadFile(fs_, Path("f")), IsOkAndHolds("3"));
}

TEST_P(FileSystemTest, TruncateCutsAndAppendsGoOnThere) {
  ASSERT_OK_AND_ASSIGN(const auto file, fs_.OpenForWrite(Path("f"), WriteMode::kTruncate));
  ASSERT_OK(file->Append(Bytes("0123456789")));
  ASSERT_OK(file->Truncate(4));
  EXPECT_EQ(file->size(), 4U);
  ASSERT_OK(file->Append(Bytes("x")));
  ASSERT_OK(file->Truncate(0));
  ASSERT_OK(file->Append(Bytes("ab")));
  ASSERT_OK(file->Truncate(4));
  ASSERT_OK(file->Append(Bytes("c")));
  ASSERT_OK(file->Close());
  EXPECT_THAT(ReadFile(fs_, Path("f")), IsOkAndHolds(std::string("ab\0\0c", 5)));
}

TEST_P(FileSystemTest, ReadsAtTheEndAreShort) {
  ASSERT_OK(WriteFile(fs_, Path("f"), "0123456789"));
  ASSERT_OK_AND_ASSIGN(const auto file, fs_.OpenForRead(Path("f"), {}));
  std::string out(4, '.');
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(out));
  EXPECT_THAT(file->Read(3, bytes), IsOkAndHolds(4U));
  EXPECT_EQ(out, "3456");
  EXPECT_THAT(file->Read(8, bytes), IsOkAndHolds(2U));
  EXPECT_EQ(out.substr(0, 2), "89");
  EXPECT_THAT(file->Read(10, bytes), IsOkAndHolds(0U));
  EXPECT_THAT(file->Read(1000, bytes), IsOkAndHolds(0U));
  EXPECT_THAT(file->Read(0, {}), IsOkAndHolds(0U));
  EXPECT_THAT(file->Size(), IsOkAndHolds(10U));
}

TEST_P(FileSystemTest, DirectReadsGiveTheSameBytes) {
  std::mt19937_64 rng(TestSeed());
  std::string text(3 * 4096 + 700, '\0');
  for (char& c : text) c = static_cast<char>(rng());
  ASSERT_OK(WriteFile(fs_, Path("f"), text));
  ASSERT_OK_AND_ASSIGN(const auto file, fs_.OpenForRead(Path("f"), {.direct_io = true}));
  const std::unique_ptr<void, decltype(&std::free)> buffer(std::aligned_alloc(4096, 16384),
                                                           &std::free);
  const std::span<std::byte> out(static_cast<std::byte*>(buffer.get()), 16384);
  ASSERT_OK_AND_ASSIGN(const size_t all, file->Read(0, out));
  EXPECT_EQ(std::string(reinterpret_cast<char*>(out.data()), all), text);
  ASSERT_OK_AND_ASSIGN(const size_t part, file->Read(1024, out.first(512)));
  EXPECT_EQ(std::string(reinterpret_cast<char*>(out.data()), part), text.substr(1024, 512));
  ASSERT_OK_AND_ASSIGN(const size_t tail, file->Read(3 * 4096 + 512, out.first(4096)));
  EXPECT_EQ(std::string(reinterpret_cast<char*>(out.data()), tail), text.substr(3 * 4096 + 512));
}

TEST_P(FileSystemTest, AnOpenFileSurvivesItsRemoval) {
  ASSERT_OK(WriteFile(fs_, Path("f"), "still here"));
  ASSERT_OK_AND_ASSIGN(const auto file, fs_.OpenForRead(Path("f"), {}));
  ASSERT_OK(fs_.RemoveFile(Path("f")));
  EXPECT_THAT(fs_.Exists(Path("f")), IsOkAndHolds(false));
  std::string out(10, '.');
  EXPECT_THAT(file->Read(0, std::as_writable_bytes(std::span(out))), IsOkAndHolds(10U));
  EXPECT_EQ(out, "still here");
}

TEST_P(FileSystemTest, DirectoriesListTheirNamesSorted) {
  ASSERT_OK(fs_.CreateDirectory(Path("d")));
  ASSERT_OK(fs_.CreateDirectory(Path("d"))) << "it is there already";
  EXPECT_THAT(fs_.List(Path("d")), IsOkAndHolds(IsEmpty()));
  ASSERT_OK(WriteFile(fs_, Path("d/b"), ""));
  ASSERT_OK(WriteFile(fs_, Path("d/a"), ""));
  ASSERT_OK(fs_.CreateDirectory(Path("d/c")));
  EXPECT_THAT(fs_.List(Path("d")), IsOkAndHolds(ElementsAre("a", "b", "c")));
  EXPECT_THAT(fs_.IsDirectory(Path("d")), IsOkAndHolds(true));
  EXPECT_THAT(fs_.IsDirectory(Path("d/a")), IsOkAndHolds(false));
  EXPECT_THAT(fs_.IsDirectory(Path("none")), IsOkAndHolds(false));
  EXPECT_THAT(fs_.Exists(Path("d/c")), IsOkAndHolds(true));
  EXPECT_THAT(fs_.Exists(Path("d/a/below")), IsOkAndHolds(false));
  EXPECT_OK(fs_.SyncDirectory(Path("d")));
  EXPECT_THAT(fs_.RemoveDirectory(Path("d")), StatusIs(absl::StatusCode::kFailedPrecondition));
  ASSERT_OK(fs_.RemoveDirectory(Path("d/c")));
  EXPECT_THAT(fs_.Exists(Path("d/c")), IsOkAndHolds(false));
}

TEST_P(FileSystemTest, RenameReplacesFilesAndMovesDirectories) {
  ASSERT_OK(WriteFile(fs_, Path("new"), "new"));
  ASSERT_OK(WriteFile(fs_, Path("old"), "old"));
  ASSERT_OK(fs_.Rename(Path("new"), Path("old")));
  EXPECT_THAT(fs_.Exists(Path("new")), IsOkAndHolds(false));
  EXPECT_THAT(ReadFile(fs_, Path("old")), IsOkAndHolds("new"));
  ASSERT_OK(fs_.CreateDirectory(Path("d")));
  ASSERT_OK(fs_.Rename(Path("old"), Path("d/inner")));
  ASSERT_OK(fs_.Rename(Path("d"), Path("e")));
  EXPECT_THAT(ReadFile(fs_, Path("e/inner")), IsOkAndHolds("new"));
  EXPECT_THAT(fs_.Rename(Path("none"), Path("x")), StatusIs(absl::StatusCode::kNotFound));
}

TEST_P(FileSystemTest, LinksShareAFile) {
  ASSERT_OK(WriteFile(fs_, Path("a"), "one"));
  ASSERT_OK(fs_.Link(Path("a"), Path("b")));
  EXPECT_THAT(fs_.Link(Path("a"), Path("b")), StatusIs(absl::StatusCode::kAlreadyExists));
  ASSERT_OK(WriteFile(fs_, Path("b"), " two", WriteMode::kAppend));
  EXPECT_THAT(ReadFile(fs_, Path("a")), IsOkAndHolds("one two"));
  ASSERT_OK(fs_.RemoveFile(Path("a")));
  EXPECT_THAT(ReadFile(fs_, Path("b")), IsOkAndHolds("one two"));
}

TEST_P(FileSystemTest, MissingThingsAreNotFoundAndNamed) {
  const auto not_found = StatusIs(absl::StatusCode::kNotFound, HasSubstr("missing"));
  EXPECT_THAT(fs_.OpenForRead(Path("missing"), {}).status(), not_found);
  EXPECT_THAT(fs_.OpenForRead(Path("missing"), {.direct_io = true}).status(), not_found);
  EXPECT_THAT(fs_.OpenForWrite(Path("missing/f"), WriteMode::kAppend).status(), not_found);
  EXPECT_THAT(fs_.List(Path("missing")).status(), not_found);
  EXPECT_THAT(fs_.RemoveFile(Path("missing")), not_found);
  EXPECT_THAT(fs_.RemoveDirectory(Path("missing")), not_found);
  EXPECT_THAT(fs_.CreateDirectory(Path("missing/d")), not_found);
  EXPECT_THAT(fs_.SyncDirectory(Path("missing")), not_found);
  EXPECT_THAT(fs_.FileSize(Path("missing")).status(), not_found);
  EXPECT_THAT(fs_.ModifiedSeconds(Path("missing")).status(), not_found);
  EXPECT_THAT(fs_.FreeBytes(Path("missing")).status(), not_found);
  EXPECT_THAT(fs_.Lock(Path("missing/lock")).status(), not_found);
  ASSERT_OK(WriteFile(fs_, Path("file"), ""));
  EXPECT_THAT(fs_.CreateDirectory(Path("file")), StatusIs(absl::StatusCode::kAlreadyExists));
}

TEST_P(FileSystemTest, TellsTimeAndSpace) {
  ASSERT_OK(WriteFile(fs_, Path("f"), "x"));
  EXPECT_THAT(fs_.ModifiedSeconds(Path("f")), IsOkAndHolds(testing::Gt(1'500'000'000U)));
  EXPECT_THAT(fs_.FreeBytes(Path("f")), IsOkAndHolds(testing::Gt(0U)));
}

TEST_P(FileSystemTest, ASharedLockHasManyHoldersAndCreatesNothing) {
  EXPECT_THAT(fs_.LockShared(Path("LOCK")).status(), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(fs_.Exists(Path("LOCK")), IsOkAndHolds(false));
  const auto in_use = StatusIs(absl::StatusCode::kFailedPrecondition);
  ASSERT_OK_AND_ASSIGN(auto alone, fs_.Lock(Path("LOCK")));
  EXPECT_THAT(fs_.LockShared(Path("LOCK")).status(), in_use);
  alone.reset();
  ASSERT_OK_AND_ASSIGN(auto first, fs_.LockShared(Path("LOCK")));
  ASSERT_OK_AND_ASSIGN(auto second, fs_.LockShared(Path("LOCK")));
  EXPECT_THAT(fs_.Lock(Path("LOCK")).status(), in_use);
  first.reset();
  EXPECT_THAT(fs_.Lock(Path("LOCK")).status(), in_use);
  second.reset();
  EXPECT_OK(fs_.Lock(Path("LOCK")).status());
}

TEST_P(FileSystemTest, ALockHasOneHolder) {
  ASSERT_OK_AND_ASSIGN(auto lock, fs_.Lock(Path("LOCK")));
  EXPECT_THAT(fs_.Lock(Path("LOCK")).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("LOCK")));
  EXPECT_THAT(fs_.Lock(Path("./LOCK")).status(), StatusIs(absl::StatusCode::kFailedPrecondition))
      << "another name of the same file";
  EXPECT_OK(fs_.Lock(Path("OTHER")).status());
  lock.reset();
  EXPECT_OK(fs_.Lock(Path("LOCK")).status());
}

TEST_P(FileSystemTest, RemoveTreeLeavesNothing) {
  EXPECT_OK(RemoveTree(fs_, Path("t"))) << "it is not there";
  ASSERT_OK(fs_.CreateDirectory(Path("t")));
  ASSERT_OK(fs_.CreateDirectory(Path("t/a")));
  ASSERT_OK(fs_.CreateDirectory(Path("t/a/empty")));
  ASSERT_OK(WriteFile(fs_, Path("t/a/f"), "x"));
  ASSERT_OK(WriteFile(fs_, Path("t/.hidden"), "x"));
  ASSERT_OK(WriteFile(fs_, Path("beside"), "x"));
  ASSERT_OK(RemoveTree(fs_, Path("t")));
  EXPECT_THAT(fs_.Exists(Path("t")), IsOkAndHolds(false));
  EXPECT_THAT(ReadFile(fs_, Path("beside")), IsOkAndHolds("x"));
}

INSTANTIATE_TEST_SUITE_P(Each, FileSystemTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "FaultFs" : "Posix"; });

TEST(PosixFileSystem, RemoveTreeDoesNotFollowLinks) {
  const TempDir dir;
  FileSystem& fs = PosixFileSystem();
  ASSERT_OK(fs.CreateDirectory(dir.File("outside")));
  ASSERT_OK(WriteFile(fs, dir.File("outside/f"), "x"));
  ASSERT_OK(fs.CreateDirectory(dir.File("t")));
  ASSERT_EQ(::symlink(dir.File("outside").c_str(), dir.File("t/link").c_str()), 0);
  ASSERT_OK(RemoveTree(fs, dir.File("t")));
  EXPECT_THAT(ReadFile(fs, dir.File("outside/f")), IsOkAndHolds("x"));
}

TEST(PosixFileSystem, ALockHoldsAgainstOtherProcesses) {
  const TempDir dir;
  const std::string path = dir.File("LOCK");
  const auto child_code = [&path] {
    const pid_t child = ::fork();
    if (child == 0) {
      // execv: a forked copy would share the registry of locks as it was. flock(1) exits with 1
      // when the lock is held.
      ::execlp("flock", "flock", "-n", "-x", path.c_str(), "true", nullptr);
      ::_exit(127);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  ASSERT_OK_AND_ASSIGN(auto lock, PosixFileSystem().Lock(path));
  const int while_held = child_code();
  if (while_held == 127) GTEST_SKIP() << "flock(1) is not installed";
  EXPECT_EQ(while_held, 1);
  lock.reset();
  EXPECT_EQ(child_code(), 0);
}

TEST(PosixFileSystem, ALockOfAnotherProcessIsRespected) {
  const TempDir dir;
  const std::string path = dir.File("LOCK");
  int to_parent[2];
  int to_child[2];
  ASSERT_EQ(::pipe(to_parent), 0);
  ASSERT_EQ(::pipe(to_child), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto lock = PosixFileSystem().Lock(path);
    const char held = lock.ok() ? 'y' : 'n';
    char go = 0;
    const bool told = ::write(to_parent[1], &held, 1) == 1 && ::read(to_child[0], &go, 1) == 1;
    ::_exit(told ? 0 : 1);
  }
  char held = 0;
  ASSERT_EQ(::read(to_parent[0], &held, 1), 1);
  EXPECT_EQ(held, 'y');
  EXPECT_THAT(PosixFileSystem().Lock(path).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("another process")));
  ASSERT_EQ(::write(to_child[1], "g", 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_OK(PosixFileSystem().Lock(path).status()) << "a dead process holds nothing";
  for (const int fd : {to_parent[0], to_parent[1], to_child[0], to_child[1]}) ::close(fd);
}

TEST(PosixFileSystem, AFullDiskIsResourceExhaustedAndStays) {
  ASSERT_OK_AND_ASSIGN(const auto file,
                       PosixFileSystem().OpenForWrite("/dev/full", WriteMode::kAppend));
  ASSERT_OK(file->Append(Bytes("buffered")));
  EXPECT_THAT(file->Flush(), StatusIs(absl::StatusCode::kResourceExhausted,
                                      AllOf(HasSubstr("/dev/full"), HasSubstr("errno 28"))));
  EXPECT_THAT(file->Append(Bytes("more")), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(file->Sync(), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(file->Close(), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(PosixFileSystem, AForbiddenPathIsPermissionDenied) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may do anything";
  const TempDir dir;
  ASSERT_EQ(::chmod(dir.path().c_str(), 0500), 0);
  EXPECT_THAT(PosixFileSystem().OpenForWrite(dir.File("f"), WriteMode::kAppend).status(),
              StatusIs(absl::StatusCode::kPermissionDenied));
  ASSERT_EQ(::chmod(dir.path().c_str(), 0700), 0);
}

TEST(PosixFileSystem, ReadingADirectoryAsAFileIsAnError) {
  const TempDir dir;
  EXPECT_THAT(ReadFile(PosixFileSystem(), dir.path()).status(), testing::Not(IsOk()));
}

TEST(JoinPath, PutsOneSlashBetween) {
  EXPECT_EQ(JoinPath("a", "b"), "a/b");
  EXPECT_EQ(JoinPath("a/", "b"), "a/b");
  EXPECT_EQ(JoinPath("/", "b"), "/b");
  EXPECT_EQ(JoinPath("", "b"), "b");
}

}  // namespace
}  // namespace tessera::base
