// Recursive descent over all tokens, which are cut beforehand: an expression is short, and two
// tokens of look-ahead (AT LEAST) are then an index.
#include "query/filter/parser.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "query/filter/datetime.h"
#include "query/filter/keywords.h"
#include "query/filter/lexer.h"

namespace tessera::query {
namespace {

using base::Sv;

class Parser {
 public:
  Parser(std::string_view text, const FilterParameters& parameters)
      : lexer_(text), parameters_(parameters) {}

  absl::StatusOr<Filter> Parse();

 private:
  // Tokens.
  absl::Status ReadTokens();
  const Token& token() const { return tokens_[at_]; }
  const Token& after() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  static bool Is(const Token& token, std::string_view word) {
    return token.kind == TokenKind::kWord && absl::EqualsIgnoreCase(token.text, Sv(word));
  }
  bool TakeWord(std::string_view word) {
    if (!Is(token(), word)) return false;
    ++at_;
    return true;
  }
  bool TakeSymbol(std::string_view symbol) {
    if (token().kind != TokenKind::kSymbol || token().text != symbol) return false;
    ++at_;
    return true;
  }
  absl::Status Expected(std::string_view what) const {
    return lexer_.ErrorAt(token().at, absl::StrCat("expected ", Sv(what)));
  }
  absl::Status ExpectSymbol(std::string_view symbol) {
    return TakeSymbol(symbol) ? absl::OkStatus() : Expected(absl::StrCat("\"", Sv(symbol), "\""));
  }
  absl::Status ExpectWord(std::string_view word) {
    return TakeWord(word) ? absl::OkStatus() : Expected(word);
  }

  // The grammar.
  absl::StatusOr<Filter> Or(size_t depth);
  absl::StatusOr<Filter> And(size_t depth);
  absl::StatusOr<Filter> Unary(size_t depth);
  absl::StatusOr<Filter> AtLeastOf(size_t depth);
  absl::StatusOr<Filter> Condition();
  absl::StatusOr<Filter> OfPath(FieldPath path);
  absl::StatusOr<Filter> OfConstant(Constant constant);
  absl::StatusOr<Filter> Between(FieldPath path);
  absl::StatusOr<Filter> Contains(FieldPath path);
  absl::StatusOr<Filter> Like(FieldPath path);
  absl::StatusOr<Filter> Geo(bool box);
  absl::StatusOr<Filter> Ids();

  absl::StatusOr<FieldPath> Path();
  absl::StatusOr<Constant> OneConstant();
  absl::StatusOr<std::vector<Constant>> List();
  absl::StatusOr<double> Coordinate();
  absl::StatusOr<base::PointId> Id();
  std::optional<std::string> TakeComparison();
  bool IsFunction(std::string_view name) const {
    return Is(token(), name) && after().kind == TokenKind::kSymbol && after().text == "(";
  }
  bool IsConstant() const;

  absl::StatusOr<const base::Value*> Parameter();
  absl::StatusOr<Constant> FromValue(const base::Value& value, const Token& from) const;

  Lexer lexer_;
  const FilterParameters& parameters_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  std::set<std::string> used_;
};

Filter Comparing(FieldPath path, std::string_view comparison, Constant constant) {
  if (comparison == "=" || comparison == "!=") {
    Filter equal{In{.path = std::move(path), .constants = Canonical({std::move(constant)})}};
    return comparison == "=" ? equal : Negation(std::move(equal));
  }
  constant = Canonical({std::move(constant)})[0];
  const bool inclusive = comparison.size() == 2;
  Range range{.path = std::move(path), .low = {}, .high = {}};
  (comparison[0] == '>' ? range.low : range.high) =
      Bound{.constant = std::move(constant), .inclusive = inclusive};
  return {std::move(range)};
}

absl::Status Parser::ReadTokens() {
  while (true) {
    TESSERA_ASSIGN_OR_RETURN(tokens_.emplace_back(), lexer_.Next());
    if (tokens_.back().kind == TokenKind::kEnd) return absl::OkStatus();
  }
}

absl::StatusOr<Filter> Parser::Parse() {
  TESSERA_RETURN_IF_ERROR(ReadTokens());
  TESSERA_ASSIGN_OR_RETURN(Filter filter, Or(1));
  if (token().kind != TokenKind::kEnd) return Expected("AND, OR or the end");
  for (const auto& [name, value] : parameters_) {
    if (used_.contains(name)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("filter: parameter $", name, " is given, but the expression does not use it"));
  }
  TESSERA_RETURN_IF_ERROR(Validate(filter));
  return filter;
}

absl::StatusOr<Filter> Parser::Or(size_t depth) {
  std::vector<Filter> any;
  do {
    TESSERA_ASSIGN_OR_RETURN(any.emplace_back(), And(depth));
  } while (TakeWord("OR"));
  return any.size() == 1 ? std::move(any[0]) : query::Or(std::move(any));
}

absl::StatusOr<Filter> Parser::And(size_t depth) {
  std::vector<Filter> all;
  do {
    TESSERA_ASSIGN_OR_RETURN(all.emplace_back(), Unary(depth));
  } while (TakeWord("AND"));
  return all.size() == 1 ? std::move(all[0]) : query::And(std::move(all));
}

// Recursion goes through here alone, so the depth is bounded here.
absl::StatusOr<Filter> Parser::Unary(size_t depth) {
  if (depth > kFilterDepthMax) {
    return lexer_.ErrorAt(token().at,
                          absl::StrCat("nested deeper than ", kFilterDepthMax, " levels"));
  }
  if (TakeWord("NOT")) {
    TESSERA_ASSIGN_OR_RETURN(Filter filter, Unary(depth + 1));
    return Negation(std::move(filter));
  }
  if (TakeSymbol("(")) {
    TESSERA_ASSIGN_OR_RETURN(Filter filter, Or(depth + 1));
    TESSERA_RETURN_IF_ERROR(ExpectSymbol(")"));
    return filter;
  }
  if (Is(token(), "AT") && Is(after(), "LEAST")) return AtLeastOf(depth);
  return Condition();
}

absl::StatusOr<Filter> Parser::AtLeastOf(size_t depth) {
  at_ += 2;
  if (token().kind != TokenKind::kInteger || token().integer < 0 ||
      token().integer > static_cast<int64_t>(kFilterConditionsMax)) {
    return Expected(absl::StrCat("an integer 0 .. ", kFilterConditionsMax));
  }
  AtLeast node{.least = static_cast<uint32_t>(token().integer), .filters = {}};
  ++at_;
  TESSERA_RETURN_IF_ERROR(ExpectWord("OF"));
  TESSERA_RETURN_IF_ERROR(ExpectSymbol("("));
  do {
    TESSERA_ASSIGN_OR_RETURN(node.filters.emplace_back(), Or(depth + 1));
  } while (TakeSymbol(","));
  TESSERA_RETURN_IF_ERROR(ExpectSymbol(")"));
  return Filter{std::move(node)};
}

bool Parser::IsConstant() const {
  switch (token().kind) {
    case TokenKind::kString:
    case TokenKind::kInteger:
    case TokenKind::kDouble:
    case TokenKind::kParameter:
      return true;
    default:
      return Is(token(), "TRUE") || Is(token(), "FALSE") || IsFunction("datetime");
  }
}

absl::StatusOr<Filter> Parser::Condition() {
  if (IsFunction("geo_box")) return Geo(/*box=*/true);
  if (IsFunction("geo_radius")) return Geo(/*box=*/false);
  if (IsFunction("has_id")) return Ids();
  if (TakeWord("EXISTS")) {
    TESSERA_RETURN_IF_ERROR(ExpectSymbol("("));
    TESSERA_ASSIGN_OR_RETURN(FieldPath path, Path());
    TESSERA_RETURN_IF_ERROR(ExpectSymbol(")"));
    return Filter{Exists{std::move(path)}};
  }
  if (IsConstant()) {
    const bool literal = Is(token(), "TRUE") || Is(token(), "FALSE");
    TESSERA_ASSIGN_OR_RETURN(Constant constant, OneConstant());
    const bool alone =
        token().kind == TokenKind::kEnd || Is(token(), "AND") || Is(token(), "OR") ||
        (token().kind == TokenKind::kSymbol && (token().text == ")" || token().text == ","));
    if (literal && alone) return std::get<bool>(constant) ? True() : False();
    return OfConstant(std::move(constant));
  }
  TESSERA_ASSIGN_OR_RETURN(FieldPath path, Path());
  return OfPath(std::move(path));
}

std::optional<std::string> Parser::TakeComparison() {
  for (const std::string_view comparison : {"=", "!=", "<", "<=", ">", ">="}) {
    if (TakeSymbol(comparison)) return std::string(comparison);
  }
  return std::nullopt;
}

absl::StatusOr<Filter> Parser::OfConstant(Constant constant) {
  if (const std::optional<std::string> comparison = TakeComparison()) {
    std::string turned = *comparison;  // 5 < price is price > 5
    if (turned[0] == '<') {
      turned[0] = '>';
    } else if (turned[0] == '>') {
      turned[0] = '<';
    }
    TESSERA_ASSIGN_OR_RETURN(FieldPath path, Path());
    return Comparing(std::move(path), turned, std::move(constant));
  }
  const bool negated = TakeWord("NOT");
  if (!TakeWord("IN")) return Expected("a comparison or IN after a constant");
  TESSERA_ASSIGN_OR_RETURN(FieldPath path, Path());
  return Comparing(std::move(path), negated ? "!=" : "=", std::move(constant));
}

absl::StatusOr<Filter> Parser::OfPath(FieldPath path) {
  if (const std::optional<std::string> comparison = TakeComparison()) {
    if (Is(token(), "NULL")) return Expected("a constant; for null write IS NULL");
    TESSERA_ASSIGN_OR_RETURN(Constant constant, OneConstant());
    return Comparing(std::move(path), *comparison, std::move(constant));
  }
  if (TakeWord("IS")) {
    const bool negated = TakeWord("NOT");
    TESSERA_RETURN_IF_ERROR(ExpectWord("NULL"));
    Filter filter{IsNull{std::move(path)}};
    return negated ? Negation(std::move(filter)) : filter;
  }
  const bool negated = TakeWord("NOT");
  absl::StatusOr<Filter> filter = [&]() -> absl::StatusOr<Filter> {
    if (TakeWord("IN")) {
      TESSERA_ASSIGN_OR_RETURN(std::vector<Constant> constants, List());
      return Filter{In{.path = std::move(path), .constants = Canonical(std::move(constants))}};
    }
    if (TakeWord("BETWEEN")) return Between(std::move(path));
    if (TakeWord("CONTAINS")) return Contains(std::move(path));
    if (TakeWord("LIKE")) return Like(std::move(path));
    return Expected("a comparison, IN, BETWEEN, CONTAINS, LIKE or IS after a name");
  }();
  if (!filter.ok() || !negated) return filter;
  return Negation(*std::move(filter));
}

absl::StatusOr<Filter> Parser::Between(FieldPath path) {
  Range range{.path = std::move(path), .low = Bound(), .high = Bound()};
  range.low->inclusive = !TakeSymbol(">");
  TESSERA_ASSIGN_OR_RETURN(Constant low, OneConstant());
  TESSERA_RETURN_IF_ERROR(ExpectWord("AND"));
  range.high->inclusive = !TakeSymbol("<");
  TESSERA_ASSIGN_OR_RETURN(Constant high, OneConstant());
  range.low->constant = Canonical({std::move(low)})[0];
  range.high->constant = Canonical({std::move(high)})[0];
  return Filter{std::move(range)};
}

absl::StatusOr<Filter> Parser::Contains(FieldPath path) {
  const bool all = TakeWord("ALL");
  const bool none = !all && TakeWord("NONE");
  std::vector<Constant> constants;
  if (all || none || TakeWord("ANY")) {
    TESSERA_ASSIGN_OR_RETURN(constants, List());
  } else {
    TESSERA_ASSIGN_OR_RETURN(constants.emplace_back(), OneConstant());
  }
  Filter filter{
      In{.path = std::move(path), .constants = Canonical(std::move(constants)), .all = all}};
  return none ? Negation(std::move(filter)) : filter;
}

absl::StatusOr<Filter> Parser::Like(FieldPath path) {
  const Token from = token();
  TESSERA_ASSIGN_OR_RETURN(const Constant constant, OneConstant());
  const std::string* pattern = std::get_if<std::string>(&constant);
  std::string prefix;
  bool open = false;  // the % at the end was seen
  for (size_t i = 0; pattern != nullptr && i < pattern->size() && !open; ++i) {
    char c = (*pattern)[i];
    if (c == '%') {
      open = i + 1 == pattern->size();
      if (!open) break;
      continue;
    }
    if (c == '\\' && i + 1 < pattern->size()) c = (*pattern)[++i];
    prefix.push_back(c);
  }
  if (!open)
    return lexer_.ErrorAt(from.at, "expected a text with one % at its end, as \"prefix%\"");
  return Filter{Prefix{.path = std::move(path), .prefix = std::move(prefix)}};
}

absl::StatusOr<Filter> Parser::Geo(bool box) {
  at_ += 2;
  TESSERA_ASSIGN_OR_RETURN(FieldPath path, Path());
  double numbers[4] = {};
  const size_t count = box ? 4 : 3;
  for (size_t i = 0; i < count; ++i) {
    TESSERA_RETURN_IF_ERROR(ExpectSymbol(","));
    TESSERA_ASSIGN_OR_RETURN(numbers[i], Coordinate());
  }
  TESSERA_RETURN_IF_ERROR(ExpectSymbol(")"));
  if (box) return Filter{GeoBox{std::move(path), numbers[0], numbers[1], numbers[2], numbers[3]}};
  return Filter{GeoRadius{std::move(path), numbers[0], numbers[1], numbers[2]}};
}

absl::StatusOr<double> Parser::Coordinate() {
  const Token from = token();
  TESSERA_ASSIGN_OR_RETURN(const Constant constant, OneConstant());
  if (const int64_t* integer = std::get_if<int64_t>(&constant)) {
    return static_cast<double>(*integer);
  }
  if (const double* number = std::get_if<double>(&constant)) return *number;
  return lexer_.ErrorAt(from.at, "expected a number");
}

absl::StatusOr<Filter> Parser::Ids() {
  at_ += 2;
  HasId node;
  if (!TakeSymbol(")")) {
    do {
      if (token().kind == TokenKind::kParameter) {
        const Token from = token();
        TESSERA_ASSIGN_OR_RETURN(const base::Value* value, Parameter());
        const base::Value::List one = {*value};
        for (const base::Value& item : value->list() != nullptr ? *value->list() : one) {
          if (item.integer() != nullptr && *item.integer() >= 0) {
            node.ids.emplace_back(static_cast<uint64_t>(*item.integer()));
          } else if (item.string() != nullptr) {
            TESSERA_ASSIGN_OR_RETURN(node.ids.emplace_back(), base::PointId::Parse(*item.string()));
          } else {
            return lexer_.ErrorAt(from.at, "an id must be a number 0 .. 2^63 - 1 or a text");
          }
        }
      } else {
        TESSERA_ASSIGN_OR_RETURN(node.ids.emplace_back(), Id());
      }
    } while (TakeSymbol(","));
    TESSERA_RETURN_IF_ERROR(ExpectSymbol(")"));
  }
  std::sort(node.ids.begin(), node.ids.end());
  node.ids.erase(std::unique(node.ids.begin(), node.ids.end()), node.ids.end());
  return Filter{std::move(node)};
}

absl::StatusOr<base::PointId> Parser::Id() {
  const Token from = token();
  const bool number = from.kind == TokenKind::kInteger && from.integer >= 0;
  if (!number && from.kind != TokenKind::kString) {
    return Expected("an id: a number or a text; a number over 2^63 - 1 goes in quotes");
  }
  ++at_;
  if (number) return base::PointId(static_cast<uint64_t>(from.integer));
  absl::StatusOr<base::PointId> id = base::PointId::Parse(from.text);
  if (!id.ok()) return lexer_.ErrorAt(from.at, base::StdSv(id.status().message()));
  return id;
}

absl::StatusOr<FieldPath> Parser::Path() {
  FieldPath path;
  do {
    const bool name = token().kind == TokenKind::kName ||
                      (token().kind == TokenKind::kWord && !IsKeyword(token().text));
    if (!name) {
      return Expected(token().kind == TokenKind::kWord
                          ? "a name; keywords as names are quoted `like this`"
                          : "a name");
    }
    path.push_back(token().text);
    ++at_;
  } while (TakeSymbol("."));
  return path;
}

absl::StatusOr<Constant> Parser::OneConstant() {
  const Token from = token();
  switch (from.kind) {
    case TokenKind::kString:
      ++at_;
      return Constant(from.text);
    case TokenKind::kInteger:
      ++at_;
      return Constant(from.integer);
    case TokenKind::kDouble:
      ++at_;
      return Constant(from.number);
    case TokenKind::kParameter: {
      TESSERA_ASSIGN_OR_RETURN(const base::Value* value, Parameter());
      return FromValue(*value, from);
    }
    default:
      break;
  }
  if (TakeWord("TRUE")) return Constant(true);
  if (TakeWord("FALSE")) return Constant(false);
  if (!IsFunction("datetime")) return Expected("a constant (texts are quoted)");
  at_ += 2;
  const Token text = token();
  TESSERA_ASSIGN_OR_RETURN(const Constant inner, OneConstant());
  const std::string* string = std::get_if<std::string>(&inner);
  const std::optional<Datetime> datetime =
      string == nullptr ? std::nullopt : ParseDatetime(*string);
  if (!datetime.has_value()) {
    return lexer_.ErrorAt(text.at, "expected an RFC 3339 datetime, as \"2024-01-31T12:00:00Z\"");
  }
  TESSERA_RETURN_IF_ERROR(ExpectSymbol(")"));
  return Constant(*datetime);
}

absl::StatusOr<std::vector<Constant>> Parser::List() {
  std::vector<Constant> constants;
  if (token().kind == TokenKind::kParameter) {
    const Token from = token();
    TESSERA_ASSIGN_OR_RETURN(const base::Value* value, Parameter());
    if (value->list() == nullptr) {
      return lexer_.ErrorAt(from.at, absl::StrCat("parameter $", from.text, " must be a list"));
    }
    for (const base::Value& item : *value->list()) {
      TESSERA_ASSIGN_OR_RETURN(constants.emplace_back(), FromValue(item, from));
    }
    return constants;
  }
  const bool round = TakeSymbol("(");
  if (!round && !TakeSymbol("[")) return Expected("a list, as (1, 2), or a parameter");
  const std::string_view close = round ? ")" : "]";
  if (TakeSymbol(close)) return constants;
  do {
    TESSERA_ASSIGN_OR_RETURN(constants.emplace_back(), OneConstant());
  } while (TakeSymbol(","));
  TESSERA_RETURN_IF_ERROR(ExpectSymbol(close));
  return constants;
}

absl::StatusOr<const base::Value*> Parser::Parameter() {
  const auto found = parameters_.find(token().text);
  if (found == parameters_.end()) {
    return lexer_.ErrorAt(token().at, absl::StrCat("parameter $", token().text, " has no value"));
  }
  used_.insert(token().text);
  ++at_;
  return &found->second;
}

absl::StatusOr<Constant> Parser::FromValue(const base::Value& value, const Token& from) const {
  if (value.boolean() != nullptr) return Constant(*value.boolean());
  if (value.integer() != nullptr) return Constant(*value.integer());
  if (value.number() != nullptr) return Constant(*value.number());
  if (value.string() != nullptr) return Constant(*value.string());
  return lexer_.ErrorAt(from.at, absl::StrCat("parameter $", from.text,
                                              " must be a boolean, number or text here; for null "
                                              "write IS NULL"));
}

}  // namespace

absl::StatusOr<Filter> ParseFilter(std::string_view expression,
                                   const FilterParameters& parameters) {
  if (expression.size() > kFilterBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("filter: the expression has ", expression.size(),
                                                   " bytes, at most ", kFilterBytesMax,
                                                   " are allowed"));
  }
  return Parser(expression, parameters).Parse();
}

}  // namespace tessera::query
