// An index version of a vector field, opened for searching: what a storage::VersionRecord names.
//
// The record's entries ("lists" in storage/manifest.h) are parts, in the order they were published;
// several parts may be of one list. For each part it has the rows and the planes:
//
//   kCodes  one code plane (index/codecs/codec.h), checked by its extent's checksum
//   kFine   units of fine records (version/fine_plane.h); absent when the codec has no fine plane
//   kRaw    units of raw records (index/raw_plane.h)
//
// They are described in version/planes.h. Blobs: kHeadIndex, kCodec, kCalibration (its absence
// means Calibration::Default), kParts (version/part_homes.h) and kLocations
// (version/location_table.h) and kColumns (version/columns/column_directory.h; absent when it was
// built of rows without payloads).
//
// A version that follows another shares with it what has not changed: heads, codec, the plane sets
// of parts that stay (version/plane_set.h), location segments, column sets. Each is charged once, as long as
// anybody has it, and what of it is in memory stays there.
//
// Counters: "rows" in all parts, dead ones included; "positions", the bits of the live bitmap,
// which only grow from version to version until a rebuild; "built_rows", rows at the last full
// build; "lists", the heads.
//
// Threads: immutable once opened, shared by every search.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "base/schema.h"
#include "base/types.h"
#include "query/index_view.h"
#include "query/live_bitmap.h"
#include "storage/manifest.h"
#include "version/columns/column_table.h"
#include "version/context.h"
#include "version/location_table.h"
#include "version/part_homes.h"
#include "version/plane_set.h"

namespace tessera::version {

inline constexpr std::string_view kRowsCounter = "rows";
inline constexpr std::string_view kPositionsCounter = "positions";
inline constexpr std::string_view kBuiltRowsCounter = "built_rows";
inline constexpr std::string_view kMisfitRowsCounter = "misfit_rows";
inline constexpr std::string_view kListsCounter = "lists";

struct PartPlace {
  uint32_t part = 0;  // number in view->parts
  uint32_t slot = 0;
  friend bool operator==(const PartPlace&, const PartPlace&) = default;
};

struct IndexVersion {
  storage::VersionRecord record;
  // What it needs is charged to the budget, as "index", while it lives.
  std::shared_ptr<const query::IndexView> view;
  LocationTable locations;
  ColumnTable columns;
  uint64_t serial = 0;                   // no other opened version of the process has it
  std::vector<PartHome> homes;           // of the record's entries
  std::vector<uint32_t> entry_of_part;   // part number in the view -> entry of the record
  std::vector<uint32_t> parts_by_block;  // part numbers, ascending first_block
  std::shared_ptr<FrameAdoption> adoption;

  // Nothing for a position that belongs to no part (any more). Cost: O(log parts).
  std::optional<PartPlace> FindPlace(uint64_t position) const;
  // The same for a position that a part must have. Errors: kDataLoss if none has.
  absl::StatusOr<PartPlace> PlaceOf(uint64_t position) const;

  // The positions of rows; nothing for rows that no part has.
  // Pre: rows ascending. Errors, cost: as LocationTable::Find.
  absl::StatusOr<std::vector<std::optional<uint64_t>>> Locate(
      std::span<const base::RowId> rows) const;

  // Takes over the frames of the sets of its predecessor that were regrouped, and lets go of these
  // sets. To be called once searches use this version, from any thread; does nothing afterwards.
  // Cost: O(units regrouped), no reads.
  void AdoptFrames() const;

  // Every extent file the version needs.
  std::set<uint32_t> files() const;
  // Heap bytes, page cache apart; what is shared with other versions is counted in each.
  uint64_t memory_bytes() const;
  // Of these the ones that no other version shares.
  uint64_t own_bytes() const;
};

struct OpenOptions {
  // A version of the same field, in most cases the one that this one follows.
  std::shared_ptr<const IndexVersion> base = nullptr;
  // Whether many plane sets may become fewer, which is worth it for a version that is to be used.
  // Until AdoptFrames the new sets are empty.
  bool regroup = true;
};

// Opens a version: reads its blobs, but those that `base` has as well, and checks that everything
// fits together. The planes are checked when they are read.
//
// Errors: kDataLoss for anything missing, damaged or contradictory; kUnimplemented for a newer
//         format; kResourceExhausted when the budget has no room.
// Cost:   reads heads, codec and directories; O(parts log parts). No plane is read. With a base:
//         reads the directories; tables are made for new and regrouped parts only.
absl::StatusOr<std::shared_ptr<const IndexVersion>> OpenIndexVersion(
    Context& context, const base::VectorFieldSchema& field, storage::VersionRecord record,
    const OpenOptions& options = {});

// The live bitmap of `next`, a version appended to `current`: rows that are dead in `live` stay
// dead, those that are new or were moved are live. Cost: O(positions / 64).
query::LiveBitmap CarryLive(const query::LiveBitmap& live, const IndexVersion& next);

}  // namespace tessera::version
