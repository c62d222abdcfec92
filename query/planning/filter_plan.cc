#include "query/planning/filter_plan.h"

#include <algorithm>

#include "index/codecs/codec.h"
#include "index/raw_plane.h"

namespace tessera::query {
namespace {

// Microseconds, one core, planes in memory. Lines through times of four sets (128 x u8, 100 x f16,
// 512 x i8, 128 x f32) by the bytes that are touched.
constexpr double kStart = 3;
constexpr double kPerRankedHead = 0.002;
constexpr double kPerList = 0.05;
constexpr double kPerListDim = 0.00014;
constexpr double kPerMaskedBlock = 0.003;
constexpr double kPerCodeBlock = 0.067;
constexpr double kPerCodeBlockDim = 0.00003;
constexpr double kPerRefined = 0.010;
constexpr double kPerRefinedByte = 0.00015;
constexpr double kPerFineRecord = 0.012;
constexpr double kExactStart = 1;
constexpr double kPerSkippedList = 0.001;
constexpr double kPerExactRow = 0.010;
constexpr double kPerExactByte = 0.0001;
// Survivors of a scanned block, and rows of the first look.
constexpr double kSurvivorsPerBlock = 0.35;
constexpr double kFirstLook = 32;

// Bytes from which a record of the second plane is a dear one.
constexpr size_t kLongRecord = 256;

bool HasFine(const IndexView& index) {
  return index.has_fine() && index.codec != nullptr;
}

size_t SecondPlaneBytes(const IndexView& index) {
  return HasFine(index) ? index.codec->FineRecordBytes() : index::RawVectorBytes(index.field);
}

}  // namespace

double SparseRowsPerBlock(const IndexView& index) {
  return SecondPlaneBytes(index) < kLongRecord ? 3 : 2;
}

PlanPrices PriceFilterPlans(const IndexView& index, const IndexMatches& matches, uint32_t limit,
                            uint32_t nprobe) {
  PlanPrices prices;
  prices.matches = matches.rows;
  prices.lists_eligible = matches.lists_eligible;
  prices.lists_planned = std::min(nprobe, matches.lists_eligible);

  const auto rows = static_cast<double>(matches.rows);
  const auto raw_bytes = static_cast<double>(index::RawVectorBytes(index.field));
  const auto all_lists = static_cast<double>(index.list_count());
  prices.exact_us =
      kExactStart + kPerSkippedList * all_lists + rows * (kPerExactRow + kPerExactByte * raw_bytes);
  if (matches.lists_eligible == 0) {
    prices.probe_us = prices.exact_us + kStart;  // there is nothing to probe
    return prices;
  }

  const auto dim = static_cast<double>(index.field.dim);
  const double eligible = matches.lists_eligible;
  const double lists = prices.lists_planned;
  const double all_blocks = static_cast<double>(index.positions) / index::kBlockRows;
  const double blocks = all_blocks / all_lists * lists;
  const double found = rows * lists / eligible;
  const auto record = static_cast<double>(SecondPlaneBytes(index));
  const double refine =
      kPerRefined + kPerRefinedByte * record + (HasFine(index) ? kPerFineRecord : 0);
  const double first_look = std::max<double>(kFirstLook, limit);
  prices.probe_us = kStart + kPerRankedHead * lists * all_lists / eligible +
                    (kPerList + kPerListDim * dim) * lists + kPerMaskedBlock * blocks;
  if (found <= SparseRowsPerBlock(index) * blocks) {
    prices.probe_us += refine * (first_look + found);
  } else {
    const double scanned = std::min(blocks, found);
    prices.probe_us += (kPerCodeBlock + kPerCodeBlockDim * dim) * scanned +
                       refine * (first_look + kSurvivorsPerBlock * scanned);
  }
  return prices;
}

}  // namespace tessera::query
