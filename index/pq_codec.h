// PQ codec: four bits for every two dimensions, from dictionaries learnt by FAISS, with an error
// bound per list; then the fine plane of a RaBitQ codec.
//
// With o a row, c its head, q the query, mu the mean (0 but under L2), r = o - c and r^ the
// dictionary's words for r:
//
//   |q-o|^2  ~ |q-c|^2 + A - 2 <q - mu, r^>           A = |r|^2 + 2 <c - mu, r^>           (L2)
//   -2<q,o>  ~ -2<q,c> + a A - 2 <q, r^>              A = 2 <c, r^ - r>, a = <q,c> / |c|^2
//
// Cosine takes the second form, as |q-o|^2 = 2 - 2<q,o> of unit vectors. The error of an estimate
// has the standard deviation 2 sigma E |q - a c| (a = 1 under L2), E the root mean square of
// |r - r^| in the list and sigma one constant of the codec; rows whose estimate less eps of those
// is not below tau are dropped. <q - mu, r^> is a sum of look-ups in a one-byte table that depends
// on the query alone.
//
// Code plane: header, then blocks as in kernels/pq_scan.h. Bytes:
//    0  u32  magic "TPQ1"       16  f32 a_offset, a_scale   (value = offset + scale * byte)
//    4  u32  rows               24  f32 E
//    8  u32  lines per block    28  u8[36] zero
//   12  u32  zero               64  blocks
//
// Against RaBitQ: twice the bytes and the time of a scan, a third to two thirds of the survivors.
//
// Threads: as Codec.
// Source:  Jegou, Douze, Schmid, "Product Quantization for Nearest Neighbor Search", PAMI 2011;
//          FAISS's ProductQuantizer trains the dictionaries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/types.h"
#include "index/codec.h"
#include "index/codec_trainer.h"
#include "index/rabitq_codec.h"

namespace tessera::index {

inline constexpr size_t kPqWords = 16;
inline constexpr size_t kPqWordDims = 2;

// Dictionaries of `dim` dimensions; the last of an odd number has a dimension that is always 0.
constexpr size_t PqDictionaries(size_t dim) {
  return (dim + 1) / 2;
}

struct PqParameters {
  // --- Identity ---
  uint32_t dim = 0;  // 1 .. base::kDimMax
  base::Metric metric = base::Metric::kL2;

  // --- Trade-offs ---
  // 4, 8, or 0 for no fine plane (raw rows of one byte per dimension take its place).
  uint32_t fine_bits = 4;

  // --- Learnt ---
  // Standard deviation of <q - a c, r^ - r> relative to |q - a c| E. In (0, 10].
  float sigma = 0.1F;
  std::vector<float> words;  // [PqDictionaries(dim) x 16 x 2], each within +-1e18
  std::vector<float> mean;   // [dim]; all zero but under L2
};

class PqCodec final : public Codec {
 public:
  // Errors: kInvalidArgument naming the parameter, its value and its range.
  static absl::StatusOr<std::unique_ptr<PqCodec>> Create(PqParameters parameters);
  // What follows the kind byte of Serialize. Errors: kDataLoss; kUnimplemented (newer version).
  static absl::StatusOr<std::unique_ptr<Codec>> Deserialize(std::string_view payload);

  CodecKind kind() const override { return CodecKind::kPq; }
  uint32_t dim() const override { return p_.dim; }
  base::Metric metric() const override { return p_.metric; }
  float sigma() const { return p_.sigma; }

  size_t CodePlaneBytes(size_t rows) const override;
  size_t FineRecordBytes() const override;
  size_t memory_bytes() const override;
  void EncodeList(const float* head, const float* rows, size_t row_count, std::byte* code_plane,
                  std::byte* fine_plane) const override;
  std::unique_ptr<QueryCode> NewQuery() const override;
  void PrepareQuery(const float* query, QueryCode* code) const override;
  size_t ScanList(const QueryCode& code, const ListScan& scan, Survivor* out) const override;
  float FineEstimate(const QueryCode& code, const std::byte* fine_record, float head_distance2,
                     float head_dot) const override;
  void FineEstimates(const QueryCode& code, const std::byte* fine_plane, float head_distance2,
                     float head_dot, std::span<Survivor> survivors) const override;
  void DecodeRow(const float* head, const std::byte* code_plane, uint32_t slot,
                 const std::byte* fine_record, float* row) const override;
  absl::Status ValidateCodePlane(std::span<const std::byte> plane, size_t rows) const override;
  absl::Status ValidateFinePlane(std::span<const std::byte> plane, size_t rows) const override;
  std::string Serialize() const override;

  // The words for one residual. Shapes: residual [dim], codes [PqDictionaries(dim)], words [dim];
  // `codes` and `words` may be null.
  void Quantise(const float* residual, uint8_t* codes, float* words) const;

 private:
  PqCodec(PqParameters parameters, std::unique_ptr<RaBitQCodec> fine);

  bool by_dot() const { return p_.metric != base::Metric::kL2; }
  double RowFactor(const float* head, const float* residual, const float* words) const;

  const PqParameters p_;
  const size_t lines_;  // pairs of dictionaries
  // Encodes and estimates the fine plane; null without one.
  const std::unique_ptr<RaBitQCodec> fine_;
};

// Trains a PQ codec: dictionaries on a sample of the residuals, sigma on sample rows as queries on
// their own lists. Fine plane as TrainRaBitQ: none for one-byte elements, 8 bits a dimension while
// such a record is one cache line, else 4.
//
// The result depends on the sample and the seed, not on the thread count.
// Errors: kInvalidArgument for a dim outside 1 .. base::kDimMax; kInternal when FAISS fails.
// Cost:   about 5 ms a dictionary (two dimensions) and thread.
absl::StatusOr<std::unique_ptr<Codec>> TrainPq(const TrainingSet& sample,
                                               const CodecOptions& options);

}  // namespace tessera::index
