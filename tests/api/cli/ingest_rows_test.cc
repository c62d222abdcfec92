// ingest: which ids and rows files give: ids that come twice, numbers and texts, marks and empty
// lines, whole points on one line.
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/api/cli/target_test.h"

namespace tessera::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kMark[] = "\xEF\xBB\xBF";

class CliIngestRowsTest : public CliTargetTest {
 protected:
  CliIngestRowsTest() { NewCollection(); }

  void NewCollection() {
    runner_.Run({"drop", "--data", "fake", "c"});
    Create("c", {"--dim", "2", "--metric", "l2"});
    six_ = dir_.Write("six.fbin", FbinOfRows(6, 2));
  }
  CliResult Ingest(const std::vector<std::string>& words) { return Run("ingest", "c", words); }
  // Six vectors beside a payload file whose ids are under "id".
  CliResult IngestIds(const std::string& name, const std::string& payload,
                      std::vector<std::string> more = {}) {
    std::vector<std::string> words = {six_, "--payload", dir_.Write(name, payload), "--id-field",
                                      "id"};
    words.insert(words.end(), more.begin(), more.end());
    return Ingest(words);
  }

  std::string six_;
};

INSTANTIATE_TEST_SUITE_P(Targets, CliIngestRowsTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "Server" : "Data"; });

TEST_P(CliIngestRowsTest, OfAnIdThatComesTwiceTheLastRowStaysWhateverTheBatches) {
  const std::string ids = dir_.Write("ids", "a\nb\na\nc\nd\ne\n");
  for (const char* mode : {"auto", "bulk", "upsert"}) {
    for (const char* batch : {"1", "2", "3", "10000"}) {
      for (const char* on_error : {"stop", "skip"}) {
        NewCollection();
        const CliResult result =
            Ingest({six_, "--ids", ids, "--mode", mode, "--batch", batch, "--on-error", on_error});
        EXPECT_EQ(result.code, 0) << mode << " " << batch << " " << result.err;
        const base::Value::Object line = JsonObject(result.out);
        EXPECT_EQ(*line.at("rows").integer(), 6);
        EXPECT_EQ(*line.at("replaced").integer(), 1) << mode << " " << batch;
        EXPECT_EQ(*line.at("skipped").integer(), 0);
        EXPECT_EQ(*runner_.collection("c")->Count(), 5u);
        EXPECT_EQ(PointOf("c", "a").vectors[0].bytes, FloatBytes({2.25F, 3.25F}));
      }
    }
  }
}

TEST_P(CliIngestRowsTest, NeitherDistanceNorStoredPointsChangeThat) {
  const std::string file = dir_.Write("v.fbin", FbinOfRows(25'000, 2));
  for (const int twin : {1, 12'000, 24'999}) {
    NewCollection();
    std::string ids;
    for (int row = 0; row < 25'000; ++row) {
      absl::StrAppend(&ids, "id", row == twin ? 0 : row, "\n");
    }
    const std::string path = dir_.Write("ids", ids);
    for (int load = 0; load < 2; ++load) {  // in bulk, then by upserts
      const CliResult result = Ingest({file, "--ids", path});
      EXPECT_EQ(result.code, 0) << result.err;
      EXPECT_EQ(*JsonObject(result.out).at("replaced").integer(), load == 0 ? 1 : 25'000);
      EXPECT_EQ(*runner_.collection("c")->Count(), 24'999u);
      const auto row = static_cast<float>(twin);
      EXPECT_EQ(PointOf("c", "id0").vectors[0].bytes, FloatBytes({row + 0.25F, row + 1.25F}));
    }
  }
}

TEST_P(CliIngestRowsTest, IdsGoUpTo64BitsInEveryFormat) {
  const std::vector<std::string> ids = {
      "1", "9223372036854775807", "9223372036854775808", "18446744073709551615", "7080030971", "9"};
  std::string jsonl;
  std::string csv = "id,t\n";
  for (const std::string& id : ids) {
    absl::StrAppend(&jsonl, "{\"id\": ", id, ", \"t\": \"x\"}\n");
    absl::StrAppend(&csv, id, ",x\n");
  }
  for (const auto& [name, text] : {std::pair("u64.jsonl", jsonl), std::pair("u64.csv", csv)}) {
    NewCollection();
    const CliResult result = IngestIds(name, text);
    EXPECT_EQ(result.code, 0) << result.err;
    for (const std::string& id : ids) {
      const db::StoredPoint point = PointOf("c", id);
      EXPECT_EQ(point.version, 1u) << id;
      EXPECT_EQ(point.id, base::PointId(std::stoull(id)));
      const bool large = id.size() > 18 && id != "9223372036854775807";
      const std::string kept = large ? "\"" + id + "\"" : id;
      EXPECT_EQ(point.payload.ToJson(), "{\"id\":" + kept + ",\"t\":\"x\"}");
    }
  }
}

TEST_P(CliIngestRowsTest, ATextThatReadsAsANumberIsRefusedInJsonWithItsRow) {
  const std::string mix =
      "{\"id\":7}\n{\"id\":\"7\"}\n{\"id\":\"007\"}\n{\"id\":\"7 \"}\n{\"id\":1}\n{\"id\":2}\n";
  for (const char* batch : {"1", "10000"}) {
    const CliResult result = IngestIds("mix.jsonl", mix, {"--batch", batch});
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.err, AllOf(HasSubstr("mix.jsonl: line 2 (row 1): "), HasSubstr("\"7\""),
                                  HasSubstr("without quotes"), HasSubstr("--ids")));
    EXPECT_EQ(*runner_.collection("c")->Count(), 0u);
  }
  const CliResult skipped = IngestIds("mix.jsonl", mix, {"--on-error", "skip"});
  EXPECT_EQ(skipped.code, 0) << skipped.err;
  EXPECT_EQ(*JsonObject(skipped.out).at("skipped").integer(), 1);
  EXPECT_EQ(PointOf("c", "7").payload.ToJson(), "{\"id\":7}");
  EXPECT_EQ(PointOf("c", "007").payload.ToJson(), "{\"id\":\"007\"}");
  // The largest are kept as text in payloads; as ids they are told from texts all the same.
  NewCollection();
  EXPECT_EQ(IngestIds("mix.jsonl", "{\"id\":1}\n{\"id\":\"18446744073709551615\"}\n").code, 1);
}

TEST_P(CliIngestRowsTest, WhereAllIsTextANumberIsANumber) {
  const std::string uuid = "6f1c2a3b-0000-4000-8000-0000000000ff";
  EXPECT_EQ(IngestIds("p.csv", "id\n\"7\"\n8\nx\n\"\"\"9\"\"\"\n10\n" + uuid + "\n").code, 0);
  EXPECT_EQ(Points("c").front().id, base::PointId(uint64_t{7}));
  EXPECT_NE(PointOf("c", uuid).id.uuid(), nullptr);
  NewCollection();
  const CliResult result = Ingest({six_, "--ids", dir_.Write("ids", "7\n8\n9\n10\nx\n" + uuid)});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(Points("c").front().id, base::PointId(uint64_t{7}));
  // A UUID has no other form in JSON than a text.
  NewCollection();
  EXPECT_EQ(IngestIds("p.jsonl", "{\"id\":\"" + uuid +
                                     "\"}\n{\"id\":2}\n{\"id\":3}\n{\"id\":4}\n"
                                     "{\"id\":5}\n{\"id\":6}\n")
                .code,
            0);
  EXPECT_NE(PointOf("c", uuid).id.uuid(), nullptr);
}

TEST_P(CliIngestRowsTest, MarksAndEmptyLastLinesAreSkipped) {
  for (const char* end : {"", "\n", "\r\n\r\n", "\n\n\n"}) {
    NewCollection();
    EXPECT_EQ(IngestIds("p.csv", absl::StrCat(kMark,
                                              "id,n\r\n1,a\r\n2,b\r\n3,c\r\n4,d\r\n5,e\r\n"
                                              "6,f",
                                              end))
                  .code,
              0);
    EXPECT_EQ(PointOf("c", "6").payload.ToJson(), "{\"id\":6,\"n\":\"f\"}");
    EXPECT_EQ(IngestIds("p.jsonl", absl::StrCat(kMark,
                                                "{\"id\":11}\n{\"id\":12}\n{\"id\":13}\n"
                                                "{\"id\":14}\n{\"id\":15}\n{\"id\":16}",
                                                end))
                  .code,
              0);
    EXPECT_EQ(
        Ingest({six_, "--ids", dir_.Write("ids", absl::StrCat(kMark, "a\nb\nc\nd\ne\nf", end))})
            .code,
        0);
    EXPECT_EQ(PointOf("c", "a").version, 3u);
    EXPECT_EQ(*runner_.collection("c")->Count(), 18u);
  }
}

TEST_P(CliIngestRowsTest, AnEmptyLineAmongTheOthersIsNamed) {
  const CliResult csv = IngestIds("p.csv", "id,n\n1,a\n2,b\n\n3,c\n4,d\n5,e\n");
  EXPECT_EQ(csv.code, 1);
  EXPECT_THAT(csv.err, HasSubstr("p.csv: line 4 (row 2): the line is empty"));
  const CliResult jsonl = IngestIds("p.jsonl", "{\"id\":1}\n\n{\"id\":2}\n");
  EXPECT_EQ(jsonl.code, 1);
  EXPECT_THAT(jsonl.err, HasSubstr("p.jsonl: line 2 (row 1): the line is empty"));
  const CliResult ids = Ingest({six_, "--ids", dir_.Write("ids", "a\nb\n\nc\nd\ne\nf\n")});
  EXPECT_EQ(ids.code, 1);
  EXPECT_THAT(ids.err, HasSubstr("ids: line 3 (row 2): the line is empty"));
  EXPECT_EQ(*runner_.collection("c")->Count(), 0u);
}

TEST_P(CliIngestRowsTest, LoadsWholePointsFromJsonLines) {
  const std::string text =
      "{\"id\":\"doc-0\",\"text\":\"a\",\"metadata\":{\"page\":1},"
      "\"embedding\":[0.06911683827638626,-2]}\n"
      "{\"id\":18446744073709551615,\"vector\":[1,2.5],\"payload\":{\"k\":null}}\n"
      "{\"vectors\":{\"\":[3,4]}}\n\n";
  for (const std::string& path :
       {dir_.Write("emb.jsonl", text), dir_.Write("emb.jsonl.gz", Gzip(text)),
        dir_.Write("emb", text)}) {
    NewCollection();
    const CliResult result = Ingest({path});
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(*JsonObject(result.out).at("rows").integer(), 3);
    EXPECT_EQ(PointOf("c", "doc-0").vectors[0].bytes, FloatBytes({0.06911683827638626F, -2}));
    EXPECT_EQ(PointOf("c", "doc-0").payload.ToJson(), R"({"metadata":{"page":1},"text":"a"})");
    EXPECT_EQ(PointOf("c", "18446744073709551615").payload.ToJson(), "{\"k\":null}");
    EXPECT_TRUE(PointOf("c", "2").payload.is_null());  // its row's number
  }
  NewCollection();
  EXPECT_EQ(RunOnStdin(text, "ingest", "c", {"-", "--format", "jsonl"}).code, 0);
  EXPECT_EQ(*runner_.collection("c")->Count(), 3u);
}

TEST_P(CliIngestRowsTest, LinesThatAreNoPointsAreNamed) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"[1]", "is no JSON object"},
      {"{\"id\":1}", "has nothing for the default vector"},
      {"{\"id\":1,\"vector\":[1]}", "\"vector\" has 1 components, the default vector"},
      {"{\"id\":1,\"vector\":[1,\"2\"]}", "component 1 is \"2\", must be a number"},
      {"{\"id\":1,\"vector\":[1,1e300]}", "component 1 is inf"},
      {"{\"id\":1,\"vector\":\"[1,2]\"}", "is no array"},
      {"{\"id\":1,\"vector\":[1,2],\"embedding\":[1,2]}", "a second one"},
      {"{\"id\":1,\"vectors\":{\"t\":[1,2]}}", "vector field \"t\""},
      {"{\"id\":\"1\",\"vector\":[1,2]}", "without quotes"},
      {"{\"id\":1,\"vector\":[1,2],\"payload\":[1]}", "no JSON object"},
      {"{\"id\":1,\"vector\":[1,2],\"payload\":{},\"text\":\"a\"}", "\"text\" beside \"payload\""},
      {"{\"id\":1,\"vector\":[1,2]", "not valid JSON"},
      {"", "the line is empty"},
  };
  const std::string good = "{\"id\":0,\"vector\":[1,2]}\n";
  for (const auto& [line, message] : cases) {
    const CliResult result = Ingest({dir_.Write("p.jsonl", good + line + "\n" + good)});
    EXPECT_EQ(result.code, 1) << line;
    EXPECT_THAT(result.err, AllOf(HasSubstr("p.jsonl: line 2 (row 1): "), HasSubstr(message)));
    EXPECT_EQ(*runner_.collection("c")->Count(), 0u);
  }
  EXPECT_EQ(Ingest({dir_.Write("p.jsonl", good), "--ids", six_}).code, 2);
  EXPECT_EQ(Ingest({dir_.Write("p.jsonl", good), "--payload", "p.csv"}).code, 2);
}

TEST_P(CliIngestRowsTest, OtherKindsOfFilesAreNamed) {
  const std::string npy("\x93NUMPY\x01\0v\0{'descr': '<f4', 'fortran_order': False}", 50);
  const CliResult unnamed = Ingest({dir_.Write("emb.npy", npy)});
  EXPECT_EQ(unnamed.code, 2);
  EXPECT_THAT(unnamed.err, AllOf(HasSubstr("emb.npy: is a NumPy array"), HasSubstr("astype")));
  const CliResult forced = Ingest({dir_.PathOf("emb.npy"), "--format", "fbin"});
  EXPECT_EQ(forced.code, 1);
  EXPECT_THAT(forced.err, AllOf(HasSubstr("emb.npy: is a NumPy array"), HasSubstr("astype")));
  EXPECT_THAT(Ingest({six_, "--ids", dir_.PathOf("emb.npy")}).err, HasSubstr("NumPy"));
  const CliResult csv = Ingest({dir_.Write("quoted.csv", "id,vector\n0,\"[1, 2]\"\n")});
  EXPECT_EQ(csv.code, 2);
  EXPECT_THAT(csv.err, HasSubstr("quoted.csv: is text, perhaps CSV"));
}

TEST_P(CliIngestRowsTest, BatchesAreCutByTheirPayloadsToo) {
  Create("d", {"--dim", "1", "--metric", "l2"});
  std::string lines;
  for (int i = 0; i < 20; ++i) {
    absl::StrAppend(&lines, R"({"vector":[1],"payload":{"a":")", std::string(900'000, 'x'),
                    "\"}}\n");
  }
  EXPECT_EQ(Run("ingest", "d", {dir_.Write("p.jsonl", lines), "--mode", "upsert"}).code, 0);
  EXPECT_GE(runner_.collection("d")->upserts, 6);
}

}  // namespace
}  // namespace tessera::api
