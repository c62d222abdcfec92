// Which list each part of an index version is of, and where its positions begin: a blob of the
// version record.
//
// Threads: free functions without shared state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace tessera::version {

// Slot s of the part is position 64 * first_block + s.
struct PartHome {
  uint32_t list = 0;
  uint32_t first_block = 0;
  friend bool operator==(const PartHome&, const PartHome&) = default;
};

std::string EncodePartHomes(std::span<const PartHome> homes);
// Errors: kDataLoss for any damage, or if there are not `count` of them.
absl::StatusOr<std::vector<PartHome>> DecodePartHomes(std::string_view bytes, size_t count);

}  // namespace tessera::version
