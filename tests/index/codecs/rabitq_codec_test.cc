// Parameters, serialised form and checks of planes that come from disk.
#include "index/codecs/rabitq_codec.h"

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "tests/index/codecs/codec_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::index {
namespace {

using base::Metric;
using test::StatusIs;
using testing::HasSubstr;

RaBitQParameters GoodParameters(std::mt19937_64& rng) {
  RaBitQParameters p;
  p.dim = 12;
  p.code_dim = 9;
  p.projection = RandomRotation(rng, 12);
  p.projection.resize(9 * 12);
  p.mean.assign(12, 0.25F);
  return p;
}

TEST(RaBitQCodec, ParametersOutOfRangeAreRefused) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  std::mt19937_64 rng(test::TestSeed());
  const RaBitQParameters good = GoodParameters(rng);
  EXPECT_OK(RaBitQCodec::Create(good));
  struct Case {
    const char* message;
    std::function<void(RaBitQParameters&)> damage;
  };
  for (const Case& c : std::vector<Case>{
           {"dim", [](auto& p) { p.dim = 0; }},
           {"dim", [](auto& p) { p.dim = base::kDimMax + 1; }},
           {"metric", [](auto& p) { p.metric = static_cast<Metric>(9); }},
           {"code_dim", [](auto& p) { p.code_dim = 0; }},
           {"code_dim", [](auto& p) { p.code_dim = 13; }},
           {"fine_bits", [](auto& p) { p.fine_bits = 5; }},
           {"sigma", [](auto& p) { p.sigma = 0; }},
           {"sigma", [](auto& p) { p.sigma = 11; }},
           {"sigma", [](auto& p) { p.sigma = kNan; }},
           {"components", [](auto& p) { p.projection.pop_back(); }},
           {"components", [](auto& p) { p.mean.push_back(0); }},
           {"NaN", [](auto& p) { p.projection[3] = kNan; }},
           {"NaN", [](auto& p) { p.mean[3] = std::numeric_limits<float>::infinity(); }},
           {"mean", [](auto& p) { p.metric = Metric::kInnerProduct; }},
           {"mean", [](auto& p) { p.metric = Metric::kCosine; }}}) {
    RaBitQParameters p = good;
    c.damage(p);
    EXPECT_THAT(RaBitQCodec::Create(p),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)));
  }
}

TEST(RaBitQCodec, RecordsAreWholeCacheLinesWhereThatCostsLittle) {
  std::mt19937_64 rng(test::TestSeed());
  const auto bytes = [&](size_t dim, uint32_t bits) {
    return MakeCodec(Metric::kL2, dim, 1, bits, rng)->FineRecordBytes();
  };
  EXPECT_EQ(bytes(100, 0), 0U);
  EXPECT_EQ(bytes(100, 4), 64U);
  EXPECT_EQ(bytes(112, 4), 64U);
  EXPECT_EQ(bytes(128, 4), 72U);
  EXPECT_EQ(bytes(128, 8), 136U);
  EXPECT_EQ(bytes(3, 4), 12U);
}

TEST(RaBitQCodec, SerialisedCodecEstimatesTheSame) {
  std::mt19937_64 rng(test::TestSeed());
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    const auto codec = MakeCodec(metric, 40, 24, 4, rng, metric == Metric::kL2);
    const std::string bytes = codec->Serialize();
    ASSERT_OK_AND_ASSIGN(const auto copy, DeserializeCodec(bytes));
    EXPECT_EQ(copy->kind(), CodecKind::kRaBitQ);
    EXPECT_EQ(copy->dim(), 40U);
    EXPECT_EQ(copy->metric(), metric);
    EXPECT_EQ(copy->Serialize(), bytes);
    EXPECT_GT(copy->memory_bytes(), 40 * 24 * sizeof(float));

    const Neighbourhood hood = MakeNeighbourhood(metric, 40, 130, 1, rng);
    const EncodedList one = Encode(*codec, hood.head, hood.rows);
    const EncodedList two = Encode(*copy, hood.head, hood.rows);
    EXPECT_EQ(one.code_plane, two.code_plane);
    EXPECT_EQ(one.fine_plane, two.fine_plane);
    const auto code_one = codec->NewQuery();
    const auto code_two = copy->NewQuery();
    codec->PrepareQuery(hood.queries.data(), code_one.get());
    copy->PrepareQuery(hood.queries.data(), code_two.get());
    const auto found_one = Scan(*codec, *code_one, ScanOf(one, hood.queries.data()));
    const auto found_two = Scan(*copy, *code_two, ScanOf(two, hood.queries.data()));
    ASSERT_EQ(found_one.size(), found_two.size());
    for (size_t i = 0; i < found_one.size(); ++i) {
      EXPECT_EQ(found_one[i].estimate, found_two[i].estimate);
    }
  }
}

TEST(RaBitQCodec, DamagedBytesAreAnswered) {
  std::mt19937_64 rng(test::TestSeed());
  const std::string bytes = MakeCodec(Metric::kL2, 9, 5, 4, rng, true)->Serialize();
  for (size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_THAT(DeserializeCodec(bytes.substr(0, size)), StatusIs(absl::StatusCode::kDataLoss))
        << size;
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << (rng() % 8)));
    ASSERT_THAT(DeserializeCodec(damaged), StatusIs(absl::StatusCode::kDataLoss)) << i;
  }
  EXPECT_THAT(DeserializeCodec(bytes + "x"), StatusIs(absl::StatusCode::kDataLoss));
}

// With a checksum that fits, so that the fields themselves are judged. Whatever it answers, it must
// not read out of bounds or allocate by a size that the bytes do not have.
TEST(RaBitQCodec, DamagedFieldsBehindAGoodChecksum) {
  std::mt19937_64 rng(test::TestSeed());
  const std::string bytes = MakeCodec(Metric::kL2, 9, 5, 4, rng, true)->Serialize();
  const auto sealed = [](std::string body) {
    base::PutU32(&body, base::Crc32c(body));
    return body;
  };
  const std::string body = bytes.substr(0, bytes.size() - 4);
  size_t refused = 0;
  for (size_t i = 4; i < 4 + 1 + 15; ++i) {  // kind, version, dim, metric, code_dim, bits, sigma
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = body;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      const auto codec = DeserializeCodec(sealed(damaged));
      if (codec.ok()) continue;
      ++refused;
      EXPECT_TRUE(codec.status().code() == absl::StatusCode::kDataLoss ||
                  codec.status().code() == absl::StatusCode::kUnimplemented)
          << codec.status();
    }
  }
  EXPECT_GT(refused, 80U);
  std::string newer = body;
  newer[5] = 2;
  EXPECT_THAT(DeserializeCodec(sealed(newer)), StatusIs(absl::StatusCode::kUnimplemented));
  std::string other = body;
  other[4] = 77;
  EXPECT_THAT(DeserializeCodec(sealed(other)), StatusIs(absl::StatusCode::kUnimplemented));
}

TEST(RaBitQCodec, DamagedPlanesAreAnswered) {
  std::mt19937_64 rng(test::TestSeed());
  const auto codec = MakeCodec(Metric::kL2, 20, 20, 4, rng);
  const Neighbourhood hood = MakeNeighbourhood(Metric::kL2, 20, 70, 1, rng);
  const EncodedList list = Encode(*codec, hood.head, hood.rows);
  ASSERT_OK(codec->ValidateCodePlane(list.code_plane, 70));
  ASSERT_OK(codec->ValidateFinePlane(list.fine_plane, 70));
  for (const size_t rows : {0, 69, 71, 128, 1000}) {
    EXPECT_THAT(codec->ValidateCodePlane(list.code_plane, rows),
                StatusIs(absl::StatusCode::kDataLoss))
        << rows;
    EXPECT_THAT(codec->ValidateFinePlane(list.fine_plane, rows),
                StatusIs(absl::StatusCode::kDataLoss));
  }
  struct Case {
    const char* message;
    size_t offset;
    uint32_t value;
  };
  for (const Case& c : std::vector<Case>{{"magic", 0, 1},
                                         {"rows", 4, 71},
                                         {"lines", 8, 99},
                                         {"zero", 12, 1},
                                         {"zero", 60, 1},
                                         {"factor", 16, 0x7F800000},     // infinite offset
                                         {"factor", 20, 0xBF800000},     // negative scale
                                         {"factor", 24, 0},              // B may not be zero
                                         {"factor", 28, 0x7FC00000}}) {  // not a number
    std::vector<std::byte> damaged = list.code_plane;
    base::StoreU32(damaged.data() + c.offset, c.value);
    EXPECT_THAT(codec->ValidateCodePlane(damaged, 70),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr(c.message)));
  }
  for (const size_t offset : {0, 4}) {
    std::vector<std::byte> damaged = list.fine_plane;
    base::StoreU32(damaged.data() + 3 * codec->FineRecordBytes() + offset, 0x7FC00000);
    EXPECT_THAT(codec->ValidateFinePlane(damaged, 70),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("record 3")));
  }
}

// Random bytes after a valid header are a valid plane of nonsense: a scan of it stays in bounds and
// finite.
TEST(RaBitQCodec, ScanOfRandomBlocksIsHarmless) {
  std::mt19937_64 rng(test::TestSeed());
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    const auto codec = MakeCodec(metric, 33, 30, 4, rng);
    const Neighbourhood hood = MakeNeighbourhood(metric, 33, 150, 1, rng);
    EncodedList list = Encode(*codec, hood.head, hood.rows);
    for (size_t i = 64; i < list.code_plane.size(); ++i) {
      list.code_plane[i] = static_cast<std::byte>(rng());
    }
    ASSERT_OK(codec->ValidateCodePlane(list.code_plane, 150));
    const auto code = codec->NewQuery();
    codec->PrepareQuery(hood.queries.data(), code.get());
    for (const Survivor& s : Scan(*codec, *code, ScanOf(list, hood.queries.data()))) {
      EXPECT_LT(s.slot, 150U);
      EXPECT_TRUE(std::isfinite(s.estimate));
    }
  }
}

TEST(RaBitQCodec, OneQueryCodeServesManyQueries) {
  std::mt19937_64 rng(test::TestSeed());
  const auto codec = MakeCodec(Metric::kL2, 30, 30, 4, rng);
  const Neighbourhood hood = MakeNeighbourhood(Metric::kL2, 30, 100, 2, rng);
  const EncodedList list = Encode(*codec, hood.head, hood.rows);
  const auto reused = codec->NewQuery();
  codec->PrepareQuery(hood.queries.data() + 30, reused.get());
  codec->PrepareQuery(hood.queries.data(), reused.get());
  const auto fresh = codec->NewQuery();
  codec->PrepareQuery(hood.queries.data(), fresh.get());
  const auto a = Scan(*codec, *reused, ScanOf(list, hood.queries.data()));
  const auto b = Scan(*codec, *fresh, ScanOf(list, hood.queries.data()));
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].estimate, b[i].estimate);
}

}  // namespace
}  // namespace tessera::index
