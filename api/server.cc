#include "api/server.h"

#include <algorithm>
#include <mutex>
#include <thread>

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "api/cancellation.h"
#include "api/services/collections_service.h"
#include "api/services/ingest_service.h"
#include "api/services/points_service.h"
#include "api/services/search_service.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

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

class GrpcServer : public Server {
 public:
  explicit GrpcServer(db::Database& database) : context_{database, cancellations_} {}
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;
  ~GrpcServer() override { Shutdown(absl::ZeroDuration()); }

  absl::Status Listen(const ServerOptions& options) {
    TESSERA_RETURN_IF_ERROR(CheckListen(options.listen));
    const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    // The handler's own thread searches too.
    context_.helper_threads_free =
        (options.search_threads > 0 ? options.search_threads : cores) - 1;

    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials(), &port);
    // Two servers on one port would share its calls without a word.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    const uint64_t request_bytes_max = std::min(kRequestBytesMax, options.buffer_bytes_max / 2);
    builder.SetMaxReceiveMessageSize(static_cast<int>(request_bytes_max));
    builder.SetMaxSendMessageSize(-1);
    grpc::ResourceQuota quota("tessera");
    quota.Resize(options.buffer_bytes_max).SetMaxThreads(kServerThreadsMax);
    builder.SetResourceQuota(quota);
    builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
    builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, std::min(cores, 4));
    builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, std::min(cores * 2, 16));
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
    server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
    server_->Wait();
    server_.reset();
  }

 private:
  CancellationWatch cancellations_;
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

absl::StatusOr<std::unique_ptr<Server>> Server::Start(db::Database& database,
                                                      const ServerOptions& options) {
  // Process-wide switches of gRPC that every server built later follows.
  static std::once_flag plugins;
  std::call_once(plugins, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
  auto server = std::make_unique<GrpcServer>(database);
  TESSERA_RETURN_IF_ERROR(server->Listen(options));
  return server;
}

}  // namespace tessera::api
