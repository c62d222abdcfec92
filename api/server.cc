#include "api/server.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "api/call_memory.h"
#include "api/rpc/executor.h"
#include "api/rpc/grpc_services.h"
#include "api/rpc/timers.h"
#include "api/rpc/unary_call.h"
#include "api/services/context.h"
#include "base/mutex.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

constexpr uint64_t kQuotaBytesMin = 16 * kRequestBytesFloor;
// How long a call waits for room before it is refused.
constexpr absl::Duration kCallMemoryWait = absl::Seconds(30);
constexpr int kStreamsPerConnectionMax = 1024;
// At once; each has a thread, which mostly waits for its client.
constexpr int kBulkLoadsMax = 16;

absl::Status CheckListen(const std::string& listen) {
  const size_t colon = listen.rfind(':');
  uint32_t port = 0;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(listen.substr(colon + 1), &port) || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("listen address is \"", listen, "\", must be HOST:PORT, port 0 .. 65535"));
  }
  return absl::OkStatus();
}

int Cores() {
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// Threads for the calls of one collection. More than cores: some of them wait for a disk or a log.
int ShareThreads() {
  return std::clamp(2 * Cores(), 4, 64);
}

Executor::Options ReadThreads() {
  return {.threads_max = 2 * ShareThreads(), .share_threads_max = ShareThreads()};
}

// Writes may wait for minutes, for an absorption or a lock of their collection; there is room for the
// writes of many such collections.
Executor::Options WriteThreads() {
  return {.threads_max = std::max(32, 2 * ShareThreads()), .share_threads_max = ShareThreads()};
}

// What gRPC itself takes; from there to RequestBytesMax we answer, with the limit in the details.
int ReceiveBytesMax(const ServerOptions& options) {
  return static_cast<int>(2 * RequestBytesMax(options));
}

void SetLimits(const ServerOptions& options, grpc::ServerBuilder* builder) {
  // Two servers on one port would share its calls without a word.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // A client whose machine is gone must not keep its ingest, and so the collection, for ever.
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder->SetMaxReceiveMessageSize(ReceiveBytesMax(options));
  builder->SetMaxSendMessageSize(-1);
  // Streams that are open and silent take next to nothing, so a connection may have many: a call
  // beyond them would wait at the client until one of them ends.
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnectionMax);
  // By its estimate of a connection's bandwidth gRPC also shrinks windows under memory pressure, down
  // to nothing, and grows them again only when data comes: which then never does, and who writes on
  // that connection waits for ever. Without it the window is that of HTTP/2, 64 KiB, and a message
  // that is asked for gets the window it needs.
  builder->AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  grpc::ResourceQuota quota("tessera");
  quota.Resize(std::max(options.buffer_bytes_max, kQuotaBytesMin));
  builder->SetResourceQuota(quota);
}

class GrpcServer final : public Server {
 public:
  GrpcServer(db::Database& database, const ServerOptions& options)
      : memory_(std::max(options.buffer_bytes_max / 4 * 3, 4 * kRequestBytesFloor), kCallMemoryWait,
                timers_),
        reads_(ReadThreads()),
        writes_(WriteThreads()),
        ingests_(WriteThreads()),
        context_{.database = database,
                 .memory = memory_,
                 .timers = timers_,
                 .streams = streams_,
                 .request_bytes_max = RequestBytesMax(options),
                 .reply_bytes_max = ReplyBytesMax(options),
                 .search_threads = static_cast<uint64_t>(
                     options.search_threads > 0 ? options.search_threads : Cores()),
                 .ingest_idle_timeout = options.ingest_idle_timeout},
        path_{.reads = reads_,
              .writes = writes_,
              .memory = memory_,
              .timers = timers_,
              .request_bytes_max = RequestBytesMax(options)} {}
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;
  ~GrpcServer() override { Shutdown(absl::ZeroDuration()); }

  absl::Status Listen(const ServerOptions& options) {
    TESSERA_RETURN_IF_ERROR(CheckListen(options.listen));
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials(), &port);
    SetLimits(options, &builder);
    for (const auto& service : services_) builder.RegisterService(service.get());
    base::MutexLock lock(&shutdown_mu_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port == 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot listen on ", options.listen, ": in use, or not of this machine"));
    }
    address_ = absl::StrCat(options.listen.substr(0, options.listen.rfind(':')), ":", port);
    for (const char* name : kServiceNames) {
      server_->GetHealthCheckService()->SetServingStatus(name, true);
    }
    return absl::OkStatus();
  }

  const std::string& address() const override { return address_; }

  void Shutdown(absl::Duration grace) override {
    base::MutexLock lock(&shutdown_mu_);
    if (server_ == nullptr) return;
    server_->GetHealthCheckService()->SetServingStatus(false);
    streams_.EndAll(absl::UnavailableError("the server is shutting down"));
    server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
    server_->Wait();
    server_.reset();
  }

 private:
  // In the order in which they are needed; the services go first.
  Timers timers_;
  CallMemory memory_;
  IngestStreams streams_{kBulkLoadsMax};
  Executor reads_;
  Executor writes_;
  Executor ingests_;
  ServiceContext context_;
  const CallPath path_;
  const std::vector<std::unique_ptr<grpc::Service>> services_ =
      MakeServices(context_, path_, ingests_);
  base::Mutex shutdown_mu_;
  std::unique_ptr<grpc::Server> server_ ABSL_GUARDED_BY(shutdown_mu_);
  std::string address_;
};

}  // namespace

uint64_t ReplyBytesMax(const ServerOptions& options) {
  return std::clamp(options.buffer_bytes_max / 8, kRequestBytesFloor, kRequestBytesMax);
}

uint64_t RequestBytesMax(const ServerOptions& options) {
  return std::clamp(options.buffer_bytes_max / 4, kRequestBytesFloor, kRequestBytesMax);
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(db::Database& database,
                                                      const ServerOptions& options) {
  // Process-wide switches of gRPC that every server built later follows.
  static std::once_flag plugins;
  std::call_once(plugins, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
  auto server = std::make_unique<GrpcServer>(database, options);
  TESSERA_RETURN_IF_ERROR(server->Listen(options));
  return server;
}

}  // namespace tessera::api
