#include "db/filters/parsed_filters.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "query/filter/parser.h"

namespace tessera::db {

absl::StatusOr<std::shared_ptr<const ParsedFilter>> ParsedFilters::Parse(
    const std::optional<FilterText>& text) {
  if (!text.has_value()) return nullptr;
  std::string key;
  if (text->expression.size() <= kTextBytesMax) {
    key = absl::StrCat(text->strict ? "s" : "-", text->expression.size(), ":", text->expression);
    for (const auto& [name, value] : text->parameters) {
      if (key.size() > kTextBytesMax) break;
      absl::StrAppend(&key, "\n", name, "=", value.ToJson());
    }
  }
  const bool keep = !key.empty() && key.size() <= kTextBytesMax;
  if (keep) {
    base::MutexLock lock(&mu_);
    for (auto it = kept_.begin(); it != kept_.end(); ++it) {
      if (it->key != key) continue;
      kept_.splice(kept_.begin(), kept_, it);
      return it->filter;
    }
  }
  TESSERA_ASSIGN_OR_RETURN(const query::Filter filter,
                           query::ParseFilter(text->expression, text->parameters));
  auto parsed = std::make_shared<ParsedFilter>(filter);
  parsed->strict = text->strict;
  if (keep) {
    base::MutexLock lock(&mu_);
    kept_.push_front({std::move(key), parsed});
    if (kept_.size() > kFiltersMax) kept_.pop_back();
  }
  return parsed;
}

}  // namespace tessera::db
