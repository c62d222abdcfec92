#include "api/rpc/ingest_reactor.h"

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <google/protobuf/arena.h>
#include <grpcpp/server_context.h>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

#include "api/rpc/wire_bytes.h"
#include "api/services/ingest_session.h"
#include "api/services/points_service.h"
#include "api/status.h"
#include "base/mutex.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

// A client that does not read is cut off: otherwise what it holds stays for as long as it likes.
constexpr absl::Duration kAnswerTimeout = absl::Seconds(30);

// gRPC may call back before a call to it returns, so none is made with the lock held; and after
// Finish it may have deleted this.
class IngestReactor final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                            public IngestPort {
 public:
  IngestReactor(ServiceContext& context, Executor& executor, grpc::CallbackServerContext* call)
      : context_(context),
        executor_(executor),
        call_(*call),
        session_(std::make_shared<IngestSession>(context, *this)) {}

  void Start() {
    // The first message comes in time as well.
    ReadNext();
  }

  void ReadNext() override {
    const std::weak_ptr<IngestSession> weak = session_;
    const absl::Duration silence = context_.ingest_idle_timeout;
    idle_timer_ = context_.timers.At(base::Deadline::After(silence), [weak, silence] {
      if (const auto session = weak.lock(); session != nullptr) {
        session->End(absl::DeadlineExceededError(
            absl::StrCat("the client has sent nothing for ", absl::FormatDuration(silence),
                         ", the most that an open ingest may be silent")));
      }
    });
    StartRead(&in_);
  }

  void OnReadDone(bool ok) override {
    context_.timers.Cancel(idle_timer_);
    const std::shared_ptr<IngestSession> session = session_;
    if (ok) {
      // The session does not let go of this before the step has ended; once it has ended itself it
      // no longer runs the step, which might find this gone.
      session->BeginWait();
      executor_.Resume(session->collection_name(), [this, session] {
        session->EndWait([this, &session] { return Admit(session); });
      });
    } else if (!call_.IsCancelled()) {
      session->OnHalfClose();
    }
  }

  void Send(const v1::IngestResponse& response) override {
    {
      base::MutexLock lock(&mu_);
      next_ = response;
      if (writing_) return;
      writing_ = true;
      Fill();
    }
    StartWrite(&out_);
  }

  void OnWriteDone(bool /*ok: a client that is gone cancels*/) override {
    std::optional<grpc::Status> finish;
    bool more = false;
    {
      base::MutexLock lock(&mu_);
      more = next_.has_value();
      if (more) {
        Fill();
      } else {
        writing_ = false;
        finish = finish_;
      }
    }
    if (more) {
      StartWrite(&out_);
    } else if (finish.has_value()) {
      grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>::Finish(*finish);
    }
  }

  void Finish(const absl::Status& status) override {
    cut_timer_ = context_.timers.At(base::Deadline::After(kAnswerTimeout),
                                    [call = &call_] { call->TryCancel(); });
    {
      base::MutexLock lock(&mu_);
      finish_ = ToGrpc(status);
      if (writing_) return;
    }
    grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>::Finish(ToGrpc(status));
  }

  void OnCancel() override {
    const std::shared_ptr<IngestSession> session = session_;
    session->OnCancel();
  }

  void OnDone() override {
    context_.timers.Cancel(idle_timer_);
    context_.timers.Cancel(cut_timer_);
    delete this;
  }

 private:
  // Looks the message through and has it handled once there is memory for it.
  absl::Status Admit(const std::shared_ptr<IngestSession>& session) {
    TESSERA_RETURN_IF_ERROR(CheckRequestBytes(in_.Length(), context_.request_bytes_max));
    TESSERA_ASSIGN_OR_RETURN(const WireCost cost,
                             ScanBuffer(v1::IngestRequest::descriptor(), in_));
    const uint64_t bytes = PointsMemoryBytes(cost);
    lease_ = CallMemory::Lease(std::string(session->memory_share()));
    if (context_.memory.TryGrow(&lease_, bytes)) return Handle(*session);
    TESSERA_RETURN_IF_ERROR(context_.memory.CheckSize("the message", bytes));
    session->BeginWait();
    context_.memory.Wait(session->NewWaiter(), &lease_, bytes, base::Deadline::Never(),
                         [this, session](const absl::Status& status) {
                           executor_.Resume(session->collection_name(), [this, session, status] {
                             session->EndWait([&] {
                               return status.ok() ? Handle(*session) : status;
                             });
                           });
                         });
    return absl::OkStatus();
  }

  absl::Status Handle(IngestSession& session) {
    google::protobuf::Arena arena;
    auto* const request = google::protobuf::Arena::CreateMessage<v1::IngestRequest>(&arena);
    TESSERA_RETURN_IF_ERROR(ParseBuffer(in_, request));
    in_.Clear();
    return session.OnMessage(*request, std::move(lease_));
  }

  void Fill() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    Reply reply;
    reply.AddFields(*next_);
    out_ = ToBuffer(std::move(reply));
    next_.reset();
  }

  ServiceContext& context_;
  Executor& executor_;
  grpc::CallbackServerContext& call_;
  const std::shared_ptr<IngestSession> session_;
  grpc::ByteBuffer in_;
  CallMemory::Lease lease_;  // of the message in `in_`
  std::atomic<uint64_t> idle_timer_{0};
  std::atomic<uint64_t> cut_timer_{0};

  base::Mutex mu_;
  grpc::ByteBuffer out_;  // being written; changed only when nothing is
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<v1::IngestResponse> next_ ABSL_GUARDED_BY(mu_);
  std::optional<grpc::Status> finish_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartIngest(
    ServiceContext& context, Executor& executor, grpc::CallbackServerContext* call) {
  auto* const reactor = new IngestReactor(context, executor, call);
  reactor->Start();
  return reactor;
}

}  // namespace tessera::api
