#include "query/columns/filter_program.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>

#include "base/status_macros.h"
#include "query/columns/condition.h"
#include "query/columns/rest_view.h"
#include "query/columns/words.h"

namespace tessera::query {
namespace {

using Words = std::array<uint64_t, kChunkRowsMax / 64>;

class Evaluation {
 public:
  Evaluation(const FilterTree& tree, uint32_t rows) : tree_(tree), rows_(rows) {}

  absl::Status Open(const ChunkUnits& units, bool wants_ids) {
    paths_.resize(tree_.paths.size());
    for (size_t i = 0; i < std::min(units.paths.size(), paths_.size()); ++i) {
      TESSERA_RETURN_IF_ERROR(Open(units.paths[i], UnitKind::kPath, &paths_[i]));
    }
    if (wants_ids) TESSERA_RETURN_IF_ERROR(Open(units.ids_unit, UnitKind::kIds, &ids_));
    return Open(units.rest_unit, UnitKind::kRest, &rest_);
  }

  // Those of the candidates that match.
  Words Run(uint32_t at, const Words& candidates) const {
    const FilterTree::Node& node = tree_.nodes[at];
    if (const auto* some = std::get_if<AtLeast>(&node.filter->node)) {
      if (some->least == 0) return candidates;
      if (some->least > node.children.size()) return {};
      if (some->least == node.children.size()) return All(node, candidates);
      return some->least == 1 ? Any(node, candidates) : Count(node, some->least, candidates);
    }
    if (std::holds_alternative<Not>(node.filter->node)) {
      return Without(candidates, Run(node.children[0], candidates));
    }
    // CONTAINS ALL of nothing is the one condition that holds without the path.
    const auto* in = std::get_if<In>(&node.filter->node);
    if (in != nullptr && in->all && in->constants.empty()) return candidates;
    Words out{};
    if (const auto* has = std::get_if<HasId>(&node.filter->node)) {
      if (ids_.has_value()) MarkIds(*ids_, *has, candidates.data(), out.data());
    } else if (paths_[node.path].has_value()) {
      MarkCondition(*paths_[node.path], *node.filter, candidates.data(), out.data());
    } else if (rest_.has_value()) {
      MarkRest(*node.filter, tree_.paths[node.path], candidates, &out);
    }
    return out;
  }

 private:
  absl::Status Open(std::string_view bytes, UnitKind kind, std::optional<UnitView>* unit) const {
    if (bytes.empty()) return absl::OkStatus();
    TESSERA_ASSIGN_OR_RETURN(*unit, ParseUnit(bytes));
    if ((*unit)->kind == kind && (*unit)->rows == rows_) return absl::OkStatus();
    return absl::DataLossError("column unit: of another chunk");
  }

  static bool IsEmpty(const Words& words) {
    return std::all_of(words.begin(), words.end(), [](uint64_t word) { return word == 0; });
  }
  static Words Without(const Words& a, const Words& b) {
    Words out;
    for (size_t i = 0; i < out.size(); ++i) out[i] = a[i] & ~b[i];
    return out;
  }

  Words All(const FilterTree::Node& node, const Words& candidates) const {
    Words left = candidates;
    for (size_t i = 0; i < node.children.size() && !IsEmpty(left); ++i) {
      left = Run(node.children[i], left);
    }
    return left;
  }
  Words Any(const FilterTree::Node& node, const Words& candidates) const {
    Words left = candidates;  // that none has matched yet
    for (size_t i = 0; i < node.children.size() && !IsEmpty(left); ++i) {
      left = Without(left, Run(node.children[i], left));
    }
    return Without(candidates, left);
  }
  // Counters of rows, bit-sliced, that start so that the top bit is set at `least`.
  Words Count(const FilterTree::Node& node, uint32_t least, const Words& candidates) const {
    const auto bits = static_cast<size_t>(std::bit_width(least));
    const uint32_t start = (uint32_t{1} << bits) - least;
    std::vector<Words> counters(bits);
    for (size_t bit = 0; bit < bits; ++bit) {
      counters[bit].fill((start >> bit & 1) != 0 ? ~uint64_t{0} : 0);
    }
    Words held{};
    for (const uint32_t child : node.children) {
      Words carry = Run(child, Without(candidates, held));
      for (Words& counter : counters) {
        for (size_t i = 0; i < carry.size(); ++i) {
          const uint64_t both = counter[i] & carry[i];
          counter[i] ^= carry[i];
          carry[i] = both;
        }
      }
      for (size_t i = 0; i < held.size(); ++i) held[i] |= carry[i];
    }
    return held;
  }

  void MarkRest(const Filter& condition, std::string_view path, const Words& candidates,
                Words* out) const {
    const RestView view(*rest_);
    for (uint32_t i = 0; i < view.count(); ++i) {
      const uint16_t row = view.row(i);
      if (row >= rows_ || (candidates[row / 64] >> (row % 64) & 1) == 0) continue;
      FieldRecordReader reader(view.record(i));
      std::string_view key;
      std::string_view values;
      while (reader.Next(&key, &values) && key < path) {
      }
      if (key == path && !reader.damaged() && HoldsForValues(condition, values)) {
        (*out)[row / 64] |= uint64_t{1} << (row % 64);
      }
    }
  }

  const FilterTree& tree_;
  uint32_t rows_;
  std::vector<std::optional<UnitView>> paths_;
  std::optional<UnitView> ids_;
  std::optional<UnitView> rest_;
};

}  // namespace

void FilterProgram::LookForIds() {
  wants_ids_ = std::any_of(tree_.nodes.begin(), tree_.nodes.end(), [](const auto& node) {
    return std::holds_alternative<HasId>(node.filter->node);
  });
}

absl::Status FilterProgram::Evaluate(const ChunkUnits& units, uint64_t* words) const {
  TESSERA_ASSIGN_OR_RETURN(const UnitView rows, ParseUnit(units.rows_unit));
  const Section* blocks = rows.Find(SectionKind::kBlocks);
  if (rows.kind != UnitKind::kRows || blocks == nullptr || rows.rows != units.rows ||
      blocks->count != units.blocks) {
    return absl::DataLossError("column unit: of another chunk");
  }
  Evaluation evaluation(tree_, rows.rows);
  TESSERA_RETURN_IF_ERROR(evaluation.Open(units, wants_ids_));
  Words candidates{};
  for (uint32_t i = 0; i < WordCount(rows.rows); ++i) candidates[i] = ValidBits(rows.rows, i);
  const Words dense =
      evaluation.Run(static_cast<uint32_t>(tree_.nodes.size() - 1), candidates);
  SpreadRows(*blocks, dense.data(), rows.rows, words);
  return absl::OkStatus();
}

}  // namespace tessera::query
