#include "query/filter/lexer.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "base/strings.h"

namespace tessera::query {
namespace {

constexpr size_t kExcerptBytes = 24;

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
// Bytes over 127 are letters: names may be in any script.
bool IsLetter(char c) {
  return absl::ascii_isalpha(static_cast<unsigned char>(c)) || c == '_' ||
         static_cast<unsigned char>(c) > 127;
}

}  // namespace

absl::Status Lexer::ErrorAt(size_t at, std::string_view message) const {
  std::string near(text_.substr(at, kExcerptBytes));
  if (at + kExcerptBytes < text_.size()) near += "...";
  return absl::InvalidArgumentError(absl::StrCat(
      "filter: at position ", at + 1,
      near.empty() ? ", the end" : absl::StrCat(", near `", near, "`"), ": ", base::Sv(message)));
}

Token Lexer::Begin(TokenKind kind) const {
  Token token;
  token.kind = kind;
  token.at = at_;
  return token;
}

std::string_view Lexer::TakeWord() {
  const size_t begin = at_;
  while (at_ < text_.size() && (IsLetter(text_[at_]) || IsDigit(text_[at_]))) ++at_;
  return text_.substr(begin, at_ - begin);
}

absl::StatusOr<Token> Lexer::Next() {
  while (at_ < text_.size() && absl::ascii_isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  Token token = Begin(TokenKind::kEnd);
  if (at_ == text_.size()) return token;
  const char c = text_[at_];
  if (c == '"' || c == '\'' || c == '`') return Quoted(c);
  if (IsDigit(c)) return Number();
  if (c == '-' || c == '+') {
    if (at_ + 1 < text_.size() && (IsDigit(text_[at_ + 1]) || text_[at_ + 1] == '.'))
      return Number();
    return ErrorAt(at_, "a sign must be followed by a number");
  }
  if (c == '$') {
    ++at_;
    token.kind = TokenKind::kParameter;
    token.text = TakeWord();
    if (token.text.empty()) return ErrorAt(token.at, "$ must be followed by a parameter's name");
    return token;
  }
  if (IsLetter(c)) {
    token.kind = TokenKind::kWord;
    token.text = TakeWord();
    return token;
  }
  return Symbol();
}

absl::StatusOr<Token> Lexer::Quoted(char quote) {
  Token token = Begin(quote == '`' ? TokenKind::kName : TokenKind::kString);
  for (++at_; at_ < text_.size(); ++at_) {
    char c = text_[at_];
    if (c == quote) {
      ++at_;
      if (token.kind == TokenKind::kName && token.text.empty()) {
        return ErrorAt(token.at, "a name must have at least 1 character");
      }
      return token;
    }
    if (c == '\\' && at_ + 1 < text_.size()) {
      const char next = text_[at_ + 1];
      if (next == '"' || next == '\'' || next == '`' || next == '\\') {
        c = next;
        ++at_;
      }
    }
    token.text.push_back(c);
  }
  return ErrorAt(token.at, absl::StrCat("the closing ", std::string(1, quote), " is missing"));
}

absl::StatusOr<Token> Lexer::Number() {
  Token token = Begin(TokenKind::kInteger);
  size_t end = at_ + 1;
  bool whole = true;
  for (; end < text_.size(); ++end) {
    const char c = text_[end];
    const bool exponent_sign =
        (c == '-' || c == '+') && (text_[end - 1] == 'e' || text_[end - 1] == 'E');
    if (IsDigit(c)) continue;
    if (c != '.' && c != 'e' && c != 'E' && !exponent_sign) break;
    whole = false;
  }
  if (end < text_.size() && IsLetter(text_[end])) {
    return ErrorAt(
        at_,
        "a number must not run into a name; names that begin with a digit are quoted `like this`");
  }
  const std::string_view digits = text_.substr(at_, end - at_);
  at_ = end;
  token.text = digits;
  if (whole && absl::SimpleAtoi(base::Sv(digits), &token.integer)) {
    return token;
  }
  if (!absl::SimpleAtod(base::Sv(digits), &token.number) || !std::isfinite(token.number)) {
    return ErrorAt(token.at, absl::StrCat("\"", base::Sv(digits), "\" is not a number"));
  }
  if (whole) {
    return ErrorAt(token.at, absl::StrCat("the integer ", base::Sv(digits),
                                          " must be -2^63 .. 2^63 - 1; write it with a point to "
                                          "compare as a double"));
  }
  token.kind = TokenKind::kDouble;
  return token;
}

absl::StatusOr<Token> Lexer::Symbol() {
  Token token = Begin(TokenKind::kSymbol);
  static constexpr std::pair<std::string_view, std::string_view> kSpellings[] = {
      {"==", "="}, {"!=", "!="}, {"<>", "!="}, {"<=", "<="}, {">=", ">="}, {"=", "="}, {"<", "<"},
      {">", ">"},  {"(", "("},   {")", ")"},   {"[", "["},   {"]", "]"},   {",", ","}, {".", "."}};
  for (const auto& [spelling, text] : kSpellings) {
    if (text_.substr(at_, spelling.size()) != spelling) continue;
    at_ += spelling.size();
    token.text = text;
    return token;
  }
  return ErrorAt(at_, "this character has no meaning here");
}

}  // namespace tessera::query
