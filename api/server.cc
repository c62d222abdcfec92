#include "api/server.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "api/call_memory.h"
#include "api/cancellation.h"
#include "api/services/collections_service.h"
#include "api/services/ingest_service.h"
#include "api/services/points_service.h"
#include "api/services/search_service.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

constexpr uint64_t kQuotaBytesMin = 16 * kRequestBytesFloor;
// How long a call waits for room before it is refused.
constexpr std::chrono::seconds kCallMemoryWait{30};

constexpr const char* kServiceNames[] = {"tessera.v1.Collections", "tessera.v1.Points",
                                         "tessera.v1.Search", "tessera.v1.Ingest"};

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

void SetLimits(const ServerOptions& options, grpc::ServerBuilder* builder) {
  // Two servers on one port would share its calls without a word.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // A client whose machine is gone must not keep its ingest, and so the collection, for ever.
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder->SetMaxReceiveMessageSize(static_cast<int>(RequestBytesMax(options)));
  builder->SetMaxSendMessageSize(-1);
  // Beyond its quota gRPC breaks off calls, and calls left on the same connection may hang
  // (1.51). So the calls of one connection, at the sizes clients choose unless told otherwise, have
  // to fit; those beyond wait at the client.
  const uint64_t quota_bytes = std::max(options.buffer_bytes_max, kQuotaBytesMin);
  builder->AddChannelArgument(
      GRPC_ARG_MAX_CONCURRENT_STREAMS,
      static_cast<int>(std::min<uint64_t>(quota_bytes / kRequestBytesFloor, 100)));
  grpc::ResourceQuota quota("tessera");
  quota.Resize(quota_bytes).SetMaxThreads(kServerThreadsMax);
  builder->SetResourceQuota(quota);
  builder->SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder->SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, std::min(Cores(), 4));
  builder->SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, std::min(Cores() * 2, 16));
}

class GrpcServer final : public Server {
 public:
  GrpcServer(db::Database& database, const ServerOptions& options)
      : memory_(std::max(options.buffer_bytes_max / 2, 4 * kRequestBytesFloor), kCallMemoryWait),
        context_{.database = database,
                 .cancellations = cancellations_,
                 .memory = memory_,
                 .reply_bytes_max = RequestBytesMax(options)} {}
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;
  ~GrpcServer() override { Shutdown(absl::ZeroDuration()); }

  absl::Status Listen(const ServerOptions& options) {
    TESSERA_RETURN_IF_ERROR(CheckListen(options.listen));
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials(), &port);
    SetLimits(options, &builder);
    builder.RegisterService(&collections_);
    builder.RegisterService(&points_);
    builder.RegisterService(&search_);
    builder.RegisterService(&ingest_);
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
    const std::lock_guard<std::mutex> lock(shutdown_mu_);
    if (server_ == nullptr) return;
    server_->GetHealthCheckService()->SetServingStatus(false);
    cancellations_.Stop();
    server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
    server_->Wait();
    server_.reset();
  }

 private:
  CancellationWatch cancellations_;
  CallMemory memory_;
  ServiceContext context_;
  CollectionsService collections_{context_};
  PointsService points_{context_};
  SearchService search_{context_};
  IngestService ingest_{context_};
  std::mutex shutdown_mu_;
  std::unique_ptr<grpc::Server> server_;  // guarded by shutdown_mu_ after Listen
  std::string address_;
};

}  // namespace

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
