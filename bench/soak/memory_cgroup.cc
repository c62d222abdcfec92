#include "bench/soak/memory_cgroup.h"

#include <filesystem>
#include <fstream>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace tessera::bench {
namespace {

struct Candidate {
  std::string parent;
  std::string limit_file;
};

std::vector<Candidate> Candidates() {
  std::vector<Candidate> result;
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    const std::string own = parts[2] == "/" ? "" : parts[2];
    for (const std::string& below : {own, std::string()}) {
      if (parts[1].empty()) {
        result.push_back({absl::StrCat("/sys/fs/cgroup", below), "memory.max"});
      }
      for (const absl::string_view controller : absl::StrSplit(parts[1], ',')) {
        if (controller != "memory") continue;
        result.push_back({absl::StrCat("/sys/fs/cgroup/memory", below), "memory.limit_in_bytes"});
      }
    }
  }
  return result;
}

}  // namespace

MemoryCgroup::MemoryCgroup(uint64_t limit_bytes) {
  for (const Candidate& candidate : Candidates()) {
    std::string path = absl::StrCat(candidate.parent, "/tessera_soak_", getpid());
    if (mkdir(path.c_str(), 0755) != 0) continue;
    std::ofstream limit(absl::StrCat(path, "/", candidate.limit_file));
    limit << limit_bytes << std::flush;
    if (limit) {
      path_ = std::move(path);
      return;
    }
    limit.close();
    rmdir(path.c_str());
  }
}

MemoryCgroup::~MemoryCgroup() {
  if (exists()) rmdir(path_.c_str());
}

std::string MemoryCgroup::procs_path() const {
  return exists() ? absl::StrCat(path_, "/cgroup.procs") : "";
}

uint64_t MemoryCgroup::kills() const {
  for (const char* name : {"/memory.oom_control", "/memory.events"}) {
    std::ifstream file(absl::StrCat(path_, name));
    std::string key;
    std::string value;
    uint64_t count = 0;
    while (exists() && file >> key >> value) {
      if (key == "oom_kill" && absl::SimpleAtoi(value, &count)) return count;
    }
  }
  return 0;
}

}  // namespace tessera::bench
