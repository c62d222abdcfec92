// ThreadSanitizer's options of the tests that talk gRPC; TSAN_OPTIONS is read after them.
//
// gRPC hands requests from thread to thread by Abseil's mutexes, and neither library of Debian is
// instrumented: every byte that libc copied for them would look like a race. So what libc functions
// read and write is not watched here; what our own code does is.

extern "C" const char* __tsan_default_options();  // NOLINT(bugprone-reserved-identifier)

// NOLINTNEXTLINE(bugprone-reserved-identifier): the sanitiser's name
extern "C" const char* __tsan_default_options() {
  return "ignore_interceptors_accesses=1";
}
