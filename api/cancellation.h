// Cancellation of running calls, in the form the engine polls: an atomic flag.
//
// A synchronous gRPC handler learns of a cancellation only by asking its context. One thread asks
// for all of them, every few milliseconds; calls shorter than that never cost it anything.
//
// Threads: any.
#pragma once

#include <atomic>
#include <condition_variable>
#include <list>
#include <mutex>
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

  // Watches `context` while it lives. Pre: both arguments outlive it.
  class Call {
   public:
    Call(CancellationWatch& watch, grpc::ServerContext& context);
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call();
    const std::atomic<bool>* flag() const { return &cancelled_; }

   private:
    friend class CancellationWatch;
    CancellationWatch& watch_;
    grpc::ServerContext& context_;
    std::atomic<bool> cancelled_{false};  // relaxed: it guards no other data
    std::list<Call*>::iterator place_;
  };

 private:
  void Run();

  std::mutex mu_;
  std::condition_variable wake_;
  std::list<Call*> calls_;  // guarded by mu_
  bool asleep_ = false;     // guarded by mu_; the thread waits without a timeout
  bool stopped_ = false;    // guarded by mu_
  std::thread thread_;
};

}  // namespace tessera::api
