// What this process holds in memory, as the kernel counts it.
#pragma once

#include <cstdint>

namespace tessera::api {

// Anonymous resident bytes (RssAnon of /proc/self/status), own caches included, mapped files not;
// 0 where the kernel does not tell.
uint64_t AnonymousMemoryBytes();

}  // namespace tessera::api
