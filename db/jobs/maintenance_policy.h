// What a collection's state asks for, decided from numbers alone.
//
// It is asked after every publish, after writes and deletes, at open and by a timer, so that a
// collection that nobody writes to any more still reaches the state it should have.
//
// Threads: free functions without shared state.
#pragma once

#include <cstdint>
#include <string_view>

namespace tessera::db {

// A collection as its maintenance sees it. All fields have the same rows.
struct MaintenanceNumbers {
  bool indexed = false;     // there is an index version
  uint64_t index_rows = 0;  // rows in lists, dead ones included
  uint64_t index_dead = 0;  // of these
  uint64_t built_rows = 0;  // rows in lists at the last full build
  uint64_t dead_at_calibration = 0;
  uint64_t fresh_rows = 0;   // rows in no list yet, those that died since included
  uint64_t live_rows = 0;    // of all
  uint64_t fresh_bytes = 0;  // charged for its fresh rows
  // Of all collections together.
  uint64_t all_fresh_bytes = 0;
  uint64_t fresh_bytes_max = 1;
  bool largest_holder = false;  // no collection has more fresh bytes
};

enum class MaintenanceAction {
  kNothing,
  kAbsorb,       // fresh rows are appended to the lists
  kRecalibrate,  // heads and lists stay, how far to search is measured again
  kRebuild,      // all live rows, fresh ones included, get new lists
  kDropIndex,    // no row is live
};
std::string_view ToString(MaintenanceAction action);

struct MaintenanceDecision {
  MaintenanceAction action = MaintenanceAction::kNothing;
  int urgency = 0;  // more goes first
  friend bool operator==(const MaintenanceDecision&, const MaintenanceDecision&) = default;
};

inline constexpr int kUrgencyRoutine = 1;  // saves time or space later
inline constexpr int kUrgencyDue = 2;      // searches are slower than they should be, or find less
inline constexpr int kUrgencyMemory = 3;   // writers wait, or soon will

// What is due by itself.
MaintenanceDecision DecideMaintenance(const MaintenanceNumbers& numbers);
// What brings every fresh row into lists now, and whatever is due besides.
MaintenanceAction DecideAbsorbNow(const MaintenanceNumbers& numbers);

}  // namespace tessera::db
