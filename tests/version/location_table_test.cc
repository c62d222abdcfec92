#include "version/location_table.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/fault_fs.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"
#include "tests/version/index_fixture.h"

namespace tessera::version {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::Eq;
using testing::HasSubstr;
using testing::Optional;

class LocationTableTest : public testing::Test {
 protected:
  LocationSegment Write(const std::map<uint64_t, uint64_t>& pairs) {
    const auto writer = context_->extents->NewWriter();
    LocationSegmentWriter segment(*writer);
    for (const auto& [row, position] : pairs) {
      EXPECT_OK(segment.Add({.row = {row}, .position = position}));
    }
    auto written = segment.Finish();
    EXPECT_OK(written);
    EXPECT_OK(writer->Finish());
    writer->Keep();
    return *std::move(written);
  }

  static std::map<uint64_t, uint64_t> RandomPairs(std::mt19937_64& rng, size_t count) {
    std::map<uint64_t, uint64_t> pairs;
    while (pairs.size() < count) pairs[rng() % (20 * count)] = rng();
    return pairs;
  }

  FaultFs fs_;
  std::unique_ptr<TestContext> context_ = MakeContext(fs_, 1 << 20);
};

TEST_F(LocationTableTest, FindsEveryRowAndNoOther) {
  std::mt19937_64 rng(TestSeed());
  // Around the rows of one unit, of one extent of units, and more.
  for (const size_t count : {1, 254, 255, 256, 64 * 255, 64 * 255 + 1, 50'000}) {
    SCOPED_TRACE(count);
    const std::map<uint64_t, uint64_t> pairs = RandomPairs(rng, count);
    const LocationTable table(*context_->cache, {Write(pairs)});
    EXPECT_EQ(table.segment(0).rows, count);
    EXPECT_EQ(table.segment(0).first_rows.size(), (count + 254) / 255);
    std::vector<base::RowId> asked;
    for (uint64_t row = 0; row < std::min<uint64_t>(20 * count + 2, 100'000); ++row) {
      asked.push_back({row});
    }
    ASSERT_OK_AND_ASSIGN(const auto found, table.Find(asked));
    for (size_t i = 0; i < asked.size(); ++i) {
      const auto expected = pairs.find(asked[i].value);
      ASSERT_EQ(found[i].has_value(), expected != pairs.end()) << asked[i].value;
      if (found[i].has_value()) {
        ASSERT_EQ(*found[i], expected->second) << asked[i].value;
      }
    }
  }
}

TEST_F(LocationTableTest, NewestSegmentIsRight) {
  const LocationSegment old = Write({{1, 10}, {2, 20}, {3, 30}});
  const LocationSegment middle = Write({{2, 21}, {4, 41}});
  const LocationSegment newest = Write({{2, 22}, {5, 52}});
  const LocationTable table(*context_->cache, {newest, middle, old});
  const std::vector<base::RowId> rows = {{0}, {1}, {2}, {2}, {3}, {4}, {5}, {6}};
  ASSERT_OK_AND_ASSIGN(const auto found, table.Find(rows));
  EXPECT_THAT(found, ElementsAre(Eq(std::nullopt), Optional(10), Optional(22), Optional(22),
                                 Optional(30), Optional(41), Optional(52), Eq(std::nullopt)));
  EXPECT_EQ(table.files().size(), 3u);
}

TEST_F(LocationTableTest, ReaderGivesTheSegmentInOrder) {
  std::mt19937_64 rng(TestSeed());
  const std::map<uint64_t, uint64_t> pairs = RandomPairs(rng, 40'000);
  const LocationTable table(*context_->cache, {Write({{7, 8}}), Write(pairs)});
  LocationReader reader(table, 1);
  for (const auto& [row, position] : pairs) {
    ASSERT_OK_AND_ASSIGN(const std::optional<RowLocation> next, reader.Next());
    ASSERT_TRUE(next.has_value());
    ASSERT_EQ(*next, (RowLocation{.row = {row}, .position = position}));
  }
  ASSERT_OK_AND_ASSIGN(const std::optional<RowLocation> end, reader.Next());
  EXPECT_FALSE(end.has_value());
}

TEST_F(LocationTableTest, EmptyTableHasNoRow) {
  const LocationTable table;
  const std::vector<base::RowId> rows = {{1}, {2}};
  ASSERT_OK_AND_ASSIGN(const auto found, table.Find(rows));
  EXPECT_THAT(found, ElementsAre(std::nullopt, std::nullopt));
}

TEST_F(LocationTableTest, DamagedUnitIsDataLoss) {
  const LocationSegment segment = Write({{1, 10}, {2, 20}});
  const std::string path = context_->extents->FilePath(segment.runs[0].file);
  for (const uint64_t offset : {0, 4, 8, 16, 24, 4095}) {
    SCOPED_TRACE(offset);
    ASSERT_OK(fs_.CorruptByte(path, segment.runs[0].offset + offset, 0x10));
    const LocationTable table(*context_->cache, {segment});
    EXPECT_THAT(table.Find(std::vector<base::RowId>{{1}}), StatusIs(StatusCode::kDataLoss));
    LocationReader reader(table, 0);
    EXPECT_THAT(reader.Next(), StatusIs(StatusCode::kDataLoss));
    ASSERT_OK(fs_.CorruptByte(path, segment.runs[0].offset + offset, 0x10));
  }
}

TEST_F(LocationTableTest, UnitOfAnotherPlaceIsDataLoss) {
  std::map<uint64_t, uint64_t> pairs;
  for (uint64_t row = 0; row < 600; ++row) pairs[row] = row;
  LocationSegment segment = Write(pairs);
  segment.runs[0].offset += kLocationUnitBytes;  // the first unit is now the second one's bytes
  segment.runs[0].units = 2;
  segment.first_rows.pop_back();
  const LocationTable table(*context_->cache, {segment});
  EXPECT_THAT(table.Find(std::vector<base::RowId>{{1}}),
              StatusIs(StatusCode::kDataLoss, HasSubstr("first row")));
}

TEST_F(LocationTableTest, DirectoryComesBack) {
  std::mt19937_64 rng(TestSeed());
  std::vector<LocationSegment> segments;
  EXPECT_THAT(DecodeLocationDirectory(EncodeLocationDirectory(segments)),
              IsOkAndHolds(Eq(segments)));
  segments.push_back(Write(RandomPairs(rng, 1000)));
  segments.push_back(Write(RandomPairs(rng, 30'000)));
  segments[0].runs.push_back({.file = 9, .offset = 4096, .units = 1});
  segments[0].first_rows.push_back(segments[0].first_rows.back() + 1);
  EXPECT_THAT(DecodeLocationDirectory(EncodeLocationDirectory(segments)),
              IsOkAndHolds(Eq(segments)));
}

TEST_F(LocationTableTest, DamagedDirectoryIsDataLoss) {
  const LocationSegment segment = Write({{1, 10}, {200, 20}});
  const std::string good = EncodeLocationDirectory({&segment, 1});
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_THAT(DecodeLocationDirectory(good.substr(0, length)), StatusIs(StatusCode::kDataLoss))
        << length;
  }
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x41);
    EXPECT_THAT(DecodeLocationDirectory(bad), StatusIs(StatusCode::kDataLoss)) << at;
  }
}

TEST_F(LocationTableTest, ContradictoryDirectoryIsDataLoss) {
  const LocationSegment good = Write({{1, 10}, {200, 20}});
  const auto decode = [](LocationSegment segment) {
    return DecodeLocationDirectory(EncodeLocationDirectory({&segment, 1}));
  };
  EXPECT_OK(decode(good));
  LocationSegment bad = good;
  bad.rows = 256;  // more than the unit holds
  EXPECT_THAT(decode(bad), StatusIs(StatusCode::kDataLoss));
  bad = good;
  bad.runs[0].units = 2;
  EXPECT_THAT(decode(bad), StatusIs(StatusCode::kDataLoss));
  bad = good;
  bad.runs[0].file = 0;
  EXPECT_THAT(decode(bad), StatusIs(StatusCode::kDataLoss));
  bad = good;
  bad.runs[0].offset = 77;
  EXPECT_THAT(decode(bad), StatusIs(StatusCode::kDataLoss));
  bad = good;
  bad.runs.clear();
  EXPECT_THAT(decode(bad), StatusIs(StatusCode::kDataLoss));
}

}  // namespace
}  // namespace tessera::version
