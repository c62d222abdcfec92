#include "index/codecs/codec_trainer.h"

#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "index/clustering.h"
#include "index/codecs/rabitq_codec.h"
#include "tests/index/codecs/codec_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::index {
namespace {

using base::ElementType;
using base::Metric;

// Rows around random heads whose residuals have energy decay^(2 i) in a random basis.
struct Sample {
  Sample(std::mt19937_64& rng, size_t dim_in, size_t lists, size_t rows_per_list, double decay)
      : dim(dim_in), heads(Gaussian(rng, lists * dim_in, 2)) {
    const std::vector<float> basis = RandomRotation(rng, dim);
    rows.resize(lists * rows_per_list * dim);
    std::normal_distribution<double> normal;
    for (size_t row = 0; row < lists * rows_per_list; ++row) {
      const auto list = static_cast<uint32_t>(row % lists);
      assignment.push_back(list);
      std::vector<double> residual(dim);
      for (size_t j = 0; j < dim; ++j) {
        const double length = normal(rng) * std::pow(decay, static_cast<double>(j));
        for (size_t i = 0; i < dim; ++i) residual[i] += length * basis[j * dim + i];
      }
      for (size_t i = 0; i < dim; ++i) {
        rows[row * dim + i] = heads[list * dim + i] + static_cast<float>(residual[i]);
      }
    }
  }
  void MoveToUnitSphere() {
    Normalise(dim, &rows);
    Normalise(dim, &heads);
    for (float& v : heads) v *= 0.9F;
  }
  std::vector<float> head(size_t list) const {
    const auto begin = heads.begin() + static_cast<ptrdiff_t>(list * dim);
    return {begin, begin + static_cast<ptrdiff_t>(dim)};
  }
  std::vector<float> rows_of(size_t list) const {
    std::vector<float> out;
    for (size_t row = 0; row < assignment.size(); ++row) {
      if (assignment[row] != list) continue;
      out.insert(out.end(), rows.begin() + static_cast<ptrdiff_t>(row * dim),
                 rows.begin() + static_cast<ptrdiff_t>((row + 1) * dim));
    }
    return out;
  }
  TrainingSet set() const {
    return {.dim = dim, .rows = rows, .heads = heads, .assignment = assignment};
  }

  size_t dim;
  std::vector<float> heads;
  std::vector<float> rows;
  std::vector<uint32_t> assignment;
};

const RaBitQCodec& AsRaBitQ(const std::unique_ptr<Codec>& codec) {
  return static_cast<const RaBitQCodec&>(*codec);
}

TEST(CodecTrainer, FlatSpectrumKeepsEveryDimension) {
  std::mt19937_64 rng(test::TestSeed());
  const Sample sample(rng, 100, 40, 64, 1.0);
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    ASSERT_OK_AND_ASSIGN(const auto codec, TrainRaBitQ(sample.set(), {.metric = metric}));
    EXPECT_EQ(codec->dim(), 100U);
    EXPECT_EQ(codec->metric(), metric);
    EXPECT_EQ(AsRaBitQ(codec).code_dim(), 100U);
    // |x'| sin(x', r) over random directions: half of sqrt(1 - 2 / pi).
    EXPECT_NEAR(AsRaBitQ(codec).sigma(), 0.30F, 0.03F);
  }
}

TEST(CodecTrainer, SteepSpectrumKeepsTheDirectionsThatMatter) {
  std::mt19937_64 rng(test::TestSeed());
  const Sample sample(rng, 128, 40, 64, 0.97);
  ASSERT_OK_AND_ASSIGN(const auto codec, TrainRaBitQ(sample.set(), {}));
  // .97^(2 m) <= .07 from m = 44 on.
  EXPECT_GE(AsRaBitQ(codec).code_dim(), 40U);
  EXPECT_LE(AsRaBitQ(codec).code_dim(), 56U);
  EXPECT_GT(AsRaBitQ(codec).sigma(), 0.15F);
  EXPECT_LT(AsRaBitQ(codec).sigma(), 0.45F);
}

TEST(CodecTrainer, FineBitsFollowTheElementTypeAndTheRecord) {
  std::mt19937_64 rng(test::TestSeed());
  const Sample narrow(rng, 32, 4, 20, 1.0);
  const Sample wide(rng, 100, 4, 20, 1.0);
  const auto bytes = [](const Sample& sample, ElementType type) {
    const auto codec = TrainRaBitQ(sample.set(), {.type = type});
    EXPECT_TRUE(codec.ok()) << codec.status();
    return (*codec)->FineRecordBytes();
  };
  for (const ElementType type : {ElementType::kI8, ElementType::kU8}) {
    EXPECT_EQ(bytes(narrow, type), 0U);
    EXPECT_EQ(bytes(wide, type), 0U);
  }
  for (const ElementType type : {ElementType::kF32, ElementType::kF16}) {
    EXPECT_EQ(bytes(narrow, type), 40U);  // 8 + 32 * 8 bits
    EXPECT_EQ(bytes(wide, type), 64U);    // 8 + 100 * 4 bits, one cache line
  }
}

TEST(CodecTrainer, DoesNotDependOnThreads) {
  std::mt19937_64 rng(test::TestSeed());
  const Sample sample(rng, 64, 20, 64, 0.97);
  ASSERT_OK_AND_ASSIGN(const auto one, TrainRaBitQ(sample.set(), {.thread_count = 1}));
  ASSERT_OK_AND_ASSIGN(const auto three, TrainRaBitQ(sample.set(), {.thread_count = 3}));
  EXPECT_EQ(one->Serialize(), three->Serialize());
  ASSERT_OK_AND_ASSIGN(const auto other, TrainRaBitQ(sample.set(), {.seed = 2}));
  EXPECT_NE(one->Serialize(), other->Serialize());
}

TEST(CodecTrainer, RefusesDimensionsOutOfRange) {
  EXPECT_THAT(TrainRaBitQ({}, {}), test::StatusIs(absl::StatusCode::kInvalidArgument));
  TrainingSet set;
  set.dim = base::kDimMax + 1;
  EXPECT_THAT(TrainRaBitQ(set, {}), test::StatusIs(absl::StatusCode::kInvalidArgument));
}

// The share of rows whose bound lies above their true distance, of sample rows as queries on their
// own list and on others.
TEST(CodecTrainer, SigmaKeepsTheBoundsPromise) {
  constexpr size_t kLists = 30;
  std::mt19937_64 rng(test::TestSeed());
  for (const double decay : {1.0, 0.97}) {
    for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
      Sample sample(rng, 96, kLists, 100, decay);
      if (metric == Metric::kCosine) sample.MoveToUnitSphere();
      ASSERT_OK_AND_ASSIGN(const auto codec,
                           TrainRaBitQ(sample.set(), {.metric = metric, .type = ElementType::kU8}));
      const auto code = codec->NewQuery();
      double failed = 0;
      double count = 0;
      for (size_t l = 0; l < kLists; ++l) {
        const EncodedList list = Encode(*codec, sample.head(l), sample.rows_of(l));
        for (const size_t q : {l, l + kLists, (l + 7) % kLists, (l + 11) % kLists}) {
          const float* query = sample.rows.data() + q * sample.dim;
          codec->PrepareQuery(query, code.get());
          ListScan scan = ScanOf(list, query);
          scan.eps = 1.4F;
          for (uint32_t slot = 0; slot < list.rows; ++slot, ++count) {
            std::array<uint64_t, 2> mask{};
            mask[slot / 64] = uint64_t{1} << (slot % 64);
            scan.block_mask = mask.data();
            scan.tau = static_cast<float>(Dissimilarity(metric, query, list.row(slot), sample.dim));
            Survivor one;
            if (codec->ScanList(*code, scan, &one) == 0) ++failed;
          }
        }
      }
      // One sided, a normal distribution has .081. With a steep spectrum queries near their list
      // lie in the kept directions more than those far from it, and the errors are a mixture.
      EXPECT_GT(failed / count, 0.05) << base::ToString(metric) << " " << decay;
      EXPECT_LT(failed / count, decay < 1 ? 0.15 : 0.11) << base::ToString(metric) << " " << decay;
    }
  }
}

// No sample, one row, identical rows, rows of absurd lengths: a usable codec all the same.
TEST(CodecTrainer, DegenerateSamplesStillGiveACodec) {
  std::mt19937_64 rng(test::TestSeed());
  for (const size_t dim : {1, 2, 7, 64, 100}) {
    for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
      for (const size_t n : {0, 1, 3, 600}) {
        for (const float scale : {0.0F, 1e-30F, 1.0F, 1e18F}) {
          std::vector<float> rows = Gaussian(rng, n * dim, 1);
          for (float& v : rows) v *= scale;
          const std::vector<float> heads(dim);
          const std::vector<uint32_t> assignment(n, 0);
          const TrainingSet set{.dim = dim, .rows = rows, .heads = heads, .assignment = assignment};
          ASSERT_OK_AND_ASSIGN(const auto codec, TrainRaBitQ(set, {.metric = metric}));
          const float sigma = AsRaBitQ(codec).sigma();
          EXPECT_TRUE(sigma > 0 && sigma < 1) << sigma;
        }
      }
    }
  }
}

// A few rows far from all others must not choose the directions for them.
TEST(CodecTrainer, OutliersDoNotChooseTheDirections) {
  std::mt19937_64 rng(test::TestSeed());
  Sample sample(rng, 100, 40, 64, 1.0);
  for (size_t row = 0; row < 10; ++row) sample.rows[row * 256 * 100 + 3] += 1e12F;
  ASSERT_OK_AND_ASSIGN(const auto codec, TrainRaBitQ(sample.set(), {}));
  EXPECT_EQ(AsRaBitQ(codec).code_dim(), 100U);
}

}  // namespace
}  // namespace tessera::index
