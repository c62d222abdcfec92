#include "query/filter/datetime.h"

#include "absl/strings/str_format.h"
#include "absl/time/civil_time.h"

namespace tessera::query {
namespace {

constexpr int64_t kMicros = 1'000'000;

// Reads the text from left to right; what does not fit makes everything after it fail as well.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool done() const { return ok_ && text_.empty(); }
  bool ok() const { return ok_; }

  int Digits(size_t count) {
    int value = 0;
    for (size_t i = 0; i < count; ++i) {
      if (text_.empty() || text_[0] < '0' || text_[0] > '9') {
        ok_ = false;
        return 0;
      }
      value = value * 10 + (text_[0] - '0');
      text_.remove_prefix(1);
    }
    return value;
  }
  bool Take(std::string_view any_of) {
    if (text_.empty() || any_of.find(text_[0]) == std::string_view::npos) return false;
    taken_ = text_[0];
    text_.remove_prefix(1);
    return true;
  }
  void Expect(std::string_view any_of) { ok_ = Take(any_of) && ok_; }
  char taken() const { return taken_; }
  // 1 .. 9 digits after the point, as microseconds.
  int64_t Fraction() {
    int64_t micros = 0;
    size_t count = 0;
    while (!text_.empty() && text_[0] >= '0' && text_[0] <= '9' && count < 9) {
      const int digit = Digits(1);
      if (++count <= 6) micros = micros * 10 + digit;
    }
    if (count == 0) ok_ = false;
    for (; count < 6; ++count) micros *= 10;
    return micros;
  }

 private:
  std::string_view text_;
  bool ok_ = true;
  char taken_ = 0;
};

}  // namespace

std::optional<Datetime> ParseDatetime(std::string_view text) {
  Reader in(text);
  const int year = in.Digits(4);
  in.Expect("-");
  const int month = in.Digits(2);
  in.Expect("-");
  const int day = in.Digits(2);
  if (!in.ok() || year == 0) return std::nullopt;
  const absl::CivilDay date(year, month, day);
  // Civil times make 31 April the first of May.
  if (date.month() != month || date.day() != day) return std::nullopt;
  int64_t seconds = (date - absl::CivilDay(1970, 1, 1)) * 86400;
  if (in.done()) return Datetime{seconds * kMicros};

  in.Expect("Tt ");
  const int hour = in.Digits(2);
  in.Expect(":");
  const int minute = in.Digits(2);
  in.Expect(":");
  const int second = in.Digits(2);
  if (hour > 23 || minute > 59 || second > 60) return std::nullopt;
  seconds += hour * 3600 + minute * 60 + second;
  int64_t micros = 0;
  if (in.Take(".")) micros = in.Fraction();
  if (in.Take("+-")) {
    const int sign = in.taken() == '+' ? 1 : -1;
    const int zone_hour = in.Digits(2);
    in.Expect(":");
    const int zone_minute = in.Digits(2);
    if (zone_hour > 23 || zone_minute > 59) return std::nullopt;
    seconds -= sign * (zone_hour * 3600 + zone_minute * 60);
  } else {
    in.Take("Zz");
  }
  if (!in.done()) return std::nullopt;
  return Datetime{seconds * kMicros + micros};
}

std::string FormatDatetime(Datetime datetime) {
  int64_t micros = datetime.micros % kMicros;
  if (micros < 0) micros += kMicros;
  const absl::CivilSecond time =
      absl::CivilSecond(1970, 1, 1) + (datetime.micros - micros) / kMicros;
  std::string out = absl::StrFormat("%04d-%02d-%02dT%02d:%02d:%02d", time.year(), time.month(),
                                    time.day(), time.hour(), time.minute(), time.second());
  if (micros != 0) {
    std::string fraction = absl::StrFormat(".%06d", micros);
    fraction.erase(fraction.find_last_not_of('0') + 1);
    out += fraction;
  }
  return out + "Z";
}

}  // namespace tessera::query
