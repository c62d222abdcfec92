#include "index/pca.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/status_macros.h"
#include "index/matrix.h"
#include "index/parallel_for.h"

namespace tessera::index {
namespace {

// Directions by descending energy, and the energy of all of them together.
struct Spectrum {
  std::vector<float> directions;  // [values x dim]
  std::vector<float> values;
  double total = 0;
};

// The second-moment matrix is summed in parts, whose number must not depend on the threads.
std::vector<float> SecondMoments(std::span<const float> rows, size_t dim, uint32_t thread_count) {
  const size_t n = rows.size() / dim;
  const size_t parts = dim <= 1024 ? 4 : 2;
  std::vector<std::vector<float>> sums(parts);
  ParallelFor(parts, thread_count, [&](size_t part, uint32_t) {
    sums[part].assign(dim * dim, 0.0F);
    const size_t begin = part * n / parts;
    const size_t end = (part + 1) * n / parts;
    AccumulateGram(rows.data() + begin * dim, end - begin, dim, sums[part].data());
  });
  for (size_t part = 1; part < parts; ++part) {
    for (size_t i = 0; i < dim * dim; ++i) sums[0][i] += sums[part][i];
  }
  return std::move(sums[0]);
}

absl::StatusOr<Spectrum> SpectrumOfColumns(std::span<const float> rows, size_t dim,
                                           uint32_t thread_count) {
  Spectrum spectrum;
  spectrum.directions = SecondMoments(rows, dim, thread_count);
  TESSERA_RETURN_IF_ERROR(SymmetricEigen(dim, &spectrum.directions, &spectrum.values));
  return spectrum;
}

// With fewer rows than dimensions the eigenvectors of rows * rows^T give those of rows^T * rows.
absl::StatusOr<Spectrum> SpectrumOfRows(std::span<const float> rows, size_t dim) {
  const size_t n = rows.size() / dim;
  const size_t used = std::min(n, kPcaDimsMax);
  std::vector<float> drawn;
  drawn.reserve(used * dim);
  for (size_t i = 0; i < used; ++i) {
    const float* row = rows.data() + i * n / used * dim;
    drawn.insert(drawn.end(), row, row + dim);
  }
  std::vector<float> gram(used * used);
  MultiplyTransposed(drawn.data(), used, drawn.data(), used, dim, gram.data());
  Spectrum spectrum;
  TESSERA_RETURN_IF_ERROR(SymmetricEigen(used, &gram, &spectrum.values));
  const size_t count = std::min(used, dim);
  spectrum.values.resize(count);
  spectrum.directions.resize(count * dim);
  Multiply(gram.data(), count, drawn.data(), dim, used, spectrum.directions.data());
  return spectrum;
}

std::vector<float> GaussianMatrix(size_t count, uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::vector<float> values(count);
  // Box-Muller on our own: std::normal_distribution differs between libraries.
  const auto uniform = [&rng] { return (static_cast<double>(rng() >> 11) + 0.5) * 0x1p-53; };
  for (size_t i = 0; i < count; i += 2) {
    const double radius = std::sqrt(-2.0 * std::log(uniform()));
    const double angle = 2.0 * 3.14159265358979323846 * uniform();
    values[i] = static_cast<float>(radius * std::cos(angle));
    if (i + 1 < count) values[i + 1] = static_cast<float>(radius * std::sin(angle));
  }
  return values;
}

// Directions needed for the wanted energy, rounded as the options say.
size_t KeptDims(const Spectrum& spectrum, size_t dim, const PcaOptions& options) {
  const size_t most = std::min(dim, kPcaDimsMax);
  if (options.energy >= 1.0) return most;
  size_t kept = 0;
  if (spectrum.total > 0) {
    double sum = 0;
    while (kept < spectrum.values.size() && sum < options.energy * spectrum.total) {
      sum += std::max(static_cast<double>(spectrum.values[kept++]), 0.0);
    }
  } else {
    kept = static_cast<size_t>(std::ceil(options.energy * static_cast<double>(dim)));
  }
  const size_t unit = std::max<size_t>(options.multiple_of, 1);
  return std::clamp((kept + unit - 1) / unit * unit, std::min(unit, most), most);
}

}  // namespace

absl::StatusOr<std::vector<float>> RandomRotation(size_t dim, uint64_t seed) {
  std::vector<float> rotation = GaussianMatrix(dim * dim, seed);
  TESSERA_RETURN_IF_ERROR(Orthonormalise(dim, dim, &rotation));
  return rotation;
}

absl::StatusOr<PcaTransform> TrainPca(std::span<const float> residuals, size_t dim,
                                      const PcaOptions& options) {
  if (dim == 0) return absl::InvalidArgumentError("dim is 0, must be at least 1");
  if (!(options.energy >= 0.0 && options.energy <= 1.0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("energy is ", options.energy, ", must be 0 .. 1"));
  }
  TESSERA_CHECK(residuals.size() % dim == 0);
  const size_t n = residuals.size() / dim;
  PcaTransform result;
  result.dim = dim;
  if (options.energy >= 1.0 && dim <= kPcaDimsMax) {
    // Every direction is kept: which ones hold the energy does not matter.
    result.kept = dim;
    result.energy = 1.0;
    TESSERA_ASSIGN_OR_RETURN(result.matrix, RandomRotation(dim, options.seed));
    return result;
  }
  Spectrum spectrum;
  if (n > 0) {
    const bool by_rows = dim > kPcaDimsMax || n < dim;
    TESSERA_ASSIGN_OR_RETURN(spectrum,
                             by_rows ? SpectrumOfRows(residuals, dim)
                                     : SpectrumOfColumns(residuals, dim, options.thread_count));
  }
  for (const float value : spectrum.values) {
    spectrum.total += std::max(static_cast<double>(value), 0.0);
  }
  result.kept = KeptDims(spectrum, dim, options);
  double kept_energy = 0;
  for (size_t i = 0; i < std::min(result.kept, spectrum.values.size()); ++i) {
    kept_energy += std::max(static_cast<double>(spectrum.values[i]), 0.0);
  }
  result.energy = spectrum.total > 0 ? kept_energy / spectrum.total : 1.0;
  // Directions beyond the spectrum are random ones, made orthogonal to the others below.
  std::vector<float> basis = GaussianMatrix(result.kept * dim, options.seed ^ 0x5DEECE66DULL);
  const size_t known = std::min(result.kept * dim, spectrum.directions.size());
  std::copy_n(spectrum.directions.begin(), known, basis.begin());
  TESSERA_RETURN_IF_ERROR(Orthonormalise(result.kept, dim, &basis));
  TESSERA_ASSIGN_OR_RETURN(const std::vector<float> rotation,
                           RandomRotation(result.kept, options.seed));
  result.matrix.resize(result.kept * dim);
  Multiply(rotation.data(), result.kept, basis.data(), dim, result.kept, result.matrix.data());
  result.spectrum = std::move(spectrum.values);
  return result;
}

void ApplyTransform(const PcaTransform& transform, const float* rows, size_t n, float* out) {
  MultiplyTransposed(rows, n, transform.matrix.data(), transform.kept, transform.dim, out);
}

}  // namespace tessera::index
