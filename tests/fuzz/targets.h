// Every decoder as one function of bytes, for libFuzzer and for the test that feeds them golden
// inputs and mutations of them. README.md says how to add one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tessera::fuzz {

struct Sample {
  std::string name;  // of its golden file
  std::string bytes;
  // False: rounding may make other bytes on another machine, so that only reading is tested.
  bool exact = true;
};

struct Target {
  // Also the folder of its golden inputs: tests/golden/<name>/.
  const char* name;
  // Decodes all of `input` and ends the program when the decoder breaks a promise: a crash, a code
  // it must not answer, half a row. OK when all of `input` was good; golden inputs are.
  absl::Status (*run)(std::string_view input);
  // Of what the program writes itself: decodes `input` and encodes what that says; the same bytes
  // for a golden input. Null where there is nothing to encode again.
  absl::StatusOr<std::string> (*rewrite)(std::string_view input) = nullptr;
  // What the encoders write today for values that do not change. Golden files of these names must
  // have these bytes. Null where golden inputs are written by hand.
  std::vector<Sample> (*samples)() = nullptr;
};

// The readers of input files, by vector, payload and id format.
std::vector<Target> FormatTargets();
// Schemas, ids, JSON and sealed bytes.
std::vector<Target> BaseTargets();
// Version records, extent files and sorted runs.
std::vector<Target> StorageTargets();
// The row store's logs, their watermarks and the ledger.
std::vector<Target> LogTargets();
// Codecs, their planes and raw units.
std::vector<Target> IndexTargets();
// Heads and the tier that picks them.
std::vector<Target> HeadTargets();
// Calibrations.
std::vector<Target> QueryTargets();
// Field records and the units of filter columns.
std::vector<Target> ColumnTargets();
// Location directories and units, part homes, fine units.
std::vector<Target> VersionTargets();
// Records of the row store.
std::vector<Target> RecordTargets();
// Requests as they come over the wire.
std::vector<Target> WireTargets();

// All of these.
std::vector<Target> AllTargets();

}  // namespace tessera::fuzz
