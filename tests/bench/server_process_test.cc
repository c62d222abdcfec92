// The starting and stopping of servers, on shell scripts that play one; and the memory sampler.
#include "bench/engines/server_process.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "bench/memory_sampler.h"
#include "tests/bench/vector_data.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::bench {
namespace {

using testing::HasSubstr;

std::string Script(const TempDir& dir, const std::string& body) {
  std::string path = dir.File("server");
  WriteFile(path, "#!/bin/sh\n" + body);
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  return path;
}

TEST(ServerProcess, IsReadyAfterItsLineAndEndsWhenAsked) {
  TempDir dir;
  const std::string script = Script(dir,
                                    "echo \"$@\" >&2\n"
                                    "trap 'exit 0' TERM\n"
                                    "echo \"ready on 127.0.0.1:4711 (data /x:9)\"\n"
                                    "while :; do sleep 0.01; done\n");
  auto server = ServerProcess::Start({.binary = script,
                                      .data_dir = dir.File("data"),
                                      .memory_limit = 1000,
                                      .log_path = dir.File("log")});
  ASSERT_OK(server);
  EXPECT_EQ((*server)->address(), "127.0.0.1:4711");
  const int pid = (*server)->pid();
  EXPECT_EQ(kill(pid, 0), 0);
  EXPECT_OK((*server)->Stop());
  EXPECT_NE(kill(pid, 0), 0);
  EXPECT_OK((*server)->Stop());  // once is enough
  EXPECT_EQ(ReadFile(dir.File("log")),
            "serve --data " + dir.File("data") + " --listen 127.0.0.1:0 --memory-limit 1000\n");
}

TEST(ServerProcess, AServerThatFailsIsAnAnswerWithItsMessage) {
  TempDir dir;
  const std::string script = Script(dir, "echo 'no room' >&2\nexit 1\n");
  const auto server = ServerProcess::Start(
      {.binary = script, .data_dir = dir.File("data"), .log_path = dir.File("log")});
  EXPECT_EQ(server.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(server.status().message()), HasSubstr("no room"));
  const auto none = ServerProcess::Start(
      {.binary = dir.File("none"), .data_dir = dir.File("data"), .log_path = dir.File("log")});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kNotFound);
}

TEST(ServerProcess, AnUncleanEndIsAnAnswer) {
  TempDir dir;
  const std::string script = Script(dir,
                                    "trap 'exit 3' TERM\n"
                                    "echo 'ready on localhost:1'\n"
                                    "while :; do sleep 0.01; done\n");
  auto server = ServerProcess::Start(
      {.binary = script, .data_dir = dir.File("data"), .log_path = dir.File("log")});
  ASSERT_OK(server);
  EXPECT_THAT(std::string((*server)->Stop().message()), HasSubstr("code 3"));
}

TEST(FindAddress, TakesTheFirstHostAndPort) {
  EXPECT_EQ(FindAddress("tessera ready on 127.0.0.1:6334 (data a:1)"), "127.0.0.1:6334");
  EXPECT_EQ(FindAddress("ready: localhost:1"), "localhost:1");
  EXPECT_EQ(FindAddress("at 12:99999 or :5 or x:y"), "");
  EXPECT_EQ(FindAddress(""), "");
}

TEST(MemorySampler, KeepsTheHighestReading) {
  std::atomic<uint64_t> now{5};
  std::atomic<int> reads{0};
  MemorySampler sampler([&] {
    ++reads;
    return now.load();
  });
  now = 90;
  const int before = reads;
  while (reads < before + 2) std::this_thread::yield();  // one has begun after the change
  now = 7;
  EXPECT_EQ(sampler.peak(), 90U);
  now = 91;
  EXPECT_EQ(sampler.peak(), 91U);
}

}  // namespace
}  // namespace tessera::bench
