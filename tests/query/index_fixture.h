// A small index on a file system in memory, built as a database would build one, and the exact
// answers to compare with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/memory_budget.h"
#include "base/point_id.h"
#include "base/schema.h"
#include "base/types.h"
#include "query/hit.h"
#include "query/index_view.h"
#include "storage/extent_store.h"
#include "storage/page_cache.h"
#include "storage/read_batch.h"
#include "tests/support/fault_fs.h"

namespace tessera::query {

struct TestRow {
  base::PointId id;
  base::RowId row;
  uint64_t version = 0;
  std::vector<std::byte> vector;
};

// A mixture of Gaussian clusters with few directions of variance each: what lists are good for.
class ClusteredData {
 public:
  ClusteredData(uint64_t seed, base::VectorFieldSchema field, size_t clusters = 40);

  // A vector of the field's elements; never twice the same.
  std::vector<std::byte> DrawElements();
  // A query like the rows: what DrawElements gives, as floats.
  std::vector<float> DrawQuery();
  // Rows with ids of every kind, numbered from `first_row`.
  std::vector<TestRow> DrawRows(size_t count, uint64_t first_row = 1);

  std::mt19937_64& rng() { return rng_; }

 private:
  std::mt19937_64 rng_;
  base::VectorFieldSchema field_;
  size_t intrinsic_;
  std::vector<float> centres_;
  std::vector<float> directions_;  // per cluster [intrinsic_ x dim]
};

// Elements of a field's type as floats.
std::vector<float> ElementFloats(base::ElementType type, std::span<const std::byte> elements);

// Squared L2, minus the inner product or minus the cosine, in double precision.
double TrueDissimilarity(base::Metric metric, std::span<const float> query,
                         std::span<const float> row);

struct TestIndexOptions {
  base::VectorFieldSchema field{.name = "", .dim = 32, .metric = base::Metric::kL2};
  uint32_t list_rows = 64;
  uint32_t parts_per_list = 1;
  uint64_t cache_bytes = uint64_t{64} << 20;
  bool fetch_fine = true;
  size_t fine_unit_bytes = 1024;  // small: short lists get several units
};

class TestIndex {
 public:
  using FaultPlan = storage::FaultingEngine::Plan;

  TestIndex(const TestIndexOptions& options, std::vector<TestRow> rows);
  ~TestIndex();

  // What searches see: every row live but the killed ones, and the fresh rows given.
  SearchView View(FreshView fresh = {}) const;
  // Marks rows (by their number in rows()) dead in views taken from now on.
  void Kill(std::span<const size_t> numbers);
  // An empty cache of another size. `plan` damages reads.
  void ResetCache(uint64_t cache_bytes, FaultPlan plan = nullptr);

  const std::vector<TestRow>& rows() const { return rows_; }
  // Of a row, by its number in rows(), in the live bitmap.
  uint64_t position(size_t number) const { return position_of_[number]; }
  bool dead(size_t number) const { return dead_[number]; }
  const IndexView& view() const { return *view_; }
  storage::PageCache& cache() { return *cache_; }

  // The `limit` nearest live rows and fresh rows, in the order of replies.
  std::vector<Hit> Nearest(std::span<const float> query, size_t limit,
                           const FreshView& fresh = {}) const;

 private:
  struct Planes;

  void WriteLists();
  void WritePart(uint32_t list, std::span<const size_t> numbers, const std::vector<float>& vectors,
                 Planes* planes, storage::ExtentWriter* writer);
  void MakeView();

  const TestIndexOptions options_;
  std::vector<TestRow> rows_;
  std::vector<bool> dead_;
  std::vector<uint64_t> position_of_;  // in the live bitmap
  LiveBitmap live_;

  test::FaultFs fs_;
  base::MemoryBudget budget_{0};
  storage::PreadPool pool_{0};
  std::unique_ptr<storage::ExtentStore> store_;
  std::unique_ptr<storage::FaultingEngine> faults_;
  std::unique_ptr<storage::PageCache> cache_;

  std::shared_ptr<const index::HeadIndex> heads_;
  std::shared_ptr<const index::Codec> codec_;
  std::unique_ptr<Planes> planes_;
  std::shared_ptr<const IndexView> view_;
};

// Share of `truth` among `hits`, by row.
double RecallOf(const std::vector<Hit>& hits, const std::vector<Hit>& truth);

}  // namespace tessera::query
