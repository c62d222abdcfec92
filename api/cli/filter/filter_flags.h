// --filter with its parameters, as commands take it, and what it warns of.
//
// Threads: one.
#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "db/database.h"

namespace CLI {
class App;
}

namespace tessera::api {

struct FilterFlags {
  std::optional<std::string> expression;
  std::vector<std::string> parameters;  // name=json
  bool strict = false;
};

// --filter, --param and --strict.
void AddFilterFlags(CLI::App& command, FilterFlags* flags);

// The filter, if one is given. Errors: UsageError: --param or --strict without --filter, a
// parameter that is not name=json or comes twice, a value that is no scalar or list of scalars.
absl::StatusOr<std::optional<db::FilterText>> MakeFilter(const FilterFlags& flags);

// Each on a line.
void PrintWarnings(const std::vector<std::string>& warnings, std::ostream& err);

}  // namespace tessera::api
