// export, and what ingest makes of its files.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <random>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/check.h"
#include "tests/api/cli/target_test.h"

namespace tessera::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CliExportTest : public CliTargetTest {
 protected:
  // A collection with a field of every element type.
  void CreateFields(const std::string& name) {
    ASSERT_EQ(Create(name, {"--dim", "3", "--metric", "l2", "--vector", "h:2:ip:f16", "--vector",
                            "i:1:l2:i8", "--vector", "u:2:l2:u8"})
                  .code,
              0);
  }

  static db::Point PointWith(base::PointId id, const std::vector<float>& floats, uint16_t half,
                             const std::string& payload) {
    std::string halves(4, '\0');
    std::memcpy(halves.data(), &half, sizeof(half));
    return {.id = std::move(id),
            .vectors = {{"", FloatBytes(floats)},
                        {"h", halves},
                        {"i", std::string(1, static_cast<char>(half))},
                        {"u", std::string(2, static_cast<char>(half >> 2))}},
            .payload = *base::ParseJson(payload)};
  }

  void Fill(const std::string& name) {
    std::vector<db::Point> points;
    std::mt19937_64 random(7);
    for (uint64_t i = 0; i < 700; ++i) {
      std::vector<float> floats;
      while (floats.size() < 3) {
        const auto value = std::bit_cast<float>(static_cast<uint32_t>(random()));
        if (value * value < 1e37F) floats.push_back(value);  // finite, of finite length
      }
      const auto half = static_cast<uint16_t>(random() % 0x7C00 | (random() % 2) << 15);
      points.push_back(PointWith(base::PointId(i * i), floats, half,
                                 absl::StrCat("{\"i\":", i, ",\"x\":", i, ".0}")));
    }
    const float tiny = std::numeric_limits<float>::denorm_min();
    points.push_back(
        PointWith(base::PointId(UINT64_MAX), {-0.0F, tiny, 16777217.0F}, 0x8000, "null"));
    points.push_back(PointWith(*base::PointId::Parse("6f1c2a3b-0000-4000-8000-0000000000ff"),
                               {8.5899346e9F, 9.999999e-38F, 0.1F}, 1, "{}"));
    points.push_back(PointWith(base::PointId(std::string("007 \"\xC3\xA4\\,")), {1, 2, 3}, 2,
                               "{\"t\":\"line\\nend\",\"n\":[null,-9223372036854775808]}"));
    ASSERT_TRUE(runner_.collection(name)->Upsert(std::move(points), db::Ack::kWal).ok());
  }

  void ExpectSame(const std::string& left, const std::string& right) {
    const std::vector<db::StoredPoint> a = Points(left);
    const std::vector<db::StoredPoint> b = Points(right);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].id, b[i].id);
      EXPECT_EQ(a[i].payload, b[i].payload) << a[i].id.ToString();
      ASSERT_EQ(a[i].vectors.size(), b[i].vectors.size());
      for (size_t field = 0; field < a[i].vectors.size(); ++field) {
        EXPECT_EQ(a[i].vectors[field].field, b[i].vectors[field].field);
        EXPECT_EQ(a[i].vectors[field].bytes, b[i].vectors[field].bytes) << a[i].id.ToString();
      }
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Targets, CliExportTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "Server" : "Data"; });

TEST_P(CliExportTest, JsonLinesLoadBackBitForBit) {
  CreateFields("a");
  CreateFields("b");
  Fill("a");
  const std::string path = dir_.PathOf("points.jsonl");
  const CliResult result = Run("export", "a", {"--output", path});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(*JsonObject(result.out).at("points").integer(), 703);
  EXPECT_THAT(result.err, IsEmpty());
  const CliResult loaded = Run("ingest", "b", {path});
  EXPECT_EQ(loaded.code, 0) << loaded.err;
  ExpectSame("a", "b");
}

TEST_P(CliExportTest, JsonLinesGoToStdoutByDefault) {
  Create("a", {"--dim", "2", "--metric", "l2"});
  EXPECT_EQ(Run("export", "a").out, "");
  Run("ingest", "a", {dir_.Write("v.fbin", FbinOfRows(2, 2))});
  const CliResult result = Run("export", "a");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out,
            "{\"id\":0,\"vectors\":{\"\":[0.25,1.25]},\"payload\":null}\n"
            "{\"id\":1,\"vectors\":{\"\":[1.25,2.25]},\"payload\":null}\n");
  EXPECT_EQ(*JsonObject(result.err).at("points").integer(), 2);
}

TEST_P(CliExportTest, RawFilesLoadBackBitForBit) {
  CreateFields("a");
  CreateFields("b");
  Fill("a");
  const std::string f32 = dir_.PathOf("v.fbin");
  const std::string f16 = dir_.PathOf("h.f16bin");
  const std::string i8 = dir_.PathOf("i.i8bin");
  const std::string u8 = dir_.PathOf("u.u8bin");
  const std::string ids = dir_.PathOf("ids");
  const std::string payload = dir_.PathOf("p.jsonl");
  const CliResult result = Run("export", "a",
                               {"--vector", f32, "--vector", "h=" + f16, "--vector", "i=" + i8,
                                "--vector", "u=" + u8, "--ids", ids, "--payload", payload});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(*JsonObject(result.out).at("points").integer(), 703);
  const CliResult loaded = Run("ingest", "b",
                               {f32, "--vector", "h=" + f16, "--vector", "i=" + i8, "--vector",
                                "u=" + u8, "--ids", ids, "--payload", payload});
  EXPECT_EQ(loaded.code, 0) << loaded.err;
  ExpectSame("a", "b");
}

TEST_P(CliExportTest, PagesOfLargePayloadsAreSmall) {
  const auto paged = std::make_shared<FakeCollection>(
      base::CollectionSchema{.name = "a", .vectors = {{.name = "", .dim = 1}}});
  {
    base::MutexLock lock(&runner_.state()->mu);
    runner_.state()->collections["a"] = paged;
  }
  std::vector<db::Point> points;
  for (uint64_t i = 0; i < 60; ++i) {
    base::Value::Object payload;
    payload.emplace("a", base::Value(std::string(1'000'000, 'x')));
    points.push_back({.id = base::PointId(i),
                      .vectors = {{"", FloatBytes({1})}},
                      .payload = base::Value(std::move(payload))});
  }
  ASSERT_TRUE(paged->Upsert(std::move(points), db::Ack::kWal).ok());
  EXPECT_EQ(Run("export", "a", {"--payload", dir_.PathOf("p.jsonl")}).code, 0);
  EXPECT_EQ(ReadWholeFile(dir_.PathOf("p.jsonl")).size(), 60 * 1'000'009u);
  // One point beyond the bound may have been looked at.
  EXPECT_LE(paged->bytes_scrolled_max, uint64_t{5} << 20);
}

TEST_P(CliExportTest, SaysWhatCannotBeWrittenAndLeavesNothing) {
  CreateFields("a");
  Fill("a");
  EXPECT_EQ(Run("export", "none", {"--output", dir_.PathOf("x")}).code, 1);
  EXPECT_EQ(Run("export", "a", {"--output", dir_.PathOf("no/x")}).code, 1);
  EXPECT_EQ(Run("export", "a", {"--vector", dir_.PathOf("x.u8bin")}).code, 2);
  EXPECT_EQ(Run("export", "a", {"--vector", dir_.PathOf("x.fbin.gz")}).code, 2);
  EXPECT_EQ(Run("export", "a", {"--vector", "z=" + dir_.PathOf("x")}).code, 2);
  EXPECT_EQ(Run("export", "a", {"--vector", dir_.PathOf("x"), "--vector", dir_.PathOf("y")}).code,
            2);
  EXPECT_EQ(Run("export", "a", {"--ids", dir_.PathOf("x"), "--output", dir_.PathOf("y")}).code, 2);
  EXPECT_EQ(Run("export", "a", {"--vector", "/dev/null"}).code, 1);
  ASSERT_TRUE(
      runner_.collection("a")
          ->Upsert({PointWith(base::PointId(std::string("two\nlines")), {1, 2, 3}, 1, "{}")},
                   db::Ack::kWal)
          .ok());
  const CliResult result = Run("export", "a", {"--ids", dir_.PathOf("ids")});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("\"two\\nlines\""), HasSubstr("JSON lines")));
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
}

TEST_P(CliExportTest, ProgressIsForTerminals) {
  Create("a", {"--dim", "2", "--metric", "l2"});
  Run("ingest", "a", {dir_.Write("v.fbin", FbinOfRows(2, 2))});
  EXPECT_THAT(Run("export", "a", {"--output", dir_.PathOf("x"), "--progress"}).err,
              HasSubstr("100%"));
}

}  // namespace
}  // namespace tessera::api
