#include "query/index_view.h"

#include "absl/strings/str_cat.h"

#include "index/raw_plane.h"

namespace tessera::query {
namespace {

absl::Status ValidatePart(const IndexView& view, uint32_t number) {
  const ListPart& part = view.parts[number];
  const auto wrong = [&](const char* what) {
    return absl::InternalError(absl::StrCat("index view: part ", number, " of list ", part.list,
                                            " with ", part.rows, " rows: ", what));
  };
  if (part.rows == 0 || part.rows > index::kListRowsMax) return wrong("row count out of range");
  if (uint64_t{part.first_block} * 64 + part.rows > view.positions) {
    return wrong("beyond the live bitmap");
  }
  const PlaneSet* planes = part.planes;
  if (planes == nullptr || !planes->codes.has_value() || !planes->raw.has_value() ||
      planes->fine.has_value() != view.has_fine()) {
    return wrong("a plane is missing");
  }
  if (part.code_unit >= planes->codes->unit_count() ||
      planes->codes->unit_bytes(part.code_unit) < view.codec->CodePlaneBytes(part.rows)) {
    return wrong("code plane too short");
  }
  if (view.has_fine() &&
      uint64_t{part.fine_unit} + view.fine_units(part) > planes->fine->unit_count()) {
    return wrong("beyond the fine table");
  }
  if (uint64_t{part.raw_unit} + view.raw_units(part) > planes->raw->unit_count()) {
    return wrong("beyond the raw table");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const IndexView& view) {
  if (view.heads == nullptr || view.codec == nullptr || view.cache == nullptr) {
    return absl::InternalError("index view: a member is missing");
  }
  if (view.heads->head_count() != view.list_count() || view.heads->dim() != view.field.dim ||
      view.heads->metric() != view.field.metric || view.codec->dim() != view.field.dim ||
      view.codec->metric() != view.field.metric) {
    return absl::InternalError(absl::StrCat(
        "index view: ", view.list_count(), " lists of dimension ", view.field.dim, ", but ",
        view.heads->head_count(), " heads of dimension ", view.heads->dim(),
        " and a codec of dimension ", view.codec->dim(), ", or one of another metric"));
  }
  if (view.has_fine() != (view.codec->FineRecordBytes() > 0)) {
    return absl::InternalError("index view: the fine plane does not fit the codec");
  }
  if (view.part_begin.front() != 0 || view.part_begin.back() != view.parts.size()) {
    return absl::InternalError(absl::StrCat("index view: ", view.parts.size(),
                                            " parts, lists have ", view.part_begin.back()));
  }
  uint64_t rows = 0;
  for (uint32_t list = 0; list < view.list_count(); ++list) {
    for (uint32_t number = view.part_begin[list]; number < view.part_begin[list + 1]; ++number) {
      if (view.parts[number].list != list) {
        return absl::InternalError(
            absl::StrCat("index view: part ", number, " is not of list ", list));
      }
      absl::Status status = ValidatePart(view, number);
      if (!status.ok()) return status;
      rows += view.parts[number].rows;
    }
  }
  if (rows != view.rows) {
    return absl::InternalError(
        absl::StrCat("index view: ", rows, " rows in parts, ", view.rows, " in all"));
  }
  return absl::OkStatus();
}

}  // namespace tessera::query
