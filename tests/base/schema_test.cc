#include "base/schema.h"

#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::base {
namespace {

using testing::AllOf;
using testing::HasSubstr;

CollectionSchema Example() {
  return {
      .name = "docs-1.x",
      .vectors = {{.name = "", .dim = 768, .metric = Metric::kCosine, .type = ElementType::kF16},
                  {.name = "image", .dim = 1, .metric = Metric::kL2, .type = ElementType::kU8},
                  {.name = "title", .dim = kDimMax, .metric = Metric::kInnerProduct}}};
}

// Replaces the checksum by the right one.
std::string WithChecksum(std::string bytes) {
  bytes.resize(bytes.size() - 4);
  PutU32(&bytes, Crc32c(bytes));
  return bytes;
}

TEST(Schema, RoundTrips) {
  EXPECT_THAT(DecodeSchema(EncodeSchema(Example())), IsOkAndHolds(Example()));
}

TEST(Schema, BytesArePinned) {
  const CollectionSchema schema{.name = "ab", .vectors = {{.name = "v", .dim = 3}}};
  const std::string body(
      "\x01\x02"
      "ab\x01\x01v\x03\0\0\0\x03\x01",
      13);
  std::string want = body;
  PutU32(&want, Crc32c(body));
  EXPECT_EQ(EncodeSchema(schema), want);
}

TEST(Schema, EveryTruncationIsDataLoss) {
  const std::string bytes = EncodeSchema(Example());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THAT(DecodeSchema(bytes.substr(0, size)).status(), StatusIs(absl::StatusCode::kDataLoss))
        << size;
    if (size < 5) continue;
    // With a right checksum as well: the decoder must not rely on it.
    EXPECT_THAT(DecodeSchema(WithChecksum(bytes.substr(0, size))).status(),
                StatusIs(absl::StatusCode::kDataLoss))
        << size;
  }
}

TEST(Schema, EveryFlippedByteIsDataLoss) {
  const std::string bytes = EncodeSchema(Example());
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int mask = 1; mask < 256; ++mask) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ mask);
      EXPECT_THAT(DecodeSchema(damaged).status(), StatusIs(absl::StatusCode::kDataLoss));
    }
  }
}

TEST(Schema, DamageUnderARightChecksumIsAnsweredWithAValidSchemaOrAnError) {
  const std::string bytes = EncodeSchema(Example());
  for (size_t i = 0; i + 4 < bytes.size(); ++i) {
    for (int mask = 1; mask < 256; ++mask) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ mask);
      const auto decoded = DecodeSchema(WithChecksum(damaged));
      if (decoded.ok()) {
        EXPECT_OK(Validate(*decoded));
      } else if (i != 0) {
        EXPECT_THAT(decoded.status(), StatusIs(absl::StatusCode::kDataLoss));
      }
    }
  }
}

TEST(Schema, RandomBytesAreAnswered) {
  std::mt19937_64 rng(TestSeed());
  for (int i = 0; i < 5000; ++i) {
    std::string bytes(rng() % 64, ' ');
    for (char& c : bytes) c = static_cast<char>(rng() % 4 == 0 ? rng() : rng() % 4);
    if (bytes.size() >= 5) bytes = WithChecksum(bytes);
    const auto decoded = DecodeSchema(bytes);
    if (decoded.ok()) {
      EXPECT_OK(Validate(*decoded));
    }
  }
}

TEST(Schema, ANewerVersionIsUnimplemented) {
  std::string bytes = EncodeSchema(Example());
  bytes[0] = 2;
  EXPECT_THAT(DecodeSchema(WithChecksum(bytes)).status(),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("version 2")));
  EXPECT_THAT(DecodeSchema(WithChecksum("\x09 of another layout....")).status(),
              StatusIs(absl::StatusCode::kUnimplemented));
}

TEST(Schema, ValidatesNames) {
  CollectionSchema schema = Example();
  for (const char* name : {"a", "A.b-c_9", "9", "-", "_"}) {
    schema.name = name;
    EXPECT_OK(Validate(schema)) << name;
  }
  schema.name = std::string(kCollectionNameBytesMax, 'x');
  EXPECT_OK(Validate(schema));
  schema.name += 'x';
  EXPECT_THAT(Validate(schema), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("256")));
  for (const char* name : {"", ".", "..", ".hidden", "a/b", "a b", "\xC3\xA9", "a\n"}) {
    schema.name = name;
    EXPECT_THAT(Validate(schema), StatusIs(absl::StatusCode::kInvalidArgument)) << name;
  }
  schema = Example();
  schema.vectors[1].name = "a/b";
  EXPECT_THAT(Validate(schema),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("vector field")));
}

TEST(Schema, ValidatesDimensionMetricAndType) {
  for (const uint32_t dim : {0U, kDimMax + 1, 0xFFFFFFFFU}) {
    CollectionSchema schema = Example();
    schema.vectors[1].dim = dim;
    EXPECT_THAT(Validate(schema),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("\"image\""), HasSubstr(std::to_string(dim)),
                               HasSubstr("1 .. 16384"))));
  }
  for (const int number : {0, 4, 255}) {
    CollectionSchema schema = Example();
    schema.vectors[0].metric = static_cast<Metric>(number);
    EXPECT_THAT(Validate(schema),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("metric")));
  }
  for (const int number : {0, 5, 255}) {
    CollectionSchema schema = Example();
    schema.vectors[0].type = static_cast<ElementType>(number);
    EXPECT_THAT(Validate(schema),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("element type")));
  }
}

TEST(Schema, ValidatesTheSetOfFields) {
  CollectionSchema schema = Example();
  schema.vectors[2].name = "image";
  EXPECT_THAT(Validate(schema), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("twice")));
  schema.vectors.clear();
  EXPECT_THAT(Validate(schema),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("0 vector fields")));
  for (size_t i = 0; i < kVectorFieldsMax; ++i) {
    schema.vectors.push_back({.name = "f" + std::to_string(i), .dim = 2});
  }
  EXPECT_OK(Validate(schema));
  EXPECT_THAT(DecodeSchema(EncodeSchema(schema)), IsOkAndHolds(schema));
  schema.vectors.push_back({.name = "one more", .dim = 2});
  EXPECT_THAT(Validate(schema), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("17")));
}

}  // namespace
}  // namespace tessera::base
