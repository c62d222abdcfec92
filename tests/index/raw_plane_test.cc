#include "index/raw_plane.h"

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/coding/crc32c.h"
#include "base/float16.h"
#include "base/strings.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::index {
namespace {

using base::ElementType;
using base::PointId;
using test::IsOk;
using test::StatusIs;
using testing::HasSubstr;

base::VectorFieldSchema Field(uint32_t dim, ElementType type) {
  return {.name = "", .dim = dim, .metric = base::Metric::kL2, .type = type};
}

base::Uuid SomeUuid() {
  base::Uuid uuid;
  for (size_t i = 0; i < uuid.bytes.size(); ++i) uuid.bytes[i] = static_cast<uint8_t>(0xA0 + i);
  return uuid;
}

// Every kind of id and its edges.
std::vector<PointId> Ids() {
  return {PointId(uint64_t{0}),
          PointId(~uint64_t{0}),
          PointId(SomeUuid()),
          PointId(std::string("a")),
          PointId(std::string("sixteen bytes 16")),
          PointId(std::string("seventeen bytes17")),
          PointId(std::string(base::kPointIdStringBytesMax, 'z'))};
}

// Rows with ids of all kinds and random elements.
struct Plane {
  Plane(const base::VectorFieldSchema& field_in, size_t row_count, std::mt19937_64& rng)
      : field(field_in), ids(Ids()), bytes(RawPlaneBytes(field, row_count), std::byte{0xEE}) {
    vectors.resize(row_count * field.dim * base::ElementBytes(field.type));
    for (std::byte& b : vectors) b = static_cast<std::byte>(rng());
    for (size_t i = 0; i < row_count; ++i) {
      rows.push_back(
          {.row = {rng()}, .version = rng(), .id = &ids[i % ids.size()], .vector = vector(i)});
    }
    EncodeRawPlane(field, rows, bytes.data());
  }
  const std::byte* vector(size_t row) const {
    return vectors.data() + row * field.dim * base::ElementBytes(field.type);
  }
  std::span<const std::byte> unit(size_t u) const {
    return std::span(bytes).subspan(u * RawUnitStride(field),
                                    RawUnitBytes(field, RawUnitRows(field, rows.size(), u)));
  }

  base::VectorFieldSchema field;
  std::vector<PointId> ids;
  std::vector<std::byte> vectors;
  std::vector<RawRow> rows;
  std::vector<std::byte> bytes;
};

std::string Hex(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return absl::BytesToHexString(base::Sv(text));
}

struct Shape {
  uint32_t dim;
  ElementType type;
};

class RawPlaneTest : public testing::TestWithParam<Shape> {
 protected:
  base::VectorFieldSchema field() const { return Field(GetParam().dim, GetParam().type); }
};

TEST_P(RawPlaneTest, RoundTrip) {
  std::mt19937_64 rng(test::TestSeed());
  const size_t unit = RawRowsPerUnit(field());
  for (const size_t row_count : {size_t{1}, size_t{2}, unit, unit + 1, size_t{64}, size_t{257}}) {
    const Plane plane(field(), row_count, rng);
    ASSERT_EQ(plane.bytes.size() % kRawUnitAlignment, 0U);
    for (size_t u = 0; u < RawUnitCount(field(), row_count); ++u) {
      ASSERT_THAT(ValidateRawUnit(field(), RawUnitRows(field(), row_count, u), plane.unit(u)),
                  IsOk());
    }
    for (size_t slot = 0; slot < row_count; ++slot) {
      const RawUnitShape shape(field());
      const std::byte* of_unit = plane.unit(slot / unit).data();
      const std::byte* record = shape.Header(of_unit, slot % unit);
      const std::byte* vector = shape.Vector(of_unit, slot % unit);
      ASSERT_LE(vector + RawVectorBytes(field()), plane.bytes.data() + plane.bytes.size());
      std::vector<std::byte> whole(RawRecordBytes(field()));
      shape.LoadRecord(of_unit, slot % unit, whole.data());
      EXPECT_EQ(std::memcmp(whole.data(), record, kRawHeaderBytes), 0);
      EXPECT_EQ(std::memcmp(RawVector(whole.data()), vector, RawVectorBytes(field())), 0);
      EXPECT_EQ(RawRowId(record), plane.rows[slot].row);
      EXPECT_EQ(RawVersion(record), plane.rows[slot].version);
      EXPECT_EQ(
          std::memcmp(vector, plane.vector(slot), field().dim * base::ElementBytes(field().type)),
          0);
      const PointId& id = *plane.rows[slot].id;
      if (RawKind(record) != RawIdKind::kLongString) {
        EXPECT_EQ(RawPointId(record), id);
      } else {
        EXPECT_GT(id.string()->size(), kRawInlineIdBytes);
        EXPECT_EQ(std::memcmp(RawIdBytes(record), id.string()->data(), 8), 0);
        EXPECT_EQ(base::LoadU64(record + 32), RawLongIdHash(*id.string()));
      }
    }
  }
}

TEST_P(RawPlaneTest, EveryFlippedBitIsAnswered) {
  std::mt19937_64 rng(test::TestSeed());
  const size_t row_count = 2 * size_t{RawRowsPerUnit(field())} + 1;
  const Plane plane(field(), row_count, rng);
  for (size_t u = 0; u < RawUnitCount(field(), row_count); ++u) {
    const size_t unit_rows = RawUnitRows(field(), row_count, u);
    std::vector<std::byte> unit(plane.unit(u).begin(), plane.unit(u).end());
    for (size_t i = 0; i < unit.size(); ++i) {
      const auto bit = static_cast<std::byte>(1U << (rng() % 8));
      unit[i] ^= bit;
      ASSERT_THAT(ValidateRawUnit(field(), unit_rows, unit), StatusIs(absl::StatusCode::kDataLoss))
          << "byte " << i << " of unit " << u;
      unit[i] ^= bit;
    }
  }
}

TEST_P(RawPlaneTest, EveryTruncationIsAnswered) {
  std::mt19937_64 rng(test::TestSeed());
  const size_t row_count = RawRowsPerUnit(field());
  const Plane plane(field(), row_count, rng);
  const std::span<const std::byte> unit = plane.unit(0);
  for (size_t size = 0; size < unit.size(); ++size) {
    ASSERT_THAT(ValidateRawUnit(field(), row_count, unit.first(size)),
                StatusIs(absl::StatusCode::kDataLoss))
        << size;
  }
  // Sizes that fit together but not the content.
  for (size_t rows = 1; rows <= row_count + 1; ++rows) {
    if (rows == row_count) continue;
    const size_t bytes = std::min(RawUnitBytes(field(), rows), unit.size());
    EXPECT_FALSE(ValidateRawUnit(field(), rows, unit.first(bytes)).ok()) << rows;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, RawPlaneTest,
                         testing::Values(Shape{1, ElementType::kU8}, Shape{3, ElementType::kI8},
                                         Shape{1, ElementType::kF16}, Shape{100, ElementType::kF32},
                                         Shape{128, ElementType::kU8}, Shape{512, ElementType::kI8},
                                         Shape{768, ElementType::kF16},
                                         Shape{1014, ElementType::kF32},
                                         Shape{1536, ElementType::kF32}),
                         [](const auto& param) {
                           return std::string(base::ToString(param.param.type)) + "Dim" +
                                  std::to_string(param.param.dim);
                         });

TEST(RawPlaneLayout, SizesAreWhatTheFormatSays) {
  // 40 + 400 bytes: nine rows to a unit of 4096.
  const base::VectorFieldSchema f32 = Field(100, ElementType::kF32);
  EXPECT_EQ(RawRecordBytes(f32), 440U);
  EXPECT_EQ(RawRowsPerUnit(f32), 9U);
  EXPECT_EQ(RawUnitStride(f32), 4096U);
  EXPECT_EQ(RawPlaneBytes(f32, 0), 0U);
  // Headers of nine rows, 360 bytes, and the first vector.
  EXPECT_EQ(RawVectorsAt(f32), 384U);
  EXPECT_EQ(RawPlaneBytes(f32, 1), 1024U);
  EXPECT_EQ(RawPlaneBytes(f32, 10), 4096U + 1024U);
  // Ten rows of 408 bytes fit, but not with their vectors at a multiple of 64.
  const base::VectorFieldSchema tight = Field(92, ElementType::kF32);
  EXPECT_EQ(kRawUnitGoalBytes / RawRecordBytes(tight), 10U);
  EXPECT_EQ(RawRowsPerUnit(tight), 9U);
  // Padded to a multiple of four.
  EXPECT_EQ(RawRecordBytes(Field(3, ElementType::kI8)), 44U);
  // Larger than a unit: one row each, 512-byte aligned.
  const base::VectorFieldSchema large = Field(1536, ElementType::kF32);
  EXPECT_EQ(RawRowsPerUnit(large), 1U);
  EXPECT_EQ(RawVectorsAt(large), 64U);
  EXPECT_EQ(RawUnitStride(large), 6656U);
}

// The bytes are on disk: a change here is a change of format.
TEST(RawPlaneLayout, PinnedBytes) {
  const std::vector<PointId> ids = Ids();
  const std::vector<float> f32 = {1.5F, -2.0F};
  const std::vector<uint16_t> f16 = {base::F32ToF16(1.5F), base::F32ToF16(-2.0F)};
  const std::vector<int8_t> i8 = {-1, 127, 5};
  const std::vector<uint8_t> u8 = {255, 0, 7, 9, 1};
  const auto encoded = [](const base::VectorFieldSchema& field, const PointId& id,
                          const void* vector) {
    std::vector<std::byte> record(RawRecordBytes(field));
    EncodeRawRecord(field,
                    {.row = {0x0102030405060708},
                     .version = 0x1112131415161718,
                     .id = &id,
                     .vector = static_cast<const std::byte*>(vector)},
                    record.data());
    EXPECT_EQ(base::LoadU32(record.data()), base::Crc32c(std::span(record).subspan(4)));
    return Hex(std::span(record).subspan(4));
  };
  const std::string row = "08070605040302011817161514131211";
  EXPECT_EQ(encoded(Field(2, ElementType::kF32), PointId(uint64_t{0x2122}), f32.data()),
            "00080000" + row + "22210000000000000000000000000000" + "0000c03f000000c0");
  EXPECT_EQ(encoded(Field(2, ElementType::kF16), ids[2], f16.data()),
            "01100000" + row + "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf" + "003e00c0");
  EXPECT_EQ(encoded(Field(3, ElementType::kI8), PointId(std::string("ab")), i8.data()),
            "02020000" + row + "61620000000000000000000000000000" + "ff7f0500");
  EXPECT_EQ(
      encoded(Field(5, ElementType::kU8), PointId(std::string("0123456789abcdefg")), u8.data()),
      "03100000" + row + "3031323334353637" + "a9a5e243f934e3d9" + "ff00070901000000");
}

TEST(RawPlaneValidation, RecordsThatNoEncoderWrites) {
  const base::VectorFieldSchema field = Field(4, ElementType::kU8);
  const PointId id(std::string("abc"));
  const std::vector<std::byte> vector(4);
  const RawRow row{.row = {1}, .version = 2, .id = &id, .vector = vector.data()};
  struct Damage {
    size_t offset;
    uint8_t value;
    const char* message;
  };
  for (const Damage& damage :
       {Damage{4, 4, "kind"}, Damage{4, 0, "number id"}, Damage{4, 1, "id length"},
        Damage{5, 17, "string id"}, Damage{5, 2, "string id"}, Damage{6, 1, "reserved"},
        Damage{39, 1, "string id"}}) {
    std::vector<std::byte> unit(RawUnitBytes(field, 1));
    EncodeRawPlane(field, {&row, 1}, unit.data());
    unit[damage.offset] = static_cast<std::byte>(damage.value);
    const RawUnitShape shape(field);
    const uint32_t crc = base::Crc32c(std::span(unit).subspan(4, kRawHeaderBytes - 4));
    base::StoreU32(unit.data(),
                   base::ExtendCrc32c(crc, {shape.Vector(unit.data(), 0), RawVectorBytes(field)}));
    EXPECT_THAT(ValidateRawUnit(field, 1, unit),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr(damage.message)));
  }
}

TEST(RawPlaneValidation, LongIdsWithTheSameBeginningDiffer) {
  const std::string one = std::string(40, 'x') + "1";
  const std::string two = std::string(40, 'x') + "2";
  EXPECT_NE(RawLongIdHash(one), RawLongIdHash(two));
}

}  // namespace
}  // namespace tessera::index
