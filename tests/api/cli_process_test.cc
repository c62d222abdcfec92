// The real binary on a real data directory: exit codes, signals, and one round through everything.
#include "tests/api/cli_process.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <random>
#include <thread>

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "api/client.h"
#include "tests/api/files.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr uint32_t kDim = 24;
constexpr uint32_t kRows = 5000;
constexpr uint32_t kQueries = 40;
constexpr uint32_t kLimit = 10;

std::string Fbin(uint32_t rows, const std::vector<float>& values) {
  return LittleU32(rows) + LittleU32(kDim) +
         std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

std::vector<float> RandomRows(std::mt19937_64& rng, uint32_t rows) {
  std::normal_distribution<float> normal;
  std::vector<float> values(size_t{rows} * kDim);
  for (float& value : values) value = normal(rng);
  return values;
}

// Ids of the nearest rows in squared L2, in double.
std::vector<uint32_t> Nearest(const std::vector<float>& rows, const float* query) {
  std::vector<double> distances(rows.size() / kDim);
  for (size_t row = 0; row < distances.size(); ++row) {
    for (size_t i = 0; i < kDim; ++i) {
      const double gap = double{rows[row * kDim + i]} - query[i];
      distances[row] += gap * gap;
    }
  }
  std::vector<uint32_t> ids(distances.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::sort(ids.begin(), ids.end(),
            [&](uint32_t a, uint32_t b) { return distances[a] < distances[b]; });
  ids.resize(kLimit);
  return ids;
}

// The ids of a file in ground-truth layout. Ends the test when it is none.
std::vector<uint32_t> IdsOf(const std::string& path) {
  const std::string bytes = ReadWholeFile(path);
  EXPECT_EQ(bytes.size(), 8 + kQueries * kLimit * 8);
  EXPECT_THAT(bytes, StartsWith(LittleU32(kQueries) + LittleU32(kLimit)));
  std::vector<uint32_t> ids(kQueries * kLimit);
  std::copy_n(bytes.data() + 8, ids.size() * 4, reinterpret_cast<char*>(ids.data()));
  return ids;
}

class Serving {
 public:
  explicit Serving(const std::string& data)
      : child_({"serve", "--data", data, "--listen", "127.0.0.1:0", "--memory-limit", "256MiB"}) {
    ready_ = child_.ReadLine();
    const std::vector<std::string> words = absl::StrSplit(ready_, ' ');
    if (words.size() > 3) address_ = words[3];
  }

  const std::string& ready() const { return ready_; }
  const std::string& address() const { return address_; }
  int Stop(int signal) {
    child_.Signal(signal);
    return child_.Wait();
  }

 private:
  ChildProcess child_;
  std::string ready_;
  std::string address_;
};

TEST(CliProcessTest, ExitCodes) {
  const TempDir dir;
  EXPECT_EQ(RunChild({"version"}).code, 0);
  EXPECT_EQ(RunChild({}).code, 2);
  EXPECT_EQ(RunChild({"list"}).code, 2);
  EXPECT_EQ(RunChild({"list", "--data", dir.File("absent")}).code, 1);
  EXPECT_EQ(RunChild({"list", "--data", dir.File("absent"), "--memory-limit", "127MiB"}).code, 2);
}

TEST(CliProcessTest, EveryCommandOnADirectory) {
  const TempDir dir;
  const std::string data = dir.File("data");
  const InputDir inputs;
  std::mt19937_64 rng(TestSeed());
  const std::vector<float> rows = RandomRows(rng, kRows);
  const std::vector<float> queries = RandomRows(rng, kQueries);
  std::string payload = "n,name\n";
  for (uint32_t row = 0; row < kRows; ++row) absl::StrAppend(&payload, row, ",row ", row, "\n");
  const std::string base = inputs.Write("base.fbin", Fbin(kRows, rows));
  const std::string asked = inputs.Write("query.fbin", Fbin(kQueries, queries));
  const std::string answers = inputs.PathOf("answers");

  ChildResult result = RunChild({"create", "--data", data, "c", "--dim", "24", "--metric", "l2"});
  ASSERT_EQ(result.code, 0) << result.out;
  result = RunChild({"ingest", "--data", data, "c", base, "--payload",
                     inputs.Write("p.csv.gz", Gzip(payload)), "--memory-limit", "256MiB"});
  ASSERT_EQ(result.code, 0) << result.out;
  EXPECT_THAT(result.out, HasSubstr("\"rows\":5000,\"skipped\":0,"));

  result = RunChild({"search", "--data", data, "c", "--queries", asked, "--limit", "10", "--exact",
                     "--threads", "2", "--output", answers});
  ASSERT_EQ(result.code, 0) << result.out;
  const std::vector<uint32_t> exact = IdsOf(answers);
  for (uint32_t query = 0; query < kQueries; ++query) {
    EXPECT_EQ(
        std::vector<uint32_t>(exact.begin() + query * kLimit, exact.begin() + (query + 1) * kLimit),
        Nearest(rows, queries.data() + query * kDim))
        << "query " << query;
  }
  result = RunChild(
      {"search", "--data", data, "c", "--queries", asked, "--limit", "10", "--output", answers});
  ASSERT_EQ(result.code, 0) << result.out;
  const std::vector<uint32_t> found = IdsOf(answers);
  size_t hits = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const auto begin = exact.begin() + static_cast<std::ptrdiff_t>(i / kLimit * kLimit);
    hits += std::count(begin, begin + kLimit, found[i]) > 0 ? 1 : 0;
  }
  EXPECT_GE(hits, found.size() * 9 / 10);

  result = RunChild({"get", "--data", data, "c", "4999"});
  EXPECT_THAT(result.out, HasSubstr("\"payload\":{\"n\":4999,\"name\":\"row 4999\"}"));
  EXPECT_EQ(RunChild({"delete", "--data", data, "c", "4999", "0"}).code, 0);
  EXPECT_EQ(RunChild({"get", "--data", data, "c", "4999"}).code, 1);
  result = RunChild({"stats", "--data", data, "c", "--output", "json"});
  EXPECT_THAT(result.out, HasSubstr("\"points\":4998,"));
  EXPECT_EQ(RunChild({"drop", "--data", data, "c"}).code, 0);
  EXPECT_EQ(RunChild({"list", "--data", data}).out, "");
}

TEST(CliProcessTest, ACutOffFileLeavesAnEmptyCollection) {
  const TempDir dir;
  const std::string data = dir.File("data");
  const InputDir inputs;
  std::mt19937_64 rng(TestSeed());
  const std::string file = Gzip(Fbin(kRows, RandomRows(rng, kRows)));
  ASSERT_EQ(RunChild({"create", "--data", data, "c", "--dim", "24", "--metric", "l2"}).code, 0);
  const ChildResult result =
      RunChild({"ingest", "--data", data, "c",
                inputs.Write("cut.fbin.gz", file.substr(0, file.size() - 1000))});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, AllOf(HasSubstr("cut.fbin.gz"), HasSubstr("cut off")));
  EXPECT_THAT(RunChild({"stats", "--data", data, "c", "--output", "json"}).out,
              HasSubstr("\"points\":0,"));
}

class CliSignalTest : public testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Signals, CliSignalTest, testing::Values(SIGTERM, SIGINT));

TEST_P(CliSignalTest, ServerStopsCleanlyAndKeepsWhatItAcknowledged) {
  const TempDir dir;
  const std::string data = dir.File("data");
  {
    Serving server(data);
    ASSERT_THAT(server.ready(), StartsWith("tessera ready on 127.0.0.1:"));
    const std::vector<std::string> at = {"--server", server.address()};
    ASSERT_EQ(RunChild({"create", at[0], at[1], "c", "--dim", "24", "--metric", "ip"}).code, 0);
    const InputDir inputs;
    std::mt19937_64 rng(TestSeed());
    const ChildResult stored = RunChild({"ingest", at[0], at[1], "c", "--mode", "upsert",
                                         inputs.Write("v.fbin", Fbin(100, RandomRows(rng, 100)))});
    ASSERT_EQ(stored.code, 0) << stored.out;
    const ChildResult locked = RunChild({"list", "--data", data});
    EXPECT_EQ(locked.code, 1);
    EXPECT_THAT(locked.out, HasSubstr("FAILED_PRECONDITION"));
    EXPECT_EQ(server.Stop(GetParam()), 0);
  }
  Serving again(data);
  {
    const auto client = NewRemoteClient(again.address());
    const auto stats = client->Describe("c");
    ASSERT_OK(stats);
    EXPECT_EQ(stats->points, 100u);
  }
  EXPECT_EQ(again.Stop(GetParam()), 0);
}

TEST(CliProcessTest, ASignalEndsAnIngestThatWaitsForAPipe) {
  const TempDir dir;
  const std::string data = dir.File("data");
  ASSERT_EQ(RunChild({"create", "--data", data, "c", "--dim", "24", "--metric", "l2"}).code, 0);
  // Opening a pipe that nobody writes to waits.
  const std::string pipe = dir.File("pipe.fbin");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  ChildProcess ingest({"ingest", "--data", data, "c", pipe});
  ingest.Signal(SIGTERM);
  EXPECT_EQ(ingest.Wait(), -SIGTERM);
}

// An ingest from a pipe that gives `rows` of kRows rows and stays open.
class InterruptedIngest {
 public:
  InterruptedIngest(const TempDir& dir, const std::vector<std::string>& target,
                    const std::string& mode, uint32_t rows) {
    const std::string path = dir.File(mode + ".fbin");
    EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
    std::vector<std::string> words = {"ingest", "c", path, "--mode", mode, "--batch", "100"};
    words.insert(words.end(), target.begin(), target.end());
    ingest_.emplace(words, true);
    pipe_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);  // waits for the reader
    std::mt19937_64 rng(TestSeed());
    const std::string bytes =
        Fbin(kRows, RandomRows(rng, kRows)).substr(0, 8 + size_t{rows} * kDim * sizeof(float));
    EXPECT_EQ(::write(pipe_, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    int unread = 1;
    while (::ioctl(pipe_, FIONREAD, &unread) == 0 && unread > 0) std::this_thread::yield();
  }
  ~InterruptedIngest() { ::close(pipe_); }
  InterruptedIngest(const InterruptedIngest&) = delete;
  InterruptedIngest& operator=(const InterruptedIngest&) = delete;

  ChildResult Interrupt(int signal) {
    ingest_->Signal(signal);
    std::string out = ingest_->ReadAll();
    return {.code = ingest_->Wait(), .out = std::move(out)};
  }

 private:
  std::optional<ChildProcess> ingest_;
  int pipe_ = -1;
};

TEST_P(CliSignalTest, AnInterruptedBulkLoadSaysThatNothingIsStored) {
  const TempDir dir;
  const std::vector<std::string> at = {"--data", dir.File("data")};
  ASSERT_EQ(RunChild({"create", at[0], at[1], "c", "--dim", "24", "--metric", "l2"}).code, 0);
  const ChildResult result = InterruptedIngest(dir, at, "bulk", kRows / 2).Interrupt(GetParam());
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, HasSubstr("interrupted (0 rows stored)"));
  EXPECT_THAT(RunChild({"stats", at[0], at[1], "c", "--output", "json"}).out,
              HasSubstr("\"points\":0,"));
}

TEST_P(CliSignalTest, AnInterruptedIngestSaysHowMuchIsStored) {
  const TempDir dir;
  const std::vector<std::string> at = {"--data", dir.File("data")};
  ASSERT_EQ(RunChild({"create", at[0], at[1], "c", "--dim", "24", "--metric", "l2"}).code, 0);
  const ChildResult result = InterruptedIngest(dir, at, "upsert", kRows / 2).Interrupt(GetParam());
  EXPECT_EQ(result.code, 1);
  const std::vector<std::string> halves = absl::StrSplit(result.out, "interrupted (");
  ASSERT_EQ(halves.size(), 2U) << result.out;
  const std::string rows = halves[1].substr(0, halves[1].find(' '));
  EXPECT_THAT(halves[1], StartsWith(rows + " rows stored)"));
  EXPECT_THAT(RunChild({"stats", at[0], at[1], "c", "--output", "json"}).out,
              HasSubstr("\"points\":" + rows + ","));
}

TEST_P(CliSignalTest, AnInterruptedIngestIntoAServerEndsThereToo) {
  const TempDir dir;
  Serving server(dir.File("data"));
  const std::vector<std::string> at = {"--server", server.address()};
  ASSERT_EQ(RunChild({"create", at[0], at[1], "c", "--dim", "24", "--metric", "l2"}).code, 0);
  const ChildResult result = InterruptedIngest(dir, at, "bulk", kRows / 2).Interrupt(GetParam());
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, HasSubstr("interrupted (at least 0 rows stored)"));
  // Other writes are possible again.
  const InputDir inputs;
  std::mt19937_64 rng(TestSeed());
  const std::string file = inputs.Write("v.fbin", Fbin(100, RandomRows(rng, 100)));
  ChildResult stored;
  for (int attempt = 0; attempt < 100 && stored.code != 0; ++attempt) {
    stored = RunChild({"ingest", at[0], at[1], "c", "--mode", "upsert", file});
  }
  EXPECT_EQ(stored.code, 0) << stored.out;
  EXPECT_THAT(RunChild({"stats", at[0], at[1], "c", "--output", "json"}).out,
              HasSubstr("\"points\":100,"));
  EXPECT_EQ(server.Stop(SIGTERM), 0);
}

}  // namespace
}  // namespace tessera::api
