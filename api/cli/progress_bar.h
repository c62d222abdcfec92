// A line on a terminal that says how far a long command is: phase, bar, rate and ETA.
//
// Threads: any; calls are serialised.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"

#include "base/clock.h"
#include "base/mutex.h"

namespace tessera::api {

class ProgressBar {
 public:
  // Draws nothing unless `enabled`; notes are written all the same. All outlive the bar.
  ProgressBar(std::ostream& out, bool enabled, base::Clock& clock = base::SystemClock());
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  ~ProgressBar();

  // `done` of `total` (0: not known) rows in this phase; the rate is that of the phase. Draws at
  // most ten times a second, and whenever a phase begins or is complete.
  void Update(std::string_view phase, uint64_t done, uint64_t total);

  // Writes a line of its own above the bar.
  void Note(std::string_view line);

  // Leaves the last state standing and ends the line.
  void Finish();

 private:
  void Draw(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Clear() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const bool enabled_;
  base::Clock& clock_;
  base::Mutex mu_;
  std::ostream& out_ ABSL_GUARDED_BY(mu_);
  std::string phase_ ABSL_GUARDED_BY(mu_);
  uint64_t done_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t total_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t phase_begin_done_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Time phase_begin_ ABSL_GUARDED_BY(mu_);
  absl::Time last_draw_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  size_t drawn_width_ ABSL_GUARDED_BY(mu_) = 0;
};

// 1234567 -> "1,234,567".
std::string WithThousands(uint64_t number);

// "0:07", "12:05", "3:00:00".
std::string ClockText(absl::Duration duration);

}  // namespace tessera::api
