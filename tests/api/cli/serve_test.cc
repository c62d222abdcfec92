// serve, on the fake database and with an injected signal.
#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "api/client.h"
#include "tests/api/cli_runner.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

TEST(CliServeTest, ServesUntilStoppedAndEndsWell) {
  CliRunner runner;
  runner.Run({"create", "--data", "fake", "c", "--dim", "2", "--metric", "l2"});
  const std::string address = absl::StrCat("127.0.0.1:", FreePort());
  int collections = -1;
  runner.wait_for_stop = [&] {
    const absl::StatusOr<std::vector<base::CollectionSchema>> listed =
        NewRemoteClient(address)->ListCollections();
    if (listed.ok()) collections = static_cast<int>(listed->size());
  };
  const CliResult result =
      runner.Run({"serve", "--data", "new", "--listen", address, "--memory-limit", "768MiB"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(collections, 1);
  ASSERT_EQ(Lines(result.out).size(), 1u);
  EXPECT_THAT(result.out, HasSubstr("tessera ready on " + address + " (data new"));
  EXPECT_TRUE(runner.last_options().create_if_missing);
  EXPECT_TRUE(runner.last_options().background_absorb);
  // The rest is for the bytes of calls under way.
  EXPECT_LT(runner.last_options().memory_limit, uint64_t{768} << 20);
  EXPECT_GE(runner.last_options().memory_limit, uint64_t{640} << 20);
  EXPECT_EQ(NewRemoteClient(address)->ListCollections().status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(CliServeTest, TheFloorIsEnough) {
  CliRunner runner;
  const CliResult result = runner.Run(
      {"serve", "--data", "fake", "--listen", "127.0.0.1:0", "--memory-limit", "192MiB"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(runner.last_options().memory_limit, db::kMemoryLimitFloor);
}

TEST(CliServeTest, TellsThePortItTook) {
  CliRunner runner;
  const CliResult result = runner.Run({"serve", "--data", "fake", "--listen", "127.0.0.1:0"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, MatchesRegex("tessera ready on 127.0.0.1:[1-9][0-9]* \\(.*\\)\n"));
}

TEST(CliServeTest, ATakenAddressFails) {
  CliRunner runner;
  const FakeServer server(runner);
  const CliResult result = runner.Run({"serve", "--data", "fake", "--listen", server.address()});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("UNAVAILABLE"));
  EXPECT_EQ(result.out, "");
}

TEST(CliServeTest, WrongUsage) {
  CliRunner runner;
  EXPECT_EQ(runner.Run({"serve"}).code, 2);
  EXPECT_EQ(runner.Run({"serve", "--data", "fake", "--server", "h:1"}).code, 2);
  EXPECT_EQ(runner.Run({"serve", "--data", "fake", "--listen", "nowhere"}).code, 2);
  EXPECT_EQ(runner.Run({"serve", "--data", "fake", "--listen", "h:70000"}).code, 2);
  EXPECT_EQ(runner.Run({"serve", "--data", "fake", "--memory-limit", "1MiB"}).code, 2);
  EXPECT_EQ(runner.Run({"serve", "--data", "fake", "--memory-limit", "191MiB"}).code, 2);
  EXPECT_EQ(runner.opens(), 0);
}

}  // namespace
}  // namespace tessera::api
