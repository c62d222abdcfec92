// ingest: formats, joins, bad rows, progress and failures.
#include <fstream>
#include <limits>
#include <thread>

#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/float16.h"
#include "tests/api/cli_runner.h"
#include "tests/api/files.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class CliIngestTest : public testing::TestWithParam<bool> {
 protected:
  CliIngestTest() {
    if (GetParam()) server_ = std::make_unique<FakeServer>(runner_);
    Create("2");
  }

  void Create(const std::string& dim, const std::string& type = "f32") {
    runner_.Run({"drop", "--data", "fake", "c"});
    runner_.Run({"create", "--data", "fake", "c", "--dim", dim, "--metric", "l2", "--type", type});
  }

  std::vector<std::string> Words(const std::vector<std::string>& words) const {
    std::vector<std::string> all = {"ingest", GetParam() ? "--server" : "--data",
                                    GetParam() ? server_->address() : "fake", "c"};
    all.insert(all.end(), words.begin(), words.end());
    return all;
  }
  CliResult Ingest(const std::vector<std::string>& words) { return runner_.Run(Words(words)); }

  uint64_t Count() { return *runner_.collection("c")->Count(); }

  // The point `id`; version 0 when it is not there.
  db::StoredPoint Point(const std::string& id) {
    const base::PointId wanted = *base::PointId::Parse(id);
    auto points = runner_.collection("c")->Get({&wanted, 1}, {.payload = true, .vectors = true});
    return points->empty() ? db::StoredPoint() : points->front();
  }

  CliRunner runner_;
  std::unique_ptr<FakeServer> server_;
  InputDir dir_;
};

INSTANTIATE_TEST_SUITE_P(Targets, CliIngestTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "Server" : "Data"; });

TEST_P(CliIngestTest, LoadsRowsUnderTheirNumbers) {
  const CliResult result = Ingest({dir_.Write("v.fbin", FbinOfRows(3, 2))});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, IsEmpty());
  ASSERT_EQ(Lines(result.out).size(), 1u);
  const base::Value::Object line = JsonObject(result.out);
  EXPECT_EQ(*line.at("collection").string(), "c");
  EXPECT_EQ(*line.at("rows").integer(), 3);
  EXPECT_EQ(*line.at("skipped").integer(), 0);
  EXPECT_GE(*line.at("seconds").number(), 0);
  EXPECT_FALSE(*line.at("bulk").boolean());  // so few are not worth it
  EXPECT_EQ(Count(), 3u);
  EXPECT_EQ(Point("2").vectors[0].bytes, FloatBytes({2.25F, 3.25F}));
  EXPECT_TRUE(Point("2").payload.is_null());
}

TEST_P(CliIngestTest, LoadsManyRowsInBulk) {
  const CliResult result = Ingest({dir_.Write("v.fbin", FbinOfRows(5000, 2)), "--batch", "300"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(*JsonObject(result.out).at("rows").integer(), 5000);
  EXPECT_TRUE(*JsonObject(result.out).at("bulk").boolean());
  EXPECT_EQ(Count(), 5000u);
  EXPECT_EQ(Point("4999").vectors[0].bytes, FloatBytes({4999.25F, 5000.25F}));
  EXPECT_EQ(runner_.collection("c")->bulk_loads, 1);
  EXPECT_EQ(runner_.collection("c")->upserts, 0);
}

TEST_P(CliIngestTest, TheModeCanBeForced) {
  const std::string file = dir_.Write("v.fbin", FbinOfRows(5, 2));
  EXPECT_TRUE(*JsonObject(Ingest({file, "--mode", "bulk"}).out).at("bulk").boolean());
  EXPECT_EQ(runner_.collection("c")->bulk_loads, 1);
  EXPECT_FALSE(*JsonObject(Ingest({file, "--mode", "upsert"}).out).at("bulk").boolean());
  EXPECT_EQ(runner_.collection("c")->upserts, 1);
}

TEST_P(CliIngestTest, JoinsPayloadByRow) {
  const std::string payload = dir_.Write("p.jsonl", "{\"a\":1}\nnull\n{\"a\":[\"x\"]}\n");
  const CliResult result =
      Ingest({dir_.Write("v.fbin", FbinOfRows(3, 2)), "--payload", payload, "--batch", "2"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(Point("0").payload.ToJson(), "{\"a\":1}");
  EXPECT_TRUE(Point("1").payload.is_null());
  EXPECT_EQ(Point("2").payload.ToJson(), "{\"a\":[\"x\"]}");
}

TEST_P(CliIngestTest, ReadsGzippedVectorsAndPayload) {
  const CliResult result = Ingest({dir_.Write("v.fbin.gz", Gzip(FbinOfRows(2, 2))), "--payload",
                                   dir_.Write("p.csv.gz", Gzip("a,b\n1,x\n2,y\n"))});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(Point("1").payload.ToJson(), "{\"a\":2,\"b\":\"y\"}");
}

TEST_P(CliIngestTest, ReadsStdin) {
  const CliResult vectors = runner_.RunOnStdin(FbinOfRows(3, 2), Words({"-", "--format", "fbin"}));
  EXPECT_EQ(vectors.code, 0) << vectors.err;
  EXPECT_EQ(Count(), 3u);
  const CliResult payload = runner_.RunOnStdin(
      Gzip("a\n7\n8\n9\n"),
      Words({dir_.Write("v.fbin", FbinOfRows(3, 2)), "--payload", "-", "--payload-format", "csv"}));
  EXPECT_EQ(payload.code, 0) << payload.err;
  EXPECT_EQ(Point("2").payload.ToJson(), "{\"a\":9}");
}

TEST_P(CliIngestTest, CutOffStdinAppliesNothingToAnEmptyCollection) {
  const CliResult result = runner_.RunOnStdin(FbinOfRows(3, 2).substr(0, 20),
                                              Words({"-", "--format", "fbin", "--batch", "1"}));
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("stdin: cut off")));
  EXPECT_EQ(Count(), 0u);
}

TEST_P(CliIngestTest, ReadsIdx) {
  Create("4", "u8");
  const std::string idx = std::string("\0\0\x08\x03", 4) + BigU32(2) + BigU32(2) + BigU32(2) +
                          std::string("\x01\x02\x03\x04\xfc\xfd\xfe\xff");
  const CliResult result = Ingest({dir_.Write("images-idx3-ubyte.gz", Gzip(idx))});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(Point("1").vectors[0].bytes, "\xfc\xfd\xfe\xff");
}

TEST_P(CliIngestTest, ConvertsElements) {
  const std::string file = LittleU32(1) + LittleU32(2) + "\x03\xff";
  ASSERT_EQ(Ingest({dir_.Write("v.u8bin", file)}).code, 0);
  EXPECT_EQ(Point("0").vectors[0].bytes, FloatBytes({3, 255}));

  Create("2", "f16");
  const std::string floats = LittleU32(1) + LittleU32(2) + FloatBytes({0.1F, -1});
  ASSERT_EQ(Ingest({dir_.Write("v.fbin", floats)}).code, 0);
  const uint16_t halves[] = {base::F32ToF16(0.1F), base::F32ToF16(-1)};
  EXPECT_EQ(Point("0").vectors[0].bytes,
            std::string(reinterpret_cast<const char*>(halves), sizeof(halves)));
}

TEST_P(CliIngestTest, IntegerTypesTakeWholeNumbersOnly) {
  Create("2", "i8");
  const std::string whole = LittleU32(1) + LittleU32(2) + FloatBytes({-128, 127});
  EXPECT_EQ(Ingest({dir_.Write("v.fbin", whole)}).code, 0);
  EXPECT_EQ(Point("0").vectors[0].bytes, "\x80\x7f");
  const std::string parts = LittleU32(1) + LittleU32(2) + FloatBytes({-128, 0.5});
  const CliResult result = Ingest({dir_.Write("v.fbin", parts)});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("v.fbin: row 0"), HasSubstr("0.5"), HasSubstr("i8")));
}

TEST_P(CliIngestTest, TakesIdsFromAFile) {
  const CliResult result = Ingest({dir_.Write("v.fbin", FbinOfRows(3, 2)), "--ids",
                                   dir_.Write("ids.txt",
                                              "90\nx y\n"
                                              "6f1c2a3b-0000-4000-8000-0000000000ff\n")});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(Point("90").vectors[0].bytes, FloatBytes({0.25F, 1.25F}));
  EXPECT_EQ(Point("x y").vectors[0].bytes, FloatBytes({1.25F, 2.25F}));
  EXPECT_EQ(Point("6f1c2a3b-0000-4000-8000-0000000000ff").vectors[0].bytes,
            FloatBytes({2.25F, 3.25F}));
}

TEST_P(CliIngestTest, TakesIdsFromThePayload) {
  const CliResult result =
      Ingest({dir_.Write("v.fbin", FbinOfRows(2, 2)), "--payload",
              dir_.Write("p.jsonl", "{\"k\":7}\n{\"k\":\"m.07\",\"b\":1}\n"), "--id-field", "k"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(Point("7").payload.ToJson(), "{\"k\":7}");
  EXPECT_EQ(Point("m.07").payload.ToJson(), "{\"b\":1,\"k\":\"m.07\"}");
}

TEST_P(CliIngestTest, ABadRowStopsByDefault) {
  const CliResult result =
      Ingest({dir_.Write("v.fbin", FbinOfRows(3, 2)), "--payload",
              dir_.Write("p.jsonl", "{\"a\":1}\n{broken\n{\"a\":3}\n"), "--batch", "1"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("p.jsonl: line 2 (row 1): "));
  EXPECT_THAT(result.out, IsEmpty());
  EXPECT_EQ(Count(), 0u);
}

TEST_P(CliIngestTest, SkipsBadRowsAndCountsThem) {
  const std::string vectors =
      LittleU32(6) + LittleU32(2) + FloatBytes({0, 0, 1, 1, kNan, 2, 3, 3, 4, 4, 5e30F, 5});
  const std::string payload =
      dir_.Write("p.jsonl", "{\"k\":0}\n[1]\n{\"k\":2}\n{\"k\":-3}\n{}\n{\"k\":5}\n");
  const CliResult result = Ingest({dir_.Write("v.fbin", vectors), "--payload", payload,
                                   "--id-field", "k", "--on-error", "skip"});
  EXPECT_EQ(result.code, 0) << result.err;
  const std::vector<std::string> lines = Lines(result.err);
  ASSERT_EQ(lines.size(), 5u) << result.err;
  EXPECT_THAT(lines[0], HasSubstr("p.jsonl: line 2 (row 1): "));
  EXPECT_THAT(lines[1], AllOf(HasSubstr("v.fbin: row 2: component 0 is nan")));
  EXPECT_THAT(lines[2], AllOf(HasSubstr("p.jsonl: line 4 (row 3): "), HasSubstr("-3")));
  EXPECT_THAT(lines[3], AllOf(HasSubstr("p.jsonl: line 5 (row 4): "), HasSubstr("no \"k\"")));
  EXPECT_THAT(lines[4], AllOf(HasSubstr("v.fbin: row 5: "), HasSubstr("squared length")));
  EXPECT_EQ(*JsonObject(result.out).at("rows").integer(), 1);
  EXPECT_EQ(*JsonObject(result.out).at("skipped").integer(), 5);
  EXPECT_EQ(Count(), 1u);
}

TEST_P(CliIngestTest, SkippedRowsKeepTheOthersNumbers) {
  const std::string vectors = LittleU32(3) + LittleU32(2) + FloatBytes({0, 0, kNan, 1, 2, 2});
  EXPECT_EQ(Ingest({dir_.Write("v.fbin", vectors), "--on-error", "skip"}).code, 0);
  EXPECT_EQ(Point("1").version, 0u);
  EXPECT_EQ(Point("2").vectors[0].bytes, FloatBytes({2, 2}));
}

TEST_P(CliIngestTest, BadIdsAreBadRows) {
  const CliResult result = Ingest({dir_.Write("v.fbin", FbinOfRows(4, 2)), "--ids",
                                   dir_.Write("ids", "a\n\n\xff\nb\n"), "--on-error", "skip"});
  EXPECT_EQ(result.code, 0) << result.err;
  const std::vector<std::string> lines = Lines(result.err);
  ASSERT_EQ(lines.size(), 2u) << result.err;
  EXPECT_THAT(lines[0], HasSubstr("ids: line 2 (row 1): the line is empty"));
  EXPECT_THAT(lines[1], HasSubstr("ids: line 3 (row 2): point id is not UTF-8"));
  EXPECT_EQ(Count(), 2u);
}

TEST_P(CliIngestTest, APayloadOverTheLimitIsABadRow) {
  const std::string large(db::kPayloadBytesMax, 'x');
  const CliResult result = Ingest({dir_.Write("v.fbin", FbinOfRows(1, 2)), "--payload",
                                   dir_.Write("p.jsonl", "{\"a\":\"" + large + "\"}\n")});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("1048584"), HasSubstr("at most 1048576")));
}

TEST_P(CliIngestTest, WrongInputsApplyNothing) {
  const std::string good = FbinOfRows(3, 2);
  struct Case {
    const char* file;
    std::string bytes;
    const char* message;
  };
  for (const Case& one : std::initializer_list<Case>{
           {"cut.fbin", good.substr(0, good.size() - 1), "its header says 3 rows"},
           {"cut.fbin.gz", Gzip(good).substr(0, 25), "cut off"},
           {"short.fbin", "ab", "cut off in its header"},
           {"long.fbin", good + "x", "its header says 3 rows"},
           {"dim.fbin", FbinOfRows(3, 5), "dimension 5"},
           {"plain.fbin.gz", good, "no gzip"},
           {"negative.fvecs", LittleU32(0xffffffff) + FloatBytes({1}), "dimension -1"},
           {"zero.fbin", LittleU32(1) + LittleU32(0), "dimension 0"},
           {"wrong.idx", good, "wrong.idx"},
           {"empty.fvecs", "", "cut off"}}) {
    const CliResult result = Ingest({dir_.Write(one.file, one.bytes)});
    EXPECT_EQ(result.code, 1) << one.file;
    EXPECT_THAT(result.err, AllOf(HasSubstr(one.file), HasSubstr(one.message)));
    EXPECT_THAT(result.out, IsEmpty());
    EXPECT_EQ(Count(), 0u);
  }
  EXPECT_EQ(Ingest({dir_.PathOf("absent.fbin")}).code, 1);
}

TEST_P(CliIngestTest, InputsOfDifferentLengthsApplyNothing) {
  const std::string vectors = dir_.Write("v.fbin", FbinOfRows(3, 2));
  CliResult result = Ingest({vectors, "--payload", dir_.Write("p.csv", "a\n1\n2\n")});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("p.csv: ends after 2 rows"), HasSubstr("v.fbin")));
  result = Ingest({vectors, "--payload", dir_.Write("p.csv", "a\n1\n2\n3\n4\n")});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("v.fbin: ends after 3 rows"), HasSubstr("p.csv")));
  result = Ingest({vectors, "--ids", dir_.Write("ids", "1\n"), "--on-error", "skip"});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(Count(), 0u);
}

TEST_P(CliIngestTest, AddsToACollectionByUpserts) {
  ASSERT_EQ(Ingest({dir_.Write("v.fbin", FbinOfRows(3, 2))}).code, 0);
  const CliResult result = Ingest({dir_.Write("w.fbin", FbinOfRows(2, 2)), "--ids",
                                   dir_.Write("ids", "2\n3\n"), "--batch", "1"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_FALSE(*JsonObject(result.out).at("bulk").boolean());
  EXPECT_EQ(Count(), 4u);
  EXPECT_EQ(Point("2").vectors[0].bytes, FloatBytes({0.25F, 1.25F}));
  EXPECT_EQ(runner_.collection("c")->upserts, 1 + 2);
}

TEST_P(CliIngestTest, ADamagedFileAddsNothingToACollectionWithPoints) {
  ASSERT_EQ(Ingest({dir_.Write("v.fbin", FbinOfRows(3, 2))}).code, 0);
  const std::string cut = Gzip(FbinOfRows(200, 2));
  EXPECT_EQ(Ingest({dir_.Write("w.fbin.gz", cut.substr(0, cut.size() - 9)), "--batch", "1"}).code,
            1);
  EXPECT_EQ(Ingest({dir_.Write("w.fbin", FbinOfRows(9, 2)), "--batch", "1", "--payload",
                    dir_.Write("p.csv", "a\n1\n2\n")})
                .code,
            1);
  EXPECT_EQ(Count(), 3u);
  EXPECT_EQ(runner_.collection("c")->upserts, 1);  // of the first file
}

TEST_P(CliIngestTest, APipeIsReadOnce) {
  ASSERT_EQ(Ingest({dir_.Write("v.fbin", FbinOfRows(3, 2))}).code, 0);
  const std::string pipe = dir_.PathOf("pipe.fbin");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(pipe, std::ios::binary) << FbinOfRows(7, 2); });
  const CliResult result = Ingest({pipe});
  writer.join();
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(Count(), 7u);
}

TEST_P(CliIngestTest, AFailureAmongUpsertsFromStdinTellsWhatIsStored) {
  const std::string rows = FbinOfRows(40'000, 2);
  const CliResult result = runner_.RunOnStdin(rows.substr(0, rows.size() - 1),
                                              Words({"-", "--format", "fbin", "--mode", "upsert"}));
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("stdin: cut off"), HasSubstr(" rows stored)")));
  // A server acknowledges behind the client's back.
  if (!GetParam()) {
    EXPECT_THAT(result.err, HasSubstr(absl::StrCat("(", Count(), " rows stored)")));
    EXPECT_EQ(Count(), 30'000u);  // whole batches of what was read before
  }
}

TEST_P(CliIngestTest, LoadsEveryFieldOfACollection) {
  runner_.Run({"drop", "--data", "fake", "c"});
  runner_.Run(
      {"create", "--data", "fake", "c", "--dim", "2", "--metric", "l2", "--vector", "t:1:ip:u8"});
  const std::string main = dir_.Write("v.fbin", FbinOfRows(2, 2));
  const std::string other = dir_.Write("t.u8bin", LittleU32(2) + LittleU32(1) + "\x05\x06");
  const CliResult result = Ingest({main, "--vector", "t=" + other});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(Point("1").vectors.size(), 2u);
  EXPECT_EQ(Point("1").vectors[1].bytes, "\x06");
  const CliResult swapped = Ingest({other, "--field", "t", "--vector", "=" + main});
  EXPECT_EQ(swapped.code, 0) << swapped.err;

  EXPECT_THAT(Ingest({main}).err, HasSubstr("no file is given for vector \"t\""));
  EXPECT_THAT(Ingest({main, "--vector", "u=" + other}).err,
              HasSubstr("no vector field \"u\", it has \"\", \"t\""));
  EXPECT_EQ(Ingest({main, "--vector", "t=" + other, "--vector", "t=" + other}).code, 1);
  const std::string longer = dir_.Write("l.u8bin", LittleU32(3) + LittleU32(1) + "\x05\x06\x07");
  EXPECT_THAT(Ingest({main, "--vector", "t=" + longer}).err, HasSubstr("has 3 rows"));
}

TEST_P(CliIngestTest, TheOnlyFieldNeedsNoName) {
  runner_.Run({"drop", "--data", "fake", "c"});
  runner_.Run({"create", "--data", "fake", "c", "--vector", "t:2:ip"});
  EXPECT_EQ(Ingest({dir_.Write("v.fbin", FbinOfRows(2, 2))}).code, 0);
  EXPECT_EQ(Count(), 2u);
}

TEST_P(CliIngestTest, ShowsProgressWhenAskedOrOnATerminal) {
  const std::string file = dir_.Write("v.fbin", FbinOfRows(1500, 2));
  const CliResult asked = Ingest({file, "--progress"});
  EXPECT_EQ(asked.code, 0) << asked.err;
  EXPECT_THAT(asked.err, AllOf(HasSubstr("1,500/1,500"), HasSubstr("100%")));
  runner_.err_is_terminal = true;
  EXPECT_THAT(Ingest({file}).err, HasSubstr("100%"));
}

TEST_P(CliIngestTest, WrongUsage) {
  const std::string file = dir_.Write("v.fbin", FbinOfRows(1, 2));
  EXPECT_EQ(Ingest({}).code, 2);
  EXPECT_EQ(Ingest({file, "--on-error", "ignore"}).code, 2);
  EXPECT_EQ(Ingest({file, "--mode", "fast"}).code, 2);
  EXPECT_EQ(Ingest({file, "--batch", "0"}).code, 2);
  EXPECT_EQ(Ingest({file, "--batch", "100001"}).code, 2);
  EXPECT_EQ(Ingest({file, "--format", "npy"}).code, 2);
  EXPECT_EQ(Ingest({dir_.Write("noending", "x")}).code, 2);
  EXPECT_EQ(Ingest({"-"}).code, 2);
  EXPECT_EQ(Ingest({file, "--payload", "p.xml"}).code, 2);
  EXPECT_EQ(Ingest({file, "--id-field", "k"}).code, 2);
  EXPECT_EQ(Ingest({file, "--vector", "t"}).code, 2);
  EXPECT_EQ(Ingest({"-", "--format", "fbin", "--ids", "-"}).code, 2);
  EXPECT_EQ(
      Ingest({file, "--payload", file, "--payload-format", "csv", "--id-field", "k", "--ids", file})
          .code,
      2);
  EXPECT_EQ(Count(), 0u);
}

}  // namespace
}  // namespace tessera::api
