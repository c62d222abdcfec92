#include "query/calibration/calibration.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/coding/coding.h"
#include "base/coding/sealed.h"
#include "base/status_macros.h"

namespace tessera::query {
namespace {

constexpr uint8_t kVersion = 2;
constexpr uint64_t kCurvesMax = 16;
constexpr uint64_t kPointsMax = 64;
constexpr float kEpsMax = 4.0F;
constexpr uint32_t kRerankMax = uint32_t{1} << 24;
constexpr float kThetaMax = 100;
constexpr double kRecallMax = 0.9999;

double Scale(double recall) {
  return -std::log1p(-std::clamp(recall, 0.0, kRecallMax));
}

void RaiseTo(const ProbeSettings& floor, ProbeSettings* point) {
  point->nprobe = std::max(point->nprobe, floor.nprobe);
  point->eps = std::max(point->eps, floor.eps);
  point->rerank = std::max(point->rerank, floor.rerank);
  point->theta = std::max(point->theta, floor.theta);
}

absl::Status DecodeCurve(base::Decoder* decoder, uint32_t lists, CalibrationCurve* curve) {
  uint64_t points;
  TESSERA_RETURN_IF_ERROR(decoder->U32(&curve->k));
  TESSERA_RETURN_IF_ERROR(decoder->Varint64(&points));
  if (curve->k == 0 || points == 0 || points > kPointsMax) {
    return absl::DataLossError(
        absl::StrCat("calibration: k ", curve->k, " with ", points, " points"));
  }
  for (uint64_t i = 0; i < points; ++i) {
    ProbeSettings point;
    TESSERA_RETURN_IF_ERROR(decoder->F32(&point.recall));
    TESSERA_RETURN_IF_ERROR(decoder->U32(&point.nprobe));
    TESSERA_RETURN_IF_ERROR(decoder->F32(&point.eps));
    TESSERA_RETURN_IF_ERROR(decoder->U32(&point.rerank));
    TESSERA_RETURN_IF_ERROR(decoder->F32(&point.theta));
    const bool sound = point.recall >= 0 && point.recall <= 1 && point.nprobe >= 1 &&
                       point.nprobe <= lists && point.eps >= 0 && point.eps <= kEpsMax &&
                       point.rerank >= 1 && point.rerank <= kRerankMax && point.theta >= 0 &&
                       point.theta <= kThetaMax;
    if (!sound || (i > 0 && point.recall < curve->points.back().recall)) {
      return absl::DataLossError(
          absl::StrCat("calibration: point ", i, " of k ", curve->k, " is out of range or order"));
    }
    curve->points.push_back(point);
  }
  return absl::OkStatus();
}

}  // namespace

Calibration::Calibration(uint64_t rows, uint32_t lists, std::vector<CalibrationCurve> curves)
    : rows_(rows), lists_(lists), curves_(std::move(curves)) {
  TESSERA_CHECK(lists_ >= 1 && !curves_.empty() && curves_.size() <= kCurvesMax);
  for (size_t c = 0; c < curves_.size(); ++c) {
    std::vector<ProbeSettings>& points = curves_[c].points;
    TESSERA_CHECK(!points.empty() && points.size() <= kPointsMax);
    TESSERA_CHECK(c == 0 || curves_[c - 1].k < curves_[c].k);
    std::stable_sort(points.begin(), points.end(),
                     [](const auto& a, const auto& b) { return a.recall < b.recall; });
    for (size_t i = 0; i < points.size(); ++i) {
      TESSERA_CHECK(points[i].nprobe >= 1 && points[i].nprobe <= lists_);
      if (i > 0) RaiseTo(points[i - 1], &points[i]);
    }
    smooth_.emplace_back();
    for (ProbeSettings& point : points) {
      if (c > 0) {
        const Smooth below = Along(smooth_[c - 1], Scale(point.recall));
        ProbeSettings floor = FromSmooth(below, 1);
        floor.theta = 0;  // it need not grow with k
        RaiseTo(floor, &point);
      }
      smooth_.back().push_back(ToSmooth(point));
    }
  }
  power_ = 0.35;
  if (curves_.size() > 1) {
    const size_t last = curves_.size() - 1;
    const double steps = std::log(static_cast<double>(curves_[last].k) / curves_[last - 1].k);
    const double at = smooth_[last].back().recall;
    power_ = (smooth_[last].back().log_nprobe - Along(smooth_[last - 1], at).log_nprobe) / steps;
    power_ = std::clamp(power_, 0.15, 0.6);
  }
}

Calibration Calibration::Default(uint32_t lists) {
  TESSERA_CHECK(lists >= 1);
  // The number of lists that holds the neighbours grows a little slower than the lists do.
  const double base = std::pow(static_cast<double>(lists), 0.7);
  CalibrationCurve curve{.k = 10, .points = {}};
  const auto add = [&](float recall, double factor, float eps, uint32_t rerank, float theta) {
    const double nprobe = std::clamp(std::ceil(factor * base), 1.0, static_cast<double>(lists));
    curve.points.push_back({recall, static_cast<uint32_t>(nprobe), eps, rerank, theta});
  };
  add(0.80F, 0.15, 1.0F, 16, 7.2F);
  add(0.90F, 0.30, 1.4F, 24, 8.2F);
  add(0.95F, 0.60, 1.8F, 32, 9.0F);
  add(0.98F, 1.00, 2.2F, 40, 10.0F);
  add(0.99F, 1.50, 2.5F, 48, 10.7F);
  return Calibration(0, lists, {curve});
}

Calibration::Smooth Calibration::ToSmooth(const ProbeSettings& point) {
  return {Scale(point.recall), std::log(point.nprobe), point.eps, std::log(point.rerank),
          point.theta};
}

Calibration::Smooth Calibration::Mix(const Smooth& a, const Smooth& b, double t) {
  return {std::lerp(a.recall, b.recall, t), std::lerp(a.log_nprobe, b.log_nprobe, t),
          std::lerp(a.eps, b.eps, t), std::lerp(a.log_rerank, b.log_rerank, t),
          std::lerp(a.theta, b.theta, t)};
}

// Where `recall` (scaled) lies between the points. Beyond the last point the last segment goes on;
// before the first there is only the first.
Calibration::Smooth Calibration::Along(const std::vector<Smooth>& points, double recall) {
  if (points.size() == 1 || recall <= points.front().recall) return points.front();
  size_t high = 1;
  while (high + 1 < points.size() && points[high].recall < recall) ++high;
  const Smooth& a = points[high - 1];
  const Smooth& b = points[high];
  const double width = b.recall - a.recall;
  return width <= 0 ? b : Mix(a, b, (recall - a.recall) / width);
}

Calibration::Smooth Calibration::At(double recall, double log_k) const {
  size_t above = 0;
  while (above < curves_.size() && std::log(curves_[above].k) < log_k) ++above;
  if (above == 0) return Along(smooth_.front(), recall);
  const double log_below = std::log(curves_[above - 1].k);
  const Smooth below = Along(smooth_[above - 1], recall);
  if (above < curves_.size()) {
    const double t = (log_k - log_below) / (std::log(curves_[above].k) - log_below);
    return Mix(below, Along(smooth_[above], recall), t);
  }
  Smooth beyond = below;
  beyond.log_nprobe += power_ * (log_k - log_below);
  beyond.log_rerank += log_k - log_below;
  return beyond;
}

ProbeSettings Calibration::FromSmooth(const Smooth& smooth, uint32_t k) const {
  const auto count = [](double log_count, uint32_t max) {
    // The tolerance keeps a measured point itself from being rounded up.
    const double number = std::ceil(std::exp(std::min(log_count, 40.0)) - 1e-4);
    return static_cast<uint32_t>(std::clamp(number, 1.0, static_cast<double>(max)));
  };
  ProbeSettings settings;
  settings.recall = static_cast<float>(std::clamp(-std::expm1(-smooth.recall), 0.0, 1.0));
  settings.nprobe = count(smooth.log_nprobe, lists_);
  settings.eps = static_cast<float>(std::clamp<double>(smooth.eps, 0.0, kEpsMax));
  settings.rerank = std::max(k, count(smooth.log_rerank, kRerankMax));
  settings.theta = static_cast<float>(std::clamp<double>(smooth.theta, 0.0, kThetaMax));
  return settings;
}

ProbeSettings Calibration::ForTarget(double recall_target, uint32_t k) const {
  return FromSmooth(At(Scale(recall_target), std::log(k)), k);
}

ProbeSettings Calibration::ForProbes(uint32_t nprobe, uint32_t k) const {
  nprobe = std::clamp<uint32_t>(nprobe, 1, lists_);
  const double log_k = std::log(k);
  const double wanted = std::log(nprobe);
  // The largest recall that needs no more lists; needs only grow with it.
  double low = 0;
  double high = Scale(1.0);
  for (int step = 0; step < 24; ++step) {
    const double middle = 0.5 * (low + high);
    (At(middle, log_k).log_nprobe <= wanted + 1e-9 ? low : high) = middle;
  }
  const Smooth smooth = At(low, log_k);
  ProbeSettings settings = FromSmooth(smooth, k);
  // Fewer lists than the first point has: expect proportionally less.
  if (smooth.log_nprobe > wanted) {
    settings.recall *= static_cast<float>(std::exp(wanted - smooth.log_nprobe));
  }
  settings.nprobe = nprobe;
  return settings;
}

std::string Calibration::Serialize() const {
  std::string out;
  base::PutU8(&out, kVersion);
  base::PutU64(&out, rows_);
  base::PutU32(&out, lists_);
  base::PutVarint64(&out, curves_.size());
  for (const CalibrationCurve& curve : curves_) {
    base::PutU32(&out, curve.k);
    base::PutVarint64(&out, curve.points.size());
    for (const ProbeSettings& point : curve.points) {
      base::PutF32(&out, point.recall);
      base::PutU32(&out, point.nprobe);
      base::PutF32(&out, point.eps);
      base::PutU32(&out, point.rerank);
      base::PutF32(&out, point.theta);
    }
  }
  base::Seal(&out);
  return out;
}

absl::StatusOr<Calibration> Calibration::Deserialize(std::string_view bytes) {
  TESSERA_ASSIGN_OR_RETURN(const std::string_view body, base::Unseal("calibration", bytes));
  base::Decoder decoder(body);
  uint8_t version;
  uint64_t rows;
  uint32_t lists;
  uint64_t curve_count;
  TESSERA_RETURN_IF_ERROR(decoder.U8(&version));
  if (version != kVersion) {
    return absl::UnimplementedError(
        absl::StrCat("calibration: version ", int{version}, ", this build reads ", int{kVersion}));
  }
  TESSERA_RETURN_IF_ERROR(decoder.U64(&rows));
  TESSERA_RETURN_IF_ERROR(decoder.U32(&lists));
  TESSERA_RETURN_IF_ERROR(decoder.Varint64(&curve_count));
  if (lists == 0 || curve_count == 0 || curve_count > kCurvesMax) {
    return absl::DataLossError(
        absl::StrCat("calibration: ", lists, " lists, ", curve_count, " curves"));
  }
  std::vector<CalibrationCurve> curves(curve_count);
  for (size_t i = 0; i < curves.size(); ++i) {
    TESSERA_RETURN_IF_ERROR(DecodeCurve(&decoder, lists, &curves[i]));
    if (i > 0 && curves[i].k <= curves[i - 1].k) {
      return absl::DataLossError("calibration: curves out of order");
    }
  }
  TESSERA_RETURN_IF_ERROR(decoder.ExpectEnd());
  return Calibration(rows, lists, std::move(curves));
}

}  // namespace tessera::query
