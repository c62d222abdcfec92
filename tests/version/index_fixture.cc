#include "tests/version/index_fixture.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/elements.h"
#include "base/float16.h"
#include "index/raw_plane.h"
#include "storage/read_batch.h"

namespace tessera::inline test {

std::unique_ptr<TestContext> MakeContext(base::FileSystem& fs, uint64_t cache_bytes) {
  auto context = std::make_unique<TestContext>();
  context->fs = &fs;
  context->scratch_path = "/data/scratch";
  context->threads = 2;
  context->owned_budget = std::make_unique<base::MemoryBudget>(0);
  context->budget = context->owned_budget.get();
  TESSERA_CHECK(fs.CreateDirectory("/data").ok());
  TESSERA_CHECK(fs.CreateDirectory(context->scratch_path).ok());
  auto extents = storage::ExtentStore::Open(fs, "/data/extents", 1);
  TESSERA_CHECK(extents.ok());
  context->owned_extents = *std::move(extents);
  context->extents = context->owned_extents.get();
  context->owned_reads = std::make_unique<storage::PreadPool>(0);
  context->reads = context->owned_reads.get();
  auto cache = storage::PageCache::Create(*context->extents, *context->reads, *context->budget,
                                          {.capacity_bytes = cache_bytes});
  TESSERA_CHECK(cache.ok());
  context->owned_cache = *std::move(cache);
  context->cache = context->owned_cache.get();
  context->owned_files = std::make_unique<version::ExtentFiles>(*context->extents);
  context->files = context->owned_files.get();
  return context;
}

namespace {

// Components of about -1 .. 1 in the stored type.
std::vector<std::byte> ToElements(base::ElementType type, const std::vector<double>& row) {
  std::vector<std::byte> out(row.size() * base::ElementBytes(type));
  for (size_t i = 0; i < row.size(); ++i) {
    switch (type) {
      case base::ElementType::kF32: {
        const auto value = static_cast<float>(row[i]);
        std::memcpy(&out[4 * i], &value, 4);
        break;
      }
      case base::ElementType::kF16: {
        const uint16_t value = base::F32ToF16(static_cast<float>(row[i]));
        std::memcpy(&out[2 * i], &value, 2);
        break;
      }
      case base::ElementType::kI8: {
        const auto value = static_cast<int8_t>(std::lround(std::clamp(row[i] * 60, -127.0, 127.0)));
        std::memcpy(&out[i], &value, 1);
        break;
      }
      case base::ElementType::kU8: {
        const auto value =
            static_cast<uint8_t>(std::lround(std::clamp(row[i] * 60 + 100, 0.0, 255.0)));
        std::memcpy(&out[i], &value, 1);
        break;
      }
    }
  }
  return out;
}

}  // namespace

RowSet::RowSet(const base::VectorFieldSchema& field, const Options& options, uint64_t seed)
    : field_(field) {
  // The centres do not depend on the seed: sets of one field lie in the same clusters.
  std::mt19937_64 centre_rng(field.dim);
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal;
  std::vector<std::vector<double>> centres(options.centres, std::vector<double>(field.dim));
  for (auto& centre : centres) {
    for (double& x : centre) x = 0.5 * normal(centre_rng);
  }
  std::vector<double> row(field.dim);
  for (size_t i = 0; i < options.rows; ++i) {
    const std::vector<double>& centre = centres[rng() % centres.size()];
    for (size_t j = 0; j < row.size(); ++j) row[j] = centre[j] + options.noise * normal(rng);
    rows_.push_back({options.first_row + i * options.step});
    vectors_.push_back(ToElements(field.type, row));
  }
}

std::vector<float> RowSet::Floats(size_t i) const {
  std::vector<float> row(field_.dim);
  base::DecodeElements(
      field_.type, {reinterpret_cast<const char*>(vectors_[i].data()), vectors_[i].size()}, row);
  return row;
}

std::vector<std::byte> RowSet::Record(size_t i) const {
  std::vector<std::byte> record(index::RawRecordBytes(field_));
  const base::PointId id(rows_[i].value);
  index::EncodeRawRecord(field_,
                         {.row = rows_[i], .version = 7, .id = &id, .vector = vectors_[i].data()},
                         record.data());
  return record;
}

void RowSet::Append(const RowSet& other) {
  rows_.insert(rows_.end(), other.rows_.begin(), other.rows_.end());
  vectors_.insert(vectors_.end(), other.vectors_.begin(), other.vectors_.end());
}

std::unique_ptr<version::RecordSpool> RowSet::Spool(version::Context& context) const {
  auto spool = version::RecordSpool::Create(*context.fs, context.ScratchFile("test"),
                                            index::RawRecordBytes(field_), 1 << 16);
  TESSERA_CHECK(spool.ok());
  for (size_t i = 0; i < size(); ++i) TESSERA_CHECK((*spool)->Append(Record(i)).ok());
  TESSERA_CHECK((*spool)->FinishWriting().ok());
  return *std::move(spool);
}

namespace {

double Dissimilarity(base::Metric metric, const std::vector<float>& a,
                     const std::vector<float>& b) {
  double l2 = 0;
  double dot = 0;
  double a2 = 0;
  double b2 = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = a[i];
    const double y = b[i];
    l2 += (x - y) * (x - y);
    dot += x * y;
    a2 += x * x;
    b2 += y * y;
  }
  switch (metric) {
    case base::Metric::kL2:
      return l2;
    case base::Metric::kInnerProduct:
      return -dot;
    case base::Metric::kCosine:
      return a2 == 0 || b2 == 0 ? 0 : -dot / std::sqrt(a2 * b2);
  }
  return 0;
}

}  // namespace

std::vector<base::RowId> BruteForce(const RowSet& rows, const std::vector<float>& query, size_t k,
                                    const std::vector<bool>* dead) {
  std::vector<std::pair<double, base::RowId>> all;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (dead != nullptr && (*dead)[i]) continue;
    all.emplace_back(Dissimilarity(rows.field().metric, rows.Floats(i), query), rows.row(i));
  }
  std::sort(all.begin(), all.end());
  std::vector<base::RowId> best;
  for (size_t i = 0; i < std::min(k, all.size()); ++i) best.push_back(all[i].second);
  return best;
}

}  // namespace tessera::inline test
