// A recall-throughput plot as inline SVG. Colours come from the page's CSS: series i uses the
// custom property --series-<i>, text and grid --ink and --grid, so one picture serves light and
// dark.
#pragma once

#include <string>
#include <vector>

namespace tessera::bench {

struct PlotPoint {
  double recall = 0;    // 0 .. 1
  double qps = 0;       // > 0
  std::string label;    // shown on hover
  bool on_line = true;  // belongs to the series' front, which is joined by a line
  bool marked = false;  // the engine's defaults: drawn larger, with a ring
};

struct PlotSeries {
  std::string name;
  int color = 0;                  // 0 .. kPlotColors - 1
  std::vector<PlotPoint> points;  // by ascending recall
};

inline constexpr int kPlotColors = 6;

// Recall on a scale that opens up towards 1 (each tenfold drop of 1 - recall takes equal room),
// queries a second on a logarithmic one. `title` is the picture's accessible name.
std::string RecallPlot(const std::string& title, const std::vector<PlotSeries>& series);

// The horizontal scale: -log10(1 - recall), cut at recall 0.9995. Grows with recall.
double RecallScale(double recall);

// Text made safe for HTML and SVG, in content and in quoted attributes.
std::string EscapeHtml(const std::string& text);

}  // namespace tessera::bench
