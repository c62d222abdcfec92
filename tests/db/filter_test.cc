// Filters through the public interface, against brute force over what was written: whatever way the
// points came and wherever their rows are.
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "db/database.h"
#include "tests/query/filter/oracle.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::db {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint32_t kDim = 8;

struct ModelPoint {
  std::vector<float> vector;
  base::Value payload;
};

class FilterTest : public testing::Test {
  TempDir dir_;  // outlives the database

 protected:
  FilterTest() : oracle_(TestSeed()), rng_(TestSeed()) {
    Open();
    EXPECT_THAT(
        database_->CreateCollection(
            {.name = "c", .vectors = {{.name = "", .dim = kDim, .metric = base::Metric::kL2}}}),
        IsOk());
    Find();
  }

  void Open() {
    auto opened = Database::Open(
        dir_.path(),
        {.memory_limit = uint64_t{256} << 20, .threads = 2, .background_absorb = false});
    ASSERT_TRUE(opened.ok()) << opened.status();
    database_ = *std::move(opened);
  }
  void Find() {
    auto found = database_->GetCollection("c");
    ASSERT_TRUE(found.ok()) << found.status();
    collection_ = *std::move(found);
  }
  void Reopen() {
    collection_.reset();
    ASSERT_THAT(database_->Close(), IsOk());
    database_.reset();
    Open();
    Find();
  }

  std::vector<float> DrawVector() {
    std::normal_distribution<float> normal;
    std::vector<float> vector(kDim);
    for (float& x : vector) x = normal(rng_);
    return vector;
  }
  Point DrawPoint(uint64_t id) {
    ModelPoint& point = model_[id];
    point = {.vector = DrawVector(), .payload = oracle_.DrawPayload()};
    std::string bytes(kDim * sizeof(float), '\0');
    std::memcpy(bytes.data(), point.vector.data(), bytes.size());
    return {.id = base::PointId(id), .vectors = {{"", bytes}}, .payload = point.payload};
  }
  void Upsert(uint64_t first, uint64_t count) {
    std::vector<Point> points;
    for (uint64_t i = 0; i < count; ++i) points.push_back(DrawPoint(first + i));
    ASSERT_THAT(collection_->Upsert(std::move(points), Ack::kMemory), IsOk());
  }
  void Load(uint64_t first, uint64_t count) {
    bool given = false;
    const PointSource source = [&](std::vector<Point>* batch) {
      if (given) return absl::OkStatus();
      given = true;
      for (uint64_t i = 0; i < count; ++i) batch->push_back(DrawPoint(first + i));
      return absl::OkStatus();
    };
    ASSERT_THAT(collection_->BulkLoad(source, {}), IsOk());
  }
  uint64_t DrawId() { return std::next(model_.begin(), rng_() % model_.size())->first; }

  std::vector<uint64_t> Matching(const OracleFilter& filter) const {
    std::vector<uint64_t> ids;
    for (const auto& [id, point] : model_) {
      if (filter.holds(base::PointId(id), point.payload)) ids.push_back(id);
    }
    return ids;
  }
  std::vector<uint64_t> Nearest(const std::vector<float>& query, std::vector<uint64_t> ids,
                                size_t limit) const {
    std::vector<std::pair<float, uint64_t>> order;
    for (const uint64_t id : ids) {
      const std::vector<float>& vector = model_.at(id).vector;
      double sum = 0;
      for (uint32_t i = 0; i < kDim; ++i) {
        sum += (double{query[i]} - vector[i]) * (double{query[i]} - vector[i]);
      }
      order.emplace_back(static_cast<float>(sum), id);
    }
    std::sort(order.begin(), order.end());
    std::vector<uint64_t> nearest;
    for (size_t i = 0; i < std::min(limit, order.size()); ++i) nearest.push_back(order[i].second);
    return nearest;
  }
  static std::vector<uint64_t> IdsOf(const SearchResult& result) {
    std::vector<uint64_t> ids;
    for (const Hit& hit : result.hits) ids.push_back(*hit.id.number());
    return ids;
  }

  // Every call that takes a filter says the same as the model.
  void CheckAll(int filters) {
    for (int i = 0; i < filters; ++i) {
      const OracleFilter filter = oracle_.Draw(2);
      SCOPED_TRACE(filter.text);
      const FilterText text{.expression = filter.text};
      const std::vector<uint64_t> matching = Matching(filter);
      const auto count = collection_->CountWhere({.filter = text});
      ASSERT_THAT(count, IsOk());
      ASSERT_EQ(count->count, matching.size());

      std::vector<uint64_t> scrolled;
      ScrollParams page{.limit = 37, .filter = text};
      do {
        const auto points = collection_->ScrollWhere(page);
        ASSERT_THAT(points, IsOk());
        for (const StoredPoint& point : points->points) scrolled.push_back(*point.id.number());
        page.offset = points->next_offset;
      } while (page.offset.has_value());
      ASSERT_EQ(scrolled, matching);

      const std::vector<float> query = DrawVector();
      const uint32_t limit = i % 2 == 0 ? 10 : 100;
      const std::vector<uint64_t> nearest = Nearest(query, matching, limit);
      for (const SearchPlan plan : {SearchPlan::kAuto, SearchPlan::kExact, SearchPlan::kProbe}) {
        SearchParams params{.limit = limit, .filter = text, .plan = plan};
        const auto found = collection_->Search(query, params);
        ASSERT_THAT(found, IsOk());
        const std::vector<uint64_t> ids = IdsOf(*found);
        // As many as there are, and no other.
        ASSERT_EQ(ids.size(), nearest.size());
        for (const uint64_t id : ids) {
          ASSERT_TRUE(std::binary_search(matching.begin(), matching.end(), id)) << id;
        }
        if (plan == SearchPlan::kExact) {
          ASSERT_EQ(ids, nearest);
        }
      }
      const auto exact =
          collection_->Search(query, {.limit = limit, .exact = true, .filter = text});
      ASSERT_THAT(exact, IsOk());
      ASSERT_EQ(IdsOf(*exact), nearest);
    }
  }

  FilterOracle oracle_;
  std::mt19937_64 rng_;
  std::map<uint64_t, ModelPoint> model_;
  std::unique_ptr<Database> database_;
  std::shared_ptr<Collection> collection_;
};

TEST_F(FilterTest, FreshRows) {
  Upsert(0, 300);
  CheckAll(40);
}

TEST_F(FilterTest, LoadedRows) {
  Load(0, 3000);
  CheckAll(40);
  Reopen();
  CheckAll(10);
}

TEST_F(FilterTest, RowsOfEveryKindAndHistory) {
  Load(0, 2000);
  for (int round = 0; round < 12; ++round) {
    SCOPED_TRACE(round);
    // Half replace older points.
    Upsert(rng_() % (model_.size() + 1), 100);
    std::vector<base::PointId> gone;
    for (int i = 0; i < 40; ++i) {
      const uint64_t id = DrawId();
      model_.erase(id);
      gone.emplace_back(id);
    }
    ASSERT_THAT(collection_->Delete(gone, Ack::kMemory), IsOk());
    for (int i = 0; i < 20; ++i) {
      const uint64_t id = DrawId();
      base::Value changes = oracle_.DrawPayload();
      if (changes.object() == nullptr) changes = base::Value(base::Value::Object());
      base::Value& payload = model_[id].payload;
      if (payload.is_null()) payload = base::Value(base::Value::Object());
      for (const auto& [key, value] : *changes.object()) {
        if (value.is_null()) {
          payload.object()->erase(key);
        } else {
          (*payload.object())[key] = value;
        }
      }
      const base::PointId point_id(id);
      ASSERT_THAT(collection_->SetPayload({&point_id, 1}, changes, Ack::kMemory), IsOk());
    }
    CheckAll(4);
    if (round % 2 == 1) {
      ASSERT_THAT(collection_->Absorb(), IsOk());
    }
    if (round == 5) Load(100, 500);
    if (round == 8) Load(1000, 3000);
    if (round % 4 == 3) Reopen();
    CheckAll(4);
  }
}

TEST_F(FilterTest, ManyAbsorptionsMergeTheirColumns) {
  Load(0, 500);
  for (int round = 0; round < 14; ++round) {
    Upsert(rng_() % 700, 30);
    ASSERT_THAT(collection_->Absorb(), IsOk());
    CheckAll(3);
  }
  Reopen();
  CheckAll(10);
}

TEST_F(FilterTest, ChangesByFilterChangeWhatPassesAndNothingElse) {
  Load(0, 2000);
  Upsert(1500, 1000);
  const OracleFilter filter = oracle_.Draw(1);
  const std::vector<uint64_t> matching = Matching(filter);
  const auto changes = base::ParseJson(R"({"changed": true})");
  const auto changed =
      collection_->SetPayloadWhere({.expression = filter.text}, *changes, Ack::kMemory);
  ASSERT_THAT(changed, IsOk());
  EXPECT_EQ(changed->points, matching.size());
  for (const uint64_t id : matching) {
    base::Value& payload = model_[id].payload;
    if (payload.is_null()) payload = base::Value(base::Value::Object());
    (*payload.object())["changed"] = base::Value(true);
  }
  const auto count =
      collection_->CountWhere({.filter = FilterText{.expression = "changed = true"}});
  ASSERT_THAT(count, IsOk());
  EXPECT_EQ(count->count, matching.size());
  CheckAll(5);

  const OracleFilter doomed = oracle_.Draw(1);
  const std::vector<uint64_t> victims = Matching(doomed);
  const auto deleted = collection_->DeleteWhere({.expression = doomed.text}, Ack::kMemory);
  ASSERT_THAT(deleted, IsOk());
  EXPECT_EQ(deleted->points, victims.size());
  for (const uint64_t id : victims) model_.erase(id);
  EXPECT_THAT(collection_->Count(), IsOkAndHolds(model_.size()));
  if (!model_.empty()) CheckAll(5);
}

TEST_F(FilterTest, FacetsCountEveryValueOfTheMatches) {
  Load(0, 1500);
  Upsert(1000, 800);
  for (int i = 0; i < 10; ++i) {
    const OracleFilter filter = oracle_.Draw(1);
    SCOPED_TRACE(filter.text);
    std::map<std::string, uint64_t> counts;
    const std::vector<uint64_t> matching = Matching(filter);
    for (const uint64_t id : matching) {
      const base::Value::Object* payload = model_[id].payload.object();
      if (payload == nullptr || !payload->contains("a")) continue;
      const base::Value& at = payload->at("a");
      std::set<std::string> values;  // a value counts once a point
      const auto add = [&](const base::Value& value) {
        if (value.boolean() == nullptr && value.integer() == nullptr && value.number() == nullptr &&
            value.string() == nullptr) {
          return;
        }
        const double* number = value.number();
        const bool whole = number != nullptr && *number == static_cast<int64_t>(*number);
        values.insert(whole ? base::Value(static_cast<int64_t>(*number)).ToJson() : value.ToJson());
      };
      if (at.list() != nullptr) {
        for (const base::Value& value : *at.list()) add(value);
      } else {
        add(at);
      }
      for (const std::string& value : values) ++counts[value];
    }
    const auto facet = collection_->Facet(
        {.path = "a", .limit = 1000, .filter = FilterText{.expression = filter.text}});
    ASSERT_THAT(facet, IsOk());
    std::map<std::string, uint64_t> got;
    for (const FacetValue& value : facet->values) got[value.value.ToJson()] = value.count;
    EXPECT_EQ(got, counts);
    EXPECT_EQ(facet->distinct, counts.size());
    EXPECT_EQ(facet->points, matching.size());
    EXPECT_TRUE(
        std::is_sorted(facet->values.begin(), facet->values.end(),
                       [](const FacetValue& a, const FacetValue& b) { return a.count > b.count; }));
  }
}

TEST_F(FilterTest, ManyMatchesComeInTheOrderOfTheirIds) {
  Load(0, 12'000);
  Upsert(11'500, 600);
  for (const char* text : {"NOT (a = 'no such value')", "EXISTS(a)"}) {
    SCOPED_TRACE(text);
    std::vector<uint64_t> expected;
    for (const auto& [id, point] : model_) {
      const base::Value::Object* object = point.payload.object();
      if (text[0] == 'N' || (object != nullptr && object->contains("a"))) expected.push_back(id);
    }
    std::vector<uint64_t> scrolled;
    ScrollParams page{.limit = 3000, .filter = FilterText{.expression = text}};
    do {
      const auto points = collection_->ScrollWhere(page);
      ASSERT_THAT(points, IsOk());
      for (const StoredPoint& point : points->points) scrolled.push_back(*point.id.number());
      page.offset = points->next_offset;
    } while (page.offset.has_value());
    EXPECT_EQ(scrolled, expected);
  }
  const std::atomic<bool> cancelled{true};
  EXPECT_THAT(collection_->ScrollWhere(
                  {.filter = FilterText{"EXISTS(b)"}, .stop = {.cancelled = &cancelled}}),
              StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(FilterTest, UnknownPathsAreSaid) {
  Upsert(0, 10);
  const FilterText text{.expression = "no_such_path = 1"};
  const auto count = collection_->CountWhere({.filter = text});
  ASSERT_THAT(count, IsOk());
  EXPECT_EQ(count->count, 0U);
  EXPECT_THAT(count->warnings, ElementsAre(HasSubstr("no_such_path")));
  FilterText strict = text;
  strict.strict = true;
  EXPECT_THAT(collection_->CountWhere({.filter = strict}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no_such_path")));
  EXPECT_THAT(collection_->Search(std::vector<float>(kDim), {.filter = FilterText{"a <"}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("position")));
  EXPECT_THAT(collection_->Facet({.path = "a) OR EXISTS(b"}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace tessera::db
