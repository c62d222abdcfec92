#include "storage/page_cache.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <limits>
#include <set>
#include <thread>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/status_macros.h"
#include "storage/aligned_buffer.h"
#include "storage/frame_arena.h"
#include "storage/read_window.h"

namespace tessera::storage {
namespace {

constexpr uint64_t kReadBytesMin = kPlaneAlignment;
// For a turn at the reserve: many reads of others.
constexpr std::chrono::milliseconds kWindowWaitMax{5000};
constexpr std::chrono::milliseconds kStepBackMax{10'000};
constexpr std::chrono::milliseconds kStepBackPoll{1};

// What a unit of 0 bytes points to.
alignas(64) constexpr std::array<std::byte, 64> kNothing{};

uint64_t RoundDown(uint64_t value) {
  return value / kPlaneAlignment * kPlaneAlignment;
}
uint64_t RoundUp(uint64_t value) {
  return RoundDown(value + kPlaneAlignment - 1);
}

std::vector<UnitRun> ToRuns(const std::vector<ByteRange>& units) {
  std::vector<UnitRun> runs;
  for (const ByteRange& unit : units) {
    if (!runs.empty()) {
      UnitRun& run = runs.back();
      const uint64_t last = run.offset + uint64_t{run.stride} * (run.count - 1);
      const bool follows = unit.file == run.file && unit.bytes == run.bytes && unit.offset > last &&
                           unit.offset - last <= std::numeric_limits<uint32_t>::max();
      if (follows && (run.count == 1 || unit.offset - last == run.stride)) {
        run.stride = static_cast<uint32_t>(unit.offset - last);
        ++run.count;
        continue;
      }
    }
    runs.push_back(
        {.file = unit.file, .offset = unit.offset, .bytes = unit.bytes, .stride = 0, .count = 1});
  }
  return runs;
}

}  // namespace

FrameTable::FrameTable(PageCache& cache, Priority priority, const std::vector<UnitRun>& runs,
                       Verifier verifier)
    : cache_(cache), priority_(priority), verifier_(std::move(verifier)), pin_(cache.Pin(runs)) {
  runs_.reserve(runs.size());
  for (const UnitRun& run : runs) {
    TESSERA_CHECK(run.count <= std::numeric_limits<uint32_t>::max() - unit_count_);
    if (run.count > 0) {
      runs_.push_back({.units = run, .first_unit = unit_count_});
      unit_count_ += run.count;
    }
  }
  slots_ = std::make_unique<std::atomic<uintptr_t>[]>(unit_count_);
}

FrameTable::FrameTable(PageCache& cache, Priority priority, const std::vector<ByteRange>& units,
                       Verifier verifier)
    : FrameTable(cache, priority, ToRuns(units), std::move(verifier)) {}

FrameTable::~FrameTable() {
  cache_.arena_->Forget(*this);
}

ByteRange FrameTable::unit_range(uint32_t unit) const {
  TESSERA_CHECK(unit < unit_count_);
  const auto after =
      std::upper_bound(runs_.begin(), runs_.end(), unit,
                       [](uint32_t wanted, const Run& run) { return wanted < run.first_unit; });
  const Run& run = *std::prev(after);
  return {.file = run.units.file,
          .offset = run.units.offset + uint64_t{unit - run.first_unit} * run.units.stride,
          .bytes = run.units.bytes};
}

uint64_t FrameTable::memory_bytes() const {
  return sizeof(*this) + runs_.capacity() * sizeof(Run) +
         uint64_t{unit_count_} * sizeof(std::atomic<uintptr_t>);
}

absl::StatusOr<std::unique_ptr<PageCache>> PageCache::Create(ExtentStore& store, ReadEngine& engine,
                                                             base::MemoryBudget& budget,
                                                             const PageCacheOptions& options) {
  if (options.capacity_bytes < kCapacityMin ||
      options.capacity_bytes > std::numeric_limits<int64_t>::max()) {
    return absl::InvalidArgumentError(absl::StrCat("page cache of ", options.capacity_bytes,
                                                   " bytes, must be at least ", kCapacityMin));
  }
  if (options.read_bytes_max < kReadBytesMin || options.fetch_window_bytes < kReadBytesMin) {
    return absl::InvalidArgumentError(absl::StrCat("reads of up to ", options.read_bytes_max,
                                                   " bytes within ", options.fetch_window_bytes,
                                                   ", each must be at least ", kReadBytesMin));
  }
  TESSERA_ASSIGN_OR_RETURN(
      std::unique_ptr<FrameArena> arena,
      FrameArena::Create(budget, options.capacity_bytes, options.pin_reserve_bytes));
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<ReadWindows> windows,
                           ReadWindows::Create(budget, options.read_reserve_bytes, kWindowWaitMax));
  return std::unique_ptr<PageCache>(
      new PageCache(store, engine, options, std::move(arena), std::move(windows)));
}

PageCache::PageCache(ExtentStore& store, ReadEngine& engine, const PageCacheOptions& options,
                     std::unique_ptr<FrameArena> arena, std::unique_ptr<ReadWindows> windows)
    : store_(store),
      engine_(engine),
      options_(options),
      arena_(std::move(arena)),
      windows_(std::move(windows)) {}

PageCache::~PageCache() = default;

ExtentPin PageCache::Pin(const std::vector<UnitRun>& runs) {
  std::set<uint32_t> files;
  uint32_t last = 0;
  for (const UnitRun& run : runs) {
    if (run.bytes > 0 && run.count > 0 && run.file != last) {
      files.insert(run.file);
      last = run.file;
    }
  }
  return store_.Pin(std::move(files));
}

void PageCache::Adopt(const FrameMove& move) {
  arena_->Adopt(move);
}

PageCacheStats PageCache::stats() {
  return arena_->Stats();
}

// One Fetch: the missing units in the order of the files, grouped into reads.
class PageCache::Fetcher {
 public:
  using Ready = absl::FunctionRef<void(size_t request, const std::byte* data)>;

  Fetcher(PageCache& cache, const CacheGuard& guard, std::span<const FetchRequest> requests,
          Ready ready)
      : cache_(cache), guard_(guard), requests_(requests), ready_(ready) {}
  Fetcher(const Fetcher&) = delete;
  Fetcher& operator=(const Fetcher&) = delete;
  ~Fetcher() { EndPublishing(); }

  absl::Status Run(FetchStats* stats);

 private:
  struct Miss {
    size_t request;
    ByteRange range;
    bool delivered = false;
  };
  struct Read {
    std::shared_ptr<const base::RandomAccessFile> file;
    uint64_t offset = 0;
    uint64_t bytes = 0;
    size_t first_miss = 0;
    size_t miss_count = 0;
    AlignedBuffer buffer;  // while under way
  };

  // Reads and hands on; hands on `resident` as well, while the first reads are under way.
  void ReadMisses(std::span<const std::pair<size_t, const std::byte*>> resident);
  void PlanReads();
  absl::Status TakeWindow();
  void EndPublishing() {
    if (announced_ > 0) cache_.arena_->EndPublishing(std::exchange(announced_, 0));
  }
  absl::Status SubmitSome(ReadBatch& batch);
  void Complete(const ReadCompletion& completion);
  absl::Status Deliver(Miss& miss, const Read& read, size_t bytes_read);
  void StepBack();
  bool MayStepBack() const;
  void Note(const absl::Status& status) {
    if (first_error_.ok()) {
      first_error_ = status;
    }
  }

  PageCache& cache_;
  const CacheGuard& guard_;
  const std::span<const FetchRequest> requests_;
  const Ready ready_;

  std::vector<Miss> misses_;
  std::vector<Read> reads_;
  uint64_t announced_ = 0;  // to the arena
  ReadWindow window_;
  size_t next_read_ = 0;
  uint64_t under_way_bytes_ = 0;
  FetchStats stats_;
  absl::Status first_error_;
  // The arena has refused a frame that it will have when older guards are gone.
  bool stepped_back_ = false;
  const std::chrono::steady_clock::time_point deadline_ =
      std::chrono::steady_clock::now() + kStepBackMax;  // for that
};

absl::Status PageCache::Fetcher::Run(FetchStats* stats) {
  std::vector<std::pair<size_t, const std::byte*>> resident;
  for (size_t i = 0; i < requests_.size(); ++i) {
    const FetchRequest& request = requests_[i];
    if (const std::byte* data = request.table->Peek(request.unit)) {
      resident.emplace_back(i, data);
      continue;
    }
    const ByteRange range = request.table->unit_range(request.unit);
    if (range.bytes == 0) {
      resident.emplace_back(i, kNothing.data());
    } else {
      misses_.push_back({.request = i, .range = range});
    }
  }

  ReadMisses(resident);
  while (stepped_back_) {
    StepBack();
    ReadMisses({});
  }
  if (stats != nullptr) {
    stats->reads += stats_.reads;
    stats->bytes_read += stats_.bytes_read;
  }
  return first_error_;
}

void PageCache::Fetcher::ReadMisses(std::span<const std::pair<size_t, const std::byte*>> resident) {
  std::unique_ptr<ReadBatch> batch;
  if (!misses_.empty()) {
    PlanReads();
    Note(TakeWindow());
    if (first_error_.ok()) {
      batch = cache_.engine_.NewBatch();
      Note(SubmitSome(*batch));
    }
  }
  for (const auto& [request, data] : resident) {
    ready_(request, data);
  }
  while (batch != nullptr) {
    const std::optional<ReadCompletion> completion = batch->Next();
    if (!completion.has_value()) {
      break;
    }
    Complete(*completion);
    if (first_error_.ok() && !stepped_back_) {
      Note(SubmitSome(*batch));
    }
  }
}

// Guards older than ours pin all that could be reused. Whoever waits for them must not keep them
// waiting: so the window is given back, and what was read into it is read again.
void PageCache::Fetcher::StepBack() {
  stepped_back_ = false;
  std::erase_if(misses_, [](const Miss& miss) { return miss.delivered; });
  reads_.clear();
  next_read_ = 0;
  window_ = ReadWindow();
  while (MayStepBack()) {
    std::this_thread::sleep_for(kStepBackPoll);
  }
}

bool PageCache::Fetcher::MayStepBack() const {
  return OldestPinnedEpoch() < guard_.epoch() && std::chrono::steady_clock::now() < deadline_;
}

void PageCache::Fetcher::PlanReads() {
  std::sort(misses_.begin(), misses_.end(), [](const Miss& a, const Miss& b) {
    return std::tie(a.range.file, a.range.offset) < std::tie(b.range.file, b.range.offset);
  });
  for (size_t i = 0; i < misses_.size(); ++i) {
    const ByteRange& range = misses_[i].range;
    const uint64_t begin = RoundDown(range.offset);
    const uint64_t end = RoundUp(range.offset + range.bytes);
    if (!reads_.empty() && misses_[i - 1].range.file == range.file) {
      Read& last = reads_.back();
      const uint64_t last_end = last.offset + last.bytes;
      const uint64_t joined_end = std::max(last_end, end);
      const bool inside = end <= last_end;
      if (inside || (begin <= last_end + cache_.options_.read_gap_bytes_max &&
                     joined_end - last.offset <= cache_.options_.read_bytes_max)) {
        last.bytes = joined_end - last.offset;
        ++last.miss_count;
        continue;
      }
    }
    Read& read = reads_.emplace_back();
    read.offset = begin;
    read.bytes = end - begin;
    read.first_miss = i;
    read.miss_count = 1;
  }
}

absl::Status PageCache::Fetcher::TakeWindow() {
  uint64_t sum = 0;
  uint64_t largest = 0;
  for (const Read& read : reads_) {
    sum += read.bytes;
    largest = std::max(largest, read.bytes);
  }
  const uint64_t wanted = std::max(largest, std::min(sum, cache_.options_.fetch_window_bytes));
  // Before the window: nobody waits for guards while others wait for its turn.
  EndPublishing();
  announced_ = cache_.arena_->BeginPublishing(guard_.epoch(), sum);
  TESSERA_ASSIGN_OR_RETURN(window_, cache_.windows_->Take(wanted, largest));
  return absl::OkStatus();
}

absl::Status PageCache::Fetcher::SubmitSome(ReadBatch& batch) {
  std::vector<ReadRequest> requests;
  absl::Status status;
  while (next_read_ < reads_.size() &&
         under_way_bytes_ + reads_[next_read_].bytes <= window_.bytes()) {
    Read& read = reads_[next_read_];
    const uint32_t file = misses_[read.first_miss].range.file;
    absl::StatusOr<std::shared_ptr<const base::RandomAccessFile>> opened =
        cache_.store_.OpenFile(file);
    if (!opened.ok()) {
      status = absl::IsNotFound(opened.status())
                   ? absl::DataLossError(absl::StrCat("extent file ", file, " is missing"))
                   : opened.status();
      break;
    }
    read.file = *std::move(opened);
    read.buffer = AlignedBuffer(read.bytes);
    requests.push_back({.file = read.file.get(),
                        .offset = read.offset,
                        .out = read.buffer.span(),
                        .tag = next_read_});
    under_way_bytes_ += read.bytes;
    ++next_read_;
  }
  if (!requests.empty()) {
    batch.Submit(requests);
  }
  return status;
}

void PageCache::Fetcher::Complete(const ReadCompletion& completion) {
  Read& read = reads_[completion.tag];
  if (stepped_back_) {
    // Read again later.
  } else if (completion.status.ok()) {
    ++stats_.reads;
    stats_.bytes_read += completion.bytes;
    for (size_t i = 0; i < read.miss_count && !stepped_back_; ++i) {
      Note(Deliver(misses_[read.first_miss + i], read, completion.bytes));
    }
  } else {
    Note(completion.status);
  }
  under_way_bytes_ -= read.bytes;
  read.buffer = AlignedBuffer();
  read.file.reset();
}

absl::Status PageCache::Fetcher::Deliver(Miss& miss, const Read& read, size_t bytes_read) {
  const FetchRequest& request = requests_[miss.request];
  const uint64_t at = miss.range.offset - read.offset;
  if (at + miss.range.bytes > bytes_read) {
    return absl::DataLossError(
        absl::StrCat("extent file ", miss.range.file, " ends at ", read.offset + bytes_read,
                     ", a unit of ", miss.range.bytes, " bytes is to be at ", miss.range.offset));
  }
  const std::span<const std::byte> bytes = read.buffer.span().subspan(at, miss.range.bytes);
  const absl::Status verified = request.table->verifier_(request.unit, bytes);
  if (!verified.ok()) {
    return absl::Status(verified.code(),
                        absl::StrCat("unit ", request.unit, " of ", miss.range.bytes, " bytes at ",
                                     miss.range.offset, " of extent file ", miss.range.file, ": ",
                                     verified.message()));
  }
  const absl::StatusOr<const std::byte*> data =
      cache_.arena_->Publish(*request.table, request.unit, bytes);
  if (absl::IsResourceExhausted(data.status()) && MayStepBack()) {
    stepped_back_ = true;
    return absl::OkStatus();
  }
  TESSERA_RETURN_IF_ERROR(data.status());
  miss.delivered = true;
  ready_(miss.request, *data);
  return absl::OkStatus();
}

absl::Status PageCache::Fetch(CacheGuard& guard, std::span<const FetchRequest> requests,
                              absl::FunctionRef<void(size_t request, const std::byte* data)> ready,
                              FetchStats* stats) {
  return Fetcher(*this, guard, requests, ready).Run(stats);
}

}  // namespace tessera::storage
