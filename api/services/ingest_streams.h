// The ingest streams that are open, so that they can be ended from outside, and the threads of those
// that load in bulk.
//
// Threads: any.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"

#include "base/mutex.h"

namespace tessera::api {

// One of them.
class OpenIngest {
 public:
  virtual ~OpenIngest() = default;
  // Ends it with `status` unless it has ended; does not wait.
  virtual void End(const absl::Status& status) = 0;
};

class IngestStreams {
 public:
  explicit IngestStreams(int loads_max) : loads_max_(loads_max) {}
  IngestStreams(const IngestStreams&) = delete;
  IngestStreams& operator=(const IngestStreams&) = delete;
  // Waits for loads to end. Pre: no stream is open.
  ~IngestStreams();

  // `stream` is told of drops of `collection` and of the end until it is gone.
  // Errors: kUnavailable once EndAll was called.
  absl::Status Add(const std::string& collection, std::weak_ptr<OpenIngest> stream);

  // Ends the streams into a collection, or all, now and to come.
  void EndOf(std::string_view collection, const absl::Status& status);
  void EndAll(const absl::Status& status);

  // Runs `load` on a thread of its own. A load waits for its client most of its time, so it must not
  // take a thread that answers others. Errors: kResourceExhausted when too many run.
  absl::Status StartLoad(std::function<void()> load);

 private:
  struct Entry {
    std::string collection;
    std::weak_ptr<OpenIngest> stream;
  };
  struct Load {
    std::thread thread;
    std::atomic<bool> ended{false};
  };

  std::list<std::shared_ptr<OpenIngest>> Alive(const std::string_view* collection)
      ABSL_LOCKS_EXCLUDED(mu_);

  const int loads_max_;
  base::Mutex mu_;
  std::list<Entry> streams_ ABSL_GUARDED_BY(mu_);
  std::list<Load> loads_ ABSL_GUARDED_BY(mu_);
  absl::Status end_ ABSL_GUARDED_BY(mu_);  // of all to come
};

}  // namespace tessera::api
