// Runs the command line in this process on the fake database.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/cli/cli.h"
#include "api/server.h"
#include "base/value.h"
#include "tests/api/fake_database.h"

namespace tessera::api {

struct CliResult {
  int code = -1;
  std::string out;
  std::string err;
};

// The data directory "fake" on which every command of a runner works.
class CliRunner {
 public:
  CliRunner() : state_(std::make_shared<FakeState>()) {}

  // The words behind "tessera".
  CliResult Run(const std::vector<std::string>& words);
  CliResult RunOnStdin(const std::string& bytes, const std::vector<std::string>& words);

  // Pre: it is there.
  std::shared_ptr<FakeCollection> collection(std::string_view name);
  bool has_collection(std::string_view name);
  const std::shared_ptr<FakeState>& state() const { return state_; }

  // Of the last command that opened the directory.
  const db::DatabaseOptions& last_options() const { return last_options_; }
  int opens() const { return opens_; }

  absl::Status open_error;  // what opening answers
  bool err_is_terminal = false;
  std::function<void()> wait_for_stop = [] {};

 private:
  const std::shared_ptr<FakeState> state_;
  db::DatabaseOptions last_options_;
  int opens_ = 0;
};

// A server of its own on the state of a runner.
class FakeServer {
 public:
  explicit FakeServer(const CliRunner& runner);
  const std::string& address() const { return server_->address(); }

 private:
  FakeDatabase database_;
  std::unique_ptr<Server> server_;
};

// A port that nothing listened on a moment ago.
int FreePort();

std::vector<std::string> Lines(const std::string& text);

// Ends the test program when `text` is not one JSON object.
base::Value::Object JsonObject(const std::string& text);

// n x dim floats, row r has components r + 0.25, r + 1.25, ... as an fbin file.
std::string FbinOfRows(uint32_t rows, uint32_t dim);
std::string FloatBytes(const std::vector<float>& values);

}  // namespace tessera::api
