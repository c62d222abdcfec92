#include "query/columns/chunk_builder.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/coding/coding.h"
#include "query/columns/path_encoder.h"
#include "query/columns/words.h"
#include "query/filter/field_record.h"

namespace tessera::query {
namespace {

constexpr size_t kDistinctPathsMax = size_t{1} << 14;  // bounds the table of paths
constexpr size_t kNumberKeyBytes = 9;
constexpr char kNumberIdKey = 1;  // first byte of PointId::EncodeKey of a number

}  // namespace

bool ChunkBuilder::full() const {
  return rows_.size() >= kChunkRowsMax || record_bytes_ >= kChunkRecordBytesMax ||
         entries_.size() >= kChunkEntriesMax ||
         paths_.size() >= kDistinctPathsMax;
}

bool ChunkBuilder::Takes(uint64_t position) const {
  return rows_.empty() ||
         (!full() && position / 64 - rows_.front().position / 64 < kChunkBlocksMax);
}

uint32_t ChunkBuilder::PathIndex(std::string_view key, size_t entry) {
  if (entry < shape_.size() && paths_[shape_[entry]].key == key) return shape_[entry];
  const auto [found, added] =
      path_of_key_.try_emplace(std::string(key), static_cast<uint32_t>(paths_.size()));
  if (added) paths_.push_back({.key = std::string(key)});
  if (entry >= shape_.size()) shape_.resize(entry + 1);
  shape_[entry] = found->second;
  return found->second;
}

void ChunkBuilder::Add(uint64_t position, std::string_view id_key, std::string_view record) {
  TESSERA_CHECK(Takes(position));
  TESSERA_CHECK(rows_.empty() || rows_.back().position < position);
  ids_.append(id_key);
  record_bytes_ += record.size();
  FieldRecordReader reader(record);
  std::string_view key;
  std::string_view values;
  for (size_t entry = 0; reader.Next(&key, &values); ++entry) {
    const uint32_t path = PathIndex(key, entry);
    ++paths_[path].rows;
    const auto begin = static_cast<uint32_t>(values_.size());
    values_.append(values);
    entries_.push_back({path, begin, static_cast<uint32_t>(values_.size())});
  }
  rows_.push_back({.position = position, .id_end = ids_.size(), .entry_end = entries_.size()});
}

std::string_view ChunkBuilder::IdOf(size_t row) const {
  const size_t begin = row == 0 ? 0 : rows_[row - 1].id_end;
  return std::string_view(ids_).substr(begin, rows_[row].id_end - begin);
}

std::vector<uint32_t> ChunkBuilder::ChooseUnits(std::vector<uint32_t>* chosen) const {
  for (uint32_t i = 0; i < paths_.size(); ++i) {
    if (paths_.size() <= kChunkPathsFew || size_t{paths_[i].rows} * 64 >= rows_.size()) {
      chosen->push_back(i);
    }
  }
  const auto by_key = [&](uint32_t a, uint32_t b) { return paths_[a].key < paths_[b].key; };
  if (chosen->size() > kChunkPathsMax) {
    std::sort(chosen->begin(), chosen->end(), [&](uint32_t a, uint32_t b) {
      return paths_[a].rows != paths_[b].rows ? paths_[a].rows > paths_[b].rows : by_key(a, b);
    });
    chosen->resize(kChunkPathsMax);
  }
  std::sort(chosen->begin(), chosen->end(), by_key);
  std::vector<uint32_t> places(paths_.size());
  for (uint32_t i = 0; i < chosen->size(); ++i) places[(*chosen)[i]] = i + 1;
  return places;
}

std::string ChunkBuilder::RowsUnit(EncodedChunk* chunk) const {
  chunk->first_block = rows_.front().position / 64;
  chunk->blocks = static_cast<uint32_t>(rows_.back().position / 64 - chunk->first_block) + 1;
  std::vector<uint64_t> words(chunk->blocks);
  for (const Row& row : rows_) {
    words[row.position / 64 - chunk->first_block] |= uint64_t{1} << (row.position % 64);
  }
  std::string bytes;
  for (const uint64_t word : words) base::PutU64(&bytes, word);
  return EncodeUnit(UnitKind::kRows, chunk->rows, "",
                    {{.kind = SectionKind::kBlocks,
                      .count = chunk->blocks,
                      .base = chunk->first_block,
                      .bytes = bytes}});
}

std::string ChunkBuilder::IdsUnit() const {
  RowKeys numbers;
  std::vector<std::pair<uint16_t, std::string_view>> others;
  for (size_t i = 0; i < rows_.size(); ++i) {
    const std::string_view id = IdOf(i);
    const auto row = static_cast<uint16_t>(i);
    if (id.size() == kNumberKeyBytes && id[0] == kNumberIdKey) {
      numbers.emplace_back(row, base::DecodeBigEndian64(id.substr(1)));
    } else {
      others.emplace_back(row, id);
    }
  }
  std::vector<std::string> kept;
  kept.reserve(8);
  std::vector<Section> sections;
  const auto rows = static_cast<uint32_t>(rows_.size());
  EncodeKeys(SectionKind::kNumbers, 0, rows, std::move(numbers), &kept, &sections);
  EncodeTexts(rows, others, &kept, &sections);
  return EncodeUnit(UnitKind::kIds, rows, "", sections);
}

void ChunkBuilder::PathUnits(EncodedChunk* chunk) {
  std::vector<uint32_t> chosen;
  const std::vector<uint32_t> places = ChooseUnits(&chosen);
  std::vector<PathEncoder> encoders(chosen.size());
  std::string rest_rows;
  std::string rest_ends;
  std::string rest_records;
  uint32_t rest_count = 0;
  size_t at = 0;
  for (size_t i = 0; i < rows_.size(); ++i) {
    const auto row = static_cast<uint16_t>(i);
    const size_t rest_begin = rest_records.size();
    for (; at < rows_[i].entry_end; ++at) {
      const Entry& entry = entries_[at];
      const auto values = std::string_view(values_).substr(entry.begin, entry.end - entry.begin);
      const uint32_t place = places[entry.path];
      if (place == 0) {
        PutFieldEntry(paths_[entry.path].key, values, &rest_records);
        continue;
      }
      PathEncoder& encoder = encoders[place - 1];
      encoder.AddRow(row);
      FieldValueReader each(values);
      FieldValue value;
      while (each.Next(&value)) encoder.AddValue(row, value);
    }
    if (rest_records.size() == rest_begin) continue;
    base::PutU16(&rest_rows, row);
    base::PutU32(&rest_ends, static_cast<uint32_t>(rest_records.size()));
    ++rest_count;
  }
  for (size_t i = 0; i < chosen.size(); ++i) {
    const std::string& key = paths_[chosen[i]].key;
    chunk->units.push_back({UnitKind::kPath, key, encoders[i].Finish(key, chunk->rows)});
  }
  if (rest_count == 0) return;
  const std::string bytes = rest_rows + std::string(2, '\0') + rest_ends + rest_records;
  chunk->units.push_back(
      {UnitKind::kRest, "",
       EncodeUnit(UnitKind::kRest, chunk->rows, "",
                  {{.kind = SectionKind::kRecords, .count = rest_count, .bytes = bytes}})});
}

EncodedChunk ChunkBuilder::Finish() {
  TESSERA_CHECK(!empty());
  EncodedChunk chunk;
  chunk.rows = static_cast<uint32_t>(rows_.size());
  chunk.units.push_back({UnitKind::kRows, "", RowsUnit(&chunk)});
  chunk.units.push_back({UnitKind::kIds, "", IdsUnit()});
  PathUnits(&chunk);
  *this = ChunkBuilder();
  return chunk;
}

}  // namespace tessera::query
