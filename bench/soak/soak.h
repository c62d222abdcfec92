// Many minutes of ordinary work against a real server under a memory limit: writers that upsert and
// delete, readers whose every answer is judged, and the server's memory, seen by the kernel and by
// its own accounts, once a second.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include "absl/status/statusor.h"

namespace tessera::bench {

struct SoakOptions {
  uint64_t rows = 60'000;  // ids there are; most of them have a row at any time
  uint32_t dim = 96;       // f32, l2
  uint64_t memory_limit = uint64_t{256} << 20;
  double seconds = 60;
  uint32_t writers = 2;
  uint32_t readers = 2;
  double loaded = 0.9;  // the part of the rows that a bulk load brings before
  uint64_t seed = 1;
  double memory_slack = 0.1;      // anonymous memory may be so much above the limit
  std::string server_binary;      // `tessera`; empty: beside this program
  std::string work_dir = "/tmp";  // a directory is made in it and removed at the end
};

// Writes a table to `out` while it runs and what became of each bar at its end.
//
// Returns: whether all bars hold: anonymous memory never above the limit and the slack, and flat at
//          the end of a long run; no search refused; no answer wrong.
// Errors:  kInternal when the server ends; those of the load and of writes.
absl::StatusOr<bool> RunSoak(const SoakOptions& options, std::ostream& out);

}  // namespace tessera::bench
