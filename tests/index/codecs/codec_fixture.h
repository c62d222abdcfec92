// Data and references for tests of codecs.
#pragma once

#include <cmath>
#include <cstddef>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "base/check.h"
#include "index/codecs/rabitq_codec.h"
#include "index/matrix.h"

namespace tessera::index {

inline std::vector<float> Gaussian(std::mt19937_64& rng, size_t count, float sd = 1) {
  std::normal_distribution<float> normal(0, sd);
  std::vector<float> out(count);
  for (float& v : out) v = normal(rng);
  return out;
}

// A uniformly random rotation; its first rows are a projection.
inline std::vector<float> RandomRotation(std::mt19937_64& rng, size_t dim) {
  std::vector<float> matrix = Gaussian(rng, dim * dim);
  TESSERA_CHECK(Orthonormalise(dim, dim, &matrix).ok());
  return matrix;
}

inline double Dot(const float* a, const float* b, size_t dim) {
  double sum = 0;
  for (size_t i = 0; i < dim; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

inline double Distance2(const float* a, const float* b, size_t dim) {
  double sum = 0;
  for (size_t i = 0; i < dim; ++i) {
    sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  }
  return sum;
}

// Search-space dissimilarity; under cosine a zero row or query scores 0, which is 2 there.
inline double Dissimilarity(base::Metric metric, const float* q, const float* o, size_t dim) {
  if (metric == base::Metric::kL2) return Distance2(q, o, dim);
  return (metric == base::Metric::kCosine ? 2 - Dot(q, o, dim) : 0) - Dot(q, o, dim);
}

// Unit length, as a cosine field's rows and queries are in search space; zero stays zero.
inline void Normalise(size_t dim, std::vector<float>* rows) {
  for (size_t first = 0; first < rows->size(); first += dim) {
    float* row = rows->data() + first;
    const double norm = std::sqrt(Dot(row, row, dim));
    for (size_t i = 0; i < dim && norm > 0; ++i) row[i] = static_cast<float>(row[i] / norm);
  }
}

// Rows around a head, and queries a little farther from it; in search space.
struct Neighbourhood {
  std::vector<float> head;
  std::vector<float> rows;
  std::vector<float> queries;
};

inline Neighbourhood MakeNeighbourhood(base::Metric metric, size_t dim, size_t row_count,
                                       size_t query_count, std::mt19937_64& rng) {
  Neighbourhood hood{.head = Gaussian(rng, dim, 2),
                     .rows = Gaussian(rng, row_count * dim),
                     .queries = Gaussian(rng, query_count * dim, 1.5F)};
  for (size_t i = 0; i < hood.rows.size(); ++i) hood.rows[i] += hood.head[i % dim];
  for (size_t i = 0; i < hood.queries.size(); ++i) hood.queries[i] += hood.head[i % dim];
  if (metric != base::Metric::kCosine) return hood;
  Normalise(dim, &hood.rows);
  Normalise(dim, &hood.queries);
  // The mean of unit vectors is shorter than they are.
  Normalise(dim, &hood.head);
  for (float& v : hood.head) v *= 0.85F;
  return hood;
}

inline std::unique_ptr<RaBitQCodec> MakeCodec(base::Metric metric, size_t dim, size_t code_dim,
                                              uint32_t fine_bits, std::mt19937_64& rng,
                                              bool centred = false) {
  RaBitQParameters p;
  p.dim = static_cast<uint32_t>(dim);
  p.metric = metric;
  p.code_dim = static_cast<uint32_t>(code_dim);
  p.fine_bits = fine_bits;
  p.projection = RandomRotation(rng, dim);
  p.projection.resize(code_dim * dim);
  p.mean = centred ? Gaussian(rng, dim, 0.5F) : std::vector<float>(dim, 0.0F);
  auto codec = RaBitQCodec::Create(std::move(p));
  TESSERA_CHECK(codec.ok());
  return *std::move(codec);
}

// One list and its planes.
struct EncodedList {
  size_t dim = 0;
  size_t rows = 0;
  std::vector<float> head;
  std::vector<float> vectors;
  std::vector<std::byte> code_plane;
  std::vector<std::byte> fine_plane;

  const float* row(size_t i) const { return vectors.data() + i * dim; }
};

inline EncodedList Encode(const Codec& codec, std::vector<float> head, std::vector<float> vectors) {
  EncodedList list;
  list.dim = codec.dim();
  list.rows = vectors.size() / list.dim;
  list.head = std::move(head);
  list.vectors = std::move(vectors);
  list.code_plane.assign(codec.CodePlaneBytes(list.rows), std::byte{0xEE});
  list.fine_plane.assign(list.rows * codec.FineRecordBytes(), std::byte{0xEE});
  codec.EncodeList(list.head.data(), list.vectors.data(), list.rows, list.code_plane.data(),
                   list.fine_plane.data());
  return list;
}

inline ListScan ScanOf(const EncodedList& list, const float* query) {
  ListScan scan;
  scan.code_plane = list.code_plane.data();
  scan.rows = static_cast<uint32_t>(list.rows);
  scan.head_distance2 = static_cast<float>(Distance2(query, list.head.data(), list.dim));
  scan.head_dot = static_cast<float>(Dot(query, list.head.data(), list.dim));
  return scan;
}

inline std::vector<Survivor> Scan(const Codec& codec, const QueryCode& code, const ListScan& scan) {
  std::vector<Survivor> out(scan.rows);
  out.resize(codec.ScanList(code, scan, out.data()));
  return out;
}

}  // namespace tessera::index
