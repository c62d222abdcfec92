// The state of FaultFs: files and directories as they are and as a power cut would leave them.
//
// Threads: none of its own; FaultFs locks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace tessera::inline test {

struct FaultNode;
using FaultNodePtr = std::shared_ptr<FaultNode>;

// A file (perhaps with several names) or a directory.
struct FaultNode {
  bool is_directory = false;
  uint64_t modified_seconds = 0;

  // A directory: what its names mean now, and after a power cut.
  std::map<std::string, FaultNodePtr> entries;
  std::map<std::string, FaultNodePtr> durable_entries;

  // A file: data[0, durable_bytes) is on the disk, data[0, flushed_bytes) with the kernel.
  std::string data;
  size_t flushed_bytes = 0;
  size_t durable_bytes = 0;
  size_t last_append_at = 0;  // where the last append began
  // What was on the disk before a truncation into it, while that is not synced.
  std::optional<std::string> before_truncate;

  void Append(std::span<const std::byte> bytes);
  void Truncate(size_t size);
  void Sync();
};

// One step in the life of names: each (directory, name) gets a node or, with null, loses it.
struct FaultNameChange {
  struct Item {
    FaultNodePtr directory;
    std::string name;
    FaultNodePtr node;
  };
  std::vector<Item> items;
};

// How much of what was not synced survives a power cut.
enum class FaultSurvival { kNothing, kRandomPrefix, kHalfOfLastAppend };

class FaultTree {
 public:
  FaultTree();

  const FaultNodePtr& root() const { return root_; }

  // Paths of all files, ascending.
  std::vector<std::string> Files() const;

  void Apply(FaultNameChange change);
  // A change that had begun when the machine failed: it counts at the next cut only.
  void SetUnderWay(FaultNameChange change) { under_way_ = std::move(change); }
  void SyncDirectory(const FaultNodePtr& directory);
  // The file that was appended to last, or was about to be.
  void SetLastAppend(const FaultNodePtr& file) { last_append_ = file; }

  void CutPower(FaultSurvival survival, std::mt19937_64& rng);
  void KillProcess(std::mt19937_64& rng);

 private:
  static void ApplyDurably(const FaultNameChange& change);

  FaultNodePtr root_;
  std::vector<FaultNameChange> pending_;  // not durable, oldest first
  std::optional<FaultNameChange> under_way_;
  FaultNodePtr last_append_;
};

}  // namespace tessera::inline test
