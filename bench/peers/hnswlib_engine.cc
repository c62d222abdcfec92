#include "bench/peers/hnswlib_engine.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <queue>
#include <thread>
#include <utility>

#include <hnswlib/hnswlib.h>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace tessera::bench {
namespace {

constexpr size_t kLinks = 16;
constexpr size_t kEfConstruction = 200;
constexpr uint64_t kChunkRows = 16384;

class HnswlibEngine : public Engine {
 public:
  explicit HnswlibEngine(const EngineOptions& options) : options_(options) {}

  std::string name() const override { return "hnswlib"; }
  std::string description() const override {
#if defined(USE_AVX512)
    const char* const isa = "AVX-512";
#elif defined(USE_AVX)
    const char* const isa = "AVX";
#else
    const char* const isa = "SSE";
#endif
    return absl::StrCat("hnswlib 0.6.2 (Debian), M=", kLinks, ", ef_construction=", kEfConstruction,
                        ", f32 rows, -march=native (", isa, ")");
  }

  absl::Status Build(const VectorFile& base) override;
  std::vector<SearchPoint> DefaultSweep() const override {
    std::vector<double> depths;
    for (const double ef : {10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768}) {
      if (ef >= options_.k) depths.push_back(ef);
    }
    return CrossProduct({{"ef", depths}});
  }
  absl::Status Configure(const SearchPoint& point) override;
  absl::Status Search(std::span<const float> query, std::vector<uint64_t>* ids) override;

 private:
  absl::Status AddRows(const std::vector<float>& rows, uint64_t first, uint64_t count);

  const EngineOptions options_;
  size_t dim_ = 0;
  std::unique_ptr<hnswlib::SpaceInterface<float>> space_;
  std::unique_ptr<hnswlib::HierarchicalNSW<float>> graph_;
};

absl::Status HnswlibEngine::Build(const VectorFile& base) {
  dim_ = base.dim();
  if (options_.metric == base::Metric::kL2) {
    space_ = std::make_unique<hnswlib::L2Space>(dim_);
  } else {
    space_ = std::make_unique<hnswlib::InnerProductSpace>(dim_);
  }
  try {
    graph_ = std::make_unique<hnswlib::HierarchicalNSW<float>>(space_.get(), base.rows(), kLinks,
                                                               kEfConstruction);
  } catch (const std::exception& error) {
    return absl::ResourceExhaustedError(absl::StrCat("hnswlib: ", error.what()));
  }
  std::vector<float> rows(kChunkRows * dim_);
  for (uint64_t first = 0; first < base.rows(); first += kChunkRows) {
    const uint64_t count = std::min(kChunkRows, base.rows() - first);
    TESSERA_RETURN_IF_ERROR(base.ReadFloats(first, count, rows.data()));
    if (options_.metric == base::Metric::kCosine) {
      for (uint64_t row = 0; row < count; ++row) Normalize({&rows[row * dim_], dim_});
    }
    TESSERA_RETURN_IF_ERROR(AddRows(rows, first, count));
  }
  return absl::OkStatus();
}

absl::Status HnswlibEngine::AddRows(const std::vector<float>& rows, uint64_t first,
                                    uint64_t count) {
  std::atomic<uint64_t> next{0};
  std::atomic<bool> failed{false};
  const auto work = [&] {
    try {
      for (;;) {
        const uint64_t row = next.fetch_add(1, std::memory_order_relaxed);
        if (row >= count) return;
        graph_->addPoint(&rows[row * dim_], first + row);  // the label is the external id
      }
    } catch (const std::exception&) {
      failed.store(true, std::memory_order_relaxed);
    }
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < options_.build_threads; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  if (failed.load(std::memory_order_relaxed)) {
    return absl::ResourceExhaustedError("hnswlib could not add a row");
  }
  return absl::OkStatus();
}

absl::Status HnswlibEngine::Configure(const SearchPoint& point) {
  size_t ef = std::max<size_t>(options_.k, 64);
  for (const auto& [parameter, value] : point) {
    if (parameter != "ef" || value < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("hnswlib has no setting ", parameter, "=", value, ", only ef >= 1"));
    }
    ef = static_cast<size_t>(value);
  }
  graph_->setEf(ef);
  return absl::OkStatus();
}

absl::Status HnswlibEngine::Search(std::span<const float> query, std::vector<uint64_t>* ids) {
  const float* values = query.data();
  thread_local std::vector<float> unit;
  if (options_.metric == base::Metric::kCosine) {
    unit.assign(query.begin(), query.end());
    Normalize(unit);
    values = unit.data();
  }
  auto farthest_first = graph_->searchKnn(values, options_.k);
  ids->resize(farthest_first.size());
  for (size_t i = ids->size(); i-- > 0; farthest_first.pop()) {
    (*ids)[i] = farthest_first.top().second;
  }
  return absl::OkStatus();
}

}  // namespace

std::unique_ptr<Engine> NewHnswlibEngine(const EngineOptions& options) {
  return std::make_unique<HnswlibEngine>(options);
}

}  // namespace tessera::bench
