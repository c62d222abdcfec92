// Checks for our own bugs. What the world or a caller can do wrong is an absl::Status instead.
//
// Threads: any.
#pragma once

#include <string_view>

namespace tessera::base {

// Prints `message` with its place to stderr and aborts.
[[noreturn]] void Fatal(const char* file, int line, std::string_view message);

}  // namespace tessera::base

// Always on.
#define TESSERA_CHECK(condition)                     \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::tessera::base::Fatal(__FILE__, __LINE__, "check failed: " #condition))

#define TESSERA_FATAL(message) ::tessera::base::Fatal(__FILE__, __LINE__, (message))

// On in debug builds and where TESSERA_CHECKS is set (the sanitiser presets); for hot loops.
#if !defined(NDEBUG) || defined(TESSERA_CHECKS)
#define TESSERA_DCHECK(condition) TESSERA_CHECK(condition)
#else
#define TESSERA_DCHECK(condition) static_cast<void>(sizeof((condition) ? 1 : 0))
#endif
