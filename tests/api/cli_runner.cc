#include "tests/api/cli_runner.h"

#include <sstream>
#include <utility>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_split.h"

#include "base/check.h"
#include "tests/api/files.h"

namespace tessera::api {

CliResult CliRunner::Run(const std::vector<std::string>& words) {
  std::vector<const char*> argv = {"tessera"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  std::ostringstream out;
  std::ostringstream err;
  const DatabaseOpener open =
      [this](const std::string& path,
             const db::DatabaseOptions& options) -> absl::StatusOr<std::unique_ptr<db::Database>> {
    last_options_ = options;
    ++opens_;
    if (!open_error.ok()) return open_error;
    if (path != "fake" && !options.create_if_missing) return absl::NotFoundError("no " + path);
    return std::make_unique<FakeDatabase>(state_);
  };
  CliResult result;
  result.code = RunCli(static_cast<int>(argv.size()), argv.data(),
                       {.open_database = open,
                        .out = out,
                        .err = err,
                        .err_is_terminal = err_is_terminal,
                        .watch_for_stop = [this] { return wait_for_stop; },
                        .watch_for_interrupt = nullptr});
  result.out = out.str();
  result.err = err.str();
  return result;
}

CliResult CliRunner::RunOnStdin(const std::string& bytes, const std::vector<std::string>& words) {
  const InputDir dir;
  const int input = ::open(dir.Write("stdin", bytes).c_str(), O_RDONLY | O_CLOEXEC);
  const int saved = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
  TESSERA_CHECK(input >= 0 && saved >= 0);
  TESSERA_CHECK(::dup2(input, STDIN_FILENO) == STDIN_FILENO);
  CliResult result = Run(words);
  TESSERA_CHECK(::dup2(saved, STDIN_FILENO) == STDIN_FILENO);
  ::close(input);
  ::close(saved);
  return result;
}

std::shared_ptr<FakeCollection> CliRunner::collection(std::string_view name) {
  return FakeDatabase(state_).collection(name);
}

bool CliRunner::has_collection(std::string_view name) {
  return FakeDatabase(state_).GetCollection(name).ok();
}

FakeServer::FakeServer(const CliRunner& runner) : database_(runner.state()) {
  absl::StatusOr<std::unique_ptr<Server>> server =
      Server::Start(database_, {.listen = "127.0.0.1:0"});
  TESSERA_CHECK(server.ok());
  server_ = *std::move(server);
}

int FreePort() {
  const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  TESSERA_CHECK(::bind(probe, reinterpret_cast<sockaddr*>(&address), size) == 0);
  TESSERA_CHECK(::getsockname(probe, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(probe);
  return ntohs(address.sin_port);
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  TESSERA_CHECK(lines.back().empty());  // every line has its end
  lines.pop_back();
  return lines;
}

base::Value::Object JsonObject(const std::string& text) {
  const absl::StatusOr<base::Value> value = base::ParseJson(text);
  TESSERA_CHECK(value.ok() && value->object() != nullptr);
  return *value->object();
}

std::string FloatBytes(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::string FbinOfRows(uint32_t rows, uint32_t dim) {
  std::vector<float> values;
  for (uint32_t row = 0; row < rows; ++row) {
    for (uint32_t i = 0; i < dim; ++i) values.push_back(static_cast<float>(row + i) + 0.25F);
  }
  return LittleU32(rows) + LittleU32(dim) + FloatBytes(values);
}

}  // namespace tessera::api
