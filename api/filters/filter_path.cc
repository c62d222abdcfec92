#include "api/filters/filter_path.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::api {
namespace {

bool IsEscaped(char c) {
  return c == '"' || c == '\'' || c == '`' || c == '\\';
}

// Takes a name from the front of `*text`. Errors: kInvalidArgument.
absl::StatusOr<std::string> TakeName(std::string_view* text) {
  std::string name;
  if (text->empty() || text->front() != '`') {
    name = text->substr(0, text->find('.'));
    text->remove_prefix(name.size());
    if (name.find('`') == std::string::npos) return name;
    return absl::InvalidArgumentError("has a backquote within a name, must be around it");
  }
  size_t at = 1;
  for (; at < text->size() && (*text)[at] != '`'; ++at) {
    if ((*text)[at] == '\\' && at + 1 < text->size() && IsEscaped((*text)[at + 1])) ++at;
    name.push_back((*text)[at]);
  }
  if (at >= text->size()) return absl::InvalidArgumentError("lacks a closing backquote");
  text->remove_prefix(at + 1);
  return name;
}

}  // namespace

std::string QuoteText(std::string_view text, char quote) {
  std::string out(1, quote);
  for (const char c : text) {
    if (IsEscaped(c)) out.push_back('\\');
    out.push_back(c);
  }
  out.push_back(quote);
  return out;
}

absl::StatusOr<std::string> QuotePath(std::string_view text) {
  if (text.empty()) return absl::InvalidArgumentError("is empty, must be names joined by '.'");
  std::string quoted;
  for (size_t names = 1;; ++names) {
    if (names > kFilterPathDepthMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("has more than ", kFilterPathDepthMax, " names"));
    }
    TESSERA_ASSIGN_OR_RETURN(const std::string name, TakeName(&text));
    if (name.empty()) return absl::InvalidArgumentError("has an empty name");
    absl::StrAppend(&quoted, names == 1 ? "" : ".", QuoteText(name, '`'));
    if (text.empty()) return quoted;
    if (text.front() != '.') {
      return absl::InvalidArgumentError("has something after a closing backquote, must be '.'");
    }
    text.remove_prefix(1);
  }
}

}  // namespace tessera::api
