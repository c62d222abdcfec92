// What calls with filters answer: warnings, plans, explanations.
//
// Threads: free functions without shared state.
#pragma once

#include <tessera/v1/filter.pb.h>

#include "absl/status/statusor.h"

#include "db/database.h"

namespace tessera::api {

// Errors: kInvalidArgument naming params.plan for a number that is none of the enum's.
absl::StatusOr<db::SearchPlan> FromProto(v1::SearchPlan plan);
v1::SearchPlan ToProto(db::SearchPlan plan);

void ToProto(const db::Explain& explain, v1::Explain* out);
// A plan this build does not know is kAuto.
db::Explain FromProto(const v1::Explain& explain);

}  // namespace tessera::api
