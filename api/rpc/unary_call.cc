#include "api/rpc/unary_call.h"

#include <atomic>
#include <new>
#include <utility>

#include <google/protobuf/arena.h>
#include <grpcpp/server_context.h>

#include "absl/strings/str_cat.h"

#include "api/rpc/wire_bytes.h"
#include "api/status.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

// Requests up to here are looked through on gRPC's thread, which takes less than a hand-over would.
constexpr size_t kScanAtOnceBytes = size_t{16} << 10;

// Steps follow each other: on gRPC's thread, on an executor, and on whichever thread ends a wait for
// memory, never on two at a time. Only cancellation comes beside them.
class UnaryCall final : public grpc::ServerUnaryReactor, public Call {
 public:
  UnaryCall(const CallPath& path, const Method& method, grpc::CallbackServerContext* context,
            grpc::ByteBuffer* request, grpc::ByteBuffer* response)
      : Call(FromRaw(context->raw_deadline())),
        path_(path),
        method_(method),
        context_(*context),
        request_(*request),
        response_(*response) {}

  void Begin() {
    absl::Status status = CheckRequestBytes(request_.Length(), path_.request_bytes_max);
    if (!status.ok()) return Answer(std::move(status));
    if (request_.Length() <= kScanAtOnceBytes) return Admit();
    if (!path_.reads.Submit("", [this] { Admit(); })) Answer(TooManyCalls());
  }

  absl::Status Reserve(uint64_t bytes) override {
    if (path_.memory.TryGrow(&lease_, bytes)) return absl::OkStatus();
    TESSERA_RETURN_IF_ERROR(path_.memory.CheckSize("the call", bytes));
    missing_bytes_ = bytes;
    return absl::ResourceExhaustedError("the call waits for memory");
  }
  uint64_t reserved_bytes() const override { return lease_.bytes(); }

  void OnCancel() override {
    cancelled_.store(true, std::memory_order_relaxed);
    path_.memory.Cancel(waiter_.load());
  }

  void OnDone() override {
    path_.timers.Cancel(answer_timer_);
    delete this;
  }

 private:
  static absl::Status TooManyCalls() {
    return absl::ResourceExhaustedError("too many calls wait for a thread; try again");
  }

  // Looks it through and hands it over to those who run the calls of its collection.
  void Admit() {
    absl::StatusOr<WireCost> cost = absl::ResourceExhaustedError("out of memory");
    try {
      cost = ScanBuffer(method_.request.GetDescriptor(), request_);
    } catch (const std::bad_alloc&) {
      return Answer(cost.status());
    }
    if (!cost.ok()) return Answer(cost.status());
    cost_ = *std::move(cost);
    if (method_.apart) cost_.collection.clear();
    if (method_.lane == Lane::kWrite) lease_ = CallMemory::Lease(cost_.collection);
    if (!executor().Submit(cost_.collection, [this] { Run(); })) Answer(TooManyCalls());
  }

  Executor& executor() { return method_.lane == Lane::kRead ? path_.reads : path_.writes; }

  void Run() {
    absl::Status status;
    try {
      status = Handle();
    } catch (const std::bad_alloc&) {
      status = absl::ResourceExhaustedError("out of memory");
    }
    if (!status.ok() && missing_bytes_ > 0) return WaitForMemory();
    Answer(std::move(status));
  }

  absl::Status Handle() {
    TESSERA_RETURN_IF_ERROR(CheckLive());
    if (message_ == nullptr) {
      TESSERA_RETURN_IF_ERROR(Reserve(method_.memory_bytes(cost_)));
      message_ = method_.request.New(&arena_);
      TESSERA_RETURN_IF_ERROR(ParseBuffer(request_, message_));
      request_.Clear();  // they would be in memory twice
    }
    reply_.Clear();
    return method_.handle(*this, *message_, &reply_);
  }

  void WaitForMemory() {
    const uint64_t bytes = std::exchange(missing_bytes_, 0);
    reply_.Clear();
    path_.memory.Shrink(&lease_, message_ == nullptr ? 0 : method_.memory_bytes(cost_));
    const uint64_t waiter = path_.memory.NewWaiter();
    waiter_.store(waiter);
    // From here on another thread may run this call, and end it.
    path_.memory.Wait(waiter, &lease_, bytes, deadline_, [this](const absl::Status& status) {
      executor().Resume(cost_.collection, [this, status] {
        if (status.ok()) return Run();
        Answer(status);
      });
    });
  }

  void Answer(absl::Status status) {
    if (status.ok()) {
      response_ = ToBuffer(std::move(reply_));
    } else {
      reply_.Clear();
    }
    if (lease_.bytes() > 0) {
      answer_timer_ = path_.timers.At(base::Deadline::After(path_.answer_timeout),
                                      [context = &context_] { context->TryCancel(); });
    }
    Finish(ToGrpc(status));
  }

  const CallPath& path_;
  const Method& method_;
  grpc::CallbackServerContext& context_;
  grpc::ByteBuffer& request_;
  grpc::ByteBuffer& response_;
  google::protobuf::Arena arena_;
  google::protobuf::Message* message_ = nullptr;  // on the arena
  WireCost cost_;
  Reply reply_;
  CallMemory::Lease lease_;
  uint64_t missing_bytes_ = 0;  // what Reserve did not find
  uint64_t answer_timer_ = 0;
  std::atomic<uint64_t> waiter_{0};  // the last wait for memory
};

}  // namespace

grpc::ServerUnaryReactor* StartUnaryCall(const CallPath& path, const Method& method,
                                         grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) {
  // gRPC keeps the request until the call is done and does not look at it again; it is ours to free.
  auto* const call = new UnaryCall(path, method, context, const_cast<grpc::ByteBuffer*>(request),
                                   response);
  call->Begin();
  return call;
}

}  // namespace tessera::api
