// The only use of OpenMP: an index range over a given number of threads.
//
// Threads: callable from any thread. A call from inside a body runs its range on the calling
//          thread alone, so that nesting never multiplies threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace tessera::index {

// Calls body(index, worker) once for every index in [0, count), on at most `thread_count` threads
// (0: one per core), and returns when all are done. `worker` is below
// EffectiveThreads(thread_count) and no two calls run at the same time with the same worker: it
// selects per-thread scratch. Which worker gets which index is not defined, so results must not
// depend on it. `body` must not throw. Libraries that a body calls run on its thread alone.
void ParallelFor(size_t count, uint32_t thread_count,
                 const std::function<void(size_t index, uint32_t worker)>& body);

// The number of threads that `thread_count` stands for: itself, or the cores when it is 0.
uint32_t EffectiveThreads(uint32_t thread_count);

}  // namespace tessera::index
