#include "bench/soak/soak_clients.h"

#include <algorithm>
#include <memory>
#include <random>
#include <span>
#include <thread>
#include <unordered_set>

#include <grpcpp/grpcpp.h>
#include <tessera/v1/points.grpc.pb.h>

#include "absl/strings/str_cat.h"

#include "api/client.h"
#include "api/status.h"
#include "base/point_id.h"
#include "db/database.h"

namespace tessera::bench {
namespace {

constexpr uint32_t kLimit = 10;
constexpr uint64_t kUpsertRows = 200;
constexpr uint64_t kDeleteRows = 50;
constexpr uint32_t kDeleteEvery = 3;    // of the writes
constexpr uint32_t kReadBackEvery = 8;  // of the writes
constexpr uint64_t kReadBackRows = 4;
constexpr uint32_t kWithVectorsEvery = 4;  // of the searches
constexpr uint32_t kCheckQueries = 20;
constexpr uint32_t kExactQueries = 4;  // of them; each reads every row
constexpr float kQueryNoise = 0.2F;
constexpr float kTieTolerance = 1e-4F;
constexpr size_t kTextsMax = 20;
constexpr std::chrono::milliseconds kRetryAfter{20};
constexpr std::chrono::milliseconds kPausePoll{1};

// Near a row that is, was or will be there.
void DrawQuery(const SoakModel& model, std::mt19937_64& random, std::span<float> query) {
  const uint64_t id = random() % model.rows();
  model.Vector(id, std::max(1U, model.Current(id)), query);
  std::uniform_real_distribution<float> noise(-kQueryNoise, kQueryNoise);
  for (float& value : query) value += noise(random);
}

class Writer {
 public:
  Writer(SoakRun& run, uint32_t writer, uint32_t writers)
      : run_(run),
        writer_(writer),
        writers_(writers),
        random_(writer + 1),
        stub_(v1::Points::NewStub(
            grpc::CreateChannel(run.address, grpc::InsecureChannelCredentials()))),
        client_(api::NewRemoteClient(run.address)) {}

  absl::Status Run() {
    for (uint32_t turn = 1; !run_.stop.load(); ++turn) {
      while (run_.pause.load()) std::this_thread::sleep_for(kPausePoll);
      const std::shared_lock<std::shared_mutex> writing(run_.quiet);
      const bool upsert = turn % kDeleteEvery != 0;
      const std::vector<uint64_t> ids = DrawIds(upsert ? kUpsertRows : kDeleteRows);
      if (absl::Status status = upsert ? Upsert(ids) : Delete(ids); !status.ok()) return status;
      if (turn % kReadBackEvery == 0) ReadBack(std::span(ids).first(kReadBackRows));
    }
    return absl::OkStatus();
  }

 private:
  std::vector<uint64_t> DrawIds(uint64_t count) {
    const uint64_t own = run_.model.rows() / writers_;
    std::unordered_set<uint64_t> ids;
    while (ids.size() < std::min(count, own)) ids.insert(random_() % own * writers_ + writer_);
    return {ids.begin(), ids.end()};
  }

  // Sends until the server takes it: a refused write has changed nothing.
  template <typename Call>
  absl::Status Insist(const Call& call) {
    while (true) {
      const absl::Status status = call();
      if (!SoakRefused(status) || run_.stop.load()) return status;
      run_.refused_writes.fetch_add(1);
      run_.Refused(absl::StrCat("write: ", status.message()));
      std::this_thread::sleep_for(kRetryAfter);
    }
  }

  // A write that is refused until the end leaves the model open, so that nothing may be checked
  // after it; a soak ends with a check of what was there before.
  absl::Status Upsert(std::span<const uint64_t> ids) {
    v1::UpsertRequest request;
    request.set_collection(kSoakCollection);
    v1::VectorColumn* column = request.mutable_batch()->add_vectors();
    column->set_type(v1::ELEMENT_TYPE_F32);
    std::vector<float> vectors(ids.size() * run_.model.dim());
    for (size_t i = 0; i < ids.size(); ++i) {
      request.mutable_batch()->mutable_ids()->add_num(ids[i]);
      run_.model.Vector(ids[i], run_.model.Send(ids[i], /*upsert=*/true),
                        std::span(vectors).subspan(i * run_.model.dim(), run_.model.dim()));
    }
    column->set_data(vectors.data(), vectors.size() * sizeof(float));
    absl::Status status = Insist([&] {
      v1::UpsertResponse response;
      grpc::ClientContext context;
      return api::FromGrpc(stub_->Upsert(&context, request, &response));
    });
    if (!status.ok()) return status;
    for (const uint64_t id : ids) run_.model.Acknowledge(id);
    run_.written.fetch_add(ids.size());
    return status;
  }

  absl::Status Delete(std::span<const uint64_t> ids) {
    uint64_t there = 0;
    std::vector<base::PointId> points;
    for (const uint64_t id : ids) {
      points.emplace_back(id);
      there += run_.model.Current(id) != 0 ? 1 : 0;
      run_.model.Send(id, /*upsert=*/false);
    }
    uint64_t deleted = 0;
    absl::Status status = Insist([&] {
      const absl::StatusOr<uint64_t> answer = client_->Delete(kSoakCollection, points);
      if (answer.ok()) deleted = *answer;
      return answer.status();
    });
    if (!status.ok()) return status;
    for (const uint64_t id : ids) run_.model.Acknowledge(id);
    if (deleted != there) run_.Wrong(absl::StrCat("deleted ", deleted, " of ", there, " rows"));
    run_.deleted.fetch_add(deleted);
    return status;
  }

  void ReadBack(std::span<const uint64_t> ids) {
    std::vector<float> vector(run_.model.dim());
    for (const uint64_t id : ids) {
      const auto points = client_->Get(kSoakCollection, {{base::PointId(id)}}, {.vectors = true});
      if (!points.ok()) {
        run_.Refused(absl::StrCat("get: ", points.status().message()));
        run_.refused_searches.fetch_add(1);
        continue;
      }
      const uint32_t generation = run_.model.Current(id);
      bool right = points->empty() == (generation == 0);
      if (right && generation != 0) {
        run_.model.Vector(id, generation, vector);
        const std::string& bytes = points->front().vectors.front().bytes;
        right =
            std::ranges::equal(std::as_bytes(std::span(bytes)), std::as_bytes(std::span(vector)));
      }
      if (!right) run_.Wrong(absl::StrCat("point ", id, " does not read as it was written"));
    }
  }

  SoakRun& run_;
  const uint64_t writer_;
  const uint64_t writers_;
  std::mt19937_64 random_;
  const std::unique_ptr<v1::Points::Stub> stub_;
  const std::unique_ptr<api::Client> client_;
};

// What is wrong with an answer, whatever else it says; "" if nothing.
std::string Fault(const SoakModel& model, const db::SearchResult& result,
                  std::span<const float> query, uint64_t asked, uint64_t answered) {
  if (result.hits.size() != kLimit) return absl::StrCat(result.hits.size(), " hits");
  std::unordered_set<uint64_t> seen;
  for (size_t i = 0; i < result.hits.size(); ++i) {
    const db::Hit& hit = result.hits[i];
    if (hit.id.number() == nullptr || !seen.insert(*hit.id.number()).second) {
      return absl::StrCat("an id that is foreign or there twice: ", hit.id.ToString());
    }
    if (i > 0 && hit.distance < result.hits[i - 1].distance) return "hits out of order";
    if (!model.MayShow(*hit.id.number(), query, hit.distance, asked, answered)) {
      return absl::StrCat("id ", *hit.id.number(), " at distance ", hit.distance,
                          ", which no row it had was at");
    }
    for (const db::FieldVector& vector : hit.vectors) {
      const std::span<const float> values(reinterpret_cast<const float*>(vector.bytes.data()),
                                          vector.bytes.size() / sizeof(float));
      if (values.size() != query.size() ||
          !model.MayShow(*hit.id.number(), query, SoakDistance(values, query), asked, answered)) {
        return absl::StrCat("id ", *hit.id.number(), " with a vector it never had");
      }
    }
  }
  return "";
}

}  // namespace

void SoakRun::Refused(const std::string& text) {
  base::MutexLock lock(&mu_);
  if (texts_.size() < kTextsMax) texts_.push_back(absl::StrCat("refused: ", text));
}

void SoakRun::Wrong(const std::string& text) {
  wrong.fetch_add(1);
  base::MutexLock lock(&mu_);
  if (texts_.size() < kTextsMax) texts_.push_back(absl::StrCat("wrong: ", text));
}

std::vector<std::string> SoakRun::texts() {
  base::MutexLock lock(&mu_);
  return texts_;
}

bool SoakRefused(const absl::Status& write) {
  return absl::IsResourceExhausted(write) || absl::IsUnavailable(write);
}

absl::Status SoakWrite(SoakRun& run, uint32_t writer, uint32_t writers) {
  return Writer(run, writer, writers).Run();
}

void SoakSearch(SoakRun& run, uint32_t reader) {
  std::mt19937_64 random(1000 + reader);
  const std::unique_ptr<api::Client> client = api::NewRemoteClient(run.address);
  std::vector<float> query(run.model.dim());
  for (uint32_t turn = 0; !run.stop.load(); ++turn) {
    DrawQuery(run.model, random, query);
    db::SearchParams params;
    params.limit = kLimit;
    params.with.vectors = turn % kWithVectorsEvery == 0;
    const uint64_t asked = run.model.Tick();
    const absl::StatusOr<db::SearchResult> result = client->Search(kSoakCollection, query, params);
    const uint64_t answered = run.model.Tick();
    run.searches.fetch_add(1);
    if (!result.ok()) {
      run.refused_searches.fetch_add(1);
      run.Refused(absl::StrCat("search: ", result.status().ToString()));
      continue;
    }
    const std::string fault = Fault(run.model, *result, query, asked, answered);
    if (!fault.empty()) run.Wrong(absl::StrCat("search: ", fault));
  }
}

double SoakCheck(SoakRun& run, uint32_t round) {
  std::mt19937_64 random(1'000'000 + round);
  const std::unique_ptr<api::Client> client = api::NewRemoteClient(run.address);
  const absl::StatusOr<db::CollectionStats> stats = client->Describe(kSoakCollection);
  const uint64_t live = run.model.live_count();
  if (!stats.ok() || stats->points != live) {
    run.Wrong(stats.ok() ? absl::StrCat("a count of ", stats->points, ", there are ", live)
                         : stats.status().ToString());
  }
  const size_t dim = run.model.dim();
  std::vector<float> queries(kCheckQueries * dim);
  for (size_t q = 0; q < kCheckQueries; ++q) {
    DrawQuery(run.model, random, std::span(queries).subspan(q * dim, dim));
  }
  const auto nearest = run.model.Nearest(queries, kLimit);
  uint32_t found = 0;
  for (const bool exact : {true, false}) {
    for (size_t q = 0; q < (exact ? kExactQueries : kCheckQueries); ++q) {
      const std::span<const float> query = std::span(queries).subspan(q * dim, dim);
      db::SearchParams params;
      params.limit = kLimit;
      params.exact = exact;
      const uint64_t asked = run.model.Tick();
      const auto result = client->Search(kSoakCollection, query, params);
      if (!result.ok()) {
        run.refused_searches.fetch_add(1);
        run.Refused(absl::StrCat(exact ? "exact " : "", "search: ", result.status().ToString()));
        continue;
      }
      std::string fault = Fault(run.model, *result, query, asked, run.model.Tick());
      const float last = nearest[q].back().distance * (1 + kTieTolerance);
      uint32_t near = 0;
      for (const db::Hit& hit : result->hits) near += hit.distance <= last ? 1 : 0;
      if (exact && fault.empty() && near != kLimit) {
        fault = absl::StrCat(near, " of the ", kLimit, " nearest, by an exact search");
      }
      if (!fault.empty()) run.Wrong(absl::StrCat("search while nobody writes: ", fault));
      if (!exact) found += near;
    }
  }
  return static_cast<double>(found) / (kCheckQueries * kLimit);
}

}  // namespace tessera::bench
