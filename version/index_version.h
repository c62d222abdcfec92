// An index version of a vector field, opened for searching: what a storage::VersionRecord names.
//
// The record's entries ("lists" in storage/manifest.h) are parts, in the order they were published;
// several parts may be of one list. For each part it has the rows and the planes:
//
//   kCodes  one code plane (index/codec.h), checked by its extent's checksum
//   kFine   units of fine records (version/fine_plane.h); absent when the codec has no fine plane
//   kRaw    units of raw records (index/raw_plane.h)
//
// Blobs: kHeadIndex, kCodec, kCalibration (its absence means Calibration::Default), kParts and
// kLocations (version/location_table.h). kParts, little-endian:
//   per part { u32 list, u32 first_block }, then u32 crc32c of everything before it.
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

#include "base/memory_budget.h"
#include "base/schema.h"
#include "base/types.h"
#include "query/index_view.h"
#include "query/live_bitmap.h"
#include "storage/manifest.h"
#include "version/context.h"
#include "version/location_table.h"

namespace tessera::version {

inline constexpr std::string_view kRowsCounter = "rows";
inline constexpr std::string_view kPositionsCounter = "positions";
inline constexpr std::string_view kBuiltRowsCounter = "built_rows";
inline constexpr std::string_view kMisfitRowsCounter = "misfit_rows";
inline constexpr std::string_view kListsCounter = "lists";

// Which list a part is of and where its positions begin: slot s is position 64 * first_block + s.
struct PartHome {
  uint32_t list = 0;
  uint32_t first_block = 0;
  friend bool operator==(const PartHome&, const PartHome&) = default;
};

std::string EncodePartHomes(std::span<const PartHome> homes);
// Errors: kDataLoss for any damage, or if there are not `count` of them.
absl::StatusOr<std::vector<PartHome>> DecodePartHomes(std::string_view bytes, size_t count);

struct PartPlace {
  uint32_t part = 0;  // number in view->parts
  uint32_t slot = 0;
  friend bool operator==(const PartPlace&, const PartPlace&) = default;
};

struct IndexVersion {
  storage::VersionRecord record;
  // Keeps the memory it takes charged to the budget, as "index".
  std::shared_ptr<const query::IndexView> view;
  LocationTable locations;
  std::vector<PartHome> homes;           // of the record's entries
  std::vector<uint32_t> entry_of_part;   // part number in the view -> entry of the record
  std::vector<uint32_t> parts_by_block;  // part numbers, ascending first_block
  base::MemoryReservation locations_memory;

  // Nothing for a position that belongs to no part (any more). Cost: O(log parts).
  std::optional<PartPlace> FindPlace(uint64_t position) const;
  // The same for a position that a part must have. Errors: kDataLoss if none has.
  absl::StatusOr<PartPlace> PlaceOf(uint64_t position) const;

  // The positions of rows; nothing for rows that no part has.
  // Pre: rows ascending. Errors, cost: as LocationTable::Find.
  absl::StatusOr<std::vector<std::optional<uint64_t>>> Locate(
      std::span<const base::RowId> rows) const;

  // Every extent file the version needs.
  std::set<uint32_t> files() const;
  // Heap bytes, page cache apart.
  uint64_t memory_bytes() const;
};

// Opens a version: reads its blobs and checks that everything fits together. The planes are checked
// when they are read.
//
// Errors: kDataLoss for anything missing, damaged or contradictory; kUnimplemented for a newer
//         format; kResourceExhausted when the budget has no room.
// Cost:   reads heads, codec and directories; O(parts log parts). No plane is read.
absl::StatusOr<std::shared_ptr<const IndexVersion>> OpenIndexVersion(
    Context& context, const base::VectorFieldSchema& field, storage::VersionRecord record);

// The live bitmap of `next`, a version appended to `current`: rows that are dead in `live` stay
// dead, those that are new or were moved are live. Cost: O(positions / 64).
query::LiveBitmap CarryLive(const query::LiveBitmap& live, const IndexVersion& next);

}  // namespace tessera::version
