// Scans the probed lists: code planes with their bound, then the second plane, down to the rows
// worth an exact comparison.
//
// The parts of all probed lists form one run, nearest first; it may be added in several steps, each
// scanned with the tau of those before. It is scanned in chunks of about 8
// blocks; while a chunk's survivors are fetched into the processor's cache, those of the chunk
// before are estimated by the second plane, which lowers tau for the chunks to come.
//
// Where few rows pass a filter, all of them go to the second plane at once: reading 64 codes to
// keep one row of two costs more than the second row. It is decided for a step as a whole; a
// mixture breaks up both the scan and the batches of the second plane, and was slower than either.
//
// Threads: one at a time. No allocation once its buffers have grown.
// Source:  chunking and early tau: measured by a prototype, see ARCHITECTURE.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "absl/status/status.h"

#include "index/codecs/codec.h"
#include "index/heads/head_index.h"
#include "query/raw_reader.h"
#include "query/search_context.h"
#include "query/top_hits.h"

namespace tessera::query {

class ListScanner {
 public:
  // Begins a search. `code` was prepared for the query. What is compared exactly goes to the hits
  // behind `raw`; `hits` is read for tau.
  void Begin(const SearchContext& context, const index::QueryCode& code, const TopHits& hits,
             RawReader* raw);

  // Adds the parts of a list that have eligible rows to the run. Pre: lists come nearest first,
  // each once.
  void AddList(uint32_t list, float head_distance2, float head_dot);
  // Eligible rows in the run.
  uint64_t eligible_rows() const { return eligible_rows_; }

  // A row compared elsewhere (a fresh one): lowers tau.
  void NoteDistance(float dissimilarity);

  // Scans what was added since the last call; lists may be added after it.
  absl::Status Scan();
  // Compares rows that were put off because their second plane is not in memory: tau tells of all
  // that was scanned.
  absl::Status Settle();
  // For what is scanned from now on and for what is kept of it: a wider bound and more exact
  // comparisons. Far from a query many rows are nearly as far as each other, and estimates err by
  // more than they differ.
  void Widen();
  // The limit-th best distance so far, in search space; infinity while fewer rows were found.
  float tau() const { return tau_; }
  // Compares what is worth it exactly. Post: nothing is added any more.
  absl::Status Finish() { return CompareBest(); }

 private:
  static constexpr uint32_t kNoMask = std::numeric_limits<uint32_t>::max();

  struct RunPart {
    uint32_t number;  // in index_->parts, as the four besides `eligible` are
    uint32_t rows;
    uint32_t eligible;  // of its rows
    PlaneSet* planes;
    uint32_t code_unit;
    uint32_t fine_unit;
    uint32_t mask;  // of its first block in masks_, or kNoMask
    float head_distance2;
    float head_dot;
  };
  // A row of run_[run]. estimate: by the first plane, then by the second.
  struct Candidate {
    float estimate;
    uint32_t run;
    uint32_t slot;
  };
  // Survivors of one chunk of the run, with their second-plane records.
  struct Chunk {
    std::vector<Candidate> rows;
    std::vector<const std::byte*> records;  // or raw vectors; null: not in memory
  };

  absl::Status FirstLook();
  bool IsSparse() const;
  absl::Status RefineMatches();
  absl::Status ScanResident();
  absl::Status ScanMissing();
  absl::Status FetchMissing(absl::FunctionRef<void(uint32_t run, const std::byte* codes)> use);
  bool FetchesFine() const { return index_->has_fine() && index_->fetch_fine; }
  void ScanPart(uint32_t run, const std::byte* codes, const std::byte* next_codes,
                uint32_t next_rows, Chunk* chunk);
  void KeepNearest(size_t count, Chunk* chunk);
  void LocateRecords(Chunk* chunk);
  void Refine(Chunk* chunk);
  float RawDistance(const std::byte* vector) const;
  float FineEstimate(const RunPart& part, const std::byte* record) const;
  void AddToPool(const Candidate& candidate);
  void TrimPool();
  absl::Status FetchDeferredFine();
  absl::Status CompareBest();
  void FilterDeferred();
  void TakeBestDeferred(size_t count);
  // The part's code plane, or null when it is not in memory.
  const std::byte* PeekCodes(uint32_t run) const {
    return run_[run].planes->codes->Peek(run_[run].code_unit);
  }
  uint64_t* MaskOf(uint32_t run);
  void UpdateTau();
  RowPlace PlaceOf(const Candidate& candidate) const {
    return {run_[candidate.run].number, candidate.slot};
  }

  const SearchContext* context_ = nullptr;
  const IndexView* index_ = nullptr;
  const index::QueryCode* code_ = nullptr;
  const TopHits* hits_ = nullptr;
  RawReader* raw_ = nullptr;

  std::vector<RunPart> run_;
  uint32_t scanned_ = 0;          // of run_, in steps before
  uint64_t scanned_rows_ = 0;     // eligible ones in these
  uint64_t scanned_blocks_ = 0;
  std::vector<uint64_t> masks_;
  uint64_t eligible_rows_ = 0;
  uint64_t blocks_ = 0;  // of the run
  std::vector<uint32_t> missing_;  // run indexes of parts whose codes are not in memory

  size_t rerank_ = 0;
  float eps_ = 0;
  UnitDivider fine_divider_{1};
  size_t fine_bytes_ = 0;
  float tau_ = std::numeric_limits<float>::infinity();
  KthSmallest kth_;  // of second-plane estimates and fresh rows' distances, search space
  std::vector<Candidate> pool_;  // the best by the second plane, at least `rerank_` of them
  float pool_threshold_ = std::numeric_limits<float>::infinity();
  std::vector<Candidate> deferred_;  // survivors whose second plane is not in memory

  std::vector<index::Survivor> survivors_;
  Chunk chunks_[2];
  std::vector<float> keys_;  // one per row of a chunk
  std::vector<uint32_t> positions_;
  std::vector<RowPlace> places_;
  std::vector<PendingRow> pending_;
  std::vector<storage::FetchRequest> requests_;
};

}  // namespace tessera::query
