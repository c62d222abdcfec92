#include "api/services/ingest_service.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "api/convert.h"
#include "api/ingest.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

constexpr double kProgressSeconds = 0.2;

absl::StatusOr<IngestMode> ModeFromProto(v1::IngestMode mode) {
  switch (mode) {
    case v1::INGEST_MODE_AUTO:
      return IngestMode::kAuto;
    case v1::INGEST_MODE_BULK:
      return IngestMode::kBulk;
    case v1::INGEST_MODE_UPSERT:
      return IngestMode::kUpsert;
    default:
      return InvalidField("begin.mode",
                          absl::StrCat("is ", static_cast<int>(mode), ", must be 0 .. 2"));
  }
}

// The batches of one stream as a PointSource.
class StreamSource {
 public:
  StreamSource(IngestService::Stream& stream, grpc::ServerContext& call, CallMemory& memory,
               const base::CollectionSchema& schema)
      : stream_(stream), call_(call), memory_(memory), schema_(schema) {}

  absl::Status Next(std::vector<db::Point>* batch) {
    batch->clear();
    lease_ = {};
    while (!finished_) {
      if (!stream_.Read(&request_)) return Broken();
      switch (request_.step_case()) {
        case v1::IngestRequest::kBatch:
          TESSERA_RETURN_IF_ERROR(TakeBatch(batch));
          if (!batch->empty()) return absl::OkStatus();
          break;
        case v1::IngestRequest::kFinish:
          TESSERA_RETURN_IF_ERROR(TakeFinish());
          break;
        default:
          return absl::InvalidArgumentError(
              absl::StrCat("message after ", received_, " points is neither batch nor finish"));
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status TakeBatch(std::vector<db::Point>* batch) {
    TESSERA_ASSIGN_OR_RETURN(
        lease_, memory_.Take(PointsMemoryBytes(request_.batch().points(), request_.batch().batch()),
                             DeadlineOf(call_)));
    absl::StatusOr<std::vector<db::Point>> points =
        PointsFromProto(schema_, request_.batch().points(), request_.batch().batch());
    if (!points.ok()) {
      return BlameField(
          Prefixed(absl::StrCat("batch after ", received_, " points: "), points.status()), "batch");
    }
    *batch = *std::move(points);
    received_ += batch->size();
    return absl::OkStatus();
  }

  absl::Status TakeFinish() {
    if (request_.finish().points() != received_) {
      return InvalidField("finish.points", absl::StrCat(request_.finish().points(), " sent, ",
                                                        received_, " received"));
    }
    finished_ = true;
    return absl::OkStatus();
  }

  // A stream that ends without `finish` must not look like one that is complete.
  absl::Status Broken() const {
    if (call_.IsCancelled()) return absl::CancelledError("the ingest was cancelled");
    return absl::AbortedError(
        absl::StrCat("the stream ended after ", received_, " points without finish"));
  }

  IngestService::Stream& stream_;
  grpc::ServerContext& call_;
  CallMemory& memory_;
  const base::CollectionSchema& schema_;
  v1::IngestRequest request_;
  CallMemory::Lease lease_;  // of the batch given last
  uint64_t received_ = 0;
  bool finished_ = false;
};

// Sends every stored batch of upserts, and what a bulk load does a few times a second.
class ProgressWriter {
 public:
  explicit ProgressWriter(IngestService::Stream& stream) : stream_(stream) {}

  void Tell(const IngestProgress& progress) {
    const bool newly_stored = progress.stored > last_.stored();
    const bool new_phase = progress.phase != last_.phase();
    const double now = watch_.Seconds();
    Fill(progress, now);
    if (!newly_stored && !new_phase && now - told_at_ < kProgressSeconds) return;
    told_at_ = now;
    stream_.Write(last_);  // a client that is gone shows at the next read
  }

  bool Finish(const IngestSummary& summary) {
    last_.set_stored(summary.stored);
    last_.set_replaced(summary.replaced);
    last_.set_bulk(summary.bulk);
    last_.set_done(true);
    last_.set_time(watch_.Seconds());
    return stream_.Write(last_);
  }

 private:
  void Fill(const IngestProgress& progress, double now) {
    last_.set_received(progress.received);
    last_.set_stored(progress.stored);
    last_.set_phase(progress.phase.data(), progress.phase.size());
    last_.set_phase_done(progress.phase_done);
    last_.set_phase_total(progress.phase_total);
    last_.set_bulk(progress.bulk);
    last_.set_time(now);
  }

  IngestService::Stream& stream_;
  const Stopwatch watch_;
  v1::IngestResponse last_;
  double told_at_ = -kProgressSeconds;
};

}  // namespace

grpc::Status IngestService::Ingest(grpc::ServerContext* call, Stream* stream) {
  return Answer([&]() -> absl::Status {
    v1::IngestRequest first;
    if (!stream->Read(&first) || first.step_case() != v1::IngestRequest::kBegin) {
      return InvalidField("begin", "must be the first message of an ingest");
    }
    const v1::IngestBegin& begin = first.begin();
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(begin.collection()));
    IngestOptions options;
    TESSERA_ASSIGN_OR_RETURN(options.mode, ModeFromProto(begin.mode()));
    TESSERA_ASSIGN_OR_RETURN(options.ack, FromProto(begin.ack(), "begin.ack"));
    options.threads = static_cast<int>(std::min<uint32_t>(begin.threads(), 1024));
    CancellationWatch::Call cancellation(context_.cancellations, *call,
                                         CancellationWatch::OnStop::kCancel);
    options.cancelled = cancellation.flag();
    ProgressWriter writer(*stream);
    options.progress = [&](const IngestProgress& progress) { writer.Tell(progress); };
    StreamSource source(*stream, *call, context_.memory, collection->schema());
    const absl::StatusOr<IngestSummary> summary =
        IngestPoints(*collection, [&](auto* batch) { return source.Next(batch); }, options);
    if (summary.ok()) {
      writer.Finish(*summary);
      return absl::OkStatus();
    }
    if (absl::IsCancelled(summary.status()) && cancellation.stopped()) {
      return absl::UnavailableError("the server is stopping");
    }
    return summary.status();
  });
}

}  // namespace tessera::api
