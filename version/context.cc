#include "version/context.h"

#include "absl/strings/str_cat.h"

#include "base/strings.h"

namespace tessera::version {

std::string Context::ScratchFile(std::string_view purpose) {
  return base::JoinPath(scratch_path,
                        absl::StrCat(base::Sv(purpose), "-", next_scratch.fetch_add(1)));
}

}  // namespace tessera::version
