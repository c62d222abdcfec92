// GoogleTest for absl::Status and absl::StatusOr.
//
// Source: the semantics of Abseil's status_matchers.h, which Debian 12's Abseil does not have yet.
#pragma once

#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/status_macros.h"

namespace tessera::inline test {

inline const absl::Status& GetStatus(const absl::Status& status) {
  return status;
}
template <typename T>
const absl::Status& GetStatus(const absl::StatusOr<T>& result) {
  return result.status();
}

MATCHER(IsOk, negation ? "is not OK" : "is OK") {
  if (GetStatus(arg).ok()) return true;
  *result_listener << GetStatus(arg).ToString();
  return false;
}

// Matches the code, and the message where a matcher for it is given.
MATCHER_P(StatusIs, code,
          std::string(negation ? "is not " : "is ") + absl::StatusCodeToString(code)) {
  if (GetStatus(arg).code() == code) return true;
  *result_listener << GetStatus(arg).ToString();
  return false;
}
MATCHER_P2(StatusIs, code, message,
           std::string(negation ? "is not " : "is ") + absl::StatusCodeToString(code) +
               " with a message that " + testing::DescribeMatcher<std::string>(message, negation)) {
  *result_listener << GetStatus(arg).ToString();
  return GetStatus(arg).code() == code &&
         testing::ExplainMatchResult(message, std::string(GetStatus(arg).message()),
                                     result_listener);
}

// Matches a StatusOr that is OK and whose value matches.
MATCHER_P(IsOkAndHolds, value, "is OK and has a matching value") {
  if (!arg.ok()) {
    *result_listener << arg.status().ToString();
    return false;
  }
  return testing::ExplainMatchResult(value, *arg, result_listener);
}

}  // namespace tessera::inline test

#define EXPECT_OK(expr) EXPECT_THAT((expr), ::tessera::test::IsOk())
#define ASSERT_OK(expr) ASSERT_THAT((expr), ::tessera::test::IsOk())

// ASSERT_OK_AND_ASSIGN(const T value, StatusOrExpression());
#define ASSERT_OK_AND_ASSIGN(lhs, ...) \
  TESSERA_ASSERT_OK_AND_ASSIGN_(TESSERA_CONCAT_(tessera_statusor_, __LINE__), lhs, (__VA_ARGS__))
// Both names are declared here, so they cannot stand in parentheses.
// NOLINTBEGIN(bugprone-macro-parentheses)
#define TESSERA_ASSERT_OK_AND_ASSIGN_(result, lhs, expr) \
  auto result = expr;                                    \
  ASSERT_TRUE(result.ok()) << result.status();           \
  lhs = *std::move(result)
// NOLINTEND(bugprone-macro-parentheses)
