#include "index/matrix.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <cblas.h>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/status_macros.h"

// LAPACK has no C header in Debian's OpenBLAS; these are its Fortran entries (LP64 integers).
extern "C" {
void ssyevd_(const char* jobz, const char* uplo, const int* n, float* a, const int* lda, float* w,
             float* work, const int* lwork, int* iwork, const int* liwork, int* info);
void sgeqrf_(const int* m, const int* n, float* a, const int* lda, float* tau, float* work,
             const int* lwork, int* info);
void sorgqr_(const int* m, const int* n, const int* k, float* a, const int* lda, const float* tau,
             float* work, const int* lwork, int* info);
}

namespace tessera::index {
namespace {

// OpenBLAS would start a thread per core inside each of our own threads.
void UseOneBlasThread() {
  static const bool done = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

int Int(size_t value) {
  TESSERA_CHECK(value <= static_cast<size_t>(INT32_MAX));
  return static_cast<int>(value);
}

absl::Status LapackStatus(const char* routine, int info) {
  if (info == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(routine, " failed with info ", info));
}

}  // namespace

// NOLINTNEXTLINE(readability-function-size): matrices and their shapes
void MultiplyTransposed(const float* a, size_t m, const float* b, size_t n, size_t dim,
                        float* out) {
  if (m == 0 || n == 0) return;
  UseOneBlasThread();
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, Int(m), Int(n), Int(dim), 1.0F, a, Int(dim),
              b, Int(dim), 0.0F, out, Int(n));
}

// NOLINTNEXTLINE(readability-function-size): matrices and their shapes
void Multiply(const float* a, size_t m, const float* b, size_t n, size_t inner, float* out) {
  if (m == 0 || n == 0) return;
  UseOneBlasThread();
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, Int(m), Int(n), Int(inner), 1.0F, a,
              Int(inner), b, Int(n), 0.0F, out, Int(n));
}

void AccumulateGram(const float* rows, size_t n, size_t dim, float* out) {
  if (n == 0) return;
  UseOneBlasThread();
  cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, Int(dim), Int(n), 1.0F, rows, Int(dim), 1.0F,
              out, Int(dim));
}

absl::Status SymmetricEigen(size_t dim, std::vector<float>* matrix, std::vector<float>* values) {
  UseOneBlasThread();
  values->assign(dim, 0.0F);
  if (dim == 0) return absl::OkStatus();
  // Row-major upper is column-major lower. LAPACK's eigenvectors are columns, hence our rows.
  const int n = Int(dim);
  int info = 0;
  float work_size = 0;
  int iwork_size = 0;
  const int query = -1;
  ssyevd_("V", "L", &n, matrix->data(), &n, values->data(), &work_size, &query, &iwork_size, &query,
          &info);
  TESSERA_RETURN_IF_ERROR(LapackStatus("ssyevd", info));
  // The size comes back as a float, which may round large values down.
  const size_t work_need =
      static_cast<size_t>(work_size) + static_cast<size_t>(work_size) / 64 + 64;
  std::vector<float> work(work_need);
  std::vector<int> iwork(static_cast<size_t>(iwork_size));
  const int lwork = Int(work.size());
  ssyevd_("V", "L", &n, matrix->data(), &n, values->data(), work.data(), &lwork, iwork.data(),
          &iwork_size, &info);
  TESSERA_RETURN_IF_ERROR(LapackStatus("ssyevd", info));
  // LAPACK orders ascending.
  std::reverse(values->begin(), values->end());
  for (size_t low = 0, high = dim - 1; low < high; ++low, --high) {
    std::swap_ranges(matrix->begin() + static_cast<ptrdiff_t>(low * dim),
                     matrix->begin() + static_cast<ptrdiff_t>((low + 1) * dim),
                     matrix->begin() + static_cast<ptrdiff_t>(high * dim));
  }
  return absl::OkStatus();
}

absl::Status Orthonormalise(size_t count, size_t dim, std::vector<float>* rows) {
  UseOneBlasThread();
  TESSERA_CHECK(count <= dim && rows->size() == count * dim);
  if (count == 0) return absl::OkStatus();
  // Our rows are the columns of LAPACK's [dim x count] matrix.
  const int n = Int(count);
  const int length = Int(dim);
  int info = 0;
  std::vector<float> tau(count);
  std::vector<float> work(count * 64);
  const int lwork = Int(work.size());
  sgeqrf_(&length, &n, rows->data(), &length, tau.data(), work.data(), &lwork, &info);
  TESSERA_RETURN_IF_ERROR(LapackStatus("sgeqrf", info));
  std::vector<float> signs(count);
  for (size_t i = 0; i < count; ++i) signs[i] = (*rows)[i * dim + i] < 0 ? -1.0F : 1.0F;
  sorgqr_(&length, &n, &n, rows->data(), &length, tau.data(), work.data(), &lwork, &info);
  TESSERA_RETURN_IF_ERROR(LapackStatus("sorgqr", info));
  // Q is only uniformly distributed when the diagonal of R is positive (Mezzadri 2007).
  for (size_t i = 0; i < count; ++i) {
    for (size_t j = 0; j < dim; ++j) (*rows)[i * dim + j] *= signs[i];
  }
  return absl::OkStatus();
}

}  // namespace tessera::index
