// A memory cgroup of a run's own below the one that the process is in: who goes over its limit in
// it is killed by the kernel.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <string>

namespace tessera::bench {

class MemoryCgroup {
 public:
  // Version 1 or 2, where one can be made (as root, as a rule); else there is none and the run goes
  // without.
  explicit MemoryCgroup(uint64_t limit_bytes);
  MemoryCgroup(const MemoryCgroup&) = delete;
  MemoryCgroup& operator=(const MemoryCgroup&) = delete;
  ~MemoryCgroup();  // its processes have ended by then

  bool exists() const { return !path_.empty(); }
  // A process that writes "0" to it is in the group; "" without one.
  std::string procs_path() const;
  // How often the kernel has killed something in it.
  uint64_t kills() const;

 private:
  std::string path_;
};

}  // namespace tessera::bench
