// The answers of many searches and the two layouts they are written in.
//
// Ground truth (when all ids are numbers under 2^32 - 1 and no payload is wanted), little-endian:
//    u32 queries   u32 limit   u32 ids[queries x limit]   f32 distances[queries x limit]
// Where a query has fewer hits than `limit` its line is padded with id 2^32 - 1 and distance
// infinity.
//
// JSON lines (else): {"query":0,"hits":[{"id":..,"score":..,"distance":..,"payload":{..}}, ..]}
//
// Threads: Set from any, for different queries; the rest when all are set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

#include "db/database.h"

namespace tessera::api {

inline constexpr uint32_t kPaddingId = 0xffffffff;

enum class AnswerLayout { kGroundTruth, kJsonLines };

// {"id":..,"score":..,"distance":..[,"payload":..]}
std::string HitJson(const db::Hit& hit, bool with_payload);

class Answers {
 public:
  Answers(size_t queries, uint32_t limit, bool with_payload)
      : limit_(limit), with_payload_(with_payload), answers_(queries) {}

  void Set(size_t query, const std::vector<db::Hit>& hits);

  AnswerLayout layout() const;
  // Bytes of the layout, handed over in pieces. Errors: those of `write`.
  absl::Status WriteTo(const std::function<absl::Status(std::string_view)>& write) const;

 private:
  // A hit without what only JSON lines need.
  struct SlimHit {
    uint32_t id;
    float distance;
    float score;
  };
  struct Answer {
    std::vector<SlimHit> slim;
    std::string json;  // the members of "hits", when the hits do not fit `slim`
    bool is_slim = true;
  };

  std::string GroundTruthIds(const Answer& answer) const;
  std::string GroundTruthDistances(const Answer& answer) const;
  std::string JsonOf(size_t query) const;

  const uint32_t limit_;
  const bool with_payload_;
  std::vector<Answer> answers_;
};

}  // namespace tessera::api
