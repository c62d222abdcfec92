// tessera.v1.Ingest over a database. Threads: any.
#pragma once

#include <tessera/v1/ingest.grpc.pb.h>

#include "api/services/call.h"

namespace tessera::api {

class IngestService final : public v1::Ingest::Service {
 public:
  using Stream = grpc::ServerReaderWriter<v1::IngestResponse, v1::IngestRequest>;

  explicit IngestService(ServiceContext& context) : context_(context) {}

  grpc::Status Ingest(grpc::ServerContext* call, Stream* stream) override;

 private:
  ServiceContext& context_;
};

}  // namespace tessera::api
