// A set with its payload and generated fields, as a source of points for a load.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "api/inputs/point_rows.h"
#include "base/schema.h"
#include "base/types.h"
#include "db/database.h"

namespace tessera::bench {

inline constexpr uint32_t kFilterCells = 64;
inline constexpr uint64_t kFilterNumbers = 1'000'000;

class FilterData {
 public:
  // Errors: those of the set's files.
  static absl::StatusOr<std::unique_ptr<FilterData>> Open(const std::string& set,
                                                          base::Metric metric, bool fields);

  const base::CollectionSchema& schema() const { return schema_; }
  const std::string& name() const { return name_; }
  // [queries x dim]
  const std::vector<float>& queries() const { return queries_; }

  // A db::PointSource; to be used once.
  absl::Status Next(std::vector<db::Point>* batch);

  // What `share` of the rows has `c` below. Pre: all points were given.
  double CorrelatedBelow(double share) const;
  // The value of `z` of about this share.
  uint64_t ZipfValue(double share) const;
  // The `count` cells nearest to a vector [dim].
  std::vector<uint32_t> NearestCells(const float* vector, size_t count) const;

 private:
  FilterData() = default;
  void AddFields(uint64_t row, db::Point* point);

  std::string name_;
  bool fields_ = true;
  base::CollectionSchema schema_;
  std::unique_ptr<api::PointRows> rows_;
  std::vector<float> queries_;
  std::vector<float> direction_;
  std::vector<float> cells_;  // [kFilterCells x dim]
  std::vector<float> correlated_;
  std::vector<double> zipf_;  // cumulated
  std::vector<uint64_t> zipf_counts_;
  uint64_t row_ = 0;
};

}  // namespace tessera::bench
