// Plane sets: the frame tables of some parts, shared by the versions that have these parts.
//
// A version that follows another takes over its sets and adds one for what is new, so publishing
// costs what was published and the cache stays warm. A set keeps slots for all parts it was made
// of; those of parts that have left the version are dead weight. When too much of it is, or there
// are many sets, some are regrouped: the parts that are left go into one new set, which adopts the
// frames of the old ones once the version is in use.
//
// Threads: free functions; a set's tables are used by any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"

#include "base/mutex.h"
#include "base/schema.h"
#include "index/codecs/codec.h"
#include "query/index_view.h"
#include "storage/manifest.h"
#include "storage/page_cache.h"
#include "version/context.h"
#include "version/planes.h"

namespace tessera::version {

// Sets of one version at most; sizes that double need fewer.
inline constexpr size_t kPlaneSetsMax = 24;

// A part of a version that is being opened: its entry in the record, and its place in the view.
struct SetPart {
  uint32_t entry = 0;
  query::ListPart* part = nullptr;
};

// Makes the tables of these parts, in that order, and tells the parts where their planes are.
//
// Pre:    CheckPlanes(planes, record) passed.
// Errors: kResourceExhausted when the budget has no room.
// Memory: charged as "index": 8 bytes per unit, about 100 per part.
absl::StatusOr<std::shared_ptr<query::PlaneSet>> MakePlaneSet(
    Context& context, const base::VectorFieldSchema& field,
    std::shared_ptr<const index::Codec> codec, const storage::VersionRecord& record,
    std::span<const SetPart> parts);

// The frames that a new version takes over from regrouped sets, once.
//
// Threads: Run from any thread; Add before.
class FrameAdoption {
 public:
  explicit FrameAdoption(storage::PageCache& cache) : cache_(cache) {}

  // The plane units of a part that was in `from` as `before`, and is `after` now.
  void Add(std::shared_ptr<query::PlaneSet> from, const query::ListPart& before,
           const query::ListPart& after, std::span<const Plane> planes);
  // Moves the frames and lets go of the old sets.
  void Run();

 private:
  storage::PageCache& cache_;
  base::Mutex mu_;
  std::set<std::shared_ptr<query::PlaneSet>> from_ ABSL_GUARDED_BY(mu_);  // outlive the moves
  std::vector<storage::FrameMove> moves_ ABSL_GUARDED_BY(mu_);
};

// Units that a version takes from a set of its predecessor.
struct SetUse {
  uint64_t live_units = 0;   // of the parts that stay
  uint64_t total_units = 0;  // that the set has slots for
};

// Which sets' parts go into the new set, beside what is new: those half of whose units are dead,
// and the smallest, as many as it takes until the next larger one is more than twice as large as
// all those together. So sizes at least double from set to set, as in a binary counter, and a unit
// is regrouped O(log units) times. Waiting until there are kPlaneSetsMax sets would regroup the
// smallest with every publish from then on. Sets without live units count as regrouped.
std::vector<bool> ChooseRegrouped(std::span<const SetUse> uses, uint64_t new_units);

}  // namespace tessera::version
