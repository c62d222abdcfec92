// Every decoder as one function of bytes, for libFuzzer and for the test that feeds them golden
// inputs and mutations of them. README.md says how to add one.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace tessera::fuzz {

struct Target {
  // Also the folder of its golden inputs: tests/golden/<name>/.
  const char* name;
  // Decodes all of `input` and ends the program when the decoder breaks a promise: a crash, a code
  // it must not answer, half a row. OK when all of `input` was good; golden inputs are.
  absl::Status (*run)(std::string_view input);
};

// The readers of input files, by vector, payload and id format.
std::vector<Target> FormatTargets();

// Those of every folder.
std::vector<Target> AllTargets();

}  // namespace tessera::fuzz
