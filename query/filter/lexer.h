// Cuts a filter expression into tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tessera::query {

enum class TokenKind : uint8_t {
  kEnd,
  kWord,     // a name or a keyword
  kName,     // a name in backquotes: never a keyword
  kString,   // in single or double quotes
  kInteger,  // fits int64
  kDouble,
  kParameter,  // $name
  kSymbol,     // ( ) [ ] , . = != < <= > >=
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  size_t at = 0;     // offset of its first byte
  std::string text;  // without quotes, escapes resolved; of a symbol its one spelling
  int64_t integer = 0;
  double number = 0;
};

// In quotes a backslash before a quote or a backslash makes that a plain character; before anything
// else it is a backslash.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  // The next token; kEnd at the end and ever after.
  // Errors: kInvalidArgument, as ErrorAt.
  absl::StatusOr<Token> Next();

  // "filter: at position 9, near `...`: " and the message. Positions count bytes from 1.
  absl::Status ErrorAt(size_t at, std::string_view message) const;

 private:
  Token Begin(TokenKind kind) const;
  absl::StatusOr<Token> Quoted(char quote);
  absl::StatusOr<Token> Number();
  absl::StatusOr<Token> Symbol();
  std::string_view TakeWord();

  const std::string_view text_;
  size_t at_ = 0;
};

}  // namespace tessera::query
