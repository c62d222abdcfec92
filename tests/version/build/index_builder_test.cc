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
#include "version/build/live_records.h"

namespace tessera::version {
namespace {

constexpr uint64_t kAmpleMemory = 64 << 20;

std::shared_ptr<const IndexVersion> MustOpen(Context& context, const base::VectorFieldSchema& field,
                                             const BuiltIndex& built) {
  auto version = OpenIndexVersion(context, field, built.record);
  EXPECT_OK(version);
  return version.ok() ? *version : nullptr;
}

// Every live row of `rows` is in exactly one part, unchanged, where its location says.
void ExpectHolds(Context& context, const IndexVersion& version, const query::LiveBitmap& live,
                 const RowSet& rows, const std::vector<bool>* dead = nullptr) {
  std::map<uint64_t, size_t> index_of;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (dead == nullptr || !(*dead)[i]) index_of[rows.row(i).value] = i;
  }
  std::map<uint64_t, uint64_t> found;  // row -> position
  std::vector<uint32_t> parts(version.view->parts.size());
  for (uint32_t part = 0; part < parts.size(); ++part) parts[part] = part;
  ASSERT_OK(ReadLiveRecordsOf(
      context, version, live, parts,
      [&](uint32_t part, uint32_t slot, std::span<const std::byte> record) {
        const uint64_t row = index::RawRowId(record.data()).value;
        const uint64_t first = uint64_t{version.view->parts[part].first_block} * 64;
        EXPECT_TRUE(found.emplace(row, first + slot).second) << "twice: row " << row;
        const auto at = index_of.find(row);
        EXPECT_NE(at, index_of.end()) << "not a live row: " << row;
        if (at != index_of.end()) {
          const std::vector<std::byte> expected = rows.Record(at->second);
          EXPECT_TRUE(std::equal(record.begin(), record.end(), expected.begin(), expected.end()));
        }
        return absl::OkStatus();
      }));
  EXPECT_EQ(found.size(), index_of.size());

  std::vector<base::RowId> wanted;
  for (const auto& [row, index] : index_of) wanted.push_back({row});
  ASSERT_OK_AND_ASSIGN(const auto positions, version.Locate(wanted));
  for (size_t i = 0; i < wanted.size(); ++i) {
    ASSERT_TRUE(positions[i].has_value()) << wanted[i].value;
    ASSERT_EQ(*positions[i], found[wanted[i].value]) << wanted[i].value;
    ASSERT_OK_AND_ASSIGN(const PartPlace place, version.PlaceOf(*positions[i]));
    EXPECT_EQ(uint64_t{version.view->parts[place.part].first_block} * 64 + place.slot,
              *positions[i]);
  }
}

// Reads every unit of every plane, so that all of them pass their checks.
void ExpectReadable(const IndexVersion& version) {
  const query::IndexView& view = *version.view;
  std::vector<storage::FrameTable*> tables;
  for (const auto& set : view.plane_sets) {
    tables.push_back(&*set->codes);
    tables.push_back(set->fine.has_value() ? &*set->fine : nullptr);
    tables.push_back(&*set->raw);
  }
  for (storage::FrameTable* table : tables) {
    if (table == nullptr) continue;
    for (uint32_t unit = 0; unit < table->unit_count(); ++unit) {
      storage::CacheGuard guard;
      const storage::FetchRequest request{.table = table, .unit = unit};
      ASSERT_OK(view.cache->Fetch(guard, {&request, 1}, [](size_t, const std::byte*) {}));
    }
  }
}

double Recall(const IndexVersion& version, const query::LiveBitmap& live, const RowSet& rows,
              const RowSet& queries, double target, const std::vector<bool>* dead = nullptr) {
  constexpr uint32_t kTop = 10;
  query::Searcher searcher;
  const query::SearchView view{
      .field = rows.field(), .index = version.view, .live = live, .fresh = {}};
  query::SearchRequest request;
  request.limit = kTop;
  request.settings = version.view->calibration.ForTarget(target, kTop);
  size_t hits_right = 0;
  size_t wanted = 0;
  for (size_t i = 0; i < queries.size(); ++i) {
    std::vector<query::Hit> hits;
    query::SearchStats stats;
    EXPECT_OK(searcher.Search(view, queries.Floats(i), request, &hits, &stats));
    const std::vector<base::RowId> truth = BruteForce(rows, queries.Floats(i), kTop, dead);
    wanted += truth.size();
    for (const query::Hit& hit : hits) {
      hits_right += static_cast<size_t>(std::count(truth.begin(), truth.end(), hit.row));
    }
  }
  return static_cast<double>(hits_right) / static_cast<double>(wanted);
}

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
size_t ExtentFileCount(FaultFs& fs) {
  const auto names = fs.List("/data/extents");
  EXPECT_OK(names);
  return names.ok() ? names->size() : 0;
}

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

base::VectorFieldSchema SmallField() {
  return {.name = {}, .dim = 12, .metric = base::Metric::kL2, .type = base::ElementType::kF32};
}

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

// A version, its rows and which of them are dead, through appends.
class AppendTest : public testing::Test {
 protected:
  void Build(size_t rows) {
    rows_ = std::make_unique<RowSet>(field_, RowSet::Options{.rows = rows}, TestSeed());
    dead_.assign(rows, false);
    const auto spool = rows_->Spool(*context_);
    auto built = BuildIndex(*context_, field_, *spool, 1, options_);
    ASSERT_OK(built);
    Publish(*std::move(built));
    live_ = query::LiveBitmap(version_->view->positions);
  }

  void Append(size_t rows) {
    const RowSet added(field_, {.rows = rows, .first_row = next_row_}, TestSeed() + next_row_);
    next_row_ += rows + 3;
    const auto spool = added.Spool(*context_);
    auto built = AppendToIndex(*context_, version_, live_, *spool, version_->record.generation + 1,
                               options_);
    ASSERT_OK(built);
    ASSERT_TRUE(std::holds_alternative<BuiltIndex>(*built));
    Publish(std::get<BuiltIndex>(*std::move(built)));
    live_ = CarryLive(live_, *version_);
    rows_->Append(added);
    dead_.resize(rows_->size());
  }

  void Publish(BuiltIndex built) {
    for (const auto& writer : built.writers) writer->Keep();
    auto version = OpenIndexVersion(*context_, field_, std::move(built.record),
                                    {.base = std::move(built.base)});
    ASSERT_OK(version);
    version_ = *version;
    version_->AdoptFrames();
    ASSERT_OK(context_->extents->RemoveUnreferenced(version_->files()));
  }

  void Kill(const std::vector<size_t>& indexes) {
    std::vector<base::RowId> rows;
    for (const size_t index : indexes) {
      dead_[index] = true;
      rows.push_back(rows_->row(index));
    }
    std::sort(rows.begin(), rows.end());
    ASSERT_OK_AND_ASSIGN(const auto positions, version_->Locate(rows));
    std::vector<uint64_t> cleared;
    for (const auto& position : positions) {
      ASSERT_TRUE(position.has_value());
      cleared.push_back(*position);
    }
    live_ = live_.WithCleared(cleared);
  }

  void ExpectRight() {
    ExpectHolds(*context_, *version_, live_, *rows_, &dead_);
    ExpectReadable(*version_);
  }

  size_t LiveCount() const {
    return static_cast<size_t>(std::count(dead_.begin(), dead_.end(), false));
  }
  uint64_t rows() const { return version_->view->rows; }
  const query::IndexView& view() const { return *version_->view; }

  FaultFs fs_;
  const base::VectorFieldSchema field_ = SmallField();
  const BuildOptions options_ = {.threads = 2, .memory_bytes = kAmpleMemory};
  std::unique_ptr<TestContext> context_ = MakeContext(fs_);
  std::shared_ptr<const IndexVersion> version_;
  std::unique_ptr<RowSet> rows_;
  std::vector<bool> dead_;
  query::LiveBitmap live_;
  uint64_t next_row_ = 100'000;
};

TEST_F(AppendTest, OldAndNewRowsAreHeldAndFound) {
  Build(2000);
  std::mt19937_64 rng(TestSeed());
  for (int round = 0; round < 12; ++round) {
    SCOPED_TRACE(round);
    std::set<size_t> killed;
    while (killed.size() < 20) {
      const size_t index = rng() % rows_->size();
      if (!dead_[index]) killed.insert(index);
    }
    Kill({killed.begin(), killed.end()});
    Append(1 + rng() % 150);
    ASSERT_NO_FATAL_FAILURE(ExpectRight());
    EXPECT_LE(version_->locations.segment_count(), 9u);
  }
  EXPECT_EQ(version_->record.generation, 13u);
  EXPECT_EQ(version_->record.counters.at("built_rows"), 2000u);
  const RowSet queries(field_, {.rows = 50}, TestSeed() + 1);
  EXPECT_GE(Recall(*version_, live_, *rows_, queries, 0.95, &dead_), 0.85);
}

TEST_F(AppendTest, PositionsOfPartsThatStayDoNotChange) {
  Build(2000);
  std::vector<base::RowId> all;
  for (size_t i = 0; i < rows_->size(); ++i) all.push_back(rows_->row(i));
  ASSERT_OK_AND_ASSIGN(const auto before, version_->Locate(all));
  const uint64_t positions = view().positions;
  Append(300);
  ASSERT_OK_AND_ASSIGN(const auto after, version_->Locate(all));
  size_t moved = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    if (*after[i] == *before[i]) continue;
    ++moved;
    EXPECT_GE(*after[i], positions);
  }
  EXPECT_LT(moved, all.size() / 2);
  EXPECT_GT(view().positions, positions);
}

TEST_F(AppendTest, SmallTailsAreWrittenAnew) {
  Build(2000);
  for (int round = 0; round < 10; ++round) ASSERT_NO_FATAL_FAILURE(Append(20));
  for (uint32_t list = 0; list < view().list_count(); ++list) {
    for (uint32_t part = view().part_begin[list]; part + 1 < view().part_begin[list + 1]; ++part) {
      // All but the newest part of a list are over the limit, or of the build.
      if (view().parts[part].first_block * 64 < 2000) continue;
      EXPECT_GT(view().parts[part].rows, kTailRowsMax);
    }
    EXPECT_LE(view().part_begin[list + 1] - view().part_begin[list], 4u);
  }
  ExpectRight();
}

TEST_F(AppendTest, DeadPartsAndDeadTailRowsLeave) {
  Build(1500);
  // Every row of one part.
  std::vector<base::RowId> all;
  for (size_t i = 0; i < rows_->size(); ++i) all.push_back(rows_->row(i));
  ASSERT_OK_AND_ASSIGN(const auto positions, version_->Locate(all));
  std::vector<size_t> of_part;
  std::vector<base::RowId> rows_of_part;
  for (size_t i = 0; i < all.size(); ++i) {
    ASSERT_OK_AND_ASSIGN(const PartPlace place, version_->PlaceOf(*positions[i]));
    if (place.part != 1) continue;
    of_part.push_back(i);
    rows_of_part.push_back(all[i]);
  }
  const size_t parts = view().parts.size();
  Kill(of_part);
  Append(1);
  EXPECT_LE(view().parts.size(), parts);
  EXPECT_EQ(rows(), 1500 - of_part.size() + 1);
  ASSERT_OK_AND_ASSIGN(const auto gone, version_->Locate(rows_of_part));
  for (const auto& position : gone) EXPECT_EQ(position, std::nullopt);
  ExpectRight();
}

TEST_F(AppendTest, AppendingNothingDropsDeadParts) {
  Build(600);
  std::vector<size_t> everything(600);
  for (size_t i = 0; i < everything.size(); ++i) everything[i] = i;
  Kill(everything);
  Append(0);
  EXPECT_EQ(rows(), 0u);
  EXPECT_TRUE(view().parts.empty());
  ExpectRight();
  Append(50);
  EXPECT_EQ(rows(), 50u);
  ExpectRight();
}

TEST_F(AppendTest, CalibrationIsMeasuredAnewWhenTheRowsHaveGrown) {
  Build(1200);
  const query::Calibration first = view().calibration;
  EXPECT_EQ(first.rows(), 1200u);
  Append(100);
  EXPECT_EQ(view().calibration, first);
  Append(400);
  EXPECT_EQ(view().calibration.rows(), 1700u);
}

TEST_F(AppendTest, RowsUnlikeTheIndexAreAnOutcomeOfTheirOwnAndWriteNothing) {
  Build(1500);
  const size_t files = ExtentFileCount(fs_);
  // Around other centres, and twice as far apart.
  const RowSet other(field_, {.rows = 1000, .first_row = next_row_, .noise = 5}, TestSeed() + 99);
  const auto spool = other.Spool(*context_);
  const auto outcome = AppendToIndex(*context_, version_, live_, *spool, 2, options_);
  ASSERT_OK(outcome);
  ASSERT_TRUE(std::holds_alternative<RowsUnlikeIndex>(*outcome));
  EXPECT_GT(std::get<RowsUnlikeIndex>(*outcome).rows, 256u);
  EXPECT_EQ(ExtentFileCount(fs_), files);
  ExpectRight();
}

TEST_F(AppendTest, YieldsOftenAndCanBeCancelledThere) {
  Build(1500);
  const auto spool = RowSet(field_, {.rows = 400, .first_row = next_row_}, 1).Spool(*context_);
  BuildOptions options = options_;
  size_t yields = 0;
  std::atomic<bool> cancelled = false;
  options.cancelled = &cancelled;
  options.yield = [&] { ++yields; };
  ASSERT_OK(AppendToIndex(*context_, version_, live_, *spool, 2, options));
  EXPECT_GE(yields, 3u);
  const size_t files = ExtentFileCount(fs_);
  for (size_t at = 1; at <= yields; ++at) {
    size_t seen = 0;
    cancelled = false;
    options.yield = [&] { cancelled = ++seen == at || cancelled; };
    EXPECT_THAT(AppendToIndex(*context_, version_, live_, *spool, 2, options),
                StatusIs(absl::StatusCode::kCancelled))
        << at;
    EXPECT_EQ(ExtentFileCount(fs_), files);
  }
}

TEST_F(AppendTest, UnknownCountersAreKept) {
  Build(300);
  storage::VersionRecord record = version_->record;
  record.counters["other"] = 77;
  ASSERT_OK_AND_ASSIGN(version_, OpenIndexVersion(*context_, field_, record));
  Append(10);
  EXPECT_EQ(version_->record.counters.at("other"), 77u);
}

TEST_F(AppendTest, FullDiskLeavesTheOldVersionAlone) {
  Build(1500);
  const size_t files = ExtentFileCount(fs_);
  const auto spool = RowSet(field_, {.rows = 400, .first_row = next_row_}, 1).Spool(*context_);
  fs_.AddRule({.op = FaultOp::kAppend, .path_part = "extents", .kind = FaultKind::kNoSpace});
  EXPECT_THAT(AppendToIndex(*context_, version_, live_, *spool, 2, options_),
              StatusIs(absl::StatusCode::kResourceExhausted));
  fs_.ClearRules();
  EXPECT_EQ(ExtentFileCount(fs_), files);
  ExpectRight();
}

TEST_F(AppendTest, DamagedTailIsDataLoss) {
  Build(1500);
  Append(60);
  // Damages every raw plane: whichever tail is read first shows it.
  for (const storage::ExtentRef& ref : version_->record.planes.at(storage::PlaneKind::kRaw)) {
    ASSERT_OK(fs_.CorruptByte(context_->extents->FilePath(ref.file), ref.offset + 50, 1));
  }
  const auto spool = RowSet(field_, {.rows = 400, .first_row = next_row_}, 1).Spool(*context_);
  EXPECT_THAT(AppendToIndex(*context_, version_, live_, *spool, 3, options_),
              StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace tessera::version
