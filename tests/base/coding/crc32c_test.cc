#include "base/coding/crc32c.h"

#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/support/seed.h"

namespace tessera::base {
namespace {

// RFC 3720, appendix B.4.
TEST(Crc32c, ValuesArePinned) {
  EXPECT_EQ(Crc32c(""), 0U);
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283U);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(Crc32c(std::string(32, '\xFF')), 0x62A8AB43U);
  std::string ascending;
  for (int i = 0; i < 32; ++i) ascending.push_back(static_cast<char>(i));
  EXPECT_EQ(Crc32c(ascending), 0x46DD794EU);
  EXPECT_EQ(Crc32c(std::string(ascending.rbegin(), ascending.rend())), 0x113FDB5CU);
}

TEST(Crc32c, FastAndPortableFormsAgreeAtEveryLength) {
  std::mt19937_64 rng(TestSeed());
  std::vector<std::byte> bytes(20000);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng());
  // Around the word, and around the three streams of the fast form.
  std::vector<size_t> lengths;
  for (size_t i = 0; i < 70; ++i) lengths.push_back(i);
  for (const size_t edge : {1024, 2048, 3072, 6144, 9216, 12288}) {
    for (size_t length = edge - 9; length <= edge + 9; ++length) lengths.push_back(length);
  }
  for (const size_t length : lengths) {
    for (const size_t offset : {0, 1, 3, 8}) {
      const std::span<const std::byte> part = std::span(bytes).subspan(offset, length);
      ASSERT_EQ(Crc32c(part), internal::ExtendCrc32cPortable(0, part)) << length << "+" << offset;
    }
  }
}

TEST(Crc32c, ExtendingEqualsTheChecksumOfTheWhole) {
  std::mt19937_64 rng(TestSeed());
  std::string text(9000, ' ');
  for (char& c : text) c = static_cast<char>(rng());
  const std::span<const std::byte> bytes = std::as_bytes(std::span(text));
  const uint32_t whole = Crc32c(text);
  for (int i = 0; i < 200; ++i) {
    const size_t cut = rng() % (bytes.size() + 1);
    ASSERT_EQ(ExtendCrc32c(Crc32c(bytes.first(cut)), bytes.subspan(cut)), whole) << cut;
    ASSERT_EQ(internal::ExtendCrc32cPortable(Crc32c(bytes.first(cut)), bytes.subspan(cut)), whole);
  }
}

TEST(Crc32c, EveryFlippedBitIsSeen) {
  std::string text = "a list of two hundred and fifty-six rows";
  const uint32_t crc = Crc32c(text);
  for (char& c : text) {
    for (int bit = 0; bit < 8; ++bit) {
      c = static_cast<char>(c ^ (1 << bit));
      EXPECT_NE(Crc32c(text), crc);
      c = static_cast<char>(c ^ (1 << bit));
    }
  }
}

}  // namespace
}  // namespace tessera::base
