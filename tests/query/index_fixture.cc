#include "tests/query/index_fixture.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "base/check.h"
#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "base/float16.h"
#include "index/clustering.h"
#include "index/codecs/codec_trainer.h"
#include "index/distance.h"
#include "index/heads/head_index.h"
#include "index/raw_plane.h"
#include "index/search_space.h"

namespace tessera::query {
namespace {

// Whole records.
size_t FineUnitBytes(const TestIndexOptions& options, size_t record_bytes) {
  return std::max(options.fine_unit_bytes, record_bytes) / record_bytes * record_bytes;
}

void AppendElement(base::ElementType type, float value, std::vector<std::byte>* out) {
  const auto append = [out](const auto element) {
    const auto* bytes = reinterpret_cast<const std::byte*>(&element);
    out->insert(out->end(), bytes, bytes + sizeof(element));
  };
  switch (type) {
    case base::ElementType::kF32:
      return append(value);
    case base::ElementType::kF16:
      return append(base::F32ToF16(value));
    case base::ElementType::kI8:
      return append(static_cast<int8_t>(std::clamp(std::lrint(value * 30), -128L, 127L)));
    case base::ElementType::kU8:
      return append(static_cast<uint8_t>(std::clamp(std::lrint(100 + value * 30), 0L, 255L)));
  }
}

base::PointId IdOf(uint64_t number) {
  switch (number % 4) {
    case 0:
      return base::PointId(number * 7919);
    case 1: {
      base::Uuid uuid;
      base::StoreU64(reinterpret_cast<std::byte*>(uuid.bytes.data()) + 4, number * 31);
      return base::PointId(uuid);
    }
    case 2:
      return base::PointId(absl::StrCat("id ", number));
    default:
      return base::PointId(absl::StrFormat("a longer id with number %d", number));
  }
}

void Normalise(std::span<float> row) {
  double norm2 = 0;
  for (const float x : row) norm2 += static_cast<double>(x) * x;
  if (norm2 == 0) return;
  for (float& x : row) x = static_cast<float>(x / std::sqrt(norm2));
}

}  // namespace

ClusteredData::ClusteredData(uint64_t seed, base::VectorFieldSchema field, size_t clusters)
    : rng_(seed), field_(std::move(field)), intrinsic_(std::min<size_t>(field_.dim, 12)) {
  std::normal_distribution<float> normal;
  centres_.resize(clusters * field_.dim);
  for (float& x : centres_) x = normal(rng_);
  directions_.resize(clusters * intrinsic_ * field_.dim);
  const float scale = 1 / std::sqrt(static_cast<float>(field_.dim));
  for (float& x : directions_) x = normal(rng_) * scale;
}

std::vector<std::byte> ClusteredData::DrawElements() {
  std::normal_distribution<float> normal;
  const size_t dim = field_.dim;
  const size_t cluster = rng_() % (centres_.size() / dim);
  std::vector<float> vector(centres_.begin() + static_cast<ptrdiff_t>(cluster * dim),
                            centres_.begin() + static_cast<ptrdiff_t>((cluster + 1) * dim));
  for (size_t d = 0; d < intrinsic_; ++d) {
    const float amount = 1.5F * normal(rng_);
    const float* direction = &directions_[(cluster * intrinsic_ + d) * dim];
    for (size_t i = 0; i < dim; ++i) vector[i] += amount * direction[i];
  }
  std::vector<std::byte> elements;
  for (const float x : vector) AppendElement(field_.type, x + 0.05F * normal(rng_), &elements);
  return elements;
}

std::vector<float> ClusteredData::DrawQuery() {
  return ElementFloats(field_.type, DrawElements());
}

std::vector<TestRow> ClusteredData::DrawRows(size_t count, uint64_t first_row) {
  std::vector<TestRow> rows;
  for (uint64_t number = first_row; number < first_row + count; ++number) {
    rows.push_back({IdOf(number), base::RowId{number}, number * 3, DrawElements()});
  }
  return rows;
}

std::vector<float> ElementFloats(base::ElementType type, std::span<const std::byte> elements) {
  std::vector<float> floats;
  for (size_t i = 0; i < elements.size(); i += base::ElementBytes(type)) {
    const std::byte* element = elements.data() + i;
    switch (type) {
      case base::ElementType::kF32:
        floats.push_back(base::LoadF32(element));
        break;
      case base::ElementType::kF16:
        floats.push_back(base::F16ToF32(base::LoadU16(element)));
        break;
      case base::ElementType::kI8:
        floats.push_back(static_cast<float>(static_cast<int8_t>(*element)));
        break;
      case base::ElementType::kU8:
        floats.push_back(static_cast<float>(std::to_integer<uint8_t>(*element)));
        break;
    }
  }
  return floats;
}

double TrueDissimilarity(base::Metric metric, std::span<const float> query,
                         std::span<const float> row) {
  double dot = 0;
  double query2 = 0;
  double row2 = 0;
  double gap2 = 0;
  for (size_t i = 0; i < query.size(); ++i) {
    const double q = query[i];
    const double x = row[i];
    dot += q * x;
    query2 += q * q;
    row2 += x * x;
    gap2 += (q - x) * (q - x);
  }
  if (metric == base::Metric::kL2) return gap2;
  if (metric == base::Metric::kInnerProduct) return -dot;
  return query2 > 0 && row2 > 0 ? -dot / std::sqrt(query2 * row2) : 0;
}

// What is known of the planes on disk.
struct TestIndex::Planes {
  std::vector<uint32_t> part_begin;
  std::vector<ListPart> parts;
  uint64_t positions = 0;
  std::vector<storage::ByteRange> codes, fine, raw;
  std::vector<uint32_t> codes_crc, fine_crc, raw_rows;
};

TestIndex::TestIndex(const TestIndexOptions& options, std::vector<TestRow> rows)
    : options_(options), rows_(std::move(rows)), dead_(rows_.size()), position_of_(rows_.size()) {
  store_ = *storage::ExtentStore::Open(fs_, "/extents", 1);
  planes_ = std::make_unique<Planes>();
  WriteLists();
  live_ = LiveBitmap(planes_->positions);
  ResetCache(options_.cache_bytes);
}

TestIndex::~TestIndex() = default;

void TestIndex::WriteLists() {
  const base::VectorFieldSchema& field = options_.field;
  const size_t dim = field.dim;
  std::vector<float> vectors;  // in search space
  for (const TestRow& row : rows_) {
    std::vector<float> vector = ElementFloats(field.type, row.vector);
    if (field.metric == base::Metric::kCosine) Normalise(vector);
    vectors.insert(vectors.end(), vector.begin(), vector.end());
  }
  const float unit = index::UnitFor(field.metric, vectors);
  index::ApplyUnit(unit, vectors);
  const index::Clustering clusters =
      index::BuildClustering(vectors, dim, {.list_rows = options_.list_rows, .thread_count = 1});
  std::vector<float> spreads(clusters.list_count());
  for (size_t i = 0; i < rows_.size(); ++i) {
    const uint32_t list = clusters.assignment[i];
    spreads[list] +=
        static_cast<float>(TrueDissimilarity(base::Metric::kL2, {&vectors[i * dim], dim},
                                             {&clusters.heads[list * dim], dim}) /
                           clusters.list_sizes[list]);
  }
  heads_ = index::HeadIndex::Build(
      clusters.heads, dim,
      {.metric = field.metric, .spreads = spreads, .unit = unit, .thread_count = 1});
  std::vector<float> heads(clusters.heads.size());
  for (uint32_t list = 0; list < clusters.list_count(); ++list) {
    heads_->DecodeHead(list, &heads[list * dim]);
  }
  auto codec = index::TrainRaBitQ(
      {.dim = dim, .rows = vectors, .heads = heads, .assignment = clusters.assignment},
      {.metric = field.metric, .type = field.type, .thread_count = 1});
  TESSERA_CHECK(codec.ok());
  codec_ = *std::move(codec);

  std::vector<std::vector<size_t>> lists(clusters.list_count());
  for (size_t i = 0; i < rows_.size(); ++i) lists[clusters.assignment[i]].push_back(i);
  const std::unique_ptr<storage::ExtentWriter> writer = store_->NewWriter();
  for (uint32_t list = 0; list < lists.size(); ++list) {
    planes_->part_begin.push_back(static_cast<uint32_t>(planes_->parts.size()));
    const std::span<const size_t> numbers(lists[list]);
    const size_t per_part =
        (numbers.size() + options_.parts_per_list - 1) / options_.parts_per_list;
    for (size_t first = 0; first < numbers.size(); first += per_part) {
      WritePart(list, numbers.subspan(first, std::min(per_part, numbers.size() - first)), vectors,
                planes_.get(), writer.get());
    }
  }
  planes_->part_begin.push_back(static_cast<uint32_t>(planes_->parts.size()));
  TESSERA_CHECK(writer->Finish().ok());
  writer->Keep();
}

void TestIndex::WritePart(uint32_t list, std::span<const size_t> numbers,
                          const std::vector<float>& vectors, Planes* planes,
                          storage::ExtentWriter* writer) {
  const base::VectorFieldSchema& field = options_.field;
  const auto count = static_cast<uint32_t>(numbers.size());
  planes->parts.push_back({.list = list,
                           .rows = count,
                           .first_block = static_cast<uint32_t>(planes->positions / 64),
                           .code_unit = static_cast<uint32_t>(planes->codes.size()),
                           .fine_unit = static_cast<uint32_t>(planes->fine.size()),
                           .raw_unit = static_cast<uint32_t>(planes->raw.size()),
                           .planes = nullptr});
  std::vector<float> head(field.dim);
  heads_->DecodeHead(list, head.data());
  std::vector<float> part_vectors;
  std::vector<index::RawRow> raw_rows;
  for (size_t slot = 0; slot < count; ++slot) {
    const TestRow& row = rows_[numbers[slot]];
    position_of_[numbers[slot]] = planes->positions + slot;
    const float* vector = &vectors[numbers[slot] * field.dim];
    part_vectors.insert(part_vectors.end(), vector, vector + field.dim);
    raw_rows.push_back({row.row, row.version, &row.id, row.vector.data()});
  }
  planes->positions += index::BlockCount(count) * 64;

  const size_t fine_bytes = codec_->FineRecordBytes();
  std::vector<std::byte> codes(codec_->CodePlaneBytes(count));
  std::vector<std::byte> fine(count * fine_bytes);
  std::vector<std::byte> raw(index::RawPlaneBytes(field, count));
  codec_->EncodeList(head.data(), part_vectors.data(), count, codes.data(), fine.data());
  index::EncodeRawPlane(field, raw_rows, raw.data());

  const storage::ExtentRef codes_ref = *writer->Append(codes, storage::kListAlignment);
  planes->codes.push_back({codes_ref.file, codes_ref.offset, codes_ref.bytes});
  planes->codes_crc.push_back(codes_ref.crc);
  const size_t unit_bytes = fine_bytes == 0 ? 1 : FineUnitBytes(options_, fine_bytes);
  for (size_t at = 0; at < fine.size(); at += unit_bytes) {
    const std::span unit = std::span(fine).subspan(at, std::min(unit_bytes, fine.size() - at));
    const storage::ExtentRef ref = *writer->Append(unit, storage::kPlaneAlignment);
    planes->fine.push_back({ref.file, ref.offset, ref.bytes});
    planes->fine_crc.push_back(ref.crc);
  }
  const storage::ExtentRef raw_ref = *writer->Append(raw, storage::kPlaneAlignment);
  for (size_t unit = 0; unit < index::RawUnitCount(field, count); ++unit) {
    const size_t unit_rows = index::RawUnitRows(field, count, unit);
    planes->raw.push_back({raw_ref.file, raw_ref.offset + unit * index::RawUnitStride(field),
                           static_cast<uint32_t>(index::RawUnitBytes(field, unit_rows))});
    planes->raw_rows.push_back(static_cast<uint32_t>(unit_rows));
  }
}

void TestIndex::MakeView() {
  auto view = std::make_shared<IndexView>();
  const Planes& planes = *planes_;
  view->field = options_.field;
  view->heads = heads_;
  view->codec = codec_;
  view->calibration = Calibration::Default(static_cast<uint32_t>(heads_->head_count()));
  view->part_begin = planes.part_begin;
  view->parts = planes.parts;
  view->rows = rows_.size();
  view->positions = planes.positions;
  view->cache = cache_.get();
  const auto check = [](const std::vector<uint32_t>& crcs) {
    return [&crcs](uint32_t unit, std::span<const std::byte> bytes) {
      return base::Crc32c(bytes) == crcs[unit] ? absl::OkStatus()
                                               : absl::DataLossError("wrong checksum");
    };
  };
  const auto set = view->plane_sets.emplace_back(std::make_shared<PlaneSet>());
  for (ListPart& part : view->parts) part.planes = set.get();
  set->codes.emplace(*cache_, storage::Priority::kCodes, planes.codes, check(planes.codes_crc));
  const size_t fine_bytes = codec_->FineRecordBytes();
  if (fine_bytes > 0) {
    view->fine_plane = true;
    set->fine.emplace(*cache_, storage::Priority::kFine, planes.fine, check(planes.fine_crc));
    view->fine_rows_per_unit =
        static_cast<uint32_t>(FineUnitBytes(options_, fine_bytes) / fine_bytes);
  }
  set->raw.emplace(*cache_, storage::Priority::kRaw, planes.raw,
                   [this](uint32_t unit, std::span<const std::byte> bytes) {
                     return index::ValidateRawUnit(options_.field, planes_->raw_rows[unit], bytes);
                   });
  view->raw_rows_per_unit = index::RawRowsPerUnit(options_.field);
  view->fetch_fine = options_.fetch_fine;
  const absl::Status valid = Validate(*view);
  if (!valid.ok()) TESSERA_FATAL(valid.ToString());
  view_ = std::move(view);
}

void TestIndex::ResetCache(uint64_t cache_bytes, FaultPlan plan) {
  view_.reset();
  cache_.reset();
  faults_.reset();
  storage::ReadEngine* engine = &pool_;
  if (plan != nullptr) {
    faults_ = std::make_unique<storage::FaultingEngine>(pool_, std::move(plan));
    engine = faults_.get();
  }
  cache_ = *storage::PageCache::Create(*store_, *engine, budget_, {.capacity_bytes = cache_bytes});
  MakeView();
}

SearchView TestIndex::View(FreshView fresh) const {
  return {.field = options_.field, .index = view_, .live = live_, .fresh = std::move(fresh)};
}

void TestIndex::Kill(std::span<const size_t> numbers) {
  std::vector<uint64_t> positions;
  for (const size_t number : numbers) {
    dead_[number] = true;
    positions.push_back(position_of_[number]);
  }
  live_ = live_.WithCleared(positions);
}

std::vector<Hit> TestIndex::Nearest(std::span<const float> query, size_t limit,
                                    const FreshView& fresh) const {
  index::RowDistance distance;
  distance.Prepare(options_.field.metric, options_.field.type, query);
  std::vector<Hit> hits;
  for (size_t i = 0; i < rows_.size(); ++i) {
    if (dead_[i]) continue;
    const TestRow& row = rows_[i];
    hits.push_back({distance(row.vector.data()), HitId::FromPointId(row.id), row.row, row.version});
  }
  fresh.ForEach([&](const FreshRowRef& row) {
    hits.push_back(
        {distance(row.vector.data()), HitId::FromPointId(*row.id), row.row, row.version});
  });
  std::sort(hits.begin(), hits.end());
  if (hits.size() > limit) hits.resize(limit);
  return hits;
}

double RecallOf(const std::vector<Hit>& hits, const std::vector<Hit>& truth) {
  if (truth.empty()) return 1;
  std::set<base::RowId> wanted;
  for (const Hit& hit : truth) wanted.insert(hit.row);
  size_t found = 0;
  for (const Hit& hit : hits) found += wanted.count(hit.row);
  return static_cast<double>(found) / static_cast<double>(truth.size());
}

}  // namespace tessera::query
