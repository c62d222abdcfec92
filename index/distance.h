// Exact dissimilarity of a query to vectors in their stored element type.
//
// Squared L2, minus the inner product, or minus the cosine (0 if either vector is zero): smaller is
// better. Where the query itself is made of elements of a one-byte type, sums are exact integers.
// Sums that leave the range of f32 are taken again in double, and tiny queries are scaled: no
// result is a NaN, a cosine is right for rows of any length, and it is in [-1, 1]. A squared
// distance is finite when no squared length is over base::kNorm2Max; it is rounded to f32, which
// below 1.2e-38 has fewer and fewer digits and below 7e-46 none.
//
// Threads: concurrent calls of a prepared RowDistance allowed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/types.h"
#include "index/kernels/vector_ops.h"

namespace tessera::index {


class RowDistance {
 public:
  // Pre: query finite, 1 .. base::kDimMax components, as the user sent them. Copies the query.
  void Prepare(base::Metric metric, base::ElementType type, std::span<const float> query,
               const VectorOps& ops = ActiveVectorOps());

  // `row`: dim finite elements, any alignment. A result that is too large is +-infinity.
  // Pre: Prepare was called.
  float operator()(const std::byte* row) const { return compare_(*this, row); }

 private:
  struct Forms;
  using Compare = float (*)(const RowDistance&, const std::byte*);

  void ScaleTinyQuery(base::Metric metric, base::ElementType type);

  Compare compare_ = nullptr;
  Compare unscaled_ = nullptr;  // of the scaled query
  double unscale_ = 1;
  const VectorOps* ops_ = nullptr;
  size_t dim_ = 0;
  float inverse_norm_ = 0;      // of the query as elements; 0 for a zero query
  std::vector<float> query_;    // under cosine of unit length, or zero
  std::vector<uint8_t> bytes_;  // the query as i8 or u8 elements
};

}  // namespace tessera::index
