#include "index/clustering.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"

#include "index/assigner.h"
#include "tests/support/seed.h"

namespace tessera::index {
namespace {

// `centres` Gaussian blobs of uneven weight: blob i draws rows with probability ~ 1 / (i + 1).
std::vector<float> UnevenBlobs(uint64_t seed, size_t n, size_t dim, size_t centres, float spread) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<float> gauss;
  std::vector<float> means(centres * dim);
  for (float& value : means) value = gauss(rng);
  std::vector<double> weights(centres);
  for (size_t c = 0; c < centres; ++c) weights[c] = 1.0 / static_cast<double>(c + 1);
  std::discrete_distribution<size_t> pick(weights.begin(), weights.end());
  std::vector<float> rows(n * dim);
  for (size_t i = 0; i < n; ++i) {
    const size_t c = pick(rng);
    for (size_t j = 0; j < dim; ++j) rows[i * dim + j] = means[c * dim + j] + spread * gauss(rng);
  }
  return rows;
}

double Distance2(const float* a, const float* b, size_t dim) {
  double sum = 0;
  for (size_t j = 0; j < dim; ++j) {
    const double gap = static_cast<double>(a[j]) - static_cast<double>(b[j]);
    sum += gap * gap;
  }
  return sum;
}

double NearestDistance2(const float* row, const std::vector<float>& heads, size_t dim) {
  double best = std::numeric_limits<double>::infinity();
  for (size_t h = 0; h < heads.size() / dim; ++h) {
    best = std::min(best, Distance2(row, heads.data() + h * dim, dim));
  }
  return best;
}

void ExpectConsistent(const Clustering& clustering, size_t n, size_t dim) {
  ASSERT_EQ(clustering.heads.size(), clustering.list_count() * dim);
  ASSERT_EQ(clustering.assignment.size(), n);
  std::vector<uint32_t> sizes(clustering.list_count(), 0);
  for (const uint32_t list : clustering.assignment) {
    ASSERT_LT(list, clustering.list_count());
    ++sizes[list];
  }
  EXPECT_EQ(sizes, clustering.list_sizes);
  EXPECT_EQ(std::count(sizes.begin(), sizes.end(), 0U), 0) << "an empty list";
}

class ClusteringBalanceTest : public testing::TestWithParam<std::tuple<size_t, size_t, uint32_t>> {
};

TEST_P(ClusteringBalanceTest, ListsStayWithinBoundsAndRowsNearTheirHeads) {
  const auto [n, dim, list_rows] = GetParam();
  const std::vector<float> rows = UnevenBlobs(test::TestSeed(), n, dim, 30, 0.4F);
  const Clustering clustering =
      BuildClustering(rows, dim, {.list_rows = list_rows, .thread_count = 2});
  ExpectConsistent(clustering, n, dim);

  const double share = static_cast<double>(n) / static_cast<double>(ListCountFor(n, list_rows));
  const double wanted = static_cast<double>(n) / share;
  EXPECT_LE(*std::max_element(clustering.list_sizes.begin(), clustering.list_sizes.end()),
            2.5 * share + 1);
  EXPECT_GE(static_cast<double>(clustering.list_count()), 0.6 * wanted);
  EXPECT_LE(static_cast<double>(clustering.list_count()), 1.6 * wanted);

  // Splitting lists at the end may leave a row in its second-nearest list, but rarely, and the
  // mean distance stays close to the best these heads allow.
  size_t nearest = 0;
  double total = 0;
  double best_total = 0;
  for (size_t i = 0; i < n; ++i) {
    const float* row = rows.data() + i * dim;
    const double own =
        Distance2(row, clustering.heads.data() + clustering.assignment[i] * dim, dim);
    const double best = NearestDistance2(row, clustering.heads, dim);
    nearest += own <= best * (1 + 1e-4) + 1e-6 ? 1 : 0;
    total += own;
    best_total += best;
  }
  EXPECT_GE(static_cast<double>(nearest), 0.85 * static_cast<double>(n));
  EXPECT_LE(total, 1.03 * best_total);
}

INSTANTIATE_TEST_SUITE_P(Shapes, ClusteringBalanceTest,
                         testing::Values(std::make_tuple(size_t{6000}, size_t{24}, 64U),
                                         std::make_tuple(size_t{6000}, size_t{7}, 256U),
                                         std::make_tuple(size_t{12000}, size_t{96}, 32U),
                                         std::make_tuple(size_t{5000}, size_t{1}, 100U)));

TEST(Clustering, BeatsRandomHeads) {
  constexpr size_t kDim = 16;
  const std::vector<float> rows = UnevenBlobs(test::TestSeed(), 8000, kDim, 60, 0.3F);
  const Clustering clustering = BuildClustering(rows, kDim, {.list_rows = 100});
  // The first rows are a random draw.
  const std::vector<float> random(rows.begin(),
                                  rows.begin() + static_cast<ptrdiff_t>(clustering.heads.size()));
  double ours = 0;
  double theirs = 0;
  for (size_t i = 0; i < 2000; ++i) {
    const float* row = rows.data() + (6000 + i) * kDim;
    ours += NearestDistance2(row, clustering.heads, kDim);
    theirs += NearestDistance2(row, random, kDim);
  }
  EXPECT_LT(ours, 0.7 * theirs);
}

TEST(Clustering, IsTheSameForAnyThreadCountAndDiffersBySeed) {
  constexpr size_t kDim = 20;
  const std::vector<float> rows = UnevenBlobs(test::TestSeed(), 20000, kDim, 50, 0.5F);
  const auto build = [&](uint32_t threads, uint64_t seed) {
    return BuildClustering(rows, kDim, {.list_rows = 64, .seed = seed, .thread_count = threads});
  };
  const Clustering one = build(1, 5);
  const Clustering three = build(3, 5);
  EXPECT_EQ(one.heads, three.heads);
  EXPECT_EQ(one.assignment, three.assignment);
  EXPECT_NE(one.heads, build(1, 6).heads);
}

TEST(Clustering, FewRowsMakeOneList) {
  const std::vector<float> rows = UnevenBlobs(test::TestSeed(), 200, 5, 3, 1.0F);
  const Clustering clustering = BuildClustering(rows, 5, {});
  ExpectConsistent(clustering, 200, 5);
  ASSERT_EQ(clustering.list_count(), 1U);
  for (size_t j = 0; j < 5; ++j) {
    double mean = 0;
    for (size_t i = 0; i < 200; ++i) mean += static_cast<double>(rows[i * 5 + j]) / 200;
    EXPECT_NEAR(static_cast<double>(clustering.heads[j]), mean, 1e-5);
  }
}

TEST(Clustering, OneRowMakesOneList) {
  const std::vector<float> row = {3.0F, -1.0F};
  const Clustering clustering = BuildClustering(row, 2, {});
  EXPECT_EQ(clustering.heads, row);
  EXPECT_EQ(clustering.assignment, std::vector<uint32_t>{0});
}

TEST(Clustering, IdenticalRowsAreSplitIntoBoundedLists) {
  constexpr size_t kDim = 12;
  constexpr size_t kRows = 5000;
  std::vector<float> rows(kRows * kDim);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = 0.1F * static_cast<float>(i % kDim);
  const Clustering clustering = BuildClustering(rows, kDim, {.list_rows = 100});
  ExpectConsistent(clustering, kRows, kDim);
  EXPECT_LE(*std::max_element(clustering.list_sizes.begin(), clustering.list_sizes.end()), 250U);
  EXPECT_LE(clustering.list_count(), 80U);
}

TEST(Clustering, FewDistinctValuesKeepApartAndBounded) {
  constexpr size_t kDim = 6;
  constexpr size_t kRows = 9000;
  std::mt19937_64 rng(test::TestSeed());
  std::vector<float> rows(kRows * kDim);
  for (size_t i = 0; i < kRows; ++i) {
    // Value 0 holds most rows.
    const size_t value = rng() % 10 < 8 ? 0 : 1 + rng() % 4;
    for (size_t j = 0; j < kDim; ++j) {
      rows[i * kDim + j] = 1000.0F * static_cast<float>(value) + static_cast<float>(j);
    }
  }
  const Clustering clustering = BuildClustering(rows, kDim, {.list_rows = 100});
  ExpectConsistent(clustering, kRows, kDim);
  EXPECT_LE(*std::max_element(clustering.list_sizes.begin(), clustering.list_sizes.end()), 250U);
  double total = 0;
  for (size_t i = 0; i < kRows; ++i) {
    total += Distance2(rows.data() + i * kDim,
                       clustering.heads.data() + clustering.assignment[i] * kDim, kDim);
  }
  EXPECT_LT(total / kRows, 1.0) << "rows of different values share a list";
}

TEST(Clustering, RowsFarFromZeroAreToldApart) {
  constexpr size_t kDim = 8;
  std::vector<float> rows = UnevenBlobs(test::TestSeed(), 6000, kDim, 20, 0.2F);
  const Clustering near = BuildClustering(rows, kDim, {.list_rows = 100});
  for (float& value : rows) value += 3000.0F;
  const Clustering far = BuildClustering(rows, kDim, {.list_rows = 100});
  const auto cost = [&](const Clustering& clustering, float shift) {
    double total = 0;
    for (size_t i = 0; i < 6000; ++i) {
      std::vector<float> head(kDim);
      for (size_t j = 0; j < kDim; ++j) {
        head[j] = clustering.heads[clustering.assignment[i] * kDim + j] + shift;
      }
      total += Distance2(rows.data() + i * kDim, head.data(), kDim);
    }
    return total;
  };
  EXPECT_LT(cost(far, 0), 1.1 * cost(near, 3000.0F));
}

TEST(Clustering, SampleMakesAsManyListsAsAllRowsNeed) {
  constexpr size_t kDim = 10;
  const std::vector<float> rows = UnevenBlobs(test::TestSeed(), 8000, kDim, 40, 0.4F);
  const Clustering clustering =
      BuildClustering(rows, kDim, {.list_rows = 256, .total_rows = 64000});
  ExpectConsistent(clustering, 8000, kDim);
  EXPECT_GE(clustering.list_count(), 150U);
  EXPECT_LE(clustering.list_count(), 400U);
}

class AssignerTest : public testing::TestWithParam<std::tuple<size_t, size_t>> {};

TEST_P(AssignerTest, AgreesWithBruteForce) {
  const auto [heads_wanted, dim] = GetParam();
  const uint64_t seed = test::TestSeed();
  const std::vector<float> rows = UnevenBlobs(seed, 24000, dim, 200, 0.5F);
  const Clustering clustering = BuildClustering(
      rows, dim, {.list_rows = static_cast<uint32_t>(24000 / heads_wanted), .thread_count = 2});
  const size_t half = 12000;
  const Assigner assigner(clustering.heads, dim, std::span<const float>(rows).first(half * dim),
                          {.thread_count = 2});
  std::vector<uint32_t> lists(4000);
  std::vector<float> distances2(4000);
  const float* held_out = rows.data() + half * dim;
  assigner.Assign(held_out, 4000, lists.data(), distances2.data());
  size_t agree = 0;
  double ours = 0;
  double best_total = 0;
  for (size_t i = 0; i < 4000; ++i) {
    const float* row = held_out + i * dim;
    const double own = Distance2(row, clustering.heads.data() + lists[i] * dim, dim);
    const double best = NearestDistance2(row, clustering.heads, dim);
    agree += own <= best * (1 + 1e-4) + 1e-6 ? 1 : 0;
    ours += own;
    best_total += best;
    ASSERT_NEAR(static_cast<double>(distances2[i]), own, 1e-3 * own + 1e-4);
  }
  EXPECT_GE(agree, 3960U);
  EXPECT_LE(ours, 1.01 * best_total);
}

INSTANTIATE_TEST_SUITE_P(Shapes, AssignerTest,
                         testing::Values(std::make_tuple(size_t{1}, size_t{8}),
                                         std::make_tuple(size_t{100}, size_t{33}),
                                         std::make_tuple(size_t{1200}, size_t{16}),
                                         std::make_tuple(size_t{1000}, size_t{64})));

TEST(Assigner, ComparesOnlySomeGroupsOfManyClusteredHeads) {
  constexpr size_t kDim = 16;
  const std::vector<float> heads = UnevenBlobs(test::TestSeed(), 4000, kDim, 100, 0.2F);
  const std::vector<float> sample(heads.begin(), heads.begin() + 500 * kDim);
  const Assigner assigner(heads, kDim, sample, {});
  EXPECT_GT(assigner.group_count(), 1U);
  EXPECT_LT(assigner.probed_groups(), assigner.group_count() / 2);
  const Assigner flat(heads, kDim, {}, {});
  EXPECT_EQ(flat.group_count(), 1U);
}

TEST(Assigner, NoRowsIsNoWork) {
  const std::vector<float> heads = {0, 0, 1, 1};
  const Assigner assigner(heads, 2, {}, {});
  assigner.Assign(nullptr, 0, nullptr, nullptr);
}

}  // namespace
}  // namespace tessera::index
