#include "api/services/ingest_streams.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace tessera::api {

IngestStreams::~IngestStreams() {
  std::list<Load> loads;
  {
    base::MutexLock lock(&mu_);
    loads.swap(loads_);
  }
  for (Load& load : loads) load.thread.join();
}

absl::Status IngestStreams::Add(const std::string& collection, std::weak_ptr<OpenIngest> stream) {
  base::MutexLock lock(&mu_);
  if (!end_.ok()) return end_;
  streams_.remove_if([](const Entry& entry) { return entry.stream.expired(); });
  streams_.push_back({.collection = collection, .stream = std::move(stream)});
  return absl::OkStatus();
}

std::list<std::shared_ptr<OpenIngest>> IngestStreams::Alive(const std::string_view* collection) {
  std::list<std::shared_ptr<OpenIngest>> alive;
  base::MutexLock lock(&mu_);
  for (const Entry& entry : streams_) {
    if (collection != nullptr && entry.collection != *collection) continue;
    if (auto stream = entry.stream.lock(); stream != nullptr) alive.push_back(std::move(stream));
  }
  return alive;
}

void IngestStreams::EndOf(std::string_view collection, const absl::Status& status) {
  for (const auto& stream : Alive(&collection)) stream->End(status);
}

void IngestStreams::EndAll(const absl::Status& status) {
  {
    base::MutexLock lock(&mu_);
    end_ = status;
  }
  for (const auto& stream : Alive(nullptr)) stream->End(status);
}

absl::Status IngestStreams::StartLoad(std::function<void()> load) {
  base::MutexLock lock(&mu_);
  loads_.remove_if([](Load& one) {
    if (!one.ended.load()) return false;
    one.thread.join();
    return true;
  });
  if (loads_.size() >= static_cast<size_t>(loads_max_)) {
    return absl::ResourceExhaustedError(
        absl::StrCat(loads_.size(), " bulk loads run, no more are allowed; try again"));
  }
  Load& started = loads_.emplace_back();
  started.thread = std::thread([load = std::move(load), &started]() mutable {
    load();
    load = nullptr;
    started.ended.store(true);
  });
  return absl::OkStatus();
}

}  // namespace tessera::api
