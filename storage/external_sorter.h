// Sorts more (key, value) pairs than fit in memory: sorted runs are spilled to temporary files and
// merged. Keys sort as bytes; pairs with equal keys come out in the order they were added.
//
//   ExternalSorter sorter(fs, scratch_dir, uint64_t{64} << 20);
//   TESSERA_RETURN_IF_ERROR(sorter.Add(key, value));  // any number of times
//   TESSERA_RETURN_IF_ERROR(sorter.Finish());
//   for (;;) {
//     TESSERA_ASSIGN_OR_RETURN(const bool more, sorter.Next(&key, &value));
//     if (!more) break;
//   }
//
// Run file: blocks of | u32 crc32c of the rest | u32 payload bytes | payload |; the payloads
// together are the pairs in order: varint key bytes, varint value bytes, key, value.
//
// Threads: one at a time.
// Source:  Knuth, TAOCP volume 3, section 5.4.1: runs of the size of memory, balanced k-way merges.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/files/file_system.h"

namespace tessera::storage {

class ExternalSorter {
 public:
  static constexpr uint64_t kMemoryBytesMin = 16 << 10;
  static constexpr size_t kPartBytesMax = UINT32_MAX;  // of a key, and of a value

  // `dir` exists; sorters of one process may share it.
  //
  // Memory: `memory_bytes`, or kMemoryBytesMin if that is more; while merging, one pair per run
  //         besides.
  ExternalSorter(base::FileSystem& fs, std::string dir, uint64_t memory_bytes);
  // Removes the files, as far as possible.
  ~ExternalSorter();
  ExternalSorter(const ExternalSorter&) = delete;
  ExternalSorter& operator=(const ExternalSorter&) = delete;

  // Errors: kInvalidArgument for a key or value longer than kPartBytesMax; those of the file system
  //         (kResourceExhausted: no space), after which every call answers the same.
  absl::Status Add(std::string_view key, std::string_view value);

  // Ends adding. Errors: as Add; kDataLoss if a run cannot be read back.
  // Cost: nothing is read or written as long as there are no more than fan_in() runs; everything
  //       once for every power of fan_in() below their number.
  absl::Status Finish();

  // The next pair, or false at the end. Views until the next call.
  //
  // Pre:    Finish succeeded.
  // Errors: kDataLoss if a run is damaged or too short; the file system's. Then every call answers
  //         the same.
  absl::StatusOr<bool> Next(std::string_view* key, std::string_view* value);

  uint64_t pair_count() const { return pair_count_; }
  // Written so far, with those that were merged into others; 0 as long as memory suffices.
  uint64_t run_count() const { return next_file_; }
  // Runs merged at once.
  size_t fan_in() const { return fan_in_; }

 private:
  class Merge;
  class RunReader;
  class RunWriter;

  // A pair in buffer_: key and value at `offset`.
  struct Entry {
    uint64_t prefix;  // the key's first 8 bytes as a big-endian number, zeros behind its end
    uint64_t offset;
    uint32_t key_bytes;
    uint32_t value_bytes;
  };
  struct Run {
    std::string path;
    uint64_t pair_count = 0;
  };

  Entry* entries_begin() const;
  std::string_view KeyOf(const Entry& entry) const;
  std::string_view ValueOf(const Entry& entry) const;
  void Insert(std::string_view key, std::string_view value);
  void SortEntries();
  absl::Status AddChecked(std::string_view key, std::string_view value);
  absl::Status Spill();
  absl::Status FinishChecked();
  absl::StatusOr<std::unique_ptr<RunWriter>> NewRun();
  absl::StatusOr<std::unique_ptr<Merge>> OpenMerge(size_t first_run, size_t run_count) const;
  absl::StatusOr<Run> MergeRuns(size_t first_run, size_t run_count);

  base::FileSystem& fs_;
  const std::string dir_;
  const uint64_t id_;  // of this sorter among the process's
  const size_t block_bytes_;
  const size_t buffer_bytes_;
  const size_t fan_in_;

  // Pairs grow from the front, their entries from the back.
  std::unique_ptr<std::byte[]> buffer_;
  size_t used_bytes_ = 0;
  size_t entry_count_ = 0;

  std::vector<Run> runs_;           // in the order of adding
  std::vector<std::string> files_;  // that exist
  uint64_t next_file_ = 0;
  uint64_t pair_count_ = 0;
  absl::Status failed_;
  bool finished_ = false;
  size_t next_entry_ = 0;         // when everything is in memory
  std::unique_ptr<Merge> merge_;  // when it is not
};

}  // namespace tessera::storage
