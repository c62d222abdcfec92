// What a handler knows of the call it answers. No gRPC here.
//
// Threads: those of the handler.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>

#include <google/protobuf/message.h>

#include "absl/status/status.h"

#include "api/rpc/reply.h"
#include "api/rpc/wire_scan.h"
#include "base/deadline.h"

namespace tessera::api {

class Call {
 public:
  virtual ~Call() = default;

  base::Deadline deadline() const { return deadline_; }
  // Raised when the client cancels or is gone.
  const std::atomic<bool>* cancelled() const { return &cancelled_; }
  // For what cannot be stopped: it does not begin for a caller who no longer waits.
  absl::Status CheckLive() const {
    if (cancelled_.load(std::memory_order_relaxed)) {
      return absl::CancelledError("the call was cancelled");
    }
    if (deadline_.Passed()) {
      return absl::DeadlineExceededError("the deadline passed before the call began");
    }
    return absl::OkStatus();
  }

  // Memory for the whole call, `bytes` in all. To be asked for before it is taken, and before
  // anything is changed: when there is no room at the moment, the answer is an error that the
  // handler returns at once, and once there is room it is called again from the beginning. So no
  // thread waits for memory.
  virtual absl::Status Reserve(uint64_t bytes) = 0;
  virtual uint64_t reserved_bytes() const = 0;

  // Seconds since it came.
  double Seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

 protected:
  explicit Call(base::Deadline deadline) : deadline_(deadline) {}

  const base::Deadline deadline_;
  std::atomic<bool> cancelled_{false};  // relaxed: it guards no other data

 private:
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

enum class Lane { kRead, kWrite };

// One unary method.
struct Method {
  const google::protobuf::Message& request;  // its default instance
  Lane lane = Lane::kRead;
  bool apart = false;  // does not wait its turn among the calls of its collection
  // What the call takes of memory before its handler asks for more: message and engine's form.
  std::function<uint64_t(const WireCost&)> memory_bytes;
  std::function<absl::Status(Call&, const google::protobuf::Message&, Reply*)> handle;
};

// `handle` takes (Call&, const Request&, Reply*).
template <typename Request, typename Handle>
Method MakeMethod(Lane lane, uint64_t bytes_per_row, Handle handle) {
  return {.request = Request::default_instance(),
          .lane = lane,
          .memory_bytes =
              [bytes_per_row](const WireCost& cost) {
                return cost.parsed_bytes + bytes_per_row * cost.rows;
              },
          .handle =
              [handle](Call& call, const google::protobuf::Message& request, Reply* reply) {
                return handle(call, static_cast<const Request&>(request), reply);
              }};
}

}  // namespace tessera::api
