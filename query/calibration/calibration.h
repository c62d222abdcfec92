// Calibration: which probe settings reach which recall on one index version.
//
// A calibration holds, for a few values of k, points of rising recall: lists probed, width of the
// code bound, rows reranked, and the theta of the stopping rule. Settings for other recalls and other
// k are interpolated; all are monotone in the recall, and lists and reranks in k. It is measured by Calibrate (calibrator.h) and
// stored with the index version.
//
// Bytes, little-endian (base/coding/coding.h), v2:
//    u8 version | u64 rows | u32 lists | varint curves
//    per curve: u32 k | varint points | per point: f32 recall | u32 nprobe | f32 eps | u32 rerank |
//       f32 theta
//    u32 crc32c of everything before it
//
// Threads: a value; concurrent reads allowed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tessera::query {

// One way to search. recall: what it is expected to reach, 0 .. 1.
struct ProbeSettings {
  float recall = 0;
  uint32_t nprobe = 1;
  float eps = 1.4F;
  uint32_t rerank = 16;
  float theta = 0;  // of planning/stopping_rule.h; 0: nprobe lists are probed, whatever is found
  friend bool operator==(const ProbeSettings&, const ProbeSettings&) = default;
};

struct CalibrationCurve {
  uint32_t k = 10;
  std::vector<ProbeSettings> points;  // ascending in every member
  friend bool operator==(const CalibrationCurve&, const CalibrationCurve&) = default;
};

class Calibration {
 public:
  // For an index that was not measured: settings wide enough for ordinary data.
  // Pre: lists >= 1.
  static Calibration Default(uint32_t lists);

  // Takes measured curves and makes them monotone: a larger recall or k never gets less.
  // Pre: at least one curve with at least one point; k ascending; nprobe 1 .. lists.
  Calibration(uint64_t rows, uint32_t lists, std::vector<CalibrationCurve> curves);

  // Settings for `recall_target` (0 .. 1) and k results; nprobe 1 .. lists(), rerank >= k. Targets
  // below the first point get the first point.
  // Cost: about 0.1 us.
  ProbeSettings ForTarget(double recall_target, uint32_t k) const;
  // Settings that suit a given number of lists, with the recall to expect. Cost: about 2 us.
  ProbeSettings ForProbes(uint32_t nprobe, uint32_t k) const;

  // Rows and lists of the index when it was measured, for noticing drift.
  uint64_t rows() const { return rows_; }
  uint32_t lists() const { return lists_; }
  const std::vector<CalibrationCurve>& curves() const { return curves_; }

  std::string Serialize() const;
  // Errors: kDataLoss for any damage; kUnimplemented for a newer version.
  static absl::StatusOr<Calibration> Deserialize(std::string_view bytes);

  friend bool operator==(const Calibration&, const Calibration&) = default;

 private:
  // A point on scales on which it changes smoothly.
  struct Smooth {
    double recall;  // -log(1 - recall): each halving of the misses is one step
    double log_nprobe;
    double eps;
    double log_rerank;
    double theta;
    friend bool operator==(const Smooth&, const Smooth&) = default;
  };
  static Smooth ToSmooth(const ProbeSettings& point);
  static Smooth Mix(const Smooth& a, const Smooth& b, double t);
  static Smooth Along(const std::vector<Smooth>& points, double recall);
  Smooth At(double recall, double log_k) const;
  ProbeSettings FromSmooth(const Smooth& smooth, uint32_t k) const;

  uint64_t rows_;
  uint32_t lists_;
  std::vector<CalibrationCurve> curves_;
  std::vector<std::vector<Smooth>> smooth_;  // curves_, point by point
  double power_ = 0;                         // lists grow as k ^ power_ beyond the last curve
};

}  // namespace tessera::query
