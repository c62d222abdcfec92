// The dense linear algebra of index building, behind which BLAS and LAPACK stay hidden.
//
// All matrices are row-major f32 without padding. Every call runs on the calling thread alone:
// parallelism is ours (parallel_for.h), which keeps results independent of the thread count.
//
// Threads: any.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/status.h"

namespace tessera::index {

// out[i][j] = <a_i, b_j>. Shapes: a [m x dim], b [n x dim], out [m x n].
void MultiplyTransposed(const float* a, size_t m, const float* b, size_t n, size_t dim, float* out);

// out = a * b. Shapes: a [m x inner], b [inner x n], out [m x n].
void Multiply(const float* a, size_t m, const float* b, size_t n, size_t inner, float* out);

// Adds rows^T rows to the upper triangle (row <= column) of `out`. Shapes: rows [n x dim], out
// [dim x dim]; the rest of `out` is left alone.
void AccumulateGram(const float* rows, size_t n, size_t dim, float* out);

// Eigenvectors of a symmetric matrix, largest eigenvalue first.
//
// Shapes: matrix [dim x dim] (upper triangle is read), on return its row i is the i-th unit
//         eigenvector; values [dim].
// Errors: kInternal when LAPACK does not converge (a NaN in the input does that).
// Cost:   O(dim^3), about 0.3 s at dim 768.
absl::Status SymmetricEigen(size_t dim, std::vector<float>* matrix, std::vector<float>* values);

// Replaces `count` rows by an orthonormal set that spans the same space (Householder QR); rows that
// depend on earlier ones become arbitrary further directions. Of a square Gaussian random matrix it
// makes a uniformly random rotation (the signs of R's diagonal are fixed to be positive).
//
// Shapes: rows [count x dim], count <= dim.
// Errors: kInternal as above.
// Cost:   O(count^2 * dim).
absl::Status Orthonormalise(size_t count, size_t dim, std::vector<float>* rows);

}  // namespace tessera::index
