#include "api/process_memory.h"

#include <fstream>
#include <string>

namespace tessera::api {

uint64_t AnonymousMemoryBytes() {
  std::ifstream status("/proc/self/status");
  std::string key;
  while (status >> key) {
    if (key == "RssAnon:") {
      uint64_t kibibytes = 0;
      status >> kibibytes;
      return kibibytes * 1024;
    }
    std::getline(status, key);
  }
  return 0;
}

}  // namespace tessera::api
