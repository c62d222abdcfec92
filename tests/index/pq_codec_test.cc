#include "index/pq_codec.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/coding.h"
#include "base/crc32c.h"
#include "index/clustering.h"
#include "index/codec_trainer.h"
#include "tests/index/codec_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::index {
namespace {

using base::ElementType;
using base::Metric;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Clustered rows with their heads, in search space.
struct Data {
  size_t dim = 0;
  std::vector<float> rows;
  Clustering lists;

  TrainingSet set() const {
    return {.dim = dim, .rows = rows, .heads = lists.heads, .assignment = lists.assignment};
  }
  const float* row(size_t i) const { return rows.data() + i * dim; }
};

void Normalise(float* row, size_t dim) {
  const double norm = std::sqrt(Dot(row, row, dim));
  for (size_t j = 0; j < dim; ++j) row[j] = static_cast<float>(row[j] / norm);
}

Data MakeData(std::mt19937_64& rng, Metric metric, size_t n, size_t dim) {
  Data data;
  data.dim = dim;
  const size_t centres = n / 60 + 1;
  const std::vector<float> means = Gaussian(rng, centres * dim);
  data.rows = Gaussian(rng, n * dim, 0.5F);
  for (size_t i = 0; i < n; ++i) {
    const float* mean = means.data() + rng() % centres * dim;
    float* row = data.rows.data() + i * dim;
    for (size_t j = 0; j < dim; ++j) {
      row[j] = (row[j] + mean[j]) / static_cast<float>(1 + j % 3) + 0.3F;
    }
    if (metric == Metric::kCosine) Normalise(row, dim);
  }
  data.lists = BuildClustering(data.rows, dim, {.list_rows = 100, .thread_count = 1});
  return data;
}

std::unique_ptr<Codec> Train(const Data& data, Metric metric,
                             ElementType type = ElementType::kF32) {
  auto codec = TrainPq(data.set(), {.metric = metric, .type = type, .thread_count = 1});
  EXPECT_OK(codec);
  return *std::move(codec);
}

struct Encoded {
  std::vector<EncodedList> lists;
  std::vector<std::vector<uint32_t>> rows;  // of each list
};

Encoded EncodeAll(const Codec& codec, const Data& data) {
  Encoded all;
  all.rows.resize(data.lists.list_count());
  for (uint32_t i = 0; i < data.lists.assignment.size(); ++i) {
    all.rows[data.lists.assignment[i]].push_back(i);
  }
  for (size_t list = 0; list < all.rows.size(); ++list) {
    const float* head = data.lists.heads.data() + list * data.dim;
    std::vector<float> vectors;
    for (const uint32_t row : all.rows[list]) {
      vectors.insert(vectors.end(), data.row(row), data.row(row) + data.dim);
    }
    all.lists.push_back(Encode(codec, {head, head + data.dim}, std::move(vectors)));
    EXPECT_OK(codec.ValidateCodePlane(all.lists.back().code_plane, all.rows[list].size()));
    EXPECT_OK(codec.ValidateFinePlane(all.lists.back().fine_plane, all.rows[list].size()));
  }
  return all;
}

struct SearchResult {
  double recall = 0;
  double survivors = 0;
};

// The ten nearest of every query: all lists scanned, nearest first, under the tau of the exact
// distances met so far; the best 16 by fine estimate are compared exactly.
SearchResult Search(const Codec& codec, const Data& data, const std::vector<float>& queries,
                    float eps) {
  const Encoded all = EncodeAll(codec, data);
  const size_t dim = data.dim;
  const size_t count = queries.size() / dim;
  const auto code = codec.NewQuery();
  SearchResult result;
  for (size_t i = 0; i < count; ++i) {
    const float* query = queries.data() + i * dim;
    std::vector<std::pair<double, uint32_t>> truth;
    for (uint32_t r = 0; r < data.lists.assignment.size(); ++r) {
      truth.emplace_back(Dissimilarity(codec.metric(), query, data.row(r), dim), r);
    }
    std::sort(truth.begin(), truth.end());
    codec.PrepareQuery(query, code.get());
    std::vector<std::pair<float, uint32_t>> found;
    for (size_t list = 0; list < all.lists.size(); ++list) {
      const EncodedList& encoded = all.lists[list];
      ListScan scan = ScanOf(encoded, query);
      scan.tau = static_cast<float>(truth[9].first);
      scan.eps = eps;
      std::vector<Survivor> survivors = Scan(codec, *code, scan);
      result.survivors += static_cast<double>(survivors.size());
      if (codec.FineRecordBytes() != 0) {
        codec.FineEstimates(*code, encoded.fine_plane.data(), scan.head_distance2, scan.head_dot,
                            survivors);
      } else {
        for (Survivor& s : survivors) {
          s.estimate =
              static_cast<float>(Dissimilarity(codec.metric(), query, encoded.row(s.slot), dim));
        }
      }
      for (const Survivor& s : survivors) found.emplace_back(s.estimate, all.rows[list][s.slot]);
    }
    std::sort(found.begin(), found.end());
    found.resize(std::min<size_t>(found.size(), 16));
    for (size_t k = 0; k < 10; ++k) {
      result.recall += static_cast<double>(std::count_if(
          found.begin(), found.end(), [&](const auto& f) { return f.second == truth[k].second; }));
    }
  }
  result.recall /= static_cast<double>(10 * count);
  result.survivors /= static_cast<double>(count);
  return result;
}

class PqMetrics : public testing::TestWithParam<Metric> {};

INSTANTIATE_TEST_SUITE_P(All, PqMetrics,
                         testing::Values(Metric::kL2, Metric::kInnerProduct, Metric::kCosine),
                         [](const auto& test) { return std::string(base::ToString(test.param)); });

TEST_P(PqMetrics, FindsAsMuchAsRaBitQWithFewerSurvivors) {
  std::mt19937_64 rng(TestSeed());
  const Data data = MakeData(rng, GetParam(), 3000, 32);
  std::vector<float> queries = Gaussian(rng, 60 * 32, 0.2F);
  for (size_t i = 0; i < 60; ++i) {
    const float* row = data.row(rng() % 3000);
    for (size_t j = 0; j < 32; ++j) queries[i * 32 + j] += row[j];
    if (GetParam() == Metric::kCosine) Normalise(queries.data() + i * 32, 32);
  }
  for (const ElementType type : {ElementType::kF32, ElementType::kU8}) {
    const auto pq = Train(data, GetParam(), type);
    EXPECT_EQ(pq->FineRecordBytes() == 0, type == ElementType::kU8);
    ASSERT_OK_AND_ASSIGN(
        const auto rabitq,
        TrainRaBitQ(data.set(), {.metric = GetParam(), .type = type, .thread_count = 1}));
    const SearchResult a = Search(*pq, data, queries, 2);
    const SearchResult b = Search(*rabitq, data, queries, 2);
    EXPECT_GE(a.recall, 0.92);
    EXPECT_GE(a.recall, b.recall - 0.05);
    EXPECT_LT(a.survivors, b.survivors);
  }
}

// The bound drops a row that should stay about as often as a normal error of that width says.
TEST_P(PqMetrics, BoundFailsAboutAsOftenAsPromised) {
  std::mt19937_64 rng(TestSeed());
  const Data data = MakeData(rng, GetParam(), 4000, 24);
  const auto codec = Train(data, GetParam(), ElementType::kU8);
  const Encoded all = EncodeAll(*codec, data);
  const auto code = codec->NewQuery();
  double squares = 0;
  double pairs = 0;
  size_t missed = 0;
  for (size_t i = 0; i < 200; ++i) {
    const size_t list = data.lists.assignment[rng() % 4000];
    const EncodedList& encoded = all.lists[list];
    std::vector<float> query(encoded.row(rng() % encoded.rows), encoded.row(0) + encoded.rows * 24);
    query.resize(24);
    codec->PrepareQuery(query.data(), code.get());
    ListScan scan = ScanOf(encoded, query.data());
    const std::vector<Survivor> every = Scan(*codec, *code, scan);
    ASSERT_EQ(every.size(), encoded.rows);
    for (const Survivor& s : every) {
      const double exact = Dissimilarity(GetParam(), query.data(), encoded.row(s.slot), 24);
      squares += (exact - s.estimate) * (exact - s.estimate);
      pairs += 1;
      // A tau just above this row alone.
      scan.tau = static_cast<float>(exact) + 1e-4F;
      scan.eps = 2;
      const std::vector<Survivor> kept = Scan(*codec, *code, scan);
      missed += std::none_of(kept.begin(), kept.end(),
                             [&](const Survivor& k) { return k.slot == s.slot; })
                    ? 1
                    : 0;
      scan.tau = std::numeric_limits<float>::infinity();
    }
  }
  EXPECT_GT(squares, 0);
  // One-sided, 2 standard deviations: 2.3 % of a normal error; its width differs from row to row.
  EXPECT_LT(static_cast<double>(missed), 0.06 * pairs);
}

// What the scan sums up is what decoding says.
TEST_P(PqMetrics, EstimatesAgreeWithDecodedRows) {
  std::mt19937_64 rng(TestSeed());
  const Data data = MakeData(rng, GetParam(), 500, 7);
  const auto codec = Train(data, GetParam());
  const Encoded all = EncodeAll(*codec, data);
  const auto code = codec->NewQuery();
  const std::vector<float> query = Gaussian(rng, 7);
  codec->PrepareQuery(query.data(), code.get());
  for (const EncodedList& list : all.lists) {
    const ListScan scan = ScanOf(list, query.data());
    std::vector<float> decoded(7);
    for (const Survivor& s : Scan(*codec, *code, scan)) {
      codec->DecodeRow(list.head.data(), list.code_plane.data(), s.slot, nullptr, decoded.data());
      const double wanted = Dissimilarity(GetParam(), query.data(), decoded.data(), 7);
      const double size =
          Dot(query.data(), query.data(), 7) + Dot(decoded.data(), decoded.data(), 7);
      // The estimate knows |r| and, by a, part of <c, r>; what is left of the error is the code's.
      const double gap = Distance2(list.row(s.slot), decoded.data(), 7);
      EXPECT_NEAR(s.estimate, wanted, 0.05 * size + 3 * std::sqrt(gap * size) + gap);
    }
  }
}

TEST_P(PqMetrics, MaskedRowsStayOut) {
  std::mt19937_64 rng(TestSeed());
  const Data data = MakeData(rng, GetParam(), 700, 10);
  const auto codec = Train(data, GetParam());
  const EncodedList list = Encode(*codec, {data.lists.heads.begin(), data.lists.heads.begin() + 10},
                                  {data.rows.begin(), data.rows.begin() + 200 * 10});
  const auto code = codec->NewQuery();
  const std::vector<float> query = Gaussian(rng, 10);
  codec->PrepareQuery(query.data(), code.get());
  ListScan scan = ScanOf(list, query.data());
  const std::vector<Survivor> every = Scan(*codec, *code, scan);
  ASSERT_EQ(every.size(), 200U);
  const std::vector<uint64_t> mask = {rng(), 0, rng(), ~uint64_t{0}};
  scan.block_mask = mask.data();
  std::vector<Survivor> wanted;
  for (const Survivor& s : every) {
    if ((mask[s.slot / 64] >> (s.slot % 64) & 1) != 0) wanted.push_back(s);
  }
  const std::vector<Survivor> masked = Scan(*codec, *code, scan);
  ASSERT_EQ(masked.size(), wanted.size());
  for (size_t i = 0; i < masked.size(); ++i) {
    EXPECT_EQ(masked[i].slot, wanted[i].slot);
    EXPECT_EQ(masked[i].estimate, wanted[i].estimate);
  }
}

TEST_P(PqMetrics, ExtremeRowsAndQueriesGiveValidPlanesAndFiniteOrInfiniteEstimates) {
  std::mt19937_64 rng(TestSeed());
  const Data data = MakeData(rng, GetParam(), 300, 6);
  const auto codec = Train(data, GetParam());
  for (const float size : {0.0F, 1e-30F, 1e15F, 3e37F}) {
    const EncodedList list =
        Encode(*codec, std::vector<float>(6, size), Gaussian(rng, 70 * 6, size / 4));
    EXPECT_OK(codec->ValidateCodePlane(list.code_plane, 70));
    EXPECT_OK(codec->ValidateFinePlane(list.fine_plane, 70));
    const auto code = codec->NewQuery();
    for (const float length : {0.0F, 1.0F, 1e18F}) {
      const std::vector<float> query(6, length);
      codec->PrepareQuery(query.data(), code.get());
      ListScan scan = ScanOf(list, query.data());
      EXPECT_EQ(Scan(*codec, *code, scan).size(), 70U);
      scan.tau = 1;
      EXPECT_LE(Scan(*codec, *code, scan).size(), 70U);
    }
  }
}

TEST(PqCodec, NoRowsAndNoSample) {
  for (const Metric metric : {Metric::kL2, Metric::kCosine}) {
    ASSERT_OK_AND_ASSIGN(const auto codec,
                         TrainPq({.dim = 5, .rows = {}, .heads = {}, .assignment = {}},
                                 {.metric = metric, .thread_count = 1}));
    const EncodedList list = Encode(*codec, std::vector<float>(5, 1.0F), {});
    EXPECT_OK(codec->ValidateCodePlane(list.code_plane, 0));
    const auto code = codec->NewQuery();
    const std::vector<float> query(5, 2.0F);
    codec->PrepareQuery(query.data(), code.get());
    EXPECT_TRUE(Scan(*codec, *code, ScanOf(list, query.data())).empty());
  }
}

TEST(PqCodec, RowsDecodeToAboutThemselves) {
  std::mt19937_64 rng(TestSeed());
  for (const size_t dim : {1, 2, 3, 16, 33}) {
    const Data data = MakeData(rng, Metric::kL2, 1000, dim);
    const auto codec = Train(data, Metric::kL2);
    const Encoded all = EncodeAll(*codec, data);
    double energy = 0;
    double coarse = 0;
    double fine = 0;
    std::vector<float> row(dim);
    for (const EncodedList& list : all.lists) {
      for (uint32_t slot = 0; slot < list.rows; ++slot) {
        energy += Distance2(list.row(slot), list.head.data(), dim);
        codec->DecodeRow(list.head.data(), list.code_plane.data(), slot, nullptr, row.data());
        coarse += Distance2(list.row(slot), row.data(), dim);
        codec->DecodeRow(list.head.data(), list.code_plane.data(), slot,
                         list.fine_plane.data() + slot * codec->FineRecordBytes(), row.data());
        fine += Distance2(list.row(slot), row.data(), dim);
      }
    }
    // Sixteen words of two Gaussian dimensions leave 13 % of the energy.
    EXPECT_LT(coarse, 0.2 * energy) << dim;
    EXPECT_LT(fine, 0.02 * energy) << dim;
  }
}

TEST(PqCodec, TrainingDoesNotDependOnTheThreadCount) {
  std::mt19937_64 rng(TestSeed());
  const Data data = MakeData(rng, Metric::kL2, 600, 12);
  ASSERT_OK_AND_ASSIGN(const auto one, TrainPq(data.set(), {.thread_count = 1}));
  ASSERT_OK_AND_ASSIGN(const auto four, TrainPq(data.set(), {.thread_count = 4}));
  EXPECT_EQ(one->Serialize(), four->Serialize());
}

TEST(PqCodec, DimensionsOutOfRangeAreRefused) {
  EXPECT_THAT(TrainPq({.dim = 0, .rows = {}, .heads = {}, .assignment = {}}, {}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(TrainPq({.dim = 16385, .rows = {}, .heads = {}, .assignment = {}}, {}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

PqParameters SmallParameters() {
  PqParameters p{
      .dim = 3, .metric = Metric::kL2, .fine_bits = 8, .sigma = 0.5F, .words = {}, .mean = {}};
  for (int i = 0; i < 64; ++i) p.words.push_back(static_cast<float>((i * 37) % 64 - 32) / 16);
  p.mean = {0.5F, 0, -1};
  return p;
}

TEST(PqCodec, ParametersOutOfRangeAreRefused) {
  EXPECT_OK(PqCodec::Create(SmallParameters()));
  for (const std::function<void(PqParameters&)>& damage :
       std::vector<std::function<void(PqParameters&)>>{
           [](auto& p) { p.dim = 0; },
           [](auto& p) { p.dim = base::kDimMax + 1; },
           [](auto& p) { p.metric = static_cast<Metric>(9); },
           [](auto& p) { p.metric = Metric::kCosine; },  // with a mean
           [](auto& p) { p.fine_bits = 5; },
           [](auto& p) { p.sigma = 0; },
           [](auto& p) { p.sigma = 11; },
           [](auto& p) { p.sigma = kNan; },
           [](auto& p) { p.words.pop_back(); },
           [](auto& p) { p.words[7] = kNan; },
           [](auto& p) { p.words[7] = 2e18F; },
           [](auto& p) { p.mean.push_back(0); },
           [](auto& p) { p.mean[1] = kNan; },
       }) {
    PqParameters p = SmallParameters();
    damage(p);
    EXPECT_THAT(PqCodec::Create(p), StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

// Changing these bytes breaks stored collections.
TEST(PqCodec, BytesArePinned) {
  ASSERT_OK_AND_ASSIGN(const auto codec, PqCodec::Create(SmallParameters()));
  const std::string bytes = codec->Serialize();
  EXPECT_EQ(bytes.size(), 4U + 1 + 11 + 64 * 4 + 3 * 4 + 4);
  EXPECT_EQ(base::Crc32c(std::string_view(bytes)), 1214729159U);
  std::vector<float> rows;
  for (int i = 0; i < 70 * 3; ++i) rows.push_back(static_cast<float>((i * 29) % 41 - 20) / 8);
  const EncodedList list = Encode(*codec, {0.25F, -0.5F, 0}, rows);
  EXPECT_EQ(list.code_plane.size(), 64U + 2 * 128);
  EXPECT_EQ(base::Crc32c(list.code_plane), 2221880420U);
}

TEST(PqCodec, RoundTripEstimatesTheSame) {
  std::mt19937_64 rng(TestSeed());
  const Data data = MakeData(rng, Metric::kInnerProduct, 400, 9);
  const auto codec = Train(data, Metric::kInnerProduct);
  const std::string bytes = codec->Serialize();
  ASSERT_OK_AND_ASSIGN(const auto read, DeserializeCodec(bytes));
  EXPECT_EQ(read->kind(), CodecKind::kPq);
  EXPECT_EQ(read->Serialize(), bytes);
  const EncodedList a = Encode(*codec, {data.lists.heads.begin(), data.lists.heads.begin() + 9},
                               {data.rows.begin(), data.rows.begin() + 90 * 9});
  const EncodedList b = Encode(*read, a.head, a.vectors);
  EXPECT_EQ(a.code_plane, b.code_plane);
  EXPECT_EQ(a.fine_plane, b.fine_plane);
  const auto code = read->NewQuery();
  const std::vector<float> query = Gaussian(rng, 9);
  read->PrepareQuery(query.data(), code.get());
  std::vector<Survivor> survivors = Scan(*read, *code, ScanOf(a, query.data()));
  ASSERT_EQ(survivors.size(), 90U);
  const ListScan scan = ScanOf(a, query.data());
  read->FineEstimates(*code, a.fine_plane.data(), scan.head_distance2, scan.head_dot, survivors);
  for (const Survivor& s : survivors) {
    EXPECT_EQ(s.estimate,
              read->FineEstimate(*code, a.fine_plane.data() + s.slot * read->FineRecordBytes(),
                                 scan.head_distance2, scan.head_dot));
    const double lengths =
        std::sqrt(Dot(query.data(), query.data(), 9) * Dot(a.row(s.slot), a.row(s.slot), 9));
    EXPECT_NEAR(s.estimate, -Dot(query.data(), a.row(s.slot), 9), 0.05 * lengths + 0.05);
  }
}

TEST(PqCodec, EveryTruncationAndFlippedByteIsAnswered) {
  ASSERT_OK_AND_ASSIGN(const auto codec, PqCodec::Create(SmallParameters()));
  const std::string bytes = codec->Serialize();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THAT(DeserializeCodec(bytes.substr(0, size)), StatusIs(absl::StatusCode::kDataLoss));
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const int mask : {0x01, 0x80, 0xFF}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ mask);
      EXPECT_THAT(DeserializeCodec(damaged), StatusIs(absl::StatusCode::kDataLoss));
    }
  }
  // With the checksum made right again: refused or usable.
  std::mt19937_64 rng(TestSeed());
  for (size_t i = 5; i + 4 < bytes.size(); ++i) {
    std::string damaged = bytes.substr(0, bytes.size() - 4);
    damaged[i] = static_cast<char>(damaged[i] ^ static_cast<char>(1 + rng() % 255));
    base::PutU32(&damaged, base::Crc32c(std::string_view(damaged)));
    const auto read = DeserializeCodec(damaged);
    if (!read.ok()) continue;
    const EncodedList list = Encode(**read, std::vector<float>(3, 0.5F), Gaussian(rng, 65 * 3));
    EXPECT_OK((*read)->ValidateCodePlane(list.code_plane, 65));
  }
}

TEST(PqCodec, DamagedPlanesAreAnswered) {
  ASSERT_OK_AND_ASSIGN(const auto codec, PqCodec::Create(SmallParameters()));
  std::mt19937_64 rng(TestSeed());
  const EncodedList list = Encode(*codec, std::vector<float>(3, 0.5F), Gaussian(rng, 65 * 3));
  ASSERT_OK(codec->ValidateCodePlane(list.code_plane, 65));
  EXPECT_THAT(codec->ValidateCodePlane(list.code_plane, 64), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(codec->ValidateCodePlane(std::span(list.code_plane).first(64), 65),
              StatusIs(absl::StatusCode::kDataLoss));
  const std::vector<float> query(3, 1.0F);
  const auto code = codec->NewQuery();
  codec->PrepareQuery(query.data(), code.get());
  for (size_t i = 0; i < list.code_plane.size(); ++i) {
    EncodedList damaged = list;
    damaged.code_plane[i] ^= static_cast<std::byte>(1 + rng() % 255);
    // Numbers of the header that do not fit are refused; whatever is accepted is scanned in bounds.
    const absl::Status status = codec->ValidateCodePlane(damaged.code_plane, 65);
    if (i < 16 || (i >= 28 && i < 64)) {
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss)) << i;
    }
    if (!status.ok()) continue;
    ListScan scan = ScanOf(damaged, query.data());
    scan.tau = 1;
    for (const Survivor& s : Scan(*codec, *code, scan)) EXPECT_LT(s.slot, 65U);
  }
  for (const size_t at : {16, 20, 24}) {
    EncodedList damaged = list;
    base::StoreF32(damaged.code_plane.data() + at, kNan);
    EXPECT_THAT(codec->ValidateCodePlane(damaged.code_plane, 65),
                StatusIs(absl::StatusCode::kDataLoss));
  }
}

}  // namespace
}  // namespace tessera::index
