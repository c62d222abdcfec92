#include "storage/external_sorter.h"

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/files/file_system.h"
#include "base/status_macros.h"
#include "tests/support/fault_fs.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

using Pairs = std::vector<std::pair<std::string, std::string>>;

absl::Status AddAll(ExternalSorter& sorter, const Pairs& pairs) {
  for (const auto& [key, value] : pairs) {
    TESSERA_RETURN_IF_ERROR(sorter.Add(key, value));
  }
  return sorter.Finish();
}

absl::StatusOr<Pairs> TakeAll(ExternalSorter& sorter) {
  Pairs pairs;
  for (;;) {
    std::string_view key;
    std::string_view value;
    TESSERA_ASSIGN_OR_RETURN(const bool more, sorter.Next(&key, &value));
    if (!more) {
      return pairs;
    }
    pairs.emplace_back(key, value);
  }
}

absl::StatusOr<Pairs> SortAll(ExternalSorter& sorter, const Pairs& pairs) {
  TESSERA_RETURN_IF_ERROR(AddAll(sorter, pairs));
  return TakeAll(sorter);
}

Pairs StablySorted(Pairs pairs) {
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  return pairs;
}

// Keys of 0 .. 12 bytes, many of them equal or equal up to zeros, few of the 256 bytes in use;
// values tell the order of adding unless they are empty.
Pairs RandomPairs(std::mt19937_64& rng, size_t count, size_t value_bytes_max) {
  Pairs pairs;
  for (size_t i = 0; i < count; ++i) {
    std::string key(rng() % 13, '\0');
    for (char& byte : key) {
      byte = std::string_view("\0\0\x01\x7f\x80\xff", 6)[rng() % 6];
    }
    std::string value;
    if (rng() % 8 != 0) {
      value = absl::StrCat(i);
      value.resize(value.size() + rng() % (value_bytes_max + 1), 'v');
    }
    pairs.emplace_back(std::move(key), std::move(value));
  }
  return pairs;
}

TEST(ExternalSorter, SortsInMemoryWithoutFiles) {
  FaultFs fs;
  ExternalSorter sorter(fs, "/", 1 << 20);
  ASSERT_OK_AND_ASSIGN(const Pairs sorted,
                       SortAll(sorter, {{"b", "1"}, {"", "2"}, {"a", ""}, {"b", "0"}, {"", ""}}));
  EXPECT_THAT(sorted, ElementsAre(Pair("", "2"), Pair("", ""), Pair("a", ""), Pair("b", "1"),
                                  Pair("b", "0")));
  EXPECT_EQ(sorter.pair_count(), 5U);
  EXPECT_EQ(sorter.run_count(), 0U);
  EXPECT_THAT(fs.Files(), IsEmpty());
  EXPECT_THAT(TakeAll(sorter), IsOkAndHolds(IsEmpty()));  // the end stays the end
}

TEST(ExternalSorter, OfNothingIsNothing) {
  FaultFs fs;
  ExternalSorter sorter(fs, "/", 0);
  ASSERT_OK(sorter.Finish());
  EXPECT_THAT(TakeAll(sorter), IsOkAndHolds(IsEmpty()));
}

TEST(ExternalSorter, AgreesWithStableSortAtEveryMemoryBound) {
  std::mt19937_64 rng(TestSeed());
  for (const uint64_t memory : {0U, 20'000U, 100'000U, 1'000'000U, 64'000'000U}) {
    for (const size_t value_bytes_max : {size_t{0}, size_t{30}, size_t{5000}}) {
      SCOPED_TRACE(absl::StrCat("memory ", memory, ", values up to ", value_bytes_max));
      const Pairs pairs = RandomPairs(rng, value_bytes_max > 100 ? 1000 : 20'000, value_bytes_max);
      FaultFs fs;
      {
        ExternalSorter sorter(fs, "/", memory);
        ASSERT_OK_AND_ASSIGN(const Pairs sorted, SortAll(sorter, pairs));
        ASSERT_EQ(sorted.size(), pairs.size());
        EXPECT_TRUE(sorted == StablySorted(pairs));
        EXPECT_EQ(sorter.pair_count(), pairs.size());
        if (memory < 200'000) {
          EXPECT_GT(sorter.run_count(), 1U);
        } else if (memory == 64'000'000) {
          EXPECT_EQ(sorter.run_count(), 0U);
        }
      }
      EXPECT_THAT(fs.Files(), IsEmpty());
    }
  }
}

TEST(ExternalSorter, MergesInSeveralPassesInConstantSpace) {
  const TempDir dir;
  std::mt19937_64 rng(TestSeed());
  const Pairs pairs = RandomPairs(rng, 200'000, 10);
  ExternalSorter sorter(base::PosixFileSystem(), dir.path(), 0);
  ASSERT_OK(AddAll(sorter, pairs));
  EXPECT_GT(sorter.run_count(), sorter.fan_in() * sorter.fan_in());
  ASSERT_OK_AND_ASSIGN(const std::vector<std::string> names,
                       base::PosixFileSystem().List(dir.path()));
  EXPECT_LE(names.size(), sorter.fan_in());  // what was merged is gone
  ASSERT_OK_AND_ASSIGN(const Pairs sorted, TakeAll(sorter));
  EXPECT_TRUE(sorted == StablySorted(pairs));
}

TEST(ExternalSorter, PairsLargerThanTheMemory) {
  std::mt19937_64 rng(TestSeed());
  Pairs pairs;
  for (int i = 0; i < 60; ++i) {
    std::string key(rng() % 3 == 0 ? 30'000 : 3, static_cast<char>('a' + rng() % 3));
    pairs.emplace_back(std::move(key), std::string(rng() % 2 == 0 ? 100'000 : 2, '.'));
    pairs.back().second += absl::StrCat(i);
  }
  FaultFs fs;
  ExternalSorter sorter(fs, "/", 0);
  ASSERT_OK_AND_ASSIGN(const Pairs sorted, SortAll(sorter, pairs));
  EXPECT_TRUE(sorted == StablySorted(pairs));
}

TEST(ExternalSorter, SortersShareADirectory) {
  FaultFs fs;
  ASSERT_OK(fs.CreateDirectory("/scratch"));
  std::mt19937_64 rng(TestSeed());
  const Pairs first = RandomPairs(rng, 3000, 10);
  const Pairs second = RandomPairs(rng, 3000, 10);
  ExternalSorter a(fs, "/scratch", 0);
  auto b = std::make_unique<ExternalSorter>(fs, "/scratch", 0);
  ASSERT_OK(AddAll(*b, second));
  ASSERT_OK(AddAll(a, first));
  EXPECT_THAT(TakeAll(*b), IsOkAndHolds(StablySorted(second)));
  b.reset();
  EXPECT_THAT(TakeAll(a), IsOkAndHolds(StablySorted(first)));
}

TEST(ExternalSorter, NoSpaceIsAnAnswerAndLeavesNothing) {
  std::mt19937_64 rng(TestSeed());
  const Pairs pairs = RandomPairs(rng, 20'000, 10);
  int failures = 0;
  for (int skip = 0;; skip += 41) {
    FaultFs fs;
    fs.AddRule({.op = FaultOp::kAppend, .kind = FaultKind::kNoSpace, .skip = skip});
    {
      ExternalSorter sorter(fs, "/", 0);
      const absl::StatusOr<Pairs> sorted = SortAll(sorter, pairs);
      if (sorted.ok()) {
        EXPECT_TRUE(*sorted == StablySorted(pairs));
        break;
      }
      ++failures;
      ASSERT_THAT(sorted, StatusIs(absl::StatusCode::kResourceExhausted));
    }
    ASSERT_THAT(fs.Files(), IsEmpty());
  }
  EXPECT_GT(failures, 10);
}

TEST(ExternalSorter, FailuresAreRemembered) {
  FaultFs fs;
  fs.AddRule({.op = FaultOp::kOpenForWrite, .count = 1});
  ExternalSorter sorter(fs, "/", 0);
  absl::Status status;
  while (status.ok()) {
    status = sorter.Add("key", std::string(1000, 'v'));
  }
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_EQ(sorter.Add("key", "value"), status);
  EXPECT_EQ(sorter.Finish(), status);
  std::string_view key;
  std::string_view value;
  EXPECT_EQ(sorter.Next(&key, &value).status(), status);
}

// A sorter whose runs are written, and their paths; one merge is left to do.
class ExternalSorterDamageTest : public testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 150; ++i) {
      pairs_.emplace_back(absl::StrFormat("%08d", i * 7919 % 150), std::string(400, 'v'));
    }
    sorter_ = std::make_unique<ExternalSorter>(fs_, "/", 0);
    ASSERT_OK(AddAll(*sorter_, pairs_));
    runs_ = fs_.Files();
    ASSERT_GE(runs_.size(), 3U);
  }

  void Truncate(const std::string& path, uint64_t bytes) {
    ASSERT_OK_AND_ASSIGN(const std::unique_ptr<base::WritableFile> file,
                         fs_.OpenForWrite(path, base::WriteMode::kAppend));
    ASSERT_OK(file->Truncate(bytes));
    ASSERT_OK(file->Close());
  }

  FaultFs fs_;
  Pairs pairs_;
  std::unique_ptr<ExternalSorter> sorter_;
  std::vector<std::string> runs_;
};

TEST_F(ExternalSorterDamageTest, UndamagedRunsAreFine) {
  EXPECT_THAT(TakeAll(*sorter_), IsOkAndHolds(StablySorted(pairs_)));
}

TEST_F(ExternalSorterDamageTest, ATruncatedRunIsDataLoss) {
  ASSERT_OK_AND_ASSIGN(const uint64_t bytes, fs_.FileSize(runs_[1]));
  // Anywhere: inside a header or a payload, and between blocks of 1 KiB.
  for (const uint64_t left : {bytes - 1, bytes - 1000, uint64_t{2048}, uint64_t{5}, uint64_t{0}}) {
    Truncate(runs_[1], left);
    ASSERT_OK_AND_ASSIGN(const uint64_t size, fs_.FileSize(runs_[1]));
    ASSERT_EQ(size, left);
    const absl::StatusOr<Pairs> sorted = TakeAll(*sorter_);
    ASSERT_THAT(sorted, StatusIs(absl::StatusCode::kDataLoss, HasSubstr(runs_[1])));
    std::string_view key;
    std::string_view value;
    EXPECT_EQ(sorter_->Next(&key, &value).status(), sorted.status());

    sorter_ = std::make_unique<ExternalSorter>(fs_, "/", 0);
    ASSERT_OK(AddAll(*sorter_, pairs_));
    runs_ = fs_.Files();
  }
}

TEST_F(ExternalSorterDamageTest, AnyFlippedByteIsDataLoss) {
  ASSERT_OK_AND_ASSIGN(const uint64_t bytes, fs_.FileSize(runs_[0]));
  for (uint64_t at = 0; at < bytes; at += 331) {
    SCOPED_TRACE(at);
    ASSERT_OK(fs_.CorruptByte(runs_[0], at, 0x10));
    ASSERT_THAT(TakeAll(*sorter_), StatusIs(absl::StatusCode::kDataLoss, HasSubstr(runs_[0])));
    sorter_ = std::make_unique<ExternalSorter>(fs_, "/", 0);
    ASSERT_OK(AddAll(*sorter_, pairs_));
    runs_ = fs_.Files();
  }
}

TEST_F(ExternalSorterDamageTest, AReadErrorIsPassedOn) {
  fs_.AddRule({.op = FaultOp::kRead, .path_part = runs_[2]});
  EXPECT_THAT(TakeAll(*sorter_), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace tessera::storage
