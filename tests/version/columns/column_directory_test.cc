#include "version/columns/column_directory.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/support/status_matchers.h"

namespace tessera::version {
namespace {

using query::UnitKind;

std::vector<ColumnSet> TwoSets() {
  ColumnSet first;
  first.paths = {"a", std::string("b\0c", 3)};
  first.units = {{.kind = UnitKind::kRows, .path = 0, .bytes = 40},
                 {.kind = UnitKind::kPath, .path = 1, .bytes = 1000},
                 {.kind = UnitKind::kRest, .path = 0, .bytes = 7},
                 {.kind = UnitKind::kRows, .path = 0, .bytes = 64},
                 {.kind = UnitKind::kIds, .path = 0, .bytes = 300}};
  first.chunks = {{.first_block = 0,
                   .blocks = 64,
                   .rows = 4000,
                   .file = 3,
                   .offset = 4096,
                   .first_unit = 0,
                   .units = 3},
                  // Begins in the block that the one before ends in.
                  {.first_block = 63,
                   .blocks = 10,
                   .rows = 12,
                   .file = 3,
                   .offset = 8192,
                   .first_unit = 3,
                   .units = 2}};
  ColumnSet second;
  second.units = {{.kind = UnitKind::kRows, .path = 0, .bytes = 40}};
  second.chunks = {{.first_block = 200,
                    .blocks = 1,
                    .rows = 1,
                    .file = 9,
                    .offset = 512,
                    .first_unit = 0,
                    .units = 1}};
  return {first, second};
}

TEST(ColumnDirectory, ReadsBackWhatWasWritten) {
  EXPECT_THAT(DecodeColumnDirectory(EncodeColumnDirectory(TwoSets())), IsOkAndHolds(TwoSets()));
  EXPECT_THAT(DecodeColumnDirectory(EncodeColumnDirectory({})),
              IsOkAndHolds(std::vector<ColumnSet>()));
}

TEST(ColumnDirectory, DamageIsDataLoss) {
  const std::string good = EncodeColumnDirectory(TwoSets());
  for (size_t bytes = 0; bytes < good.size(); ++bytes) {
    EXPECT_THAT(DecodeColumnDirectory(good.substr(0, bytes)),
                StatusIs(absl::StatusCode::kDataLoss));
  }
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_THAT(DecodeColumnDirectory(bad), StatusIs(absl::StatusCode::kDataLoss));
  }
}

TEST(ColumnDirectory, WhatDoesNotFitTogetherIsRefused) {
  const auto refused = [](const std::vector<ColumnSet>& sets) {
    return absl::IsDataLoss(DecodeColumnDirectory(EncodeColumnDirectory(sets)).status());
  };
  std::vector<ColumnSet> sets = TwoSets();
  sets[1].chunks[0].first_block = 72;  // the last block of the first set
  EXPECT_TRUE(refused(sets));
  sets = TwoSets();
  sets[0].chunks[0].rows = 4097;
  EXPECT_TRUE(refused(sets));
  sets = TwoSets();
  sets[0].units[1].path = 2;
  EXPECT_TRUE(refused(sets));
  sets = TwoSets();
  sets[0].units[0].kind = UnitKind::kIds;
  EXPECT_TRUE(refused(sets));
  sets = TwoSets();
  sets[0].chunks[1].offset = 100;
  EXPECT_TRUE(refused(sets));
}

}  // namespace
}  // namespace tessera::version
