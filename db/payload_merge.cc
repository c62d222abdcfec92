#include "db/payload_merge.h"

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace tessera::db {
namespace {

absl::Status Damaged() {
  return absl::DataLossError("a stored payload is no JSON object in canonical form");
}

// The members of an object in canonical text, one after the other. Canonical text has no blanks
// between tokens, so that strings and brackets alone tell where a member ends.
class Members {
 public:
  explicit Members(std::string_view object) : text_(object) {}

  // Goes to the next one; false at the end.
  absl::StatusOr<bool> Next() {
    if (at_ + 1 >= text_.size() || text_[at_] != (at_ == 0 ? '{' : ',')) return End();
    if (at_ == 0 && text_[1] == '}') {
      at_ = 1;
      return End();
    }
    const size_t begin = at_ + 1;
    const size_t colon = EndOfString(begin);
    if (colon >= text_.size() || text_[colon] != ':') return Damaged();
    at_ = EndOfValue(colon + 1);
    if (at_ >= text_.size() || at_ == colon + 1) return Damaged();
    member_ = text_.substr(begin, at_ - begin);
    return SetKey(text_.substr(begin, colon - begin));
  }

  // "key":value
  std::string_view member() const { return member_; }
  const std::string& key() const { return key_; }

 private:
  absl::StatusOr<bool> End() const {
    if (at_ + 1 == text_.size() && at_ > 0 && text_[at_] == '}') return false;
    return Damaged();
  }

  // Behind the string that begins at `at`, or the end of the text.
  size_t EndOfString(size_t at) const {
    if (at >= text_.size() || text_[at] != '"') return text_.size();
    for (++at; at < text_.size() && text_[at] != '"'; ++at) {
      if (text_[at] == '\\') ++at;
    }
    return at + 1;
  }

  // At the comma or brace that ends the member whose value begins at `at`.
  size_t EndOfValue(size_t at) const {
    int depth = 0;
    while (at < text_.size()) {
      const char c = text_[at];
      if (c == '"') {
        at = EndOfString(at);
        continue;
      }
      if (depth == 0 && (c == ',' || c == '}')) return at;
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
      ++at;
    }
    return at;
  }

  absl::StatusOr<bool> SetKey(std::string_view quoted) {
    if (quoted.find('\\') == std::string_view::npos) {
      key_ = quoted.substr(1, quoted.size() - 2);
      return true;
    }
    const absl::StatusOr<base::Value> key = base::ParseJson(quoted);
    if (!key.ok() || key->string() == nullptr) return Damaged();
    key_ = *key->string();
    return true;
  }

  const std::string_view text_;
  size_t at_ = 0;  // where the next member's comma is
  std::string_view member_;
  std::string key_;
};

void Append(std::string_view member, std::string* object) {
  if (object->size() > 1) object->push_back(',');
  object->append(member);
}

}  // namespace

PayloadMerger::PayloadMerger(const base::Value& changes) {
  for (const auto& [key, value] : *changes.object()) {
    Change& change = changes_.emplace_back(Change{.key = key, .member = ""});
    if (!value.is_null()) {
      change.member = absl::StrCat(base::Value(key).ToJson(), ":", value.ToJson());
    }
  }
}

// Both sides are in the order of their keys.
absl::StatusOr<std::string> PayloadMerger::Merge(std::string_view stored) const {
  Members members(stored.empty() ? "{}" : stored);
  std::string merged = "{";
  auto change = changes_.begin();
  const auto put_change = [&] {
    if (!change->member.empty()) Append(change->member, &merged);
    ++change;
  };
  for (;;) {
    TESSERA_ASSIGN_OR_RETURN(const bool more, members.Next());
    if (!more) break;
    while (change != changes_.end() && change->key < members.key()) put_change();
    if (change != changes_.end() && change->key == members.key()) {
      put_change();
    } else {
      Append(members.member(), &merged);
    }
  }
  while (change != changes_.end()) put_change();
  merged.push_back('}');
  return merged;
}

}  // namespace tessera::db
