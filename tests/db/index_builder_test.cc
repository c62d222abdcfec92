#include "db/index_builder.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/strings.h"
#include "db/live_records.h"
#include "index/raw_plane.h"
#include "query/searcher.h"
#include "tests/db/index_fixture.h"
#include "tests/support/fault_fs.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::db {
namespace {

using testing::Eq;

constexpr uint64_t kAmpleMemory = 64 << 20;

std::shared_ptr<const IndexVersion> MustOpen(Engine& engine, const base::VectorFieldSchema& field,
                                             const BuiltIndex& built) {
  auto version = OpenIndexVersion(engine, field, built.record);
  EXPECT_OK(version);
  return version.ok() ? *version : nullptr;
}

// Every live row of `rows` is in exactly one part, unchanged, where its location says.
void ExpectHolds(Engine& engine, const IndexVersion& version, const query::LiveBitmap& live,
                 const RowSet& rows, const std::vector<bool>* dead = nullptr) {
  std::map<uint64_t, size_t> index_of;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (dead == nullptr || !(*dead)[i]) index_of[rows.row(i).value] = i;
  }
  std::map<uint64_t, uint64_t> found;  // row -> position
  std::vector<uint32_t> parts(version.view->parts.size());
  for (uint32_t part = 0; part < parts.size(); ++part) parts[part] = part;
  ASSERT_OK(ReadLiveRecordsOf(
      engine, version, live, parts,
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
  for (storage::FrameTable* table : {view.codes.get(), view.fine.get(), view.raw.get()}) {
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
  const std::unique_ptr<Engine> engine = MakeEngine(fs);
  const RowSet rows(field, {.rows = 6000, .centres = 40, .first_row = 5, .step = 3}, TestSeed());
  const auto spool = rows.Spool(*engine);
  ASSERT_OK_AND_ASSIGN(
      const BuiltIndex built,
      BuildIndex(
          *engine, field, *spool, 3,
          {.threads = 2, .memory_bytes = param.in_memory ? kAmpleMemory : uint64_t{300} << 10}));

  EXPECT_EQ(built.record.generation, 3u);
  const auto version = MustOpen(*engine, field, built);
  ASSERT_NE(version, nullptr);
  EXPECT_EQ(version->view->rows, rows.size());
  EXPECT_EQ(built.record.counters.at("rows"), rows.size());
  EXPECT_EQ(built.record.counters.at("built_rows"), rows.size());
  const query::LiveBitmap live(version->view->positions);
  ExpectHolds(*engine, *version, live, rows);
  ExpectReadable(*version);
  const RowSet queries(field, {.rows = 50, .centres = 40}, TestSeed() + 1);
  EXPECT_GE(Recall(*version, live, rows, queries, 0.95), 0.88);
  // What a build needs in scratch/ goes with it.
  ASSERT_OK_AND_ASSIGN(const std::vector<std::string> scratch, fs.List(engine->scratch_path));
  EXPECT_EQ(scratch.size(), 1u);  // the records
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

}  // namespace
}  // namespace tessera::db
