#include "base/coding/sealed.h"

#include <string>

#include "gtest/gtest.h"

#include "tests/support/status_matchers.h"

namespace tessera::base {
namespace {

using ::testing::HasSubstr;

TEST(Sealed, BytesArePinned) {
  std::string bytes = "123456789";
  Seal(&bytes);
  EXPECT_EQ(bytes, "123456789\x83\x92\x06\xe3");  // the check value of CRC-32C
  ASSERT_OK_AND_ASSIGN(const std::string_view body, Unseal("thing", bytes));
  EXPECT_EQ(body, "123456789");
  std::string empty;
  Seal(&empty);
  ASSERT_OK_AND_ASSIGN(const std::string_view nothing, Unseal("thing", empty));
  EXPECT_EQ(nothing, "");
}

TEST(Sealed, EveryDamageIsDataLossThatNamesTheThing) {
  std::string bytes = "some body";
  Seal(&bytes);
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto cut = Unseal("thing", std::string_view(bytes).substr(0, size));
    EXPECT_THAT(cut.status(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("thing")));
  }
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    EXPECT_THAT(Unseal("thing", damaged), StatusIs(absl::StatusCode::kDataLoss));
  }
}

}  // namespace
}  // namespace tessera::base
