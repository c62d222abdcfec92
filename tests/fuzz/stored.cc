#include "tests/fuzz/stored.h"

#include <cstdint>

#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "base/coding/sealed.h"

namespace tessera::fuzz {

absl::Status CheckedStored(absl::Status status) {
  if (status.ok()) return status;
  TESSERA_CHECK(absl::IsDataLoss(status) || absl::IsUnimplemented(status));
  TESSERA_CHECK(!status.message().empty());
  return status;
}

std::string Resealed(std::string_view input) {
  if (input.size() < sizeof(uint32_t)) return std::string(input);
  std::string sealed(input.substr(0, input.size() - sizeof(uint32_t)));
  base::Seal(&sealed);
  return sealed;
}

std::string ResealedInFront(std::string_view input) {
  if (input.size() < sizeof(uint32_t)) return std::string(input);
  const std::string_view body = input.substr(sizeof(uint32_t));
  std::string sealed;
  base::PutU32(&sealed, base::Crc32c(body));
  sealed.append(body);
  return sealed;
}

std::vector<float> Grid(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = 0.5F * static_cast<float>(i * 7919 % 17) - 4;
  return values;
}

}  // namespace tessera::fuzz
