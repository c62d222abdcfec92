#include "api/services/ingest_session.h"

#include <algorithm>
#include <new>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

#include "api/convert.h"
#include "base/status_details.h"
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
      return base::InvalidField("begin.mode",
                                absl::StrCat("is ", static_cast<int>(mode), ", must be 0 .. 2"));
  }
}

}  // namespace

void IngestSession::Step(const std::function<absl::Status()>& step) {
  {
    base::MutexLock lock(&mu_);
    if (end_.has_value()) return;
    ++steps_;
  }
  absl::Status status;
  try {
    status = step();
  } catch (const std::bad_alloc&) {
    status = absl::ResourceExhaustedError("out of memory");
  }
  if (!status.ok()) End(status);
  Leave();
}

void IngestSession::BeginWait() {
  base::MutexLock lock(&mu_);
  ++steps_;
}

void IngestSession::EndWait(const std::function<absl::Status()>& step) {
  Step(step);
  Leave();
}

std::string_view IngestSession::collection_name() const {
  return collection_ == nullptr ? std::string_view() : collection_->schema().name;
}

// Others wait with points that they hold, of which the rest of their share could not come free.
std::string_view IngestSession::memory_share() const {
  return stage_ == Stage::kUpsert ? collection_name() : std::string_view();
}

uint64_t IngestSession::NewWaiter() {
  const uint64_t waiter = context_.memory.NewWaiter();
  waiter_.store(waiter);
  return waiter;
}

void IngestSession::Leave() {
  {
    base::MutexLock lock(&mu_);
    --steps_;
  }
  Conclude();
}

void IngestSession::End(const absl::Status& status) {
  {
    base::MutexLock lock(&mu_);
    if (end_.has_value()) return;
    end_ = status;
    cancelled_.store(true);
    if (ending_queue_ != nullptr) {
      ending_queue_->End(status.ok() ? absl::CancelledError("the ingest has ended") : status);
    }
  }
  context_.memory.Cancel(waiter_.load());
  Conclude();
}

// What runs keeps the engine's state and the port's buffers; the answer waits for it.
void IngestSession::Conclude() {
  absl::Status status;
  {
    base::MutexLock lock(&mu_);
    if (!end_.has_value() || steps_ > 0 || finished_) return;
    finished_ = true;
    status = *end_;
  }
  port_.Finish(status);
}

void IngestSession::OnHalfClose() {
  // The load ends the ingest.
  if (stage_ == Stage::kFinished) return;
  if (stage_ == Stage::kBegin) {
    return End(base::InvalidField("begin", "must be the first message of an ingest"));
  }
  // A stream that ends without `finish` must not look like one that is complete.
  End(absl::AbortedError(
      absl::StrCat("the stream ended after ", received_, " points without finish")));
}

void IngestSession::OnCancel() {
  End(absl::CancelledError("the ingest was cancelled"));
}

absl::Status IngestSession::OnMessage(const v1::IngestRequest& request, CallMemory::Lease lease) {
  if (stage_ == Stage::kBegin) {
    if (request.step_case() != v1::IngestRequest::kBegin) {
      return base::InvalidField("begin", "must be the first message of an ingest");
    }
    return Begin(request.begin());
  }
  if (stage_ == Stage::kFinished) return absl::OkStatus();
  switch (request.step_case()) {
    case v1::IngestRequest::kBatch:
      return TakeBatch(request.batch(), std::move(lease));
    case v1::IngestRequest::kFinish:
      return TakeFinish(request.finish());
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("message after ", received_, " points is neither batch nor finish"));
  }
}

absl::Status IngestSession::Begin(const v1::IngestBegin& begin) {
  TESSERA_ASSIGN_OR_RETURN(collection_, context_.database.GetCollection(begin.collection()));
  TESSERA_ASSIGN_OR_RETURN(options_.mode, ModeFromProto(begin.mode()));
  TESSERA_ASSIGN_OR_RETURN(options_.ack, FromProto(begin.ack(), "begin.ack"));
  options_.threads = static_cast<int>(std::min<uint32_t>(begin.threads(), 1024));
  options_.cancelled = &cancelled_;
  options_.progress = [this](const IngestProgress& progress) { Tell(progress); };
  stage_ = options_.mode == IngestMode::kUpsert ? Stage::kUpsert : Stage::kHold;
  if (options_.mode == IngestMode::kAuto) {
    TESSERA_ASSIGN_OR_RETURN(const uint64_t stored, collection_->Count());
    if (stored > 0) stage_ = Stage::kUpsert;
  }
  TESSERA_RETURN_IF_ERROR(context_.streams.Add(begin.collection(), weak_from_this()));
  port_.ReadNext();
  return absl::OkStatus();
}

absl::Status IngestSession::TakeBatch(const v1::IngestBatch& batch, CallMemory::Lease lease) {
  absl::StatusOr<std::vector<db::Point>> points =
      PointsFromProto(collection_->schema(), batch.points(), batch.batch());
  if (!points.ok()) {
    return base::BlameField(
        base::Prefixed(absl::StrCat("batch after ", received_, " points: "), points.status()),
        "batch");
  }
  received_ += points->size();
  if (points->empty()) {
    port_.ReadNext();
    return absl::OkStatus();
  }
  switch (stage_) {
    case Stage::kUpsert: {
      TESSERA_RETURN_IF_ERROR(Store(*std::move(points)));
      port_.ReadNext();
      return absl::OkStatus();
    }
    case Stage::kLoad:
      queue_->Put(*std::move(points), std::move(lease));  // who takes it asks for the next
      return absl::OkStatus();
    default:
      break;
  }
  held_.Add(*std::move(points));
  if (options_.mode == IngestMode::kBulk || held_.PayForBulk()) {
    if (held_lease_.bytes() < lease.bytes()) held_lease_ = std::move(lease);
    return StartLoad();
  }
  return PayForHeld(std::move(lease));
}

// Points that were small calls one by one are not when they are kept.
absl::Status IngestSession::PayForHeld(CallMemory::Lease lease) {
  const uint64_t bytes = held_.bytes();
  if (context_.memory.TryGrow(&held_lease_, bytes)) {
    port_.ReadNext();
    return absl::OkStatus();
  }
  TESSERA_RETURN_IF_ERROR(context_.memory.CheckSize("the ingest", bytes));
  auto kept = std::make_shared<CallMemory::Lease>(std::move(lease));
  BeginWait();
  context_.memory.Wait(NewWaiter(), &held_lease_, bytes, base::Deadline::Never(),
                       [self = shared_from_this(), kept](const absl::Status& status) {
                         self->EndWait([&] {
                           if (status.ok()) self->port_.ReadNext();
                           return status;
                         });
                       });
  return absl::OkStatus();
}

absl::Status IngestSession::TakeFinish(const v1::IngestFinish& finish) {
  if (finish.points() != received_) {
    return base::InvalidField(
        "finish.points", absl::StrCat(finish.points(), " sent, ", received_, " received"));
  }
  if (stage_ == Stage::kLoad) {
    stage_ = Stage::kFinished;
    queue_->Put({}, {});
    return absl::OkStatus();
  }
  if (!held_.points().empty()) TESSERA_RETURN_IF_ERROR(Store(held_.Take()));
  summary_.bulk = options_.mode == IngestMode::kBulk;
  stage_ = Stage::kFinished;
  Done(summary_);
  End(absl::OkStatus());
  return absl::OkStatus();
}

absl::Status IngestSession::Store(std::vector<db::Point> points) {
  IngestProgress progress{.received = received_, .stored = summary_.stored, .phase = "upsert"};
  Tell(progress);
  TESSERA_ASSIGN_OR_RETURN(const IngestSummary stored,
                           UpsertBatch(*collection_, std::move(points), options_.ack));
  summary_.stored += stored.stored;
  summary_.replaced += stored.replaced;
  progress.stored = summary_.stored;
  Tell(progress);
  return absl::OkStatus();
}

absl::Status IngestSession::StartLoad() {
  queue_ = std::make_unique<BatchQueue>([this] { port_.ReadNext(); });
  queue_->Put(held_.Take(), std::move(held_lease_));  // they are one batch of the load
  {
    base::MutexLock lock(&mu_);
    ending_queue_ = queue_.get();
    ++steps_;
  }
  stage_ = Stage::kLoad;
  absl::Status started = context_.streams.StartLoad([self = shared_from_this()] { self->Load(); });
  if (started.ok()) return started;
  base::MutexLock lock(&mu_);
  --steps_;
  return started;
}

void IngestSession::Load() {
  absl::StatusOr<IngestSummary> summary = absl::InternalError("");
  IngestOptions options = options_;
  options.mode = IngestMode::kBulk;
  try {
    summary = IngestPoints(
        *collection_, [this](auto* batch) { return queue_->Take(cancelled_, batch); }, options);
  } catch (const std::bad_alloc&) {
    summary = absl::ResourceExhaustedError("out of memory");
  }
  if (summary.ok()) {
    Done(*summary);
    End(absl::OkStatus());
  } else {
    End(absl::IsCancelled(summary.status()) ? WhyCancelled() : summary.status());
  }
  Leave();
}

// The engine cancels a load when its collection is dropped and when it closes.
absl::Status IngestSession::WhyCancelled() const {
  const absl::StatusOr<uint64_t> count = collection_->Count();
  if (absl::IsNotFound(count.status())) return count.status();
  return absl::UnavailableError(
      "the load was stopped: its collection is being dropped, or the server shuts down");
}

void IngestSession::Tell(const IngestProgress& progress) {
  base::MutexLock lock(&tell_mu_);
  const bool newly_stored = progress.stored > last_.stored();
  const bool new_phase = progress.phase != last_.phase();
  const double now =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
  last_.set_received(progress.received);
  last_.set_stored(progress.stored);
  last_.set_phase(progress.phase.data(), progress.phase.size());
  last_.set_phase_done(progress.phase_done);
  last_.set_phase_total(progress.phase_total);
  last_.set_bulk(progress.bulk);
  last_.set_time(now);
  if (!newly_stored && !new_phase && now - told_at_.value_or(-1) < kProgressSeconds) return;
  told_at_ = now;
  port_.Send(last_);
}

void IngestSession::Done(const IngestSummary& summary) {
  base::MutexLock lock(&tell_mu_);
  last_.set_received(std::max(last_.received(), summary.stored));
  last_.set_stored(summary.stored);
  last_.set_replaced(summary.replaced);
  last_.set_bulk(summary.bulk);
  last_.set_done(true);
  last_.set_time(std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count());
  port_.Send(last_);
}

}  // namespace tessera::api
