#include "version/build/index_builder.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/strings.h"
#include "index/raw_plane.h"
#include "query/searcher.h"
#include "tests/support/fault_fs.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"
#include "tests/version/index_fixture.h"
#include "tests/version/version_checks.h"
#include "version/build/live_records.h"

namespace tessera::version {
namespace {

struct BuildCase {
  base::Metric metric;
  base::ElementType type;
  bool in_memory;
};

class IndexBuilderTest : public testing::TestWithParam<BuildCase> {};

TEST_P(IndexBuilderTest, HoldsEveryRowOnceAndFindsTheNearest) {
  const BuildCase& param = GetParam();
  const base::VectorFieldSchema field{
      .name = "", .dim = 24, .metric = param.metric, .type = param.type};
  FaultFs fs;
  const std::unique_ptr<TestContext> context = MakeContext(fs);
  const RowSet rows(field, {.rows = 4000, .centres = 40, .first_row = 5, .step = 3}, TestSeed());
  const auto spool = rows.Spool(*context);
  ASSERT_OK_AND_ASSIGN(
      const BuiltIndex built,
      BuildIndex(
          *context, field, *spool, 3,
          {.threads = 2, .memory_bytes = param.in_memory ? kAmpleMemory : uint64_t{300} << 10}));

  EXPECT_EQ(built.record.generation, 3u);
  const auto version = MustOpen(*context, field, built);
  ASSERT_NE(version, nullptr);
  EXPECT_EQ(version->view->rows, rows.size());
  EXPECT_EQ(built.record.counters.at("rows"), rows.size());
  EXPECT_EQ(built.record.counters.at("built_rows"), rows.size());
  const query::LiveBitmap live(version->view->positions);
  ExpectHolds(*context, *version, live, rows);
  ExpectReadable(*version);
  const RowSet queries(field, {.rows = 50, .centres = 40}, TestSeed() + 1);
  EXPECT_GE(Recall(*version, live, rows, queries, 0.95), 0.88);
  // What a build needs in scratch/ goes with it.
  ASSERT_OK_AND_ASSIGN(const std::vector<std::string> scratch, fs.List(context->scratch_path));
  EXPECT_EQ(scratch.size(), 1u);  // the records
}

// The extent files there are.
std::vector<BuildCase> BuildCases() {
  std::vector<BuildCase> cases;
  for (const auto metric :
       {base::Metric::kL2, base::Metric::kInnerProduct, base::Metric::kCosine}) {
    for (const auto type : {base::ElementType::kF32, base::ElementType::kF16,
                            base::ElementType::kI8, base::ElementType::kU8}) {
      for (const bool in_memory : {true, false}) cases.push_back({metric, type, in_memory});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(EveryField, IndexBuilderTest, testing::ValuesIn(BuildCases()),
                         [](const auto& param) {
                           return absl::StrCat(base::Sv(base::ToString(param.param.metric)), "_",
                                               base::Sv(base::ToString(param.param.type)),
                                               param.param.in_memory ? "_memory" : "_spools");
                         });

TEST(IndexBuilder, SameRowsSeedAndMemoryGiveTheSameBytes) {
  std::vector<std::string> records;
  for (const int threads : {1, 2}) {
    FaultFs fs;
    const auto context = MakeContext(fs);
    const RowSet rows(SmallField(), {.rows = 3000}, 5);
    const auto spool = rows.Spool(*context);
    ASSERT_OK_AND_ASSIGN(const BuiltIndex built,
                         BuildIndex(*context, SmallField(), *spool, 1,
                                    {.threads = threads, .memory_bytes = 200 << 10, .seed = 9}));
    records.push_back(storage::EncodeVersionRecord(built.record));  // with all checksums
  }
  EXPECT_EQ(records[0], records[1]);
}

TEST(IndexBuilder, NoRowsAreInvalid) {
  FaultFs fs;
  const auto context = MakeContext(fs);
  const auto spool = RowSet(SmallField(), {.rows = 0}, 1).Spool(*context);
  EXPECT_THAT(BuildIndex(*context, SmallField(), *spool, 1, {.memory_bytes = kAmpleMemory}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

// A few rows, and many that cannot be told apart.
TEST(IndexBuilder, OddSetsOfRowsAreHeld) {
  for (const base::Metric metric :
       {base::Metric::kL2, base::Metric::kInnerProduct, base::Metric::kCosine}) {
    base::VectorFieldSchema field = SmallField();
    field.metric = metric;
    for (const size_t count : {1, 2, 63, 64, 65, 700}) {
      SCOPED_TRACE(absl::StrCat(base::Sv(base::ToString(metric)), " ", count));
      FaultFs fs;
      const auto context = MakeContext(fs);
      const RowSet same(field, {.rows = count, .centres = 1, .noise = 0}, 1);
      const auto spool = same.Spool(*context);
      ASSERT_OK_AND_ASSIGN(const BuiltIndex built,
                           BuildIndex(*context, field, *spool, 1, {.memory_bytes = 300 << 10}));
      const auto version = MustOpen(*context, field, built);
      ASSERT_NE(version, nullptr);
      ExpectHolds(*context, *version, query::LiveBitmap(version->view->positions), same);
      ExpectReadable(*version);
    }
  }
}

TEST(IndexBuilder, ZeroVectorsAreHeldUnderCosine) {
  base::VectorFieldSchema field = SmallField();
  field.metric = base::Metric::kCosine;
  FaultFs fs;
  const auto context = MakeContext(fs);
  RowSet rows(field, {.rows = 500}, 3);
  rows.SetVector(17, std::vector<std::byte>(field.dim * 4));
  rows.SetVector(400, std::vector<std::byte>(field.dim * 4));
  const auto spool = rows.Spool(*context);
  ASSERT_OK_AND_ASSIGN(const BuiltIndex built,
                       BuildIndex(*context, field, *spool, 1, {.memory_bytes = kAmpleMemory}));
  const auto version = MustOpen(*context, field, built);
  ASSERT_NE(version, nullptr);
  ExpectHolds(*context, *version, query::LiveBitmap(version->view->positions), rows);
  ExpectReadable(*version);
}

TEST(IndexBuilder, ReportsItsPhases) {
  FaultFs fs;
  const auto context = MakeContext(fs);
  const auto spool = RowSet(SmallField(), {.rows = 900}, 1).Spool(*context);
  std::vector<std::string> phases;
  const auto progress = [&](std::string_view phase, uint64_t done, uint64_t total) {
    EXPECT_LE(done, total);
    if (done == total) phases.emplace_back(phase);
  };
  ASSERT_OK(BuildIndex(*context, SmallField(), *spool, 1,
                       {.memory_bytes = kAmpleMemory, .seed = 1, .progress = progress}));
  EXPECT_THAT(phases, testing::ElementsAre("train", "assign", "write", "calibrate"));
}

TEST(IndexBuilder, CancelledBuildLeavesNothing) {
  // At the last one everything is written and only the calibration is missing.
  for (const std::string_view at : {"train", "assign", "write", "calibrate"}) {
    SCOPED_TRACE(at);
    FaultFs fs;
    const auto context = MakeContext(fs);
    const auto spool = RowSet(SmallField(), {.rows = 2000}, 1).Spool(*context);
    std::atomic<bool> cancelled = false;
    const auto progress = [&](std::string_view phase, uint64_t, uint64_t) {
      if (phase == at) cancelled = true;
    };
    EXPECT_THAT(
        BuildIndex(
            *context, SmallField(), *spool, 1,
            {.memory_bytes = 200 << 10, .seed = 1, .progress = progress, .cancelled = &cancelled}),
        StatusIs(absl::StatusCode::kCancelled));
    EXPECT_EQ(ExtentFileCount(fs), 0u);
    EXPECT_EQ(fs.List(context->scratch_path)->size(), 1u);
  }
}

TEST(IndexBuilder, FullDiskIsAnAnswerAndFilesAreRemoved) {
  for (const std::string_view where : {"extents", "scratch"}) {
    for (const int skip : {0, 1, 3}) {
      SCOPED_TRACE(absl::StrCat(base::Sv(where), " ", skip));
      FaultFs fs;
      const auto context = MakeContext(fs);
      const auto spool = RowSet(SmallField(), {.rows = 20000}, 1).Spool(*context);
      fs.AddRule({.op = FaultOp::kAppend,
                  .path_part = std::string(where),
                  .kind = FaultKind::kNoSpace,
                  .skip = skip});
      EXPECT_THAT(BuildIndex(*context, SmallField(), *spool, 1, {.memory_bytes = 300 << 10}),
                  StatusIs(absl::StatusCode::kResourceExhausted));
      EXPECT_EQ(fs.List(context->scratch_path)->size(), 1u);
      ASSERT_OK(context->extents->RemoveUnreferenced({}));
      EXPECT_EQ(ExtentFileCount(fs), 0u);
    }
  }
}

TEST(IndexBuilder, EveryFailingOperationIsAnAnswer) {
  int64_t operations = 0;
  {
    FaultFs fs;
    const auto context = MakeContext(fs);
    const auto spool = RowSet(SmallField(), {.rows = 400}, 1).Spool(*context);
    const int64_t before = fs.operations();
    const auto built = BuildIndex(*context, SmallField(), *spool, 1, {.memory_bytes = 100 << 10});
    ASSERT_OK(built);
    operations = fs.operations() - before;
  }
  ASSERT_GT(operations, 10);
  // The last ones are removals of scratch files, which do not matter.
  for (int64_t operation = 0; operation < operations; ++operation) {
    SCOPED_TRACE(operation);
    FaultFs fs;
    const auto context = MakeContext(fs);
    const auto spool = RowSet(SmallField(), {.rows = 400}, 1).Spool(*context);
    fs.FailFrom(fs.operations() + operation);
    const auto built = BuildIndex(*context, SmallField(), *spool, 1, {.memory_bytes = 100 << 10});
    if (built.ok()) {
      EXPECT_GE(operation, operations - 4);
    }
  }
}

}  // namespace
}  // namespace tessera::version
