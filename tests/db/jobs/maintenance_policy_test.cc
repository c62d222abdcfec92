#include "db/jobs/maintenance_policy.h"

#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace tessera::db {

void PrintTo(const MaintenanceDecision& decision, std::ostream* out) {
  *out << ToString(decision.action) << " with urgency " << decision.urgency;
}

namespace {

constexpr uint64_t kMax = 1000;  // bytes of fresh rows

// An index of 100,000 rows as it was built, with nothing to do.
MaintenanceNumbers Settled() {
  return {.indexed = true,
          .index_rows = 100'000,
          .built_rows = 100'000,
          .live_rows = 100'000,
          .fresh_bytes_max = kMax};
}

MaintenanceNumbers With(MaintenanceNumbers numbers, void (*change)(MaintenanceNumbers&)) {
  change(numbers);
  return numbers;
}

using N = MaintenanceNumbers;
using A = MaintenanceAction;

struct Case {
  std::string name;
  MaintenanceNumbers numbers;
  MaintenanceDecision due;
  MaintenanceAction now;  // when everything fresh is to be absorbed
};

std::vector<Case> Cases() {
  const N empty{.fresh_bytes_max = kMax};
  return {
      {"an empty collection", empty, {}, A::kNothing},
      {"a few first rows",
       With(empty, [](N& n) { n.fresh_rows = n.live_rows = 100; }),
       {},
       A::kRebuild},
      {"many first rows",
       With(empty, [](N& n) { n.fresh_rows = n.live_rows = 4096; }),
       {A::kRebuild, kUrgencyDue},
       A::kRebuild},
      {"first rows that all died", With(empty, [](N& n) { n.fresh_rows = 100; }), {}, A::kRebuild},
      {"a settled index", Settled(), {}, A::kNothing},
      {"few fresh rows", With(Settled(), [](N& n) { n.fresh_rows = 12'499; }), {}, A::kAbsorb},
      {"an eighth is fresh",
       With(Settled(), [](N& n) { n.fresh_rows = 12'500; }),
       {A::kAbsorb, kUrgencyDue},
       A::kAbsorb},
      {"the rows have doubled",
       With(Settled(), [](N& n) { n.fresh_rows = 100'001; }),
       {A::kRebuild, kUrgencyDue},
       A::kRebuild},
      {"few fresh rows, but memory is short and this has most",
       With(Settled(),
            [](N& n) {
              n.fresh_rows = 10;
              n.all_fresh_bytes = kMax / 2;
              n.largest_holder = true;
            }),
       {A::kAbsorb, kUrgencyMemory},
       A::kAbsorb},
      {"few fresh rows, memory is short and another has most",
       With(Settled(),
            [](N& n) {
              n.fresh_rows = 10;
              n.all_fresh_bytes = kMax;
            }),
       {},
       A::kAbsorb},
      {"a twentieth died since the calibration",
       With(Settled(), [](N& n) { n.index_dead = 5001; }),
       {A::kRecalibrate, kUrgencyDue},
       A::kRecalibrate},
      {"as many were dead when it was calibrated",
       With(Settled(), [](N& n) { n.index_dead = n.dead_at_calibration = 5001; }),
       {},
       A::kNothing},
      {"fewer are dead than were: the lists were rewritten",
       With(Settled(),
            [](N& n) {
              n.index_dead = 10;
              n.dead_at_calibration = 5001;
            }),
       {},
       A::kNothing},
      {"three tenths and one row are dead",
       With(Settled(), [](N& n) { n.index_dead = 30'001; }),
       {A::kRebuild, kUrgencyDue},
       A::kRebuild},
      {"deletes alone, beside fresh rows that are not due",
       With(Settled(),
            [](N& n) {
              n.index_dead = 30'001;
              n.fresh_rows = 10;
            }),
       {A::kRebuild, kUrgencyDue},
       A::kRebuild},
      {"all are dead",
       With(Settled(),
            [](N& n) {
              n.index_dead = 100'000;
              n.live_rows = 0;
            }),
       {A::kDropIndex, kUrgencyRoutine},
       A::kDropIndex},
      {"all are dead, fresh ones too",
       With(Settled(),
            [](N& n) {
              n.index_dead = 100'000;
              n.live_rows = 0;
              n.fresh_rows = 10;
            }),
       {A::kDropIndex, kUrgencyRoutine},
       A::kDropIndex},
  };
}

TEST(MaintenancePolicy, EveryCase) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(DecideMaintenance(c.numbers), c.due);
    EXPECT_EQ(DecideAbsorbNow(c.numbers), c.now)
        << ToString(DecideAbsorbNow(c.numbers)) << ", not " << ToString(c.now);
  }
}

}  // namespace
}  // namespace tessera::db
