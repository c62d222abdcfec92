#include "query/hit.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace tessera::query {
namespace {

std::vector<base::PointId> SomeIds() {
  std::vector<base::PointId> ids;
  for (const uint64_t number : {0ULL, 1ULL, 255ULL, 256ULL, ~0ULL}) ids.emplace_back(number);
  base::Uuid uuid;
  ids.emplace_back(uuid);
  uuid.bytes[15] = 200;
  ids.emplace_back(uuid);
  uuid.bytes[0] = 1;
  ids.emplace_back(uuid);
  for (const char* text : {"a", "ab", "abcdefgh", "abcdefghi", "abcdefghijklmnop", "b", "\xff"}) {
    ids.emplace_back(std::string(text));
  }
  ids.emplace_back(std::string("a\0", 2));
  return ids;
}

TEST(HitId, KeepsNumbersUuidsAndShortStringsWhole) {
  for (const base::PointId& id : SomeIds()) {
    const HitId hit = HitId::FromPointId(id);
    ASSERT_TRUE(hit.resolved()) << id.ToString();
    EXPECT_EQ(hit.ToPointId(), id) << id.ToString();
  }
}

TEST(HitId, OrdersAsPointIds) {
  const std::vector<base::PointId> ids = SomeIds();
  for (const base::PointId& a : ids) {
    for (const base::PointId& b : ids) {
      EXPECT_EQ(HitId::FromPointId(a) < HitId::FromPointId(b), a < b)
          << a.ToString() << " and " << b.ToString();
    }
  }
}

TEST(HitId, LongStringsAreUnresolvedButDistinct) {
  const HitId a = HitId::FromPointId(base::PointId(std::string("seventeen bytes..")));
  const HitId b = HitId::FromPointId(base::PointId(std::string("seventeen bytes,,")));
  EXPECT_FALSE(a.resolved());
  EXPECT_FALSE(a == b);
  EXPECT_NE(a < b, b < a);
  EXPECT_TRUE(a < HitId::FromPointId(base::PointId(std::string("t"))));
  EXPECT_TRUE(HitId::FromPointId(base::PointId(uint64_t{7})) < a);
}

TEST(Hit, OrdersByDistanceThenId) {
  const Hit near{.dissimilarity = 1, .id = HitId::Number(9), .row = {1}, .version = 0};
  const Hit far{.dissimilarity = 2, .id = HitId::Number(1), .row = {1}, .version = 0};
  const Hit tie{.dissimilarity = 2, .id = HitId::Number(2), .row = {0}, .version = 0};
  EXPECT_TRUE(near < far);
  EXPECT_TRUE(far < tie);
  EXPECT_FALSE(tie < far);
}

}  // namespace
}  // namespace tessera::query
