// RaBitQ codec: one bit per kept dimension with a distance bound, then 4 or 8 bits per dimension.
//
// With o a row, c its head, q the query, mu the mean (0 but under L2), r = o - c, P the
// [code_dim x dim] projection, r' = P r, q' = P (q - mu), c' = P (c - mu) and x' = sign(r') / 2:
//
//   f = |r'|^2 / <r', x'>      B = 1 / (2 f)       A = |r|^2 B + <x', c'>     (L2)
//                                                  A = <x', c'> - <r, c> / f  (inner product)
//   |q-o|^2  ~ |q-c|^2 + (A - <x', q'>) / B        a = 1
//   -2<q,o>  ~ -2<q,c> + (a A - <x', q'>) / B      a = <q,c> / |c|^2
//
// Any a gives an unbiased estimate; this one makes |q - a c| and with it the error least. Cosine
// takes the second form, as |q-o|^2 = 2 - 2<q,o> of unit vectors: a tenth fewer survivors than by
// the first at the same misses, and a zero row scores 0 as it must. The error of <x', q'> is
// sigma * |q - a c|, sigma one constant of the codec, so that a row survives iff
// <x', q'> > a A + (base - tau) B - eps sigma |q - a c|. <x', q'> comes from a one-byte table of
// |q'_j| / step, added where the code bit equals the query's sign. Queries are rotated in 8-bit
// integers; what that and the bytes of the table and of the factors round away is part of the
// bound's width.
//
// Code plane: header, then blocks as in kernels/fastscan.h. Bytes:
//    0  u32  magic "TRQ1"       16  f32 a_offset, a_scale, b_offset, b_scale   (value = offset +
//    4  u32  rows               32  u8[32] zero                                 scale * byte)
//    8  u32  lines per block    64  blocks
//   12  u32  zero
// Fine record: f32 gain, f32 shift, codes of r (not rotated). With y the code minus its middle,
// gain = |r|^2 / <y, r>, shift = |r|^2 + 2 gain <y, c - mu> (L2), 2 gain <y, c> - 2 <r, c> (the
// others): the estimate is base + a shift - 2 gain <y, q - mu>. 4-bit codes: byte i holds
// dimension i below and dimension i + (dim + 1) / 2 above. Padded with zeros.
//
// Rows whose f is under an eighth of the list's largest use that instead: B must fit a byte.
//
// Threads: as Codec.
// Source:  Gao & Long, "RaBitQ", SIGMOD 2024; Gao et al., "Practical and Asymptotically Optimal
//          Quantization ...", SIGMOD 2025.
//          Differs: the query side is exact up to the table's rounding, one sigma instead of an
//          error factor per row, truncated projection, and the factor a under inner product.
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
#include "index/codecs/codec.h"

namespace tessera::index {

struct RaBitQParameters {
  // --- Identity ---
  uint32_t dim = 0;  // 1 .. base::kDimMax
  base::Metric metric = base::Metric::kL2;

  // --- Trade-offs ---
  // Dimensions of the code plane: one bit each. 1 .. dim.
  uint32_t code_dim = 0;
  // 4, 8, or 0 for no fine plane (raw rows of one byte per dimension take its place).
  uint32_t fine_bits = 4;

  // --- Learnt ---
  // Standard deviation of the error of <x', q'> relative to |q - a c|. In (0, 10].
  float sigma = 0.3F;
  std::vector<float> projection;  // [code_dim x dim], rows near orthonormal
  std::vector<float> mean;        // [dim]; all zero but under L2
};

class RaBitQCodec final : public Codec {
 public:
  // Errors: kInvalidArgument naming the parameter, its value and its range.
  static absl::StatusOr<std::unique_ptr<RaBitQCodec>> Create(RaBitQParameters parameters);
  // What follows the kind byte of Serialize. Errors: kDataLoss; kUnimplemented (newer version).
  static absl::StatusOr<std::unique_ptr<Codec>> Deserialize(std::string_view payload);

  CodecKind kind() const override { return CodecKind::kRaBitQ; }
  uint32_t dim() const override { return p_.dim; }
  base::Metric metric() const override { return p_.metric; }
  uint32_t code_dim() const { return p_.code_dim; }
  float sigma() const { return p_.sigma; }

  size_t CodePlaneBytes(size_t rows) const override;
  size_t FineRecordBytes() const override { return fine_bytes_; }
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

 private:
  struct RowFactors;
  struct ListHead;
  explicit RaBitQCodec(RaBitQParameters parameters);

  // Whether rows are estimated by their inner product with the query.
  bool by_dot() const { return p_.metric != base::Metric::kL2; }
  void QuantiseProjection();
  ListHead HeadOf(const float* head) const;
  RowFactors FactorsOf(const ListHead& list, const float* residual, const float* code) const;
  void StoreBits(const float* code, std::byte* row_codes) const;
  void EncodeFine(const ListHead& list, const RowFactors& factors, const float* residual,
                  std::byte* record) const;
  void StoreFactors(const ListHead& list, const std::vector<RowFactors>& factors,
                    std::byte* code_plane) const;

  const RaBitQParameters p_;
  const size_t lines_;
  const size_t fine_bytes_;
  // Where dimension j of the code plane lives: byte offset of its line in a block's codes, and bit.
  std::vector<uint32_t> line_of_;
  std::vector<uint8_t> bit_of_;
  // The projection for queries: steps of row_step_ above -128.
  std::vector<uint8_t> projection_bytes_;  // [code_dim x dim]
  std::vector<float> row_step_;            // [code_dim]
  float row_step_norm2_ = 0;               // sum of their squares
};

}  // namespace tessera::index
