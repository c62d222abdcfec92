#include "storage/read_batch.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"

#include "base/check.h"
#include "base/mutex.h"

namespace tessera::storage {
namespace {

constexpr int kPoolThreadsMax = 256;

ReadCompletion Perform(const ReadRequest& request) {
  const absl::StatusOr<size_t> bytes = request.file->Read(request.offset, request.out);
  if (!bytes.ok()) {
    return {.tag = request.tag, .status = bytes.status(), .bytes = 0};
  }
  return {.tag = request.tag, .status = absl::OkStatus(), .bytes = *bytes};
}

}  // namespace

// One mutex for the queue and all batches: it is held for a few instructions per read, and a read
// takes tens of microseconds.
struct PreadPool::State {
  struct Job {
    Batch* batch;
    ReadRequest request;
  };

  base::Mutex mu;
  base::CondVar work;  // the queue grew, or stop
  std::deque<Job> queue ABSL_GUARDED_BY(mu);
  bool stop ABSL_GUARDED_BY(mu) = false;
  std::vector<std::thread> threads;

  void RunWorker();
};

class PreadPool::Batch final : public ReadBatch {
 public:
  explicit Batch(State* state) : state_(state) {}

  ~Batch() override {
    base::MutexLock lock(&state_->mu);
    open_ -=
        std::erase_if(state_->queue, [this](const State::Job& job) { return job.batch == this; });
    while (open_ > completed_.size()) {
      changed_.Wait(&state_->mu);
    }
  }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  void Submit(std::span<const ReadRequest> requests) override {
    base::MutexLock lock(&state_->mu);
    for (const ReadRequest& request : requests) {
      state_->queue.push_back({this, request});
    }
    open_ += requests.size();
    if (requests.size() > 1) {
      state_->work.SignalAll();
    } else {
      state_->work.Signal();
    }
  }

  std::optional<ReadCompletion> Next() override {
    base::MutexLock lock(&state_->mu);
    while (open_ > 0) {
      if (!completed_.empty()) {
        ReadCompletion completion = std::move(completed_.front());
        completed_.pop_front();
        --open_;
        return completion;
      }
      const auto mine = std::find_if(state_->queue.begin(), state_->queue.end(),
                                     [this](const State::Job& job) { return job.batch == this; });
      if (mine == state_->queue.end()) {
        changed_.Wait(&state_->mu);
        continue;
      }
      const ReadRequest request = mine->request;
      state_->queue.erase(mine);
      --open_;
      state_->mu.Unlock();
      ReadCompletion completion = Perform(request);
      state_->mu.Lock();
      return completion;
    }
    return std::nullopt;
  }

  // Pre: state_->mu is held; the worker knows it by another name, so the analysis cannot tell.
  void Complete(ReadCompletion completion) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    completed_.push_back(std::move(completion));
    changed_.Signal();
  }

 private:
  State* const state_;
  base::CondVar changed_;
  size_t open_ ABSL_GUARDED_BY(state_->mu) = 0;  // submitted, not yet returned
  std::deque<ReadCompletion> completed_ ABSL_GUARDED_BY(state_->mu);
};

void PreadPool::State::RunWorker() {
  mu.Lock();
  while (true) {
    if (stop) {
      break;
    }
    if (queue.empty()) {
      work.Wait(&mu);
      continue;
    }
    const Job job = queue.front();
    queue.pop_front();
    mu.Unlock();
    ReadCompletion completion = Perform(job.request);
    mu.Lock();
    job.batch->Complete(std::move(completion));
  }
  mu.Unlock();
}

PreadPool::PreadPool(int thread_count) : state_(std::make_unique<State>()) {
  TESSERA_CHECK(thread_count >= 0 && thread_count <= kPoolThreadsMax);
  state_->threads.reserve(static_cast<size_t>(thread_count));
  for (int i = 0; i < thread_count; ++i) {
    state_->threads.emplace_back([state = state_.get()] { state->RunWorker(); });
  }
}

PreadPool::~PreadPool() {
  {
    base::MutexLock lock(&state_->mu);
    TESSERA_CHECK(state_->queue.empty());
    state_->stop = true;
    state_->work.SignalAll();
  }
  for (std::thread& thread : state_->threads) {
    thread.join();
  }
}

std::unique_ptr<ReadBatch> PreadPool::NewBatch() {
  return std::make_unique<Batch>(state_.get());
}

struct FaultingEngine::State {
  ReadEngine& engine;
  Plan plan;
  std::atomic<uint64_t> ordinal{0};
};

class FaultingEngine::Batch final : public ReadBatch {
 public:
  explicit Batch(State* state) : state_(state), inner_(state->engine.NewBatch()) {}

  void Submit(std::span<const ReadRequest> requests) override {
    for (const ReadRequest& request : requests) {
      const uint64_t ordinal = state_->ordinal.fetch_add(1, std::memory_order_relaxed);
      ReadFault fault = state_->plan(request, ordinal);
      if (!fault.error.ok()) {
        failed_.push_back({.tag = request.tag, .status = std::move(fault.error), .bytes = 0});
      } else if (fault.last) {
        held_back_.push_back(request);
      } else {
        const uint64_t number = next_number_++;
        under_way_[number] = {request, std::move(fault)};
        ReadRequest passed = request;
        passed.tag = number;
        inner_->Submit({&passed, 1});
      }
    }
  }

  std::optional<ReadCompletion> Next() override {
    if (!failed_.empty()) {
      ReadCompletion completion = std::move(failed_.front());
      failed_.pop_front();
      return completion;
    }
    if (std::optional<ReadCompletion> completion = inner_->Next()) {
      return Damaged(*std::move(completion));
    }
    if (held_back_.empty()) {
      return std::nullopt;
    }
    const ReadRequest request = held_back_.front();
    held_back_.pop_front();
    return Perform(request);
  }

 private:
  ReadCompletion Damaged(ReadCompletion completion) {
    const auto found = under_way_.find(completion.tag);
    TESSERA_CHECK(found != under_way_.end());
    const auto [request, fault] = std::move(found->second);
    under_way_.erase(found);
    completion.tag = request.tag;
    if (fault.short_bytes.has_value()) {
      completion.bytes = std::min(completion.bytes, *fault.short_bytes);
    }
    if (fault.flipped_bit.has_value() && *fault.flipped_bit / 8 < completion.bytes) {
      request.out[*fault.flipped_bit / 8] ^= std::byte{1} << (*fault.flipped_bit % 8);
    }
    return completion;
  }

  State* const state_;
  const std::unique_ptr<ReadBatch> inner_;
  uint64_t next_number_ = 0;
  std::map<uint64_t, std::pair<ReadRequest, ReadFault>> under_way_;
  std::deque<ReadCompletion> failed_;
  std::deque<ReadRequest> held_back_;
};

FaultingEngine::FaultingEngine(ReadEngine& engine, Plan plan)
    : state_(new State{.engine = engine, .plan = std::move(plan)}) {}

FaultingEngine::~FaultingEngine() = default;

std::unique_ptr<ReadBatch> FaultingEngine::NewBatch() {
  return std::make_unique<Batch>(state_.get());
}

}  // namespace tessera::storage
