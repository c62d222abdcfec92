#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "api/cli/progress_bar.h"

namespace tessera::api {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

class ManualClock : public base::Clock {
 public:
  absl::Time Now() override { return now_; }
  void Advance(absl::Duration duration) { now_ += duration; }

 private:
  absl::Time now_ = absl::UnixEpoch();
};

TEST(ProgressBarTest, ShowsPartRateAndEta) {
  ManualClock clock;
  std::ostringstream out;
  ProgressBar bar(out, true, clock);
  bar.Update("read", 0, 10'000);
  clock.Advance(absl::Seconds(2));
  bar.Update("read", 2'500, 10'000);
  EXPECT_THAT(
      out.str(),
      EndsWith("\rread      [######------------------]  25%  2,500/10,000  1,250/s  ETA 0:06"));
}

TEST(ProgressBarTest, ShowsACountWhenTheTotalIsNotKnown) {
  ManualClock clock;
  std::ostringstream out;
  ProgressBar bar(out, true, clock);
  bar.Update("read", 0, 0);
  clock.Advance(absl::Seconds(1));
  bar.Update("read", 1'000'000, 0);
  EXPECT_THAT(out.str(), EndsWith("\rread      1,000,000  1,000,000/s"));
}

TEST(ProgressBarTest, ANewPhaseHasARateOfItsOwn) {
  ManualClock clock;
  std::ostringstream out;
  ProgressBar bar(out, true, clock);
  bar.Update("read", 0, 100);
  clock.Advance(absl::Seconds(1));
  bar.Update("read", 100, 100);
  clock.Advance(absl::Seconds(50));
  bar.Update("assign", 10, 100);
  clock.Advance(absl::Seconds(10));
  bar.Update("assign", 30, 100);
  EXPECT_THAT(out.str(), EndsWith("30/100  2/s  ETA 0:35"));
}

TEST(ProgressBarTest, DrawsAtMostTenTimesASecond) {
  ManualClock clock;
  std::ostringstream out;
  ProgressBar bar(out, true, clock);
  bar.Update("read", 0, 1000);
  for (uint64_t i = 1; i < 1000; ++i) {
    clock.Advance(absl::Milliseconds(1));
    bar.Update("read", i, 1000);
  }
  const std::string text = out.str();
  EXPECT_LE(std::count(text.begin(), text.end(), '\r'), 11);
  bar.Update("read", 1000, 1000);  // at once
  EXPECT_THAT(out.str(), HasSubstr("1,000/1,000"));
}

TEST(ProgressBarTest, NotesStandAboveTheBar) {
  ManualClock clock;
  std::ostringstream out;
  ProgressBar bar(out, true, clock);
  bar.Update("read", 1, 2);
  out.str("");
  bar.Note("row 7 is bad");
  EXPECT_THAT(out.str(), HasSubstr("\rrow 7 is bad\n\rread "));
}

TEST(ProgressBarTest, OffItWritesNotesOnly) {
  std::ostringstream out;
  {
    ProgressBar bar(out, false);
    bar.Update("read", 1, 2);
    bar.Note("row 7 is bad");
  }
  EXPECT_EQ(out.str(), "row 7 is bad\n");
}

TEST(ProgressBarTest, EndsItsLine) {
  std::ostringstream out;
  {
    ProgressBar bar(out, true);
    bar.Update("read", 1, 2);
    EXPECT_THAT(out.str(), Not(EndsWith("\n")));
  }
  EXPECT_THAT(out.str(), EndsWith("\n"));
}

TEST(ProgressBarTest, WritesNumbersAndDurations) {
  EXPECT_EQ(WithThousands(0), "0");
  EXPECT_EQ(WithThousands(999), "999");
  EXPECT_EQ(WithThousands(1000), "1,000");
  EXPECT_EQ(WithThousands(1234567), "1,234,567");
  EXPECT_EQ(ClockText(absl::Milliseconds(1)), "0:01");
  EXPECT_EQ(ClockText(absl::Seconds(725)), "12:05");
  EXPECT_EQ(ClockText(absl::Hours(3)), "3:00:00");
}

}  // namespace
}  // namespace tessera::api
