#include "db/jobs/maintenance_policy.h"

#include <algorithm>

namespace tessera::db {
namespace {

// Fresh rows are absorbed once there are so many, or an eighth of the indexed rows: the work of an
// absorption is then in proportion to what it takes off every search.
constexpr uint64_t kAbsorbRowsMin = 4096;
constexpr uint64_t kAbsorbShare = 8;
// An index is built anew once its rows have doubled, or this share of them is dead: until then dead
// rows cost at most half again as much scanning and disk.
constexpr uint64_t kRebuildGrowth = 2;
constexpr double kRebuildDeadShare = 0.3;
// Deaths since the calibration, as a share of the rows, after which its promise is measured again:
// queries near many deleted rows have their neighbours in more lists than it saw.
constexpr double kRecalibrateDeadShare = 0.05;

bool Over(uint64_t part, double share, uint64_t whole) {
  return static_cast<double>(part) > share * static_cast<double>(whole);
}

bool Outgrown(const MaintenanceNumbers& n) {
  return !n.indexed || n.index_rows + n.fresh_rows > kRebuildGrowth * n.built_rows;
}

MaintenanceAction AbsorbOrRebuild(const MaintenanceNumbers& n) {
  return Outgrown(n) || Over(n.index_dead, kRebuildDeadShare, n.index_rows)
             ? MaintenanceAction::kRebuild
             : MaintenanceAction::kAbsorb;
}

// What the index asks for when no row is to be absorbed.
MaintenanceAction OfIndex(const MaintenanceNumbers& n) {
  if (!n.indexed) return MaintenanceAction::kNothing;
  if (n.live_rows == 0) return MaintenanceAction::kDropIndex;
  if (Over(n.index_dead, kRebuildDeadShare, n.index_rows)) return MaintenanceAction::kRebuild;
  const uint64_t died = n.index_dead - std::min(n.index_dead, n.dead_at_calibration);
  if (Over(died, kRecalibrateDeadShare, n.index_rows)) return MaintenanceAction::kRecalibrate;
  return MaintenanceAction::kNothing;
}

}  // namespace

std::string_view ToString(MaintenanceAction action) {
  switch (action) {
    case MaintenanceAction::kNothing:
      return "nothing";
    case MaintenanceAction::kAbsorb:
      return "absorbing rows";
    case MaintenanceAction::kRecalibrate:
      return "calibrating anew";
    case MaintenanceAction::kRebuild:
      return "building the index anew";
    case MaintenanceAction::kDropIndex:
      return "dropping an empty index";
  }
  return "unknown";
}

MaintenanceDecision DecideMaintenance(const MaintenanceNumbers& n) {
  const MaintenanceAction of_index = OfIndex(n);
  if (of_index == MaintenanceAction::kDropIndex) return {of_index, kUrgencyRoutine};
  const bool full = n.largest_holder && n.all_fresh_bytes >= n.fresh_bytes_max / 2;
  const bool many = n.fresh_rows >= std::max(kAbsorbRowsMin, n.index_rows / kAbsorbShare);
  if (n.fresh_rows > 0 && (full || many)) {
    return {AbsorbOrRebuild(n), full ? kUrgencyMemory : kUrgencyDue};
  }
  if (of_index == MaintenanceAction::kNothing) return {};
  return {of_index, kUrgencyDue};
}

MaintenanceAction DecideAbsorbNow(const MaintenanceNumbers& n) {
  const MaintenanceAction of_index = OfIndex(n);
  if (of_index == MaintenanceAction::kDropIndex || n.fresh_rows == 0) return of_index;
  return AbsorbOrRebuild(n);
}

}  // namespace tessera::db
