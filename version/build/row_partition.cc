#include "version/build/row_partition.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/coding/coding.h"
#include "base/status_macros.h"
#include "index/codecs/codec.h"

namespace tessera::version {
namespace {

constexpr size_t kAssignedRowBytes = 12;
constexpr size_t kAssignmentBufferBytes = 256 << 10;
constexpr size_t kReadBytes = 1 << 20;
// Spools open at a time, each a file.
constexpr size_t kGroupsPerPass = 64;
constexpr size_t kSpoolBufferMax = 1 << 20;
// Rows between two looks whether the build was cancelled.
constexpr uint32_t kRowsPerCheck = 1024;

// Walks over the records of all sources with their lists. `use(source, record, assigned)`; record
// is null when only the lists are wanted.
template <typename Use>
absl::Status ForEachRow(std::span<const RowSource> sources, bool with_records, Use&& use) {
  std::vector<std::byte> records;
  std::vector<AssignedRow> assigned;
  for (size_t number = 0; number < sources.size(); ++number) {
    const RowSource& source = sources[number];
    const size_t record_bytes = source.records->record_bytes();
    TESSERA_CHECK(source.lists->count() == source.records->record_count());
    const size_t per_read = std::max<size_t>(1, kReadBytes / record_bytes);
    for (uint64_t first = 0; first < source.lists->count(); first += per_read) {
      const auto count = std::min<uint64_t>(per_read, source.lists->count() - first);
      TESSERA_RETURN_IF_ERROR(source.lists->Read(first, count, &assigned));
      if (with_records) TESSERA_RETURN_IF_ERROR(source.records->Read(first, count, &records));
      for (size_t i = 0; i < count; ++i) {
        const std::byte* record = with_records ? records.data() + i * record_bytes : nullptr;
        TESSERA_RETURN_IF_ERROR(use(number, record, assigned[i]));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<AssignmentSpool> AssignmentSpool::Create(Context& context) {
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<RecordSpool> spool,
                           RecordSpool::Create(*context.fs, context.ScratchFile("lists"),
                                               kAssignedRowBytes, kAssignmentBufferBytes));
  return AssignmentSpool(std::move(spool));
}

absl::Status AssignmentSpool::Append(const AssignedRow& row) {
  std::byte record[kAssignedRowBytes];
  base::StoreU64(record, row.row.value);
  base::StoreU32(record + 8, row.list);
  return spool_->Append(record);
}

absl::Status AssignmentSpool::Read(uint64_t first, size_t count, std::vector<AssignedRow>* rows) {
  TESSERA_RETURN_IF_ERROR(spool_->Read(first, count, &buffer_));
  rows->resize(count);
  for (size_t i = 0; i < count; ++i) {
    const std::byte* record = buffer_.data() + i * kAssignedRowBytes;
    (*rows)[i] = {.row = {base::LoadU64(record)}, .list = base::LoadU32(record + 8)};
  }
  return absl::OkStatus();
}

absl::StatusOr<PartPlan> PartPlan::Create(std::span<const uint32_t> list_rows,
                                          uint32_t part_rows_max, uint64_t first_block) {
  TESSERA_CHECK(part_rows_max > 0 && part_rows_max % index::kBlockRows == 0);
  PartPlan plan;
  plan.end_block_ = first_block;
  plan.first_part_.reserve(list_rows.size());
  for (uint32_t list = 0; list < list_rows.size(); ++list) {
    plan.first_part_.push_back(static_cast<uint32_t>(plan.parts_.size()));
    const uint64_t rows = list_rows[list];
    if (rows == 0) continue;
    const uint64_t pieces = (rows + part_rows_max - 1) / part_rows_max;
    const uint64_t share =
        pieces == 1 ? rows : index::BlockCount((rows + pieces - 1) / pieces) * index::kBlockRows;
    for (uint64_t begin = 0; begin < rows; begin += share) {
      const uint64_t part_rows = std::min(share, rows - begin);
      if (plan.end_block_ > std::numeric_limits<uint32_t>::max()) {
        return absl::ResourceExhaustedError(absl::StrCat("the index would have more than ",
                                                         plan.end_block_ * index::kBlockRows,
                                                         " positions; it has to be rebuilt"));
      }
      plan.parts_.push_back({.list = list,
                             .rows = static_cast<uint32_t>(part_rows),
                             .first_block = static_cast<uint32_t>(plan.end_block_)});
      plan.end_block_ += index::BlockCount(part_rows);
    }
  }
  return plan;
}

// Moves the rows into groups.
class RowGrouper {
 public:
  RowGrouper(Context& context, std::span<const RowSource> sources, const PartPlan& plan,
             const PartitionOptions& options)
      : context_(context), sources_(sources), plan_(plan), options_(options) {
    stride_ = sources.front().records->record_bytes() + sizeof(uint32_t);
    for (const RowSource& source : sources) {
      TESSERA_CHECK(source.records->record_bytes() + sizeof(uint32_t) == stride_);
    }
  }

  absl::Status Run(absl::FunctionRef<absl::Status(const RowGroup&)> use) {
    CutGroups();
    for (size_t begin = 0; begin + 1 < group_begin_.size(); begin += kGroupsPerPass) {
      const size_t end = std::min(begin + kGroupsPerPass, group_begin_.size() - 1);
      TESSERA_RETURN_IF_ERROR(RunPass(begin, end, use));
    }
    return absl::OkStatus();
  }

 private:
  void CutGroups();
  absl::Status RunPass(size_t begin, size_t end,
                       absl::FunctionRef<absl::Status(const RowGroup&)> use);
  void Order(RowGroup* group) const;
  absl::Status CheckCancelled() const {
    TESSERA_RETURN_IF_ERROR(options_.pace.Check());
    return absl::OkStatus();
  }

  Context& context_;
  const std::span<const RowSource> sources_;
  const PartPlan& plan_;
  const PartitionOptions& options_;
  size_t stride_ = 0;
  std::vector<uint32_t> group_begin_;  // parts, one more than groups
};

void RowGrouper::CutGroups() {
  const std::vector<PlannedPart>& parts = plan_.parts();
  const uint64_t rows_max = std::max<uint64_t>(
      1, std::min<uint64_t>(options_.group_bytes / stride_, std::numeric_limits<uint32_t>::max()));
  uint64_t rows = 0;
  group_begin_ = {0};
  for (uint32_t part = 0; part < parts.size(); ++part) {
    if (rows > 0 && rows + parts[part].rows > rows_max) {
      group_begin_.push_back(part);
      rows = 0;
    }
    rows += parts[part].rows;
  }
  if (!parts.empty()) group_begin_.push_back(static_cast<uint32_t>(parts.size()));
}

absl::Status RowGrouper::RunPass(size_t begin, size_t end,
                                 absl::FunctionRef<absl::Status(const RowGroup&)> use) {
  const size_t count = end - begin;
  const bool in_memory = count == 1;
  const uint32_t first_part = group_begin_[begin];
  const uint32_t end_part = group_begin_[end];
  std::vector<std::unique_ptr<RecordSpool>> spools;
  std::vector<uint32_t> group_of_part;
  for (size_t g = begin; g < end; ++g) {
    group_of_part.resize(group_begin_[g + 1] - first_part, static_cast<uint32_t>(g - begin));
    if (in_memory) break;
    TESSERA_ASSIGN_OR_RETURN(
        spools.emplace_back(),
        RecordSpool::Create(*context_.fs, context_.ScratchFile("group"), stride_,
                            std::min<uint64_t>(options_.buffer_bytes / count, kSpoolBufferMax)));
  }
  RowGroup loaded;
  loaded.stride_ = stride_;
  if (in_memory) {
    uint64_t rows = 0;
    for (uint32_t part = first_part; part < end_part; ++part) rows += plan_.parts()[part].rows;
    loaded.bytes_.reserve(rows * stride_);
  }

  PartWalk walk(plan_);
  std::vector<std::byte> row(stride_);
  uint32_t until_check = 0;
  const auto move = [&](size_t, const std::byte* record, const AssignedRow& assigned) {
    if (until_check++ % kRowsPerCheck == 0) {
      if (absl::Status status = CheckCancelled(); !status.ok()) return status;
    }
    const uint32_t part = walk.Next(assigned.list).part;
    if (part < first_part || part >= end_part) return absl::OkStatus();
    base::StoreU32(row.data(), part);
    std::copy_n(record, stride_ - sizeof(uint32_t), row.data() + sizeof(uint32_t));
    if (!in_memory) return spools[group_of_part[part - first_part]]->Append(row);
    loaded.bytes_.insert(loaded.bytes_.end(), row.begin(), row.end());
    return absl::OkStatus();
  };
  TESSERA_RETURN_IF_ERROR(ForEachRow(sources_, /*with_records=*/true, move));
  for (const auto& spool : spools) TESSERA_RETURN_IF_ERROR(spool->FinishWriting());

  for (size_t g = begin; g < end; ++g) {
    loaded.first_part = group_begin_[g];
    loaded.end_part = group_begin_[g + 1];
    if (!in_memory) {
      RecordSpool& spool = *spools[g - begin];
      TESSERA_RETURN_IF_ERROR(spool.Read(0, spool.record_count(), &loaded.bytes_));
      spools[g - begin].reset();
    }
    Order(&loaded);
    TESSERA_RETURN_IF_ERROR(use(loaded));
  }
  return absl::OkStatus();
}

// Sorts the rows of a group by part; rows of a part stay in order.
void RowGrouper::Order(RowGroup* group) const {
  const size_t rows = group->bytes_.size() / stride_;
  const auto part_of = [&](size_t row) {
    return base::LoadU32(group->bytes_.data() + row * stride_) - group->first_part;
  };
  group->begin_.assign(group->end_part - group->first_part + 1, 0);
  for (size_t row = 0; row < rows; ++row) ++group->begin_[part_of(row) + 1];
  for (size_t part = 1; part < group->begin_.size(); ++part) {
    group->begin_[part] += group->begin_[part - 1];
  }
  std::vector<uint32_t> next(group->begin_.begin(), group->begin_.end() - 1);
  group->order_.resize(rows);
  for (size_t row = 0; row < rows; ++row) {
    group->order_[next[part_of(row)]++] = static_cast<uint32_t>(row);
  }
}

absl::Status ForEachGroup(Context& context, std::span<const RowSource> sources,
                          const PartPlan& plan, const PartitionOptions& options,
                          absl::FunctionRef<absl::Status(const RowGroup&)> use) {
  return RowGrouper(context, sources, plan, options).Run(use);
}

absl::Status ForEachLocation(std::span<const RowSource> sources, const PartPlan& plan,
                             absl::FunctionRef<absl::Status(size_t source, RowLocation)> use) {
  PartWalk walk(plan);
  return ForEachRow(sources, /*with_records=*/false,
                    [&](size_t source, const std::byte*, const AssignedRow& assigned) {
                      const PartWalk::Place place = walk.Next(assigned.list);
                      const uint64_t block = plan.parts()[place.part].first_block;
                      return use(source, {.row = assigned.row,
                                          .position = block * index::kBlockRows + place.slot});
                    });
}

}  // namespace tessera::version
