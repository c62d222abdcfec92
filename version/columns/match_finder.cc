#include "version/columns/match_finder.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/status_macros.h"
#include "index/codecs/codec.h"
#include "query/filter/normalize.h"
#include "storage/epoch.h"

namespace tessera::version {
namespace {

using query::UnitKind;

// Chunks whose units are pinned at once, and the bytes of those, one chunk apart: a unit of long
// texts may have a megabyte.
constexpr size_t kPortionChunks = 64;
constexpr uint64_t kPortionBytes = uint64_t{2} << 20;

absl::Status CheckStop(const FindOptions& options) {
  if (options.cancelled != nullptr && options.cancelled->load(std::memory_order_relaxed)) {
    return absl::CancelledError("the call was cancelled");
  }
  if (options.deadline.Passed()) {
    return absl::DeadlineExceededError("the deadline passed while the filter was evaluated");
  }
  return absl::OkStatus();
}

std::string_view ViewOf(const std::byte* data, size_t bytes) {
  return {reinterpret_cast<const char*>(data), bytes};
}

// Evaluates a filter on the chunks of one set.
class SetScan {
 public:
  SetScan(storage::PageCache& cache, LoadedColumns& columns, const query::FilterProgram& program)
      : cache_(cache), columns_(columns), program_(program) {
    for (const std::string& path : program.paths()) {
      const auto found = columns.path_numbers.find(path);
      paths_.push_back(found == columns.path_numbers.end() ? kNoPath : found->second);
    }
  }

  // Shape: words [blocks of the set], zero; the first is of the set's first block.
  absl::Status Run(const FindOptions& options, uint64_t* words, uint64_t* bytes_read);

 private:
  static constexpr uint32_t kNoPath = ~uint32_t{0};

  // A chunk and its units in `bytes_`: the rows', the paths', the rest, the ids.
  struct Pending {
    const ColumnChunk* chunk = nullptr;
    size_t first = 0;
  };

  size_t UnitsEach() const { return paths_.size() + 3; }
  void AddChunk(const ColumnChunk& chunk);
  void AddUnit(uint32_t unit, size_t place);
  absl::Status Evaluate(uint64_t first_block, uint64_t* words);

  storage::PageCache& cache_;
  LoadedColumns& columns_;
  const query::FilterProgram& program_;
  std::vector<uint32_t> paths_;  // numbers in the set
  storage::CacheGuard guard_;

  uint64_t portion_bytes_ = 0;
  std::vector<Pending> pending_;
  std::vector<std::string_view> bytes_;
  std::vector<storage::FetchRequest> requests_;
  std::vector<size_t> places_;  // in bytes_, of the requests
  std::vector<uint64_t> chunk_words_;
};

void SetScan::AddUnit(uint32_t unit, size_t place) {
  const size_t bytes = columns_.set.units[unit].bytes;
  portion_bytes_ += bytes;
  if (const std::byte* data = columns_.table.Peek(unit)) {
    bytes_[place] = ViewOf(data, bytes);
    return;
  }
  requests_.push_back({.table = &columns_.table, .unit = unit});
  places_.push_back(place);
}

void SetScan::AddChunk(const ColumnChunk& chunk) {
  const size_t first = bytes_.size();
  bytes_.resize(first + UnitsEach());
  pending_.push_back({&chunk, first});
  size_t found = 0;
  std::vector<bool> has(paths_.size());
  uint32_t rest = kNoPath;
  for (uint32_t i = 0; i < chunk.units; ++i) {
    const uint32_t number = chunk.first_unit + i;
    const ColumnUnit& unit = columns_.set.units[number];
    switch (unit.kind) {
      case UnitKind::kRows:
        AddUnit(number, first);
        break;
      case UnitKind::kPath:
        for (size_t path = 0; path < paths_.size(); ++path) {
          if (paths_[path] != unit.path) continue;
          AddUnit(number, first + 1 + path);
          ++found;
        }
        break;
      case UnitKind::kRest:
        rest = number;
        break;
      case UnitKind::kIds:
        if (program_.wants_ids()) AddUnit(number, first + paths_.size() + 2);
        break;
    }
  }
  // A path is in a unit of its own or in the rest, for all rows of the chunk.
  if (rest != kNoPath && found < paths_.size()) AddUnit(rest, first + paths_.size() + 1);
}

absl::Status SetScan::Evaluate(uint64_t first_block, uint64_t* words) {
  for (const Pending& pending : pending_) {
    const ColumnChunk& chunk = *pending.chunk;
    const std::span units = std::span(bytes_).subspan(pending.first, UnitsEach());
    chunk_words_.resize(chunk.blocks);
    TESSERA_RETURN_IF_ERROR(program_.Evaluate({.rows = chunk.rows,
                                               .blocks = chunk.blocks,
                                               .rows_unit = units[0],
                                               .ids_unit = units[paths_.size() + 2],
                                               .paths = units.subspan(1, paths_.size()),
                                               .rest_unit = units[paths_.size() + 1]},
                                              chunk_words_.data()));
    uint64_t* out = words + (chunk.first_block - first_block);
    for (uint32_t block = 0; block < chunk.blocks; ++block) out[block] |= chunk_words_[block];
  }
  pending_.clear();
  bytes_.clear();
  return absl::OkStatus();
}

absl::Status SetScan::Run(const FindOptions& options, uint64_t* words, uint64_t* bytes_read) {
  const std::vector<ColumnChunk>& chunks = columns_.set.chunks;
  for (size_t next = 0; next < chunks.size();) {
    TESSERA_RETURN_IF_ERROR(CheckStop(options));
    portion_bytes_ = 0;
    const size_t end = std::min(chunks.size(), next + kPortionChunks);
    while (next < end && portion_bytes_ < kPortionBytes) AddChunk(chunks[next++]);
    if (!requests_.empty()) {
      storage::FetchStats fetched;
      TESSERA_RETURN_IF_ERROR(cache_.Fetch(
          guard_, requests_,
          [&](size_t request, const std::byte* data) {
            bytes_[places_[request]] =
                ViewOf(data, columns_.set.units[requests_[request].unit].bytes);
          },
          &fetched));
      *bytes_read += fetched.bytes_read;
      requests_.clear();
      places_.clear();
    }
    TESSERA_RETURN_IF_ERROR(Evaluate(chunks[0].first_block, words));
    guard_.Refresh();
  }
  return absl::OkStatus();
}

void CountLists(const query::IndexView& view, query::IndexMatches* matches) {
  matches->list_matches.assign(view.list_count(), 0);
  std::vector<uint64_t> words;
  for (const query::ListPart& part : view.parts) {
    words.resize(index::BlockCount(part.rows));
    matches->Load(part.first_block, static_cast<uint32_t>(words.size()), words.data());
    uint32_t rows = 0;
    for (const uint64_t word : words) rows += static_cast<uint32_t>(std::popcount(word));
    matches->list_matches[part.list] += rows;
    matches->rows += rows;
  }
  matches->lists_eligible = static_cast<uint32_t>(
      std::count_if(matches->list_matches.begin(), matches->list_matches.end(),
                    [](uint32_t rows) { return rows > 0; }));
}

}  // namespace

PreparedFilter::PreparedFilter(const query::Filter& filter)
    : normal(query::Normalize(filter)), text(query::ToString(normal)), program(normal) {}

absl::StatusOr<FoundMatches> FindMatches(const IndexVersion& version, const PreparedFilter& filter,
                                         const FindOptions& options) {
  const MatchCache::Key version_key{.serial = version.serial, .filter = filter.text};
  if (options.cache != nullptr) {
    if (auto known = options.cache->FindMatches(version_key)) {
      return FoundMatches{.matches = std::move(known), .cached = true, .bytes_read = 0};
    }
  }
  FoundMatches found;
  auto matches = std::make_shared<query::IndexMatches>();
  for (const std::shared_ptr<LoadedColumns>& columns : version.columns.sets()) {
    const std::vector<ColumnChunk>& chunks = columns->set.chunks;
    query::MatchWords range{.begin_block = chunks.front().first_block,
                            .end_block = static_cast<uint32_t>(chunks.back().end_block()),
                            .words = nullptr};
    const MatchCache::Key key{.serial = columns->serial, .filter = filter.text};
    if (options.cache != nullptr) range.words = options.cache->FindWords(key);
    if (range.words == nullptr) {
      const size_t blocks = range.end_block - range.begin_block;
      std::shared_ptr<uint64_t[]> words(new uint64_t[blocks]());
      SetScan scan(version.columns.cache(), *columns, filter.program);
      TESSERA_RETURN_IF_ERROR(scan.Run(options, words.get(), &found.bytes_read));
      range.words = std::shared_ptr<const uint64_t>(words, words.get());
      if (options.cache != nullptr) {
        options.cache->KeepWords(key, range.words, blocks * sizeof(uint64_t));
      }
    }
    matches->ranges.push_back(std::move(range));
  }
  CountLists(*version.view, matches.get());
  found.matches = std::move(matches);
  if (options.cache != nullptr) {
    options.cache->KeepMatches(
        version_key, found.matches,
        sizeof(query::IndexMatches) + found.matches->list_matches.size() * sizeof(uint32_t));
  }
  return found;
}

bool MayHavePath(const IndexVersion& version, std::string_view path_key) {
  return std::any_of(
      version.columns.sets().begin(), version.columns.sets().end(), [&](const auto& columns) {
        return columns->path_numbers.contains(path_key) ||
               std::any_of(columns->set.units.begin(), columns->set.units.end(),
                           [](const ColumnUnit& unit) { return unit.kind == UnitKind::kRest; });
      });
}

}  // namespace tessera::version
