// A context to build index versions in, and clustered rows to build indexes of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/files/file_system.h"
#include "base/point_id.h"
#include "base/schema.h"
#include "base/types.h"
#include "query/hit.h"
#include "query/live_bitmap.h"
#include "storage/page_cache.h"
#include "version/build/record_spool.h"
#include "version/context.h"
#include "version/index_version.h"

namespace tessera::inline test {

// A context with what it points to: extents, scratch, cache and budget below /data of a file
// system.
struct TestContext : version::Context {
  std::unique_ptr<base::MemoryBudget> owned_budget;
  std::unique_ptr<storage::ExtentStore> owned_extents;
  std::unique_ptr<storage::ReadEngine> owned_reads;
  std::unique_ptr<storage::PageCache> owned_cache;
  std::unique_ptr<version::ExtentFiles> owned_files;
};

std::unique_ptr<TestContext> MakeContext(base::FileSystem& fs, uint64_t cache_bytes = 64 << 20);

// Rows of one field, by row id; ids are numbers equal to the row id.
class RowSet {
 public:
  // Rows around `centres` points, with row ids first_row, first_row + step, ...
  struct Options {
    size_t rows = 1000;
    size_t centres = 20;
    uint64_t first_row = 1;
    uint64_t step = 1;
    double noise = 0.3;  // relative to the distance of the centres
  };
  RowSet(const base::VectorFieldSchema& field, const Options& options, uint64_t seed);

  const base::VectorFieldSchema& field() const { return field_; }
  size_t size() const { return rows_.size(); }
  base::RowId row(size_t i) const { return rows_[i]; }
  // As stored; size dim * element bytes.
  const std::vector<std::byte>& vector(size_t i) const { return vectors_[i]; }
  std::vector<float> Floats(size_t i) const;
  std::vector<std::byte> Record(size_t i) const;

  void SetVector(size_t i, std::vector<std::byte> vector) { vectors_[i] = std::move(vector); }
  void Append(const RowSet& other);

  // A spool of the rows' raw records.
  std::unique_ptr<version::RecordSpool> Spool(version::Context& context) const;

 private:
  const base::VectorFieldSchema field_;
  std::vector<base::RowId> rows_;
  std::vector<std::vector<std::byte>> vectors_;
};

// The rows with the smallest dissimilarity to `query`, by brute force in double precision.
std::vector<base::RowId> BruteForce(const RowSet& rows, const std::vector<float>& query, size_t k,
                                    const std::vector<bool>* dead = nullptr);

}  // namespace tessera::inline test
