#include "query/list_scanner.h"

#include <algorithm>

#include "base/check.h"
#include "base/status_macros.h"
#include "query/planning/filter_plan.h"
#include "query/select_smallest.h"

namespace tessera::query {
namespace {

constexpr size_t kChunkBlocks = 8;
// The first look: at this many rows or more, of which the best few set tau.
constexpr size_t kFirstLookRows = 256;
constexpr size_t kFirstLookBest = 32;
// Rows whose raw units are read together when nothing finer than the first plane is in memory.
constexpr size_t kRoundRows = 64;
// Code planes read together.
constexpr uint64_t kPortionBytes = uint64_t{2} << 20;
// Chunks between two looks at the clock.
constexpr size_t kChunksPerCheck = 16;
// Rows that are taken to the second plane together when their codes are not looked at.
constexpr size_t kSparseChunkRows = 32;
// Bound and exact comparisons a hit where rows are far: the widest that are calibrated, and more.
constexpr float kWideEps = 2.8F;
constexpr size_t kWideRerank = 24;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

}  // namespace

void ListScanner::Begin(const SearchContext& context, const index::QueryCode& code,
                        const TopHits& hits, RawReader* raw) {
  context_ = &context;
  index_ = context.view.index.get();
  code_ = &code;
  hits_ = &hits;
  raw_ = raw;
  run_.clear();
  scanned_ = 0;
  scanned_rows_ = 0;
  scanned_blocks_ = 0;
  masks_.clear();
  eligible_rows_ = 0;
  blocks_ = 0;
  missing_.clear();
  rerank_ =
      std::max(index_->has_fine() ? context.request.settings.rerank : 0U, context.request.limit);
  eps_ = context.request.settings.eps;
  fine_divider_ = UnitDivider(index_->fine_rows_per_unit);
  fine_bytes_ = index_->codec->FineRecordBytes();
  tau_ = kInfinity;
  kth_.Reset(context.request.limit);
  pool_.clear();
  pool_threshold_ = kInfinity;
  deferred_.clear();
}

void ListScanner::AddList(uint32_t list, float head_distance2, float head_dot) {
  const Eligibility& eligible = context_->eligible;
  for (uint32_t number = index_->part_begin[list]; number < index_->part_begin[list + 1];
       ++number) {
    const ListPart& part = index_->parts[number];
    uint32_t mask = kNoMask;
    uint32_t rows = part.rows;
    const size_t blocks = index::BlockCount(part.rows);
    context_->stats.blocks += blocks;
    if (!eligible.all()) {
      mask = static_cast<uint32_t>(masks_.size());
      masks_.resize(mask + blocks);
      rows = eligible.MaskOf(part, &masks_[mask]);
      context_->stats.blocks_masked += static_cast<uint64_t>(
          std::count(masks_.end() - static_cast<ptrdiff_t>(blocks), masks_.end(), uint64_t{0}));
      if (rows == 0 || rows == part.rows) {
        masks_.resize(mask);
        mask = kNoMask;
        if (rows == 0) continue;
      }
    }
    eligible_rows_ += rows;
    blocks_ += blocks;
    run_.push_back({number, part.rows, rows, part.planes, part.code_unit, part.fine_unit, mask,
                    head_distance2, head_dot});
    part.planes->codes->Prefetch(part.code_unit);
  }
}

void ListScanner::NoteDistance(float dissimilarity) {
  kth_.Push(context_->space.Of(dissimilarity));
}

// Both hold `limit` distinct rows or give infinity: neither can be below the final distance of the
// limit-th hit by more than estimates err.
void ListScanner::UpdateTau() {
  tau_ = std::min(kth_.value(), context_->space.Of(hits_->threshold()));
}

uint64_t* ListScanner::MaskOf(uint32_t run) {
  RunPart& part = run_[run];
  if (part.mask == kNoMask) {
    part.mask = static_cast<uint32_t>(masks_.size());
    masks_.resize(part.mask + index::BlockCount(part.rows), ~uint64_t{0});
  }
  return &masks_[part.mask];
}

bool ListScanner::IsSparse() const {
  return context_->eligible.filtered() &&
         static_cast<double>(eligible_rows_ - scanned_rows_) <=
             SparseRowsPerBlock(*index_) * static_cast<double>(blocks_ - scanned_blocks_);
}

// Takes every eligible row of the step to the second plane.
absl::Status ListScanner::RefineMatches() {
  context_->stats.codes_skipped = true;
  Chunk* current = &chunks_[0];
  Chunk* before = &chunks_[1];
  before->rows.clear();
  size_t chunk_count = 0;
  for (uint32_t run = scanned_; run < run_.size();) {
    if (chunk_count++ % kChunksPerCheck == 0) TESSERA_RETURN_IF_ERROR(context_->CheckStop());
    current->rows.clear();
    for (; run < run_.size() && current->rows.size() < kSparseChunkRows; ++run) {
      const uint64_t* mask = MaskOf(run);
      const RunPart& part = run_[run];
      // What nothing is known of but its list is as far as the list.
      ForEachRow({mask, index::BlockCount(part.rows)}, part.rows, [&](uint32_t slot) {
        current->rows.push_back({part.head_distance2, run, slot});
      });
    }
    context_->stats.survivors += current->rows.size();
    LocateRecords(current);
    Refine(before);
    std::swap(current, before);
  }
  Refine(before);
  before->rows.clear();
  return absl::OkStatus();
}

absl::Status ListScanner::Scan() {
  if (IsSparse()) {
    TESSERA_RETURN_IF_ERROR(RefineMatches());
  } else {
    // Once there is a tau, there is nothing to look at first.
    if (tau_ == kInfinity) TESSERA_RETURN_IF_ERROR(FirstLook());
    TESSERA_RETURN_IF_ERROR(ScanResident());
    TESSERA_RETURN_IF_ERROR(ScanMissing());
  }
  if (FetchesFine()) TESSERA_RETURN_IF_ERROR(FetchDeferredFine());
  scanned_ = static_cast<uint32_t>(run_.size());
  scanned_rows_ = eligible_rows_;
  scanned_blocks_ = blocks_;
  return absl::OkStatus();
}

// Takes the best rows of the nearest parts by the first plane through the second one, whatever
// their bound, and masks them from the scan proper.
absl::Status ListScanner::FirstLook() {
  const size_t limit = context_->request.limit;
  const size_t best_count = std::max(kFirstLookBest, limit);
  const size_t rows_wanted = std::max(kFirstLookRows, 2 * best_count);
  Chunk& chunk = chunks_[0];
  chunk.rows.clear();
  size_t rows = 0;
  for (uint32_t run = scanned_; run < run_.size() && rows < rows_wanted; ++run) {
    rows += run_[run].eligible;
    if (const std::byte* codes = PeekCodes(run)) {
      ScanPart(run, codes, nullptr, 0, &chunk);
    } else {
      missing_.push_back(run);
    }
  }
  TESSERA_RETURN_IF_ERROR(FetchMissing(
      [&](uint32_t run, const std::byte* codes) { ScanPart(run, codes, nullptr, 0, &chunk); }));
  KeepNearest(best_count, &chunk);
  for (const Candidate& candidate : chunk.rows) {
    MaskOf(candidate.run)[candidate.slot / 64] &= ~(uint64_t{1} << (candidate.slot % 64));
  }
  context_->stats.survivors += chunk.rows.size();
  LocateRecords(&chunk);
  Refine(&chunk);
  if (deferred_.empty()) return absl::OkStatus();
  // Without a tau everything would survive, so these are worth waiting for.
  if (FetchesFine()) return FetchDeferredFine();
  places_.clear();
  TakeBestDeferred(deferred_.size());
  TESSERA_RETURN_IF_ERROR(raw_->CompareAll(places_));
  UpdateTau();
  return absl::OkStatus();
}

absl::Status ListScanner::ScanResident() {
  Chunk* current = &chunks_[0];
  Chunk* before = &chunks_[1];
  before->rows.clear();
  size_t chunk_count = 0;
  const std::byte* next_codes = scanned_ == run_.size() ? nullptr : PeekCodes(scanned_);
  for (uint32_t run = scanned_; run < run_.size();) {
    if (chunk_count++ % kChunksPerCheck == 0) TESSERA_RETURN_IF_ERROR(context_->CheckStop());
    current->rows.clear();
    for (size_t blocks = 0; run < run_.size() && blocks < kChunkBlocks; ++run) {
      const std::byte* codes = next_codes;
      const bool more = run + 1 < run_.size();
      next_codes = more ? PeekCodes(run + 1) : nullptr;
      if (codes == nullptr) {
        missing_.push_back(run);
        continue;
      }
      ScanPart(run, codes, next_codes, more ? run_[run + 1].rows : 0, current);
      context_->stats.codes_scanned += run_[run].rows;
      blocks += index::BlockCount(run_[run].rows);
    }
    context_->stats.survivors += current->rows.size();
    LocateRecords(current);
    Refine(before);
    std::swap(current, before);
  }
  Refine(before);
  before->rows.clear();
  return absl::OkStatus();
}

absl::Status ListScanner::ScanMissing() {
  Chunk& chunk = chunks_[0];
  return FetchMissing([&](uint32_t run, const std::byte* codes) {
    chunk.rows.clear();
    ScanPart(run, codes, nullptr, 0, &chunk);
    context_->stats.codes_scanned += run_[run].rows;
    context_->stats.survivors += chunk.rows.size();
    LocateRecords(&chunk);
    Refine(&chunk);
  });
}

// Reads the code planes of the missing parts, in portions, and hands them out as they arrive.
absl::Status ListScanner::FetchMissing(
    absl::FunctionRef<void(uint32_t run, const std::byte* codes)> use) {
  for (size_t begin = 0; begin < missing_.size();) {
    TESSERA_RETURN_IF_ERROR(context_->CheckStop());
    requests_.clear();
    uint64_t bytes = 0;
    size_t end = begin;
    for (; end < missing_.size() && bytes < kPortionBytes; ++end) {
      const RunPart& part = run_[missing_[end]];
      requests_.push_back({.table = &*part.planes->codes, .unit = part.code_unit});
      bytes += part.planes->codes->unit_bytes(part.code_unit);
    }
    storage::FetchStats fetched;
    const absl::Status status = index_->cache->Fetch(
        context_->guard, requests_,
        [&](size_t request, const std::byte* codes) { use(missing_[begin + request], codes); },
        &fetched);
    context_->stats.bytes_read += fetched.bytes_read;
    TESSERA_RETURN_IF_ERROR(status);
    begin = end;
    if (begin < missing_.size()) context_->guard.Refresh();
  }
  missing_.clear();
  return absl::OkStatus();
}

void ListScanner::ScanPart(uint32_t run, const std::byte* codes, const std::byte* next_codes,
                           uint32_t next_rows, Chunk* chunk) {
  const RunPart& part = run_[run];
  const uint32_t rows = part.rows;
  if (survivors_.size() < rows) survivors_.resize(rows);
  if (next_codes != nullptr) {
    __builtin_prefetch(next_codes);  // the header; the scan does the blocks
  }
  const index::ListScan scan = {.code_plane = codes,
                                .rows = rows,
                                .head_distance2 = part.head_distance2,
                                .head_dot = part.head_dot,
                                .block_mask = part.mask == kNoMask ? nullptr : &masks_[part.mask],
                                .tau = tau_,
                                .eps = eps_,
                                .next_code_plane = next_codes,
                                .next_rows = next_rows};
  const size_t count = index_->codec->ScanList(*code_, scan, survivors_.data());
  const size_t before = chunk->rows.size();
  chunk->rows.resize(before + count);
  for (size_t i = 0; i < count; ++i) {
    chunk->rows[before + i] = {survivors_[i].estimate, run, survivors_[i].slot};
  }
}

// Keeps about `count` rows with the least estimates: at least that many if they exist.
void ListScanner::KeepNearest(size_t count, Chunk* chunk) {
  keys_.clear();
  for (const Candidate& row : chunk->rows) keys_.push_back(row.estimate);
  SelectSmallest(keys_, count, count / 2, &positions_);
  for (size_t i = 0; i < positions_.size(); ++i) chunk->rows[i] = chunk->rows[positions_[i]];
  chunk->rows.resize(positions_.size());
}

// Finds the second-plane record of every row and asks for its bytes.
void ListScanner::LocateRecords(Chunk* chunk) {
  chunk->records.clear();
  for (const Candidate& candidate : chunk->rows) {
    const RunPart& part = run_[candidate.run];
    const std::byte* record = nullptr;
    if (!index_->has_fine()) {
      record = raw_->PeekVector({part.number, candidate.slot});
    } else if (const std::byte* unit =
                   part.planes->fine->Peek(part.fine_unit + fine_divider_.unit(candidate.slot))) {
      record = unit + fine_divider_.row(candidate.slot) * fine_bytes_;
      for (size_t i = 0; i < fine_bytes_; i += 64) __builtin_prefetch(record + i);
    }
    chunk->records.push_back(record);
  }
}

float ListScanner::FineEstimate(const RunPart& part, const std::byte* record) const {
  const float estimate =
      index_->codec->FineEstimate(*code_, record, part.head_distance2, part.head_dot);
  // NaN, from a query with enormous components, has no place in an order.
  return estimate < kLargest ? estimate : kLargest;
}

float ListScanner::RawDistance(const std::byte* vector) const {
  ++context_->stats.reranked;
  return context_->space.Of(raw_->Distance(vector));
}

// Estimates or compares the chunk's rows by the second plane; those without it are put off.
void ListScanner::Refine(Chunk* chunk) {
  const size_t count = chunk->rows.size();
  keys_.resize(count);
  // In a loop of its own, without branches to mispredict: it waits for memory, for several rows at
  // once.
  for (size_t i = 0; i < count; ++i) {
    const std::byte* record = chunk->records[i];
    if (record == nullptr) continue;
    keys_[i] =
        index_->has_fine() ? FineEstimate(run_[chunk->rows[i].run], record) : RawDistance(record);
  }
  for (size_t i = 0; i < count; ++i) {
    Candidate candidate = chunk->rows[i];
    if (chunk->records[i] == nullptr) {
      deferred_.push_back(candidate);
    } else {
      candidate.estimate = keys_[i];
      AddToPool(candidate);
    }
  }
  UpdateTau();
}

void ListScanner::AddToPool(const Candidate& candidate) {
  kth_.Push(candidate.estimate);
  // Exact distances beyond the limit-th best are no hits; estimates may be, as far as rerank_ goes.
  const float most = index_->has_fine() ? pool_threshold_ : kth_.value();
  if (candidate.estimate > most) return;
  pool_.push_back(candidate);
  if (pool_.size() >= 2 * rerank_ + 64) TrimPool();
}

// Leaves the best `rerank_`. Of exact distances also those that equal the last: ids decide.
void ListScanner::TrimPool() {
  if (pool_.size() <= rerank_) return;
  const auto last = pool_.begin() + static_cast<ptrdiff_t>(rerank_) - 1;
  std::nth_element(pool_.begin(), last, pool_.end(),
                   [](const Candidate& a, const Candidate& b) { return a.estimate < b.estimate; });
  pool_threshold_ = last->estimate;
  const auto keep = index_->has_fine()
                        ? last + 1
                        : std::partition(last + 1, pool_.end(), [this](const Candidate& row) {
                            return row.estimate <= pool_threshold_;
                          });
  pool_.erase(keep, pool_.end());
}

// Reads the fine units of the rows that were put off and adds their estimates.
absl::Status ListScanner::FetchDeferredFine() {
  if (deferred_.empty()) return absl::OkStatus();
  pending_.clear();
  for (uint32_t i = 0; i < deferred_.size(); ++i) {
    const RunPart& part = run_[deferred_[i].run];
    pending_.push_back({.table = &*part.planes->fine,
                        .unit = part.fine_unit + fine_divider_.unit(deferred_[i].slot),
                        .tag = i});
  }
  TESSERA_RETURN_IF_ERROR(
      FetchRows(*context_, &pending_, &requests_, [&](uint32_t tag, const std::byte* unit) {
        Candidate candidate = deferred_[tag];
        const RunPart& part = run_[candidate.run];
        candidate.estimate = index_->codec->FineEstimate(
            *code_, unit + fine_divider_.row(candidate.slot) * fine_bytes_, part.head_distance2,
            part.head_dot);
        AddToPool(candidate);
      }));
  deferred_.clear();
  UpdateTau();
  return absl::OkStatus();
}

void ListScanner::Widen() {
  eps_ = std::max(eps_, kWideEps);
  if (!index_->has_fine()) return;
  rerank_ = std::max(rerank_, kWideRerank * context_->request.limit);
  pool_threshold_ = kInfinity;
}

absl::Status ListScanner::Settle() {
  const size_t round_rows = std::max<size_t>(kRoundRows, context_->request.limit);
  while (!deferred_.empty()) {
    places_.clear();
    if (tau_ < kInfinity) FilterDeferred();
    TakeBestDeferred(round_rows);
    TESSERA_RETURN_IF_ERROR(raw_->CompareAll(places_));
    UpdateTau();
  }
  return absl::OkStatus();
}

// Compares the pool's best rows exactly and, in rounds, those rows that only the first plane knows:
// each round lowers tau, which drops rows from the rounds to come.
absl::Status ListScanner::CompareBest() {
  TrimPool();
  places_.clear();
  for (const Candidate& candidate : pool_) places_.push_back(PlaceOf(candidate));
  const size_t round_rows = std::max<size_t>(kRoundRows, context_->request.limit);
  for (bool first = true; first || !deferred_.empty(); first = false) {
    if (!first) places_.clear();
    if (tau_ < kInfinity) FilterDeferred();
    TakeBestDeferred(round_rows);
    TESSERA_RETURN_IF_ERROR(raw_->CompareAll(places_));
    UpdateTau();
  }
  return absl::OkStatus();
}

void ListScanner::TakeBestDeferred(size_t count) {
  const size_t taken = std::min(count, deferred_.size());
  const auto middle = deferred_.begin() + static_cast<ptrdiff_t>(taken);
  std::partial_sort(deferred_.begin(), middle, deferred_.end(),
                    [](const Candidate& a, const Candidate& b) { return a.estimate < b.estimate; });
  for (auto it = deferred_.begin(); it != middle; ++it) places_.push_back(PlaceOf(*it));
  deferred_.erase(deferred_.begin(), middle);
}

// Drops rows whose bound no longer beats tau. Parts whose codes have left memory keep theirs.
void ListScanner::FilterDeferred() {
  std::sort(deferred_.begin(), deferred_.end(), [](const Candidate& a, const Candidate& b) {
    return a.run != b.run ? a.run < b.run : a.slot < b.slot;
  });
  Chunk& kept = chunks_[0];
  kept.rows.clear();
  for (size_t begin = 0; begin < deferred_.size();) {
    const uint32_t run = deferred_[begin].run;
    size_t end = begin;
    while (end < deferred_.size() && deferred_[end].run == run) ++end;
    if (const std::byte* codes = PeekCodes(run)) {
      uint64_t* mask = MaskOf(run);
      std::fill_n(mask, index::BlockCount(run_[run].rows), 0);
      for (size_t i = begin; i < end; ++i) {
        mask[deferred_[i].slot / 64] |= uint64_t{1} << (deferred_[i].slot % 64);
      }
      ScanPart(run, codes, nullptr, 0, &kept);
    } else {
      kept.rows.insert(kept.rows.end(), deferred_.begin() + static_cast<ptrdiff_t>(begin),
                       deferred_.begin() + static_cast<ptrdiff_t>(end));
    }
    begin = end;
  }
  deferred_.swap(kept.rows);
}

}  // namespace tessera::query
