#include "version/set_sharing.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include "base/check.h"
#include "base/status_macros.h"
#include "version/plane_set.h"

namespace tessera::version {
namespace {

uint64_t UnitsOf(std::span<const Plane> planes, const query::ListPart& part) {
  uint64_t units = 0;
  for (const Plane& plane : planes) units += plane.units(part.rows);
  return units;
}

// The sets of a base, numbered.
class BaseSets {
 public:
  BaseSets(const IndexVersion& base, std::span<const Plane> planes)
      : base_(base), sets_(base.view->plane_sets), uses_(sets_.size()) {
    for (size_t i = 0; i < sets_.size(); ++i) {
      numbers_[sets_[i].get()] = i;
      for (const Plane& plane : planes) {
        uses_[i].total_units += ((*sets_[i]).*plane.table)->unit_count();
      }
    }
  }

  const query::ListPart& part(uint32_t number) const { return base_.view->parts[number]; }
  const std::vector<std::shared_ptr<query::PlaneSet>>& sets() const { return sets_; }
  size_t SetOf(uint32_t part_number) const { return numbers_.at(part(part_number).planes); }
  void Use(uint32_t part_number, uint64_t units) { uses_[SetOf(part_number)].live_units += units; }

  std::vector<bool> Regrouped(uint64_t new_units, bool regroup) const {
    std::vector<bool> regrouped = ChooseRegrouped(uses_, new_units);
    for (size_t i = 0; i < sets_.size() && !regroup; ++i) regrouped[i] = uses_[i].live_units == 0;
    return regrouped;
  }

 private:
  const IndexVersion& base_;
  const std::vector<std::shared_ptr<query::PlaneSet>>& sets_;
  std::vector<SetUse> uses_;
  std::map<const query::PlaneSet*, size_t> numbers_;
};

}  // namespace

// Positions are never given out twice in a lineage of versions, so a part's first block tells it
// from all others; its extents, that it is not of another lineage (an index built anew). A map by
// extents would do without positions, and would be as large as the record.
std::vector<uint32_t> FindBaseParts(const IndexVersion* base, const IndexVersion& version,
                                    const query::IndexView& view, std::span<const Plane> planes) {
  std::vector<uint32_t> base_parts(view.parts.size(), kNewPart);
  for (uint32_t number = 0; base != nullptr && number < view.parts.size(); ++number) {
    const query::ListPart& part = view.parts[number];
    const std::optional<PartPlace> place =
        base->FindPlace(uint64_t{part.first_block} * index::kBlockRows);
    if (!place.has_value() || place->slot != 0 ||
        base->view->parts[place->part].rows != part.rows) {
      continue;
    }
    const uint32_t entry = version.entry_of_part[number];
    const uint32_t before = base->entry_of_part[place->part];
    const bool same = std::all_of(planes.begin(), planes.end(), [&](const Plane& plane) {
      return version.record.planes.at(plane.kind)[entry] ==
             base->record.planes.at(plane.kind)[before];
    });
    if (same) base_parts[number] = place->part;
  }
  return base_parts;
}

absl::Status MakePlaneSets(Context& context, const SetSharing& sharing,
                           std::span<const Plane> planes, IndexVersion* version,
                           query::IndexView* view) {
  TESSERA_CHECK(sharing.base_parts.size() == view->parts.size());
  std::optional<BaseSets> base;
  if (sharing.base != nullptr) base.emplace(*sharing.base, planes);
  uint64_t new_units = 0;
  for (uint32_t number = 0; number < view->parts.size(); ++number) {
    const uint32_t before = sharing.base_parts[number];
    const uint64_t units = UnitsOf(planes, view->parts[number]);
    if (before == kNewPart) {
      new_units += units;
    } else {
      base->Use(before, units);
    }
  }
  std::vector<bool> regrouped;
  if (base.has_value()) regrouped = base->Regrouped(new_units, sharing.regroup);
  for (size_t i = 0; i < regrouped.size(); ++i) {
    if (!regrouped[i]) view->plane_sets.push_back(base->sets()[i]);
  }

  std::vector<SetPart> parts;     // of the new set
  std::vector<uint32_t> numbers;  // the same
  for (uint32_t number = 0; number < view->parts.size(); ++number) {
    query::ListPart& part = view->parts[number];
    const uint32_t before = sharing.base_parts[number];
    if (before == kNewPart || regrouped[base->SetOf(before)]) {
      parts.push_back({.entry = version->entry_of_part[number], .part = &part});
      numbers.push_back(number);
      continue;
    }
    part.planes = base->part(before).planes;
    for (const Plane& plane : planes) part.*plane.first_unit = base->part(before).*plane.first_unit;
  }
  if (parts.empty()) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(view->plane_sets.emplace_back(),
                           MakePlaneSet(context, view->field, view->codec, version->record, parts));
  version->adoption = std::make_shared<FrameAdoption>(*context.cache);
  for (const uint32_t number : numbers) {
    const uint32_t before = sharing.base_parts[number];
    if (before == kNewPart) continue;
    version->adoption->Add(base->sets()[base->SetOf(before)], base->part(before),
                           view->parts[number], planes);
  }
  return absl::OkStatus();
}

}  // namespace tessera::version
