// fbin, f16bin, u8bin, i8bin.
#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

#include "api/formats/vector_formats.h"
#include "base/coding/coding.h"
#include "base/status_macros.h"

namespace tessera::api {

absl::StatusOr<std::unique_ptr<VectorReader>> NewBinReader(std::unique_ptr<ByteSource> source,
                                                           base::ElementType type) {
  std::array<std::byte, 8> header{};
  TESSERA_ASSIGN_OR_RETURN(const size_t got, source->Read(header));
  if (got < header.size()) {
    return absl::InvalidArgumentError(absl::StrCat(source->name(), ": cut off in its header: ", got,
                                                   " bytes, a header has ", header.size()));
  }
  return NewDenseReader(std::move(source), {.dim = base::LoadU32(header.data() + 4),
                                            .type = type,
                                            .rows = base::LoadU32(header.data()),
                                            .header_bytes = header.size()});
}

}  // namespace tessera::api
