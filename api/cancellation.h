// Cancellation of running calls, in the form the engine polls: an atomic flag. It is raised when
// the client cancels or is gone and, for calls that ask for it, when the server stops.
//
// A synchronous gRPC handler learns of a cancellation only by asking its context. One thread asks
// for all of them, every few milliseconds; calls shorter than that never cost it anything.
//
// Threads: any.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <list>
#include <mutex>
#include <optional>
#include <thread>

#include <grpcpp/server_context.h>

namespace tessera::api {

class CancellationWatch {
 public:
  CancellationWatch();
  CancellationWatch(const CancellationWatch&) = delete;
  CancellationWatch& operator=(const CancellationWatch&) = delete;
  // Pre: no Call lives.
  ~CancellationWatch();

  enum class OnStop {
    kRunOn,
    kCancel,  // long calls
  };

  // Watches `context` while it lives. Pre: both arguments outlive it.
  class Call {
   public:
    Call(CancellationWatch& watch, grpc::ServerContext& context, OnStop on_stop = OnStop::kRunOn);
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call();
    std::atomic<bool>* flag() { return &cancelled_; }
    // Whether the server's stop has cancelled it.
    bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

   private:
    friend class CancellationWatch;
    CancellationWatch& watch_;
    grpc::ServerContext& context_;
    const OnStop on_stop_;
    std::atomic<bool> cancelled_{false};  // relaxed: they guard no other data
    std::atomic<bool> stopped_{false};
    std::list<Call*>::iterator place_;
  };

  // Cancels calls with OnStop::kCancel from now on. Those that do not end soon, because they wait
  // for their client, are broken off.
  void Stop();

 private:
  void Run();
  void Look(Call* call);  // with mu_ held

  std::mutex mu_;
  std::condition_variable wake_;
  std::list<Call*> calls_;  // guarded by mu_
  bool asleep_ = false;     // guarded by mu_; the thread waits without a timeout
  bool ended_ = false;      // guarded by mu_
  // When Stop was called. Guarded by mu_.
  std::optional<std::chrono::steady_clock::time_point> stopped_at_;
  std::thread thread_;
};

}  // namespace tessera::api
