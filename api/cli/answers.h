// The answers of many searches and the two layouts they are written in.
//
// Ground truth (when all ids are numbers under 2^32 - 1 and no payload is wanted), little-endian:
//    u32 queries   u32 limit   u32 ids[queries x limit]   f32 distances[queries x limit]
// Where a query has fewer hits than `limit` its line is padded with id 2^32 - 1 and distance
// infinity.
//
// JSON lines (else): {"query":0,"hits":[{"id":..,"score":..,"distance":..,"payload":{..}}, ..]}
//
// Queries come in portions. Ground truth is held until its end, since ids and distances are apart
// in it and it is known at the end only that all ids fit; JSON lines with payload are written
// portion by portion.
//
// Threads: Set from any, for different queries; the rest from one, between portions.
#pragma once

#include <atomic>
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
  using Write = std::function<absl::Status(std::string_view)>;

  Answers(uint32_t limit, bool with_payload) : limit_(limit), with_payload_(with_payload) {}

  // Makes room for `count` queries more.
  void Expect(size_t count) { answers_.resize(answers_.size() + count); }
  // Of a query that is expected and was not set, counted from the first one of all.
  void Set(size_t query, const std::vector<db::Hit>& hits);
  // Hands over what need not be held. Errors: those of `write`.
  absl::Status WritePortion(const Write& write);

  // What is held.
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  // The least that is held of one query.
  static uint64_t BytesPerQuery(uint32_t limit) { return sizeof(Answer) + limit * sizeof(SlimHit); }

  AnswerLayout layout() const;
  // Bytes of the layout, handed over in pieces. Errors: those of `write`.
  absl::Status WriteTo(const Write& write) const;

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

  void Hold(uint64_t bytes) { bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  std::string GroundTruthIds(const Answer& answer) const;
  std::string GroundTruthDistances(const Answer& answer) const;
  std::string JsonOf(size_t query) const;

  const uint32_t limit_;
  const bool with_payload_;
  size_t first_ = 0;  // queries whose answers were handed over
  std::vector<Answer> answers_;
  std::atomic<uint64_t> bytes_{0};
};

}  // namespace tessera::api
