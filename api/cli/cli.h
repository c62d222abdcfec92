// The command line of Tessera: serve, create, ingest, search, get, set-payload, delete, count,
// scroll, export, facet, stats, list, drop and version, each (but serve and version) on a data
// directory or on a server.
//
// What a command answers goes to `out` as JSON lines (text where asked for), everything else to
// `err`. Exit codes: 0 all was done; 1 something failed; 2 the command line itself is wrong.
//
// Threads: one RunCli at a time; commands start threads of their own.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "absl/status/statusor.h"

#include "db/database.h"

namespace tessera::api {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;

using DatabaseOpener = std::function<absl::StatusOr<std::unique_ptr<db::Database>>(
    const std::string& path, const db::DatabaseOptions& options)>;

// The world around a command. Inputs named "-" are read from descriptor 0.
struct CliEnvironment {
  DatabaseOpener open_database;
  std::ostream& out;
  std::ostream& err;
  bool err_is_terminal = false;  // then a progress bar is drawn without being asked for
  // Called by serve before it starts anything; what it returns waits until the server shall stop.
  std::function<std::function<void()>()> watch_for_stop;
  // Called by ingest before it stores anything; the flag rises when it shall stop, as long as
  // somebody holds it. Null: never.
  std::function<std::shared_ptr<std::atomic<bool>>()> watch_for_interrupt;
};

int RunCli(int argc, const char* const* argv, const CliEnvironment& environment);

}  // namespace tessera::api
