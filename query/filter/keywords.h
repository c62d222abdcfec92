// Words of the expression language that names must be quoted to share.
#pragma once

#include <string_view>

namespace tessera::query {

// Whether `word` is one, in any case of its letters.
bool IsKeyword(std::string_view word);

}  // namespace tessera::query
