#include "api/cli/filter/filter_flags.h"

#include <algorithm>
#include <utility>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"

#include "api/cli/commands.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "base/value.h"

namespace tessera::api {
namespace {

bool IsScalar(const base::Value& value) {
  return !value.is_null() && value.list() == nullptr && value.object() == nullptr;
}

bool IsConstant(const base::Value& value) {
  if (value.list() == nullptr) return IsScalar(value);
  return std::all_of(value.list()->begin(), value.list()->end(), IsScalar);
}

absl::StatusOr<std::pair<std::string, base::Value>> ParseParameter(const std::string& text) {
  const size_t equals = text.find('=');
  const size_t begin = text.starts_with('$') ? 1 : 0;
  if (equals == std::string::npos || equals <= begin) {
    return UsageError(absl::StrCat("--param ", text, " is not NAME=JSON"));
  }
  std::string name = text.substr(begin, equals - begin);
  absl::StatusOr<base::Value> value = base::ParseJson(std::string_view(text).substr(equals + 1));
  if (!value.ok()) {
    return UsageError(absl::StrCat("--param ", name, ": ", value.status().message(),
                                   "; a text is quoted, as ", name, "='\"red\"'"));
  }
  if (!IsConstant(*value)) {
    return UsageError(absl::StrCat("--param ", name,
                                   " must be a boolean, a number, a text or a "
                                   "list of them"));
  }
  return std::pair(std::move(name), *std::move(value));
}

}  // namespace

void AddFilterFlags(CLI::App& command, FilterFlags* flags) {
  command
      .add_option("--filter", flags->expression,
                  "only points that pass, as 'price < $max AND color IN (\"red\", \"blue\")'")
      ->type_name("EXPR");
  command
      .add_option("--param", flags->parameters,
                  "value of a $name in --filter, as max=20 or name='\"red\"'; may be repeated")
      ->type_name("NAME=JSON")
      ->allow_extra_args(false);
  command.add_flag("--strict", flags->strict,
                   "a path in --filter that no point has is an error instead of a warning");
}

absl::StatusOr<std::optional<db::FilterText>> MakeFilter(const FilterFlags& flags) {
  if (!flags.expression.has_value()) {
    if (flags.parameters.empty() && !flags.strict) return std::nullopt;
    return UsageError(absl::StrCat(flags.strict ? "--strict" : "--param",
                                   " is for --filter, which is not given"));
  }
  if (flags.expression->find_first_not_of(" \t\r\n") == std::string::npos) {
    return UsageError("--filter is empty; leave it out to ask for all points");
  }
  db::FilterText filter{.expression = *flags.expression, .parameters = {}, .strict = flags.strict};
  for (const std::string& text : flags.parameters) {
    TESSERA_ASSIGN_OR_RETURN(auto parameter, ParseParameter(text));
    if (!filter.parameters.insert(std::move(parameter)).second) {
      return UsageError(absl::StrCat("--param ", text, " gives a name that has a value already"));
    }
  }
  return filter;
}

void PrintWarnings(const std::vector<std::string>& warnings, std::ostream& err) {
  for (const std::string& warning : warnings) err << "tessera: warning: " << warning << "\n";
}

}  // namespace tessera::api
