// The oracle of the engine's tests: a map of points and a search that compares them all, in double.
// Shares no code with the engine but the types of its interface.
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/point_id.h"
#include "base/schema.h"
#include "base/value.h"
#include "db/database.h"

namespace tessera::inline test {

struct ModelPoint {
  std::vector<std::string> vectors;  // in schema order, as bytes
  base::Value payload;
};

struct ModelHit {
  base::PointId id;
  double distance = 0;
};

class Model {
 public:
  explicit Model(base::CollectionSchema schema) : schema_(std::move(schema)) {}

  const base::CollectionSchema& schema() const { return schema_; }
  std::map<base::PointId, ModelPoint>& points() { return points_; }
  const std::map<base::PointId, ModelPoint>& points() const { return points_; }

  void Upsert(std::span<const db::Point> points);

  // All points, nearest first, ties to the smaller id. distance: as db::Hit's.
  std::vector<ModelHit> Search(size_t field, std::span<const float> query) const;

 private:
  base::CollectionSchema schema_;
  std::map<base::PointId, ModelPoint> points_;
};

// Points of clustered data: `cluster_count` centres drawn from the seed, the same for every call.
class PointMaker {
 public:
  PointMaker(base::CollectionSchema schema, uint64_t seed, size_t cluster_count = 20);

  db::Point Make(base::PointId id);
  // A vector like those of the field's points, as floats.
  std::vector<float> Query(size_t field);
  std::mt19937_64& rng() { return rng_; }

 private:
  std::vector<float> Vector(size_t field);

  base::CollectionSchema schema_;
  std::mt19937_64 rng_;
  std::vector<std::vector<std::vector<float>>> centres_;  // per field
};

// What is wrong with the collection, "" if nothing: count, every point by Get and Scroll with its
// vectors bit for bit, exact searches against the model, and what a filter lets through.
std::string Difference(db::Collection& collection, const Model& model, PointMaker& maker);

// Share of the true `limit` nearest that searches with `params` find, over `query_count` queries.
double MeasureRecall(db::Collection& collection, const Model& model, PointMaker& maker,
                     const db::SearchParams& params, size_t query_count);

}  // namespace tessera::inline test
