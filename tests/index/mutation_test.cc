// Decoders of the index layer under bytes that somebody made up: whatever is accepted is used in
// bounds, and nothing is allocated or called more often than the bytes at hand justify.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <pthread.h>

#include "gtest/gtest.h"

#include "base/coding/coding.h"
#include "base/coding/sealed.h"
#include "index/codecs/codec.h"
#include "index/codecs/codec_trainer.h"
#include "index/heads/head_index.h"
#include "tests/index/allocation_probe.h"
#include "tests/index/codecs/codec_fixture.h"
#include "tests/support/status_matchers.h"

namespace tessera::index {
namespace {

constexpr size_t kStackBytes = 256 << 10;
constexpr uint32_t kHostile[] = {
    0xFFFFFFFF, 0x80000000,           0x7FFFFFFF,           1 << 24,   65536, 1,
    0,          0x7F800000 /* inf */, 0x7FC00000 /* NaN */, 0x7F7FFFFF /* max */};

std::string Sealed(std::string body) {
  base::Seal(&body);
  return body;
}

// Calls `use` with some 30 times `effort` mutations of sealed bytes, most of them sealed anew.
template <typename Use>
void ForEachMutation(const std::string& bytes, size_t effort, const Use& use) {
  const std::string body = bytes.substr(0, bytes.size() - 4);
  std::mt19937_64 rng(5);
  for (size_t cut = 0; cut < effort; ++cut) {
    const size_t size = cut % 2 == 0 ? cut * 4 : rng() % body.size();
    use(bytes.substr(0, std::min(size, body.size())));
    use(Sealed(body.substr(0, std::min(size, body.size()))));
  }
  use(Sealed(body + std::string(100, '\xff')));
  const auto overwrite = [&](size_t at) {
    for (const uint32_t number : kHostile) {
      std::string damaged = body;
      base::StoreU32(reinterpret_cast<std::byte*>(damaged.data()) + at, number);
      use(Sealed(damaged));
    }
  };
  for (size_t at = 0; at < std::min(effort, body.size() - 4); ++at) overwrite(at);
  for (size_t i = 0; i < effort; ++i) overwrite(rng() % (body.size() - 4));
  for (size_t i = 0; i < 8 * effort; ++i) {
    std::string damaged = body;
    const size_t bit = rng() % (8 * body.size());
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    use(Sealed(damaged));
  }
}

void ExpectRefusedOrSearched(const std::string& bytes, size_t dim) {
  ResetLargestAllocation();
  const auto index = HeadIndex::Deserialize(bytes);
  EXPECT_LE(LargestAllocation(), 16 * bytes.size() + 65536);
  if (!index.ok()) return;
  std::vector<float> query((*index)->dim());
  for (size_t j = 0; j < query.size(); ++j) query[j] = static_cast<float>(j % 7) - 3;
  HeadCursor cursor;
  std::vector<HeadHit> hits;
  cursor.Begin(**index, query.data());
  for (const size_t step : {1, 30, 100}) {
    cursor.Next(step, &hits);
    for (const HeadHit& hit : hits) ASSERT_LT(hit.list, (*index)->head_count());
  }
  EXPECT_EQ((*index)->dim(), dim) << "a dimension that was not asked for fits the bytes";
}

TEST(Mutation, HeadsWithoutATier) {
  std::mt19937_64 rng(3);
  const auto index = HeadIndex::Build(Gaussian(rng, 200 * 9), 9, {});
  ForEachMutation(index->Serialize(), 64,
                  [](const std::string& bytes) { ExpectRefusedOrSearched(bytes, 9); });
}

TEST(Mutation, HeadsWithATier) {
  std::mt19937_64 rng(3);
  const auto index = HeadIndex::Build(Gaussian(rng, 1100 * 960), 960, {});
  ASSERT_TRUE(index->has_tier());
  const std::string bytes = index->Serialize();
  ForEachMutation(bytes, 4,
                  [](const std::string& damaged) { ExpectRefusedOrSearched(damaged, 960); });
  // The tier alone: it begins behind the heads.
  const size_t tier = 18 + 4 * 960 + 8 * 1100 + 1100 * 960;
  for (int i = 0; i < 100; ++i) {
    std::string damaged = bytes.substr(0, bytes.size() - 4);
    const size_t at = tier + rng() % (damaged.size() - tier - 4);
    base::StoreU32(reinterpret_cast<std::byte*>(damaged.data()) + at,
                   kHostile[i % std::size(kHostile)]);
    ExpectRefusedOrSearched(Sealed(damaged), 960);
  }
}

TEST(Mutation, Codecs) {
  std::mt19937_64 rng(3);
  constexpr size_t kDim = 24;
  const std::vector<float> rows = Gaussian(rng, 600 * kDim);
  const std::vector<float> head(kDim);
  const std::vector<uint32_t> lists(600);
  ASSERT_OK_AND_ASSIGN(
      const auto trained,
      TrainRaBitQ({.dim = kDim, .rows = rows, .heads = head, .assignment = lists}, {}));
  ForEachMutation(trained->Serialize(), 64, [&](const std::string& bytes) {
    ResetLargestAllocation();
    const auto codec = DeserializeCodec(bytes);
    EXPECT_LE(LargestAllocation(), 16 * bytes.size() + 65536);
    if (!codec.ok() || (*codec)->dim() != kDim) return;
    std::vector<std::byte> plane((*codec)->CodePlaneBytes(100));
    std::vector<std::byte> fine((*codec)->FineRecordBytes() * 100);
    (*codec)->EncodeList(head.data(), rows.data(), 100, plane.data(), fine.data());
    const auto code = (*codec)->NewQuery();
    (*codec)->PrepareQuery(rows.data(), code.get());
    std::vector<Survivor> survivors(100);
    ListScan scan{.code_plane = plane.data(), .rows = 100, .head_distance2 = 20, .head_dot = 0};
    scan.tau = 30;
    EXPECT_LE((*codec)->ScanList(*code, scan, survivors.data()), 100U);
  });
}

// One head index within the other, each with no more than its predecessor's checksum behind it.
std::string NestedHeads(int depth) {
  std::string inner;
  for (int level = 0; level < depth; ++level) {
    std::string body;
    base::PutU32(&body, 0x32444854);  // "THD2"
    base::PutU8(&body, 1);
    base::PutU8(&body, 1);  // with a tier
    base::PutU32(&body, 1);
    base::PutU32(&body, 4);
    base::PutF32(&body, 1);
    for (int i = 0; i < 1 + 4 + 4; ++i) base::PutF32(&body, 0);
    body.append(4, '\x80');
    base::PutU32(&body, 0);  // the tier: nothing projected, group counts, centres, codec
    for (int i = 0; i < 5; ++i) base::PutU32(&body, 1);
    base::PutBytes(&body, inner);
    base::PutBytes(&body, "");
    inner = Sealed(std::move(body));
  }
  return inner;
}

TEST(Mutation, HeadsWithinHeadsDoNotRecurseForEver) {
  std::string bytes = NestedHeads(3000);
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, kStackBytes), 0);
  pthread_t thread;
  ASSERT_EQ(pthread_create(
                &thread, &attributes,
                [](void* argument) -> void* {
                  EXPECT_THAT(HeadIndex::Deserialize(*static_cast<std::string*>(argument)),
                              StatusIs(absl::StatusCode::kDataLoss));
                  return nullptr;
                },
                &bytes),
            0);
  EXPECT_EQ(pthread_join(thread, nullptr), 0);
  pthread_attr_destroy(&attributes);
}

}  // namespace
}  // namespace tessera::index
