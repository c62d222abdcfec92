#include "bench/report/svg_plot.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace tessera::bench {
namespace {

constexpr double kWidth = 720;
constexpr double kHeight = 400;
constexpr double kLeft = 64;
constexpr double kRight = 16;
constexpr double kTop = 16;
constexpr double kBottom = 48;
constexpr double kRecallMax = 0.9995;

struct Range {
  double low = 0;
  double high = 1;
  double Share(double value) const { return high > low ? (value - low) / (high - low) : 0.5; }
};

struct Frame {
  Range x;  // of RecallScale
  Range y;  // of log10(qps)
  double X(double recall) const {
    return kLeft + x.Share(RecallScale(recall)) * (kWidth - kLeft - kRight);
  }
  double Y(double qps) const {
    return kHeight - kBottom - y.Share(std::log10(qps)) * (kHeight - kTop - kBottom);
  }
};

Frame Fit(const std::vector<PlotSeries>& series) {
  double recall_low = 0.9;
  double recall_high = 0.99;
  double qps_low = 1e300;
  double qps_high = 0;
  for (const PlotSeries& one : series) {
    for (const PlotPoint& point : one.points) {
      recall_low = std::min(recall_low, point.recall);
      recall_high = std::max(recall_high, point.recall);
      qps_low = std::min(qps_low, point.qps);
      qps_high = std::max(qps_high, point.qps);
    }
  }
  if (qps_high == 0) {
    qps_low = 1;
    qps_high = 10;
  }
  Frame frame;
  frame.x = {RecallScale(recall_low) - 0.05, RecallScale(recall_high) + 0.1};
  frame.y = {std::log10(qps_low) - 0.1, std::log10(qps_high) + 0.1};
  return frame;
}

std::string ShortNumber(double value) {
  if (value >= 1e6) return absl::StrFormat("%gM", value / 1e6);
  if (value >= 1e3) return absl::StrFormat("%gK", value / 1e3);
  return absl::StrFormat("%g", value);
}

void DrawGrid(const Frame& frame, std::string* svg) {
  for (const double recall : {0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999}) {
    const double share = frame.x.Share(RecallScale(recall));
    if (share < 0 || share > 1) continue;
    absl::StrAppendFormat(svg,
                          "<line class=\"grid%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%g\" y2=\"%g\"/>"
                          "<text x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">%g</text>\n",
                          recall == 0.95 ? " target" : "", frame.X(recall), frame.X(recall), kTop,
                          kHeight - kBottom, frame.X(recall), kHeight - kBottom + 18, recall);
  }
  for (int decade = static_cast<int>(std::floor(frame.y.low)); decade <= frame.y.high; ++decade) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double qps = factor * std::pow(10, decade);
      const double share = frame.y.Share(std::log10(qps));
      if (share < 0 || share > 1) continue;
      absl::StrAppendFormat(svg,
                            "<line class=\"grid\" x1=\"%g\" x2=\"%g\" y1=\"%.1f\" y2=\"%.1f\"/>"
                            "<text x=\"%g\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                            kLeft, kWidth - kRight, frame.Y(qps), frame.Y(qps), kLeft - 8,
                            frame.Y(qps) + 4, ShortNumber(qps));
    }
  }
  absl::StrAppendFormat(svg,
                        "<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">recall</text>\n"
                        "<text transform=\"translate(14 %g) rotate(-90)\" text-anchor=\"middle\">"
                        "queries a second, one thread</text>\n",
                        (kLeft + kWidth - kRight) / 2, kHeight - 8, (kTop + kHeight - kBottom) / 2);
}

// Each series has a shape of its own, so that colour is not the only difference.
std::string Marker(int shape, double x, double y, double size) {
  switch (shape % 4) {
    case 0:
      return absl::StrFormat("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>", x, y, size);
    case 1:
      return absl::StrFormat("<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
                             x - size, y - size, 2 * size, 2 * size);
    case 2:
      return absl::StrFormat("<path d=\"M%.1f %.1fl%.1f %.1fh%.1fz\"/>", x, y - 1.2 * size,
                             1.2 * size, 2.1 * size, -2.4 * size);
    default:
      return absl::StrFormat("<path d=\"M%.1f %.1fl%.1f %.1fl%.1f %.1fl%.1f %.1fz\"/>", x,
                             y - 1.3 * size, 1.3 * size, 1.3 * size, -1.3 * size, 1.3 * size,
                             -1.3 * size, -1.3 * size);
  }
}

void DrawSeries(const Frame& frame, const PlotSeries& series, std::string* svg) {
  absl::StrAppend(svg, "<g class=\"series s", series.color, "\">");
  std::string line;
  for (const PlotPoint& point : series.points) {
    if (!point.on_line) continue;
    absl::StrAppendFormat(&line, "%s%.1f %.1f", line.empty() ? "M" : "L", frame.X(point.recall),
                          frame.Y(point.qps));
  }
  if (!line.empty()) absl::StrAppend(svg, "<path class=\"line\" d=\"", line, "\"/>");
  for (const PlotPoint& point : series.points) {
    const double x = frame.X(point.recall);
    const double y = frame.Y(point.qps);
    absl::StrAppend(svg, "<g class=\"", point.on_line ? "point" : "point off", "\">");
    absl::StrAppend(svg, "<title>", EscapeHtml(point.label), "</title>");
    if (point.marked) {
      absl::StrAppendFormat(svg, "<circle class=\"ring\" cx=\"%.1f\" cy=\"%.1f\" r=\"9\"/>", x, y);
    }
    absl::StrAppend(svg, Marker(series.color, x, y, point.on_line ? 4 : 2.5), "</g>");
  }
  absl::StrAppend(svg, "</g>\n");
}

}  // namespace

double RecallScale(double recall) {
  return -std::log10(1 - std::clamp(recall, 0.0, kRecallMax));
}

std::string EscapeHtml(const std::string& text) {
  return absl::StrReplaceAll(
      text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

std::string RecallPlot(const std::string& title, const std::vector<PlotSeries>& series) {
  const Frame frame = Fit(series);
  std::string svg = absl::StrFormat("<svg viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"%s\">\n",
                                    kWidth, kHeight, EscapeHtml(title));
  DrawGrid(frame, &svg);
  for (const PlotSeries& one : series) DrawSeries(frame, one, &svg);
  absl::StrAppend(&svg, "</svg>\n");
  return svg;
}

}  // namespace tessera::bench
