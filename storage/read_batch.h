// Batched reads: many requests are submitted at once and taken back in the order they complete.
// One interface, several engines: PreadPool (a thread pool, works everywhere) and FaultingEngine
// (tests: errors, short reads, flipped bits, reordering).
//
// Threads: a ReadEngine from any thread; a ReadBatch from one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "absl/status/status.h"

#include "base/files/file_system.h"

namespace tessera::storage {

struct ReadRequest {
  // Stays open and alive until the request is completed.
  const base::RandomAccessFile* file = nullptr;
  // Multiples of base::kDirectIoAlignment, as is the address of `out`.
  uint64_t offset = 0;
  std::span<std::byte> out;
  uint64_t tag = 0;  // the caller's, returned with the completion
};

struct ReadCompletion {
  uint64_t tag = 0;
  absl::Status status;
  size_t bytes = 0;  // read; less than asked only at the end of the file
};

class ReadBatch {
 public:
  // Waits for the requests that are still under way: their buffers are the caller's.
  virtual ~ReadBatch() = default;

  // Hands over the requests; returns at once. May be called again while requests are under way.
  virtual void Submit(std::span<const ReadRequest> requests) = 0;

  // Waits for the next completion; nothing when every submitted request has been returned.
  virtual std::optional<ReadCompletion> Next() = 0;
};

class ReadEngine {
 public:
  virtual ~ReadEngine() = default;
  // The batch must not outlive the engine.
  virtual std::unique_ptr<ReadBatch> NewBatch() = 0;
};

// Blocking reads on a pool of threads. The thread that waits in Next() reads as well, so a batch
// makes progress with any pool, and with 0 threads the engine is synchronous.
class PreadPool final : public ReadEngine {
 public:
  // thread_count: reads in flight at most, besides those of waiting callers; 0 .. 256.
  explicit PreadPool(int thread_count);
  // Pre: every batch is destroyed.
  ~PreadPool() override;
  PreadPool(const PreadPool&) = delete;
  PreadPool& operator=(const PreadPool&) = delete;

  std::unique_ptr<ReadBatch> NewBatch() override;

 private:
  class Batch;
  struct State;
  std::unique_ptr<State> state_;
};

// What happens to one request. At most one of the fields is set.
struct ReadFault {
  absl::Status error = absl::OkStatus();             // answered instead of reading
  std::optional<size_t> short_bytes = std::nullopt;  // only that many bytes are reported as read
  std::optional<size_t> flipped_bit = std::nullopt;  // this bit of the bytes read is inverted
  bool last = false;  // completes after every other request that is not `last`
};

// Passes requests on to another engine and damages the chosen ones.
class FaultingEngine final : public ReadEngine {
 public:
  // `plan` is asked once per request, with the number of requests seen before; from any thread.
  using Plan = std::function<ReadFault(const ReadRequest& request, uint64_t ordinal)>;

  FaultingEngine(ReadEngine& engine, Plan plan);
  ~FaultingEngine() override;
  FaultingEngine(const FaultingEngine&) = delete;
  FaultingEngine& operator=(const FaultingEngine&) = delete;

  std::unique_ptr<ReadBatch> NewBatch() override;

 private:
  class Batch;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tessera::storage
