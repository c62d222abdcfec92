// Commands of the command line on a collection "c" of the fake database, as a data directory and
// behind a server.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/api/cli_runner.h"
#include "tests/api/files.h"

namespace tessera::api {

// The parameter: whether the commands go to a server.
class CliTargetTest : public testing::TestWithParam<bool> {
 protected:
  CliTargetTest() {
    if (GetParam()) server_ = std::make_unique<FakeServer>(runner_);
  }

  CliResult Create(const std::string& name, const std::vector<std::string>& words) {
    std::vector<std::string> all = {"create", "--data", "fake", name};
    all.insert(all.end(), words.begin(), words.end());
    return runner_.Run(all);
  }

  // `command` `collection` `words` on the target.
  std::vector<std::string> Words(const std::string& command, const std::string& collection,
                                 const std::vector<std::string>& words) const {
    std::vector<std::string> all = {command, GetParam() ? "--server" : "--data",
                                    GetParam() ? server_->address() : "fake", collection};
    all.insert(all.end(), words.begin(), words.end());
    return all;
  }
  CliResult Run(const std::string& command, const std::string& collection,
                const std::vector<std::string>& words = {}) {
    return runner_.Run(Words(command, collection, words));
  }
  CliResult RunOnStdin(const std::string& input, const std::string& command,
                       const std::string& collection, const std::vector<std::string>& words) {
    return runner_.RunOnStdin(input, Words(command, collection, words));
  }

  // All points, ascending.
  std::vector<db::StoredPoint> Points(const std::string& collection) {
    auto page = runner_.collection(collection)
                    ->Scroll(std::nullopt, base::kLimitMax, {.payload = true, .vectors = true});
    return page->points;
  }

  // The point `id`; version 0 when it is not there.
  db::StoredPoint PointOf(const std::string& collection, const std::string& id) {
    const base::PointId wanted = *base::PointId::Parse(id);
    auto points =
        runner_.collection(collection)->Get({&wanted, 1}, {.payload = true, .vectors = true});
    return points->empty() ? db::StoredPoint() : points->front();
  }

  CliRunner runner_;
  std::unique_ptr<FakeServer> server_;
  InputDir dir_;
};

}  // namespace tessera::api
