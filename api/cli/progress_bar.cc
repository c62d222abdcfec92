#include "api/cli/progress_bar.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "base/strings.h"

namespace tessera::api {
namespace {

constexpr absl::Duration kDrawInterval = absl::Milliseconds(100);
constexpr size_t kBarWidth = 24;

}  // namespace

std::string WithThousands(uint64_t number) {
  const std::string digits = absl::StrCat(number);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string ClockText(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(absl::Ceil(duration, absl::Seconds(1)));
  if (seconds >= 3600) {
    return absl::StrFormat("%d:%02d:%02d", seconds / 3600, seconds / 60 % 60, seconds % 60);
  }
  return absl::StrFormat("%d:%02d", seconds / 60, seconds % 60);
}

ProgressBar::ProgressBar(std::ostream& out, bool enabled, base::Clock& clock)
    : enabled_(enabled), clock_(clock), out_(out) {}

ProgressBar::~ProgressBar() {
  Finish();
}

void ProgressBar::Update(std::string_view phase, uint64_t done, uint64_t total) {
  if (!enabled_) return;
  base::MutexLock lock(&mu_);
  const absl::Time now = clock_.Now();
  const bool begins = phase != phase_ || done < phase_begin_done_;
  if (begins) {
    phase_ = phase;
    phase_begin_ = now;
    // A phase is heard of when its first piece is done, whose time is not known.
    phase_begin_done_ = done;
  }
  const bool completes = total != 0 && done >= total && done_ < total;
  done_ = done;
  total_ = total;
  if (begins || completes || now - last_draw_ >= kDrawInterval) Draw(now);
}

void ProgressBar::Note(std::string_view line) {
  base::MutexLock lock(&mu_);
  const bool had_bar = drawn_width_ > 0;
  Clear();
  out_ << line << "\n";
  if (had_bar) Draw(clock_.Now());
  out_.flush();
}

void ProgressBar::Finish() {
  base::MutexLock lock(&mu_);
  if (drawn_width_ == 0) return;
  Draw(clock_.Now());
  out_ << '\n' << std::flush;
  drawn_width_ = 0;
}

void ProgressBar::Draw(absl::Time now) {
  last_draw_ = now;
  std::string line = absl::StrFormat("%-10s", phase_);
  if (total_ != 0) {
    const double part = std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_));
    const auto filled = static_cast<size_t>(part * static_cast<double>(kBarWidth));
    absl::StrAppend(&line, "[", std::string(filled, '#'), std::string(kBarWidth - filled, '-'),
                    absl::StrFormat("] %3d%%  ", static_cast<int>(part * 100)),
                    WithThousands(done_), "/", WithThousands(total_));
  } else {
    absl::StrAppend(&line, WithThousands(done_));
  }
  const double seconds = absl::ToDoubleSeconds(now - phase_begin_);
  const double rate = seconds > 0 ? static_cast<double>(done_ - phase_begin_done_) / seconds : 0.0;
  if (rate > 0) {
    absl::StrAppend(&line, "  ", WithThousands(static_cast<uint64_t>(std::llround(rate))), "/s");
    if (total_ > done_) {
      const double left = static_cast<double>(total_ - done_) / rate;
      absl::StrAppend(&line, "  ETA ", ClockText(absl::Seconds(left)));
    }
  }
  const size_t width = line.size();
  if (width < drawn_width_) line.append(drawn_width_ - width, ' ');
  drawn_width_ = width;
  out_ << "\r" << line << std::flush;
}

void ProgressBar::Clear() {
  if (drawn_width_ == 0) return;
  out_ << "\r" << std::string(drawn_width_, ' ') << "\r";
  drawn_width_ = 0;
}

}  // namespace tessera::api
