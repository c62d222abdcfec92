// Small vector files for the tests of the benchmark suite.
#pragma once

#include <cstdint>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"

namespace tessera::bench {

inline void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  file.close();
  TESSERA_CHECK(file.good());
}

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void AppendU32(std::string* out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out->push_back(static_cast<char>(value >> shift));
}

inline void AppendFloats(std::string* out, const std::vector<float>& values) {
  out->append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

inline std::string FbinBytes(uint32_t rows, uint32_t dim, const std::vector<float>& values) {
  std::string bytes;
  AppendU32(&bytes, rows);
  AppendU32(&bytes, dim);
  AppendFloats(&bytes, values);
  return bytes;
}

// Rows around a few centres, as real data are.
inline std::vector<float> ClusteredRows(std::mt19937_64& rng, size_t rows, size_t dim) {
  std::normal_distribution<float> normal;
  std::vector<float> centres(20 * dim);
  for (float& value : centres) value = 2 * normal(rng);
  std::vector<float> values(rows * dim);
  for (size_t row = 0; row < rows; ++row) {
    const size_t centre = rng() % 20;
    for (size_t i = 0; i < dim; ++i) {
      values[row * dim + i] = centres[centre * dim + i] + normal(rng);
    }
  }
  return values;
}

}  // namespace tessera::bench
