#include "version/columns/column_table.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/status_macros.h"

namespace tessera::version {
namespace {

uint64_t NextSerial() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

std::vector<storage::ByteRange> RangesOf(const ColumnSet& set) {
  std::vector<storage::ByteRange> ranges;
  ranges.reserve(set.units.size());
  for (const ColumnChunk& chunk : set.chunks) {
    uint64_t offset = chunk.offset;
    for (uint32_t i = 0; i < chunk.units; ++i) {
      const uint32_t bytes = set.units[chunk.first_unit + i].bytes;
      ranges.push_back({.file = chunk.file, .offset = offset, .bytes = bytes});
      offset += ColumnUnitStride(bytes);
    }
  }
  return ranges;
}

std::unordered_map<std::string_view, uint32_t> NumbersOf(const std::vector<std::string>& paths) {
  std::unordered_map<std::string_view, uint32_t> numbers;
  for (uint32_t i = 0; i < paths.size(); ++i) numbers.emplace(paths[i], i);
  return numbers;
}

}  // namespace

LoadedColumns::LoadedColumns(storage::PageCache& cache, uint64_t number, ColumnSet of)
    : serial(number),
      set(std::move(of)),
      path_numbers(NumbersOf(set.paths)),
      table(
          cache, storage::Priority::kFine, RangesOf(set),
          [](uint32_t, std::span<const std::byte> bytes) {
            return query::ValidateUnit({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
          }) {}

uint64_t LoadedColumns::memory_bytes() const {
  uint64_t bytes = sizeof(*this) + set.chunks.capacity() * sizeof(ColumnChunk) +
                   set.units.capacity() * sizeof(ColumnUnit) + table.memory_bytes();
  for (const std::string& path : set.paths) bytes += 2 * sizeof(path) + path.size() + 32;
  return bytes;
}

ColumnTable::ColumnTable(storage::PageCache& cache, std::vector<ColumnSet> sets,
                         const ColumnTable* base)
    : cache_(&cache) {
  for (ColumnSet& set : sets) {
    std::shared_ptr<LoadedColumns> same;
    for (size_t i = 0; base != nullptr && same == nullptr && i < base->sets_.size(); ++i) {
      if (base->sets_[i]->set == set) same = base->sets_[i];
    }
    if (same == nullptr) {
      same = std::make_shared<LoadedColumns>(cache, NextSerial(), std::move(set));
    }
    sets_.push_back(std::move(same));
  }
}

absl::Status ColumnTable::Charge(base::MemoryBudget& budget, std::string_view component) {
  for (const std::shared_ptr<LoadedColumns>& loaded : sets_) {
    if (loaded->memory.bytes() > 0) continue;
    TESSERA_ASSIGN_OR_RETURN(loaded->memory, budget.Reserve(component, loaded->memory_bytes()));
  }
  return absl::OkStatus();
}

bool ColumnTable::Shares(size_t number, const ColumnTable& other) const {
  return std::find(other.sets_.begin(), other.sets_.end(), sets_[number]) != other.sets_.end();
}

std::set<uint32_t> ColumnTable::files() const {
  std::set<uint32_t> files;
  for (const auto& loaded : sets_) {
    for (const ColumnChunk& chunk : loaded->set.chunks) files.insert(chunk.file);
  }
  return files;
}

uint64_t ColumnTable::memory_bytes() const {
  uint64_t bytes = 0;
  for (const auto& loaded : sets_) bytes += loaded->memory_bytes();
  return bytes;
}

uint64_t ColumnTable::disk_bytes() const {
  uint64_t bytes = 0;
  for (const auto& loaded : sets_) {
    for (const ColumnUnit& unit : loaded->set.units) bytes += ColumnUnitStride(unit.bytes);
  }
  return bytes;
}

}  // namespace tessera::version
