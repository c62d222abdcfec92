// Comparing integers with doubles without rounding either.
#pragma once

#include <cmath>
#include <compare>
#include <cstdint>
#include <variant>

namespace tessera::query {

using Number = std::variant<int64_t, double>;

// Pre: the double is not NaN.
inline std::strong_ordering CompareNumber(int64_t a, double b) {
  if (b >= 0x1p63) return std::strong_ordering::less;
  if (b < -0x1p63) return std::strong_ordering::greater;
  const double whole = std::trunc(b);
  if (const auto order = a <=> static_cast<int64_t>(whole); order != 0) return order;
  return b > whole   ? std::strong_ordering::less
         : b < whole ? std::strong_ordering::greater
                     : std::strong_ordering::equal;
}

// Pre: no NaN.
inline std::strong_ordering CompareNumbers(const Number& a, const Number& b) {
  const int64_t* ia = std::get_if<int64_t>(&a);
  const int64_t* ib = std::get_if<int64_t>(&b);
  if (ia != nullptr && ib != nullptr) return *ia <=> *ib;
  if (ia != nullptr) return CompareNumber(*ia, std::get<double>(b));
  if (ib != nullptr) return 0 <=> CompareNumber(*ib, std::get<double>(a));
  const double da = std::get<double>(a);
  const double db = std::get<double>(b);
  return da < db   ? std::strong_ordering::less
         : da > db ? std::strong_ordering::greater
                   : std::strong_ordering::equal;
}

}  // namespace tessera::query
