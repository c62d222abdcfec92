#include "bench/soak/soak_model.h"

#include <algorithm>
#include <cmath>

namespace tessera::bench {
namespace {

// Rows gather around so many points: uniform rows in many dimensions have no neighbours to speak
// of.
constexpr uint64_t kCenters = 1024;
constexpr float kSpread = 0.7F;  // of a row around its centre, whose parts are within 1
// Between sums of float products in different orders.
constexpr float kTolerance = 1e-4F;

uint64_t Mix(uint64_t value) {  // SplitMix64
  value += 0x9E3779B97F4A7C15;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
  return value ^ (value >> 31);
}

// Four numbers within [-1, 1) of every 64 bits.
void FillUniform(uint64_t seed, std::span<float> out) {
  uint64_t bits = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    bits = i % 4 == 0 ? Mix(seed + i) : bits >> 16;
    out[i] = static_cast<float>(static_cast<int16_t>(bits & 0xFFFF)) / 32768.0F;
  }
}

}  // namespace

float SoakDistance(std::span<const float> a, std::span<const float> b) {
  std::array<float, 8> sums{};
  size_t i = 0;
  for (; i + 8 <= a.size(); i += 8) {
    for (size_t j = 0; j < 8; ++j) {
      const float difference = a[i + j] - b[i + j];
      sums[j] += difference * difference;
    }
  }
  float sum = 0;
  for (; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  for (const float part : sums) sum += part;
  return sum;
}

SoakModel::SoakModel(uint64_t rows, uint32_t dim, uint64_t seed)
    : rows_(rows), dim_(dim), seed_(Mix(seed)), centers_(kCenters * dim), histories_(rows) {
  for (uint64_t center = 0; center < kCenters; ++center) {
    FillUniform(Mix(seed_ ^ center), std::span(centers_).subspan(center * dim, dim));
  }
}

void SoakModel::Vector(uint64_t id, uint32_t generation, std::span<float> out) const {
  const uint64_t row = Mix(Mix(seed_ + id) + generation);
  FillUniform(row, out);
  const float* center = centers_.data() + (row % kCenters) * dim_;
  for (size_t i = 0; i < out.size(); ++i) out[i] = center[i] + kSpread * out[i];
}

uint32_t SoakModel::Send(uint64_t id, bool upsert) {
  const uint64_t now = Tick();
  const std::lock_guard<std::mutex> lock(shard(id));
  History& history = histories_[id];
  std::shift_left(history.writes.begin(), history.writes.end(), 1);
  const uint32_t generation = upsert ? ++history.generations : 0;
  history.writes.back() = {.generation = generation, .sent = now, .acknowledged = kNever};
  return generation;
}

void SoakModel::Acknowledge(uint64_t id) {
  const uint64_t now = Tick();
  const std::lock_guard<std::mutex> lock(shard(id));
  histories_[id].writes.back().acknowledged = now;
}

uint32_t SoakModel::Current(uint64_t id) const {
  const std::lock_guard<std::mutex> lock(shard(id));
  return histories_[id].writes.back().generation;
}

bool SoakModel::MayShow(uint64_t id, std::span<const float> query, float distance, uint64_t asked,
                        uint64_t answered) const {
  if (id >= rows_) return false;
  History history;
  {
    const std::lock_guard<std::mutex> lock(shard(id));
    history = histories_[id];
  }
  if (history.writes.front().sent > asked) return true;  // more than are kept
  std::vector<float> vector(dim_);
  for (size_t i = 0; i < kKept; ++i) {
    const Write& write = history.writes[i];
    const bool replaced = i + 1 < kKept && history.writes[i + 1].acknowledged < asked;
    if (write.generation == 0 || write.sent > answered || replaced) continue;
    Vector(id, write.generation, vector);
    const float wanted = SoakDistance(query, vector);
    if (std::abs(wanted - distance) <= kTolerance * (1 + wanted)) return true;
  }
  return false;
}

uint64_t SoakModel::live_count() const {
  uint64_t count = 0;
  for (uint64_t id = 0; id < rows_; ++id) count += Current(id) != 0 ? 1 : 0;
  return count;
}

std::vector<std::vector<SoakModel::Neighbour>> SoakModel::Nearest(std::span<const float> queries,
                                                                  uint32_t k) const {
  const auto nearer = [](const Neighbour& a, const Neighbour& b) {
    return a.distance < b.distance || (a.distance == b.distance && a.id < b.id);
  };
  std::vector<std::vector<Neighbour>> found(queries.size() / dim_);  // heaps, the farthest on top
  std::vector<float> vector(dim_);
  for (uint64_t id = 0; id < rows_; ++id) {
    const uint32_t generation = Current(id);
    if (generation == 0) continue;
    Vector(id, generation, vector);
    for (size_t q = 0; q < found.size(); ++q) {
      std::vector<Neighbour>& heap = found[q];
      const Neighbour row{id, SoakDistance(queries.subspan(q * dim_, dim_), vector)};
      if (heap.size() == k && !nearer(row, heap.front())) continue;
      heap.push_back(row);
      std::push_heap(heap.begin(), heap.end(), nearer);
      if (heap.size() > k) {
        std::pop_heap(heap.begin(), heap.end(), nearer);
        heap.pop_back();
      }
    }
  }
  for (auto& heap : found) std::sort_heap(heap.begin(), heap.end(), nearer);
  return found;
}

}  // namespace tessera::bench
