// The clients of a soak: each is a thread with a connection of its own that knows from the model
// what the answers may be.
//
// Threads: any.
#pragma once

#include <atomic>
#include <cstdint>
#include <shared_mutex>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"

#include "base/mutex.h"
#include "bench/soak/soak_model.h"

namespace tessera::bench {

inline constexpr char kSoakCollection[] = "soak";

// What the clients of one soak share.
struct SoakRun {
  explicit SoakRun(SoakModel& of) : model(of) {}

  SoakModel& model;
  std::string address;
  std::shared_mutex quiet;         // held shared by a write under way; exclusively: nobody writes
  std::atomic<bool> pause{false};  // no write begins: locks may prefer those who share
  std::atomic<bool> stop{false};

  std::atomic<uint64_t> written{0};  // rows upserted
  std::atomic<uint64_t> deleted{0};  // rows
  std::atomic<uint64_t> searches{0};
  std::atomic<uint64_t> refused_writes{0};  // answered "no room" or "not now", then repeated
  std::atomic<uint64_t> refused_searches{0};
  std::atomic<uint64_t> wrong{0};

  // Keeps the first few texts of each kind.
  void Refused(const std::string& text);
  void Wrong(const std::string& text);
  std::vector<std::string> texts();

 private:
  base::Mutex mu_;
  std::vector<std::string> texts_ ABSL_GUARDED_BY(mu_);
};

// Whether a write has changed nothing and may be sent again.
bool SoakRefused(const absl::Status& write);

// Upserts and deletes ids that are `writer` modulo `writers`, and reads back some of what it wrote,
// until `run.stop`. Errors: those that leave a write's outcome open.
absl::Status SoakWrite(SoakRun& run, uint32_t writer, uint32_t writers);

// Searches until `run.stop`.
void SoakSearch(SoakRun& run, uint32_t reader);

// Checks what must hold while nobody writes: the count, and the answers of exact searches. Returns
// the recall of ordinary ones.
double SoakCheck(SoakRun& run, uint32_t round);

}  // namespace tessera::bench
