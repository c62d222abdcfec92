// Batches: many searches of one call, taken one after the other by the caller's thread and such
// helpers as are free.
//
// Threads: free functions; several batches share a pool.
#pragma once

#include <cstddef>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "query/helper_pool.h"

namespace tessera::query {

// Calls run(0) .. run(count - 1), each once, several at a time unless `serial`; ends early when one
// has failed.
//
// A deadline or cancellation is the searches' own: the next one to begin sees it first thing.
// Errors: that of the first query that failed, naming it, with its payloads; kResourceExhausted
//         where it threw std::bad_alloc.
absl::Status RunBatch(HelperPool& pool, size_t count, bool serial,
                      absl::FunctionRef<absl::Status(size_t query)> run);

}  // namespace tessera::query
