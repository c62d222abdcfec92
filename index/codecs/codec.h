// Codec: how the rows of a posting list become codes, and how a query is compared with the codes.
//
// A list has two planes. The code plane holds blocks of 64 rows with about one bit per dimension
// and the factors of a distance bound; it is scanned whole. The fine plane is row-major, one
// fixed-size record per slot, and is touched only for rows that survive the scan. Codecs of
// one-byte elements have no fine plane (FineRecordBytes() == 0): their raw rows take its place.
//
// Every row, head and query given to a codec is in search space (search_space.h). Estimates and tau
// are dissimilarities there: the squared distance |q-o|^2 under L2 and cosine, -<q,o> under inner
// product.
//
// Threads: a Codec is immutable and shared; a QueryCode belongs to one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/types.h"

namespace tessera::index {

// Rows per block of a code plane.
inline constexpr size_t kBlockRows = 64;
// Rows of one list at most; slots are 0 .. rows - 1.
inline constexpr uint32_t kListRowsMax = uint32_t{1} << 16;

constexpr size_t BlockCount(size_t rows) {
  return (rows + kBlockRows - 1) / kBlockRows;
}

// Values are on disk: never renumber.
enum class CodecKind : uint8_t { kRaBitQ = 1 };

// A row that a scan let through.
struct Survivor {
  uint32_t slot;
  float estimate;  // search-space dissimilarity by the first plane
};

// What one scan of one list needs.
struct ListScan {
  const std::byte* code_plane = nullptr;
  uint32_t rows = 0;
  float head_distance2 = 0;  // |q - c|^2
  float head_dot = 0;        // <q, c>; not read under L2
  // One word per block, bit i = row 64 * block + i is eligible; null: every row is.
  const uint64_t* block_mask = nullptr;
  // Rows that cannot beat tau are dropped; +infinity lets every eligible row through.
  float tau = std::numeric_limits<float>::infinity();
  // Width of the bound in standard deviations of the estimate's error: 0 trusts the estimate,
  // ~1.0 suits recall .90, 1.4 .95, 2.0 .99. See RaBitQ: the higher the fewer rows are missed.
  float eps = 1.4F;
  // The plane scanned next, to be prefetched meanwhile; may be null.
  const std::byte* next_code_plane = nullptr;
  uint32_t next_rows = 0;
};

// A query made ready for a codec. Reused from query to query by one thread; only its codec looks
// inside.
class QueryCode {
 public:
  QueryCode() = default;
  QueryCode(const QueryCode&) = delete;
  QueryCode& operator=(const QueryCode&) = delete;
  virtual ~QueryCode() = default;
};

class Codec {
 public:
  Codec() = default;
  Codec(const Codec&) = delete;
  Codec& operator=(const Codec&) = delete;
  virtual ~Codec() = default;

  virtual CodecKind kind() const = 0;
  virtual uint32_t dim() const = 0;
  virtual base::Metric metric() const = 0;

  // Bytes of the code plane of a list; a multiple of 64.
  virtual size_t CodePlaneBytes(size_t rows) const = 0;
  // Bytes of one fine record; 0 when the raw rows serve as the second plane.
  virtual size_t FineRecordBytes() const = 0;
  // Heap bytes of the codec itself.
  virtual size_t memory_bytes() const = 0;

  // Encodes a whole list.
  //
  // Shapes: head [dim]; rows [row_count x dim], row-major, finite; code_plane
  //         [CodePlaneBytes(row_count)]; fine_plane [row_count * FineRecordBytes()], may be null
  //         when that is 0. Every output byte is written.
  // Pre:    row_count <= kListRowsMax.
  // Cost:   O(row_count * dim * code dimensions). Deterministic.
  virtual void EncodeList(const float* head, const float* rows, size_t row_count,
                          std::byte* code_plane, std::byte* fine_plane) const = 0;

  virtual std::unique_ptr<QueryCode> NewQuery() const = 0;
  // Rotation and tables, once per query and never per list. `query` [dim], finite.
  virtual void PrepareQuery(const float* query, QueryCode* code) const = 0;

  // Appends to `out` the eligible rows whose bound can beat tau, by ascending slot; returns how
  // many. `out` has room for scan.rows entries. No allocation.
  // Pre:    the plane passed ValidateCodePlane, or was written by EncodeList.
  virtual size_t ScanList(const QueryCode& code, const ListScan& scan, Survivor* out) const = 0;

  // Estimates the dissimilarity of a row from its fine record.
  // Pre: FineRecordBytes() != 0.
  virtual float FineEstimate(const QueryCode& code, const std::byte* fine_record,
                             float head_distance2, float head_dot) const = 0;
  // The same for survivors of one list, in place of their estimates; fine_plane is the list's.
  virtual void FineEstimates(const QueryCode& code, const std::byte* fine_plane,
                             float head_distance2, float head_dot,
                             std::span<Survivor> survivors) const = 0;

  // Approximately the row that was encoded, from its fine record, or from the code plane when
  // fine_record is null. For tests and diagnostics; slow.
  virtual void DecodeRow(const float* head, const std::byte* code_plane, uint32_t slot,
                         const std::byte* fine_record, float* row) const = 0;

  // Checks bytes that come from disk: sizes, header and factors; after OK a scan of them reads
  // in bounds and computes finite numbers. Content is guarded by the extents' checksums.
  // Errors: kDataLoss naming what is wrong.
  virtual absl::Status ValidateCodePlane(std::span<const std::byte> plane, size_t rows) const = 0;
  virtual absl::Status ValidateFinePlane(std::span<const std::byte> plane, size_t rows) const = 0;

  // Versioned bytes with a checksum; equal codecs give equal bytes.
  virtual std::string Serialize() const = 0;
};

// Reads what any codec's Serialize wrote.
// Errors: kDataLoss for any damage; kUnimplemented for a newer version or an unknown kind.
absl::StatusOr<std::unique_ptr<Codec>> DeserializeCodec(std::string_view bytes);

// What Serialize returns: magic, kind, the codec's own payload, CRC-32C of all before it.
std::string FrameCodec(CodecKind kind, std::string_view payload);

}  // namespace tessera::index
