// Filter expressions: text with bound parameters -> filter.
//
//   expr       = and { OR and }
//   and        = unary { AND unary }
//   unary      = NOT unary | "(" expr ")" | condition
//   condition  = path cmp constant | constant cmp path          cmp: = == != <> < <= > >=
//              | path [NOT] BETWEEN [">"] constant AND ["<"] constant
//              | path [NOT] IN list | constant [NOT] IN path
//              | path [NOT] CONTAINS ( constant | (ANY | ALL | NONE) list )
//              | path [NOT] LIKE "prefix%"
//              | path IS [NOT] NULL | EXISTS "(" path ")"
//              | AT LEAST integer OF "(" expr { "," expr } ")"
//              | geo_box "(" path "," top_lat "," left_lon "," bottom_lat "," right_lon ")"
//              | geo_radius "(" path "," lat "," lon "," meters ")"
//              | has_id "(" id { "," id } ")" | TRUE | FALSE
//   path       = name { "." name }
//   name       = letters, digits, _ (no digit first, no keyword) | `anything`
//   constant   = true | false | integer | double | "text" | 'text' | datetime("RFC 3339") | $name
//   list       = "(" [ constant { "," constant } ] ")" | "[" ... "]" | $name
//
// Keywords and function names in any case. NOT binds tighter than AND, AND tighter than OR. In a
// LIKE pattern \% is a percent sign; the one other % is at the end. `pos IN ("a")` and `"a" IN pos`
// and `pos CONTAINS "a"` are the same.
//
// Threads: free functions without shared state.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "base/value.h"
#include "query/filter/filter.h"

namespace tessera::query {

// Values of $name: scalars, or lists of scalars where a list is expected.
using FilterParameters = std::map<std::string, base::Value, std::less<>>;

// Errors: kInvalidArgument: the position (bytes, from 1), what is there and what was expected; a
//         parameter that has no value, a wrong type or no use; the limits of filter.h.
// Cost:   O(bytes log bytes).
absl::StatusOr<Filter> ParseFilter(std::string_view expression,
                                   const FilterParameters& parameters = {});

}  // namespace tessera::query
