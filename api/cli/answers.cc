#include "api/cli/answers.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

#include "api/cli/json_line.h"
#include "base/coding/coding.h"
#include "base/status_macros.h"

namespace tessera::api {

std::string HitJson(const db::Hit& hit, bool with_payload) {
  JsonLine line;
  line.Id("id", hit.id).Number("score", hit.score).Number("distance", hit.distance);
  if (with_payload) line.Json("payload", hit.payload.ToJson());
  return line.ToString();
}

void Answers::Set(size_t query, const std::vector<db::Hit>& hits) {
  Answer& answer = answers_[query - first_];
  answer.is_slim = !with_payload_;
  for (const db::Hit& hit : hits) {
    answer.is_slim = answer.is_slim && hit.id.number() != nullptr && *hit.id.number() < kPaddingId;
  }
  if (answer.is_slim) {
    answer.slim.reserve(hits.size());
    for (const db::Hit& hit : hits) {
      answer.slim.push_back({static_cast<uint32_t>(*hit.id.number()), hit.distance, hit.score});
    }
    Hold(sizeof(Answer) + hits.size() * sizeof(SlimHit));
    return;
  }
  for (const db::Hit& hit : hits) {
    absl::StrAppend(&answer.json, answer.json.empty() ? "" : ",", HitJson(hit, with_payload_));
  }
  Hold(sizeof(Answer) + answer.json.size());
}

absl::Status Answers::WritePortion(const Write& write) {
  if (!with_payload_) return absl::OkStatus();
  TESSERA_RETURN_IF_ERROR(WriteTo(write));
  first_ += answers_.size();
  answers_.clear();
  bytes_.store(0, std::memory_order_relaxed);
  return absl::OkStatus();
}

AnswerLayout Answers::layout() const {
  for (const Answer& answer : answers_) {
    if (!answer.is_slim) return AnswerLayout::kJsonLines;
  }
  return with_payload_ ? AnswerLayout::kJsonLines : AnswerLayout::kGroundTruth;
}

std::string Answers::GroundTruthIds(const Answer& answer) const {
  std::string bytes;
  for (uint32_t i = 0; i < limit_; ++i) {
    base::PutU32(&bytes, i < answer.slim.size() ? answer.slim[i].id : kPaddingId);
  }
  return bytes;
}

std::string Answers::GroundTruthDistances(const Answer& answer) const {
  std::string bytes;
  for (uint32_t i = 0; i < limit_; ++i) {
    base::PutF32(&bytes, i < answer.slim.size() ? answer.slim[i].distance
                                                : std::numeric_limits<float>::infinity());
  }
  return bytes;
}

std::string Answers::JsonOf(size_t query) const {
  const Answer& answer = answers_[query - first_];
  std::string hits = answer.json;
  for (const SlimHit& slim : answer.slim) {
    db::Hit hit;
    hit.id = base::PointId(slim.id);
    hit.score = slim.score;
    hit.distance = slim.distance;
    absl::StrAppend(&hits, hits.empty() ? "" : ",", HitJson(hit, false));
  }
  return JsonLine()
      .Number("query", uint64_t{query})
      .Json("hits", absl::StrCat("[", hits, "]"))
      .ToString();
}

absl::Status Answers::WriteTo(const Write& write) const {
  if (layout() == AnswerLayout::kJsonLines) {
    for (size_t query = first_; query < first_ + answers_.size(); ++query) {
      TESSERA_RETURN_IF_ERROR(write(JsonOf(query) + "\n"));
    }
    return absl::OkStatus();
  }
  std::string header;
  base::PutU32(&header, static_cast<uint32_t>(answers_.size()));
  base::PutU32(&header, limit_);
  TESSERA_RETURN_IF_ERROR(write(header));
  for (const Answer& answer : answers_) TESSERA_RETURN_IF_ERROR(write(GroundTruthIds(answer)));
  for (const Answer& answer : answers_) {
    TESSERA_RETURN_IF_ERROR(write(GroundTruthDistances(answer)));
  }
  return absl::OkStatus();
}

}  // namespace tessera::api
