#include "query/fresh_view.h"

#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace tessera::query {
namespace {

std::span<const std::byte> Bytes(const uint64_t& number) {
  return std::as_bytes(std::span(&number, 1));
}

uint64_t Number(const FreshRowRef& row) {
  uint64_t number;
  std::memcpy(&number, row.vector.data(), sizeof(number));
  return number;
}

TEST(FreshRows, ViewsKeepWhatTheySaw) {
  FreshRows rows(sizeof(uint64_t));
  for (uint64_t i = 0; i < 300; ++i) {
    EXPECT_EQ(rows.Append({i + 1000}, base::PointId(i), i + 1, Bytes(i)), i);
  }
  const FreshView before = rows.Snapshot();
  rows.MarkDead(5);
  rows.MarkDead(5);
  const uint64_t late = 777;
  rows.Append({2000}, base::PointId(std::string("late")), 9, Bytes(late));
  const FreshView after = rows.Snapshot();
  rows.DropBefore(260);
  const FreshView dropped = rows.Snapshot();

  EXPECT_EQ(before.live_count(), 300U);
  EXPECT_TRUE(before.Row(5).has_value());
  EXPECT_FALSE(before.Row(300).has_value());
  EXPECT_EQ(after.live_count(), 300U);
  EXPECT_FALSE(after.Row(5).has_value());
  ASSERT_TRUE(after.Row(300).has_value());
  EXPECT_EQ(*after.Row(300)->id->string(), "late");
  EXPECT_EQ(after.Row(300)->row.value, 2000U);
  EXPECT_EQ(after.Row(300)->version, 9U);
  EXPECT_EQ(Number(*after.Row(300)), 777U);
  EXPECT_EQ(dropped.live_count(), 41U);
  EXPECT_EQ(dropped.first_sequence(), 260U);
  EXPECT_FALSE(dropped.Row(259).has_value());
  EXPECT_EQ(Number(*dropped.Row(260)), 260U);
  EXPECT_LT(dropped.memory_bytes(), after.memory_bytes()) << "a whole chunk should be gone";
}

TEST(FreshRows, DroppingEverythingGoesOnAtTheNextSequence) {
  for (const uint64_t count : {1U, 255U, 256U, 257U, 512U}) {
    FreshRows rows(sizeof(uint64_t));
    for (uint64_t i = 0; i < count; ++i) rows.Append({i}, base::PointId(i), 1, Bytes(i));
    rows.DropBefore(count + 5);
    EXPECT_TRUE(rows.Snapshot().empty());
    EXPECT_EQ(rows.Append({count}, base::PointId(count), 1, Bytes(count)), count);
    const FreshView view = rows.Snapshot();
    EXPECT_EQ(view.live_count(), 1U);
    ASSERT_TRUE(view.Row(count).has_value());
    EXPECT_EQ(Number(*view.Row(count)), count);
  }
}

TEST(FreshRows, AgreesWithAMapUnderRandomWrites) {
  std::mt19937_64 rng(11);
  FreshRows rows(sizeof(uint64_t));
  std::map<uint64_t, uint64_t> model;  // sequence -> number
  uint64_t end = 0;
  for (int step = 0; step < 5000; ++step) {
    const uint64_t draw = rng() % 100;
    if (draw < 70) {
      const uint64_t number = rng();
      model[rows.Append({end}, base::PointId(end), 1, Bytes(number))] = number;
      ++end;
    } else if (draw < 99 && end > 0) {
      const uint64_t sequence = rng() % end;
      rows.MarkDead(sequence);
      model.erase(sequence);
    } else if (!model.empty()) {
      const uint64_t before = model.begin()->first + rng() % 100;
      rows.DropBefore(before);
      model.erase(model.begin(), model.lower_bound(before));
    }
    if (step % 50 != 0) continue;
    const FreshView view = rows.Snapshot();
    ASSERT_EQ(view.live_count(), model.size());
    std::map<uint64_t, uint64_t> got;
    view.ForEach([&](const FreshRowRef& row) { got[row.sequence] = Number(row); });
    ASSERT_EQ(got, model);
  }
}

}  // namespace
}  // namespace tessera::query
