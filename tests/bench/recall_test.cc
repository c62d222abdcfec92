#include "bench/recall.h"

#include <limits>

#include "gtest/gtest.h"

#include "tests/support/status_matchers.h"

namespace tessera::bench {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

absl::StatusOr<double> NoLookup(uint32_t, uint64_t id) {
  ADD_FAILURE() << "distance of " << id << " was asked for";
  return 0.0;
}

double Recall(const GroundTruth& truth, uint32_t k,
              const std::vector<std::vector<uint64_t>>& answers,
              const DistanceLookup& lookup = NoLookup) {
  const auto recall = RecallAtK(truth, k, answers, lookup);
  EXPECT_OK(recall);
  return recall.value_or(-1);
}

TEST(Recall, CountsTheShareOfTheKNearest) {
  const GroundTruth truth{2, 3, {1, 2, 3, 4, 5, 6}, {.1F, .2F, .3F, .1F, .2F, .3F}};
  EXPECT_DOUBLE_EQ(Recall(truth, 2, {{2, 1}, {4, 5}}), 1.0);
  EXPECT_DOUBLE_EQ(Recall(truth, 2, {{1, 9}, {5, 4}}), 0.75);
  EXPECT_DOUBLE_EQ(Recall(truth, 2, {{1, 3}, {}}), 0.25);  // row 3 is known, but only third
  EXPECT_DOUBLE_EQ(Recall(truth, 2, {{1}}), 0.5);          // fewer answers than k
}

TEST(Recall, AnswersBeyondKAndRepeatedIdsDoNotCount) {
  const GroundTruth truth{1, 3, {1, 2, 3}, {.1F, .2F, .3F}};
  EXPECT_DOUBLE_EQ(Recall(truth, 2, {{9, 1, 2}}), 0.5);
  EXPECT_DOUBLE_EQ(Recall(truth, 2, {{1, 1}}), 0.5);
}

TEST(Recall, ATieIsAsGoodAsTheRowInTheTruth) {
  const GroundTruth truth{1, 3, {1, 2, 3}, {.1F, .2F, .2F}};
  EXPECT_DOUBLE_EQ(Recall(truth, 2, {{1, 3}}), 1.0);
  // Ids that tie with the end of the truth are judged by their own distance.
  const auto lookup = [](uint32_t, uint64_t id) -> absl::StatusOr<double> {
    return id == 7 ? static_cast<double>(.2F) : .3;
  };
  EXPECT_DOUBLE_EQ(Recall(truth, 2, {{1, 7}}, lookup), 1.0);
  EXPECT_DOUBLE_EQ(Recall(truth, 2, {{1, 8}}, lookup), 0.5);
  // More ties than k never count for more than k.
  EXPECT_DOUBLE_EQ(Recall(truth, 2, {{2, 3}}, lookup), 1.0);
}

TEST(Recall, NegativeDistancesTieTheRightWayRound) {
  const GroundTruth truth{1, 3, {1, 2, 3}, {-9.F, -8.F, -7.F}};
  EXPECT_DOUBLE_EQ(Recall(truth, 2, {{1, 2}}), 1.0);
  EXPECT_DOUBLE_EQ(Recall(truth, 2, {{1, 3}}), 0.5);
}

TEST(Recall, PaddingIsNotWanted) {
  const GroundTruth truth{2, 3, {1, 2, 0, 0, 0, 0}, {.1F, .2F, kInf, kInf, kInf, kInf}};
  EXPECT_DOUBLE_EQ(Recall(truth, 3, {{1, 2}, {5}}), 1.0);
  EXPECT_DOUBLE_EQ(Recall(truth, 3, {{1, 9}, {}}), 0.5);
}

TEST(Recall, MoreThanTheTruthKnowsIsInvalid) {
  const GroundTruth truth{1, 1, {1}, {.1F}};
  EXPECT_EQ(RecallAtK(truth, 2, {{1}}, NoLookup).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(RecallAtK(truth, 1, {{1}, {1}}, NoLookup).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace tessera::bench
