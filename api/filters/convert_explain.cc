#include "api/filters/convert_explain.h"

#include <cstddef>
#include <string>

#include "absl/strings/str_cat.h"

#include "base/status_details.h"

namespace tessera::api {
namespace {

// A filter may have a hundred thousand constants, and each query of a batch an explanation.
std::string Cut(const std::string& filter) {
  constexpr size_t kFilterBytes = 4096 - 3;
  if (filter.size() <= kFilterBytes) return filter;
  size_t end = kFilterBytes;
  while (end > 0 && (static_cast<unsigned char>(filter[end]) & 0xc0) == 0x80) --end;  // UTF-8
  return filter.substr(0, end) + "...";
}

}  // namespace

absl::StatusOr<db::SearchPlan> FromProto(v1::SearchPlan plan) {
  switch (plan) {
    case v1::SEARCH_PLAN_AUTO:
      return db::SearchPlan::kAuto;
    case v1::SEARCH_PLAN_EXACT:
      return db::SearchPlan::kExact;
    case v1::SEARCH_PLAN_PROBE:
      return db::SearchPlan::kProbe;
    default:
      return base::InvalidField("params.plan",
                                absl::StrCat("is ", static_cast<int>(plan), ", which is no plan"));
  }
}

v1::SearchPlan ToProto(db::SearchPlan plan) {
  switch (plan) {
    case db::SearchPlan::kExact:
      return v1::SEARCH_PLAN_EXACT;
    case db::SearchPlan::kProbe:
      return v1::SEARCH_PLAN_PROBE;
    case db::SearchPlan::kAuto:
      break;
  }
  return v1::SEARCH_PLAN_AUTO;
}

void ToProto(const db::Explain& explain, v1::Explain* out) {
  out->set_filter(Cut(explain.filter));
  out->set_plan(ToProto(explain.plan));
  for (const db::PlanPrice& price : explain.prices) {
    v1::PlanPrice* added = out->add_prices();
    added->set_plan(ToProto(price.plan));
    added->set_microseconds(price.microseconds);
    added->set_chosen(price.chosen);
  }
  out->set_estimated_rows(explain.estimated_rows);
  out->set_matching_rows(explain.matching_rows);
  out->set_lists(explain.lists);
  out->set_lists_eligible(explain.lists_eligible);
  out->set_lists_probed(explain.lists_probed);
  out->set_blocks(explain.blocks);
  out->set_blocks_masked(explain.blocks_masked);
  out->set_codes_scanned(explain.codes_scanned);
  out->set_survivors(explain.survivors);
  out->set_reranked(explain.reranked);
  out->set_fresh_rows(explain.fresh_rows);
  out->set_bytes_read(explain.bytes_read);
  out->set_filter_cached(explain.filter_cached);
  out->set_estimated_recall(explain.estimated_recall);
  for (const db::StageTime& stage : explain.stages) {
    v1::StageTime* added = out->add_stages();
    added->set_stage(stage.stage);
    added->set_microseconds(stage.microseconds);
  }
}

db::Explain FromProto(const v1::Explain& explain) {
  db::Explain out{.filter = explain.filter(),
                  .plan = FromProto(explain.plan()).value_or(db::SearchPlan::kAuto),
                  .prices = {},
                  .estimated_rows = explain.estimated_rows(),
                  .matching_rows = explain.matching_rows(),
                  .lists = explain.lists(),
                  .lists_eligible = explain.lists_eligible(),
                  .lists_probed = explain.lists_probed(),
                  .blocks = explain.blocks(),
                  .blocks_masked = explain.blocks_masked(),
                  .codes_scanned = explain.codes_scanned(),
                  .survivors = explain.survivors(),
                  .reranked = explain.reranked(),
                  .fresh_rows = explain.fresh_rows(),
                  .bytes_read = explain.bytes_read(),
                  .filter_cached = explain.filter_cached(),
                  .estimated_recall = explain.estimated_recall(),
                  .stages = {}};
  for (const v1::PlanPrice& price : explain.prices()) {
    out.prices.push_back({.plan = FromProto(price.plan()).value_or(db::SearchPlan::kAuto),
                          .microseconds = price.microseconds(),
                          .chosen = price.chosen()});
  }
  for (const v1::StageTime& stage : explain.stages()) {
    out.stages.push_back({.stage = stage.stage(), .microseconds = stage.microseconds()});
  }
  return out;
}

}  // namespace tessera::api
