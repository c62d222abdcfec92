#include "storage/external_sorter.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <new>
#include <span>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::storage {
namespace {

constexpr size_t kBlockHeaderBytes = 8;
constexpr size_t kBlockBytesMin = 1 << 10;
constexpr size_t kBlockBytesMax = 256 << 10;
constexpr size_t kBlocksInMemory = 16;
constexpr size_t kFanInMax = 256;  // open files
constexpr size_t kVarintBytesMax = 10;

uint64_t NextSorterId() {
  static std::atomic<uint64_t> next{0};
  return next.fetch_add(1, std::memory_order_relaxed);
}

uint64_t PrefixOf(std::string_view key) {
  if (key.size() >= 8) {
    return base::DecodeBigEndian64(key);
  }
  std::array<char, 8> padded{};
  std::copy(key.begin(), key.end(), padded.begin());
  return base::DecodeBigEndian64({padded.data(), padded.size()});
}

std::span<const std::byte> AsBytes(std::string_view bytes) {
  return std::as_bytes(std::span(bytes));
}

}  // namespace

// Writes one run.
class ExternalSorter::RunWriter {
 public:
  RunWriter(std::unique_ptr<base::WritableFile> file, std::string path, size_t block_bytes)
      : file_(std::move(file)), path_(std::move(path)), block_bytes_(block_bytes) {
    block_.reserve(block_bytes_);
    block_.resize(kBlockHeaderBytes);
  }

  absl::Status Add(std::string_view key, std::string_view value) {
    std::string lengths;
    base::PutVarint64(&lengths, key.size());
    base::PutVarint64(&lengths, value.size());
    TESSERA_RETURN_IF_ERROR(Put(lengths));
    TESSERA_RETURN_IF_ERROR(Put(key));
    TESSERA_RETURN_IF_ERROR(Put(value));
    ++pair_count_;
    return absl::OkStatus();
  }

  absl::StatusOr<Run> Finish() {
    TESSERA_RETURN_IF_ERROR(WriteBlock());
    TESSERA_RETURN_IF_ERROR(file_->Close());
    return Run{path_, pair_count_};
  }

 private:
  absl::Status Put(std::string_view bytes) {
    while (!bytes.empty()) {
      const size_t part = std::min(bytes.size(), block_bytes_ - block_.size());
      block_.append(bytes.substr(0, part));
      bytes.remove_prefix(part);
      if (block_.size() == block_bytes_) {
        TESSERA_RETURN_IF_ERROR(WriteBlock());
      }
    }
    return absl::OkStatus();
  }

  absl::Status WriteBlock() {
    if (block_.size() == kBlockHeaderBytes) {
      return absl::OkStatus();
    }
    auto* const header = reinterpret_cast<std::byte*>(block_.data());
    base::StoreU32(header + 4, static_cast<uint32_t>(block_.size() - kBlockHeaderBytes));
    base::StoreU32(header, base::Crc32c(AsBytes(block_).subspan(4)));
    absl::Status status = file_->Append(AsBytes(block_));
    block_.resize(kBlockHeaderBytes);
    return status;
  }

  const std::unique_ptr<base::WritableFile> file_;
  const std::string path_;
  const size_t block_bytes_;
  std::string block_;
  uint64_t pair_count_ = 0;
};

// Reads one run from front to back.
class ExternalSorter::RunReader {
 public:
  RunReader(std::unique_ptr<base::RandomAccessFile> file, const Run& run, size_t block_bytes)
      : file_(std::move(file)), run_(run), block_(block_bytes) {}

  // False at the end. The views hold until the next call.
  absl::StatusOr<bool> Next() {
    if (pairs_read_ == run_.pair_count) {
      return false;
    }
    uint64_t key_bytes = 0;
    uint64_t value_bytes = 0;
    TESSERA_RETURN_IF_ERROR(TakeVarint(&key_bytes));
    TESSERA_RETURN_IF_ERROR(TakeVarint(&value_bytes));
    if (key_bytes > kPartBytesMax || value_bytes > kPartBytesMax) {
      return Damaged("a pair is too long");
    }
    TESSERA_ASSIGN_OR_RETURN(const std::string_view pair, Take(key_bytes + value_bytes));
    key_ = pair.substr(0, key_bytes);
    value_ = pair.substr(key_bytes);
    ++pairs_read_;
    return true;
  }

  std::string_view key() const { return key_; }
  std::string_view value() const { return value_; }

 private:
  absl::Status Damaged(std::string_view what) const {
    return absl::DataLossError(absl::StrCat("sorted run ", run_.path, " with ", run_.pair_count,
                                            " pairs is damaged before byte ", offset_, ": ",
                                            base::Sv(what)));
  }

  absl::Status ReadBlock() {
    TESSERA_ASSIGN_OR_RETURN(const size_t got, file_->Read(offset_, block_));
    if (got < kBlockHeaderBytes) {
      return Damaged("it is too short");
    }
    const uint64_t payload_bytes = base::LoadU32(block_.data() + 4);
    if (payload_bytes == 0 || payload_bytes > got - kBlockHeaderBytes) {
      return Damaged("a block is cut off");
    }
    const std::span<const std::byte> block =
        std::span(block_).first(kBlockHeaderBytes + payload_bytes);
    if (base::Crc32c(block.subspan(4)) != base::LoadU32(block.data())) {
      return Damaged("a block has a wrong checksum");
    }
    offset_ += block.size();
    rest_ = {reinterpret_cast<const char*>(block.data()) + kBlockHeaderBytes, payload_bytes};
    return absl::OkStatus();
  }

  absl::Status TakeVarint(uint64_t* value) {
    std::string gathered;  // when it may span blocks
    while (gathered.empty() ? rest_.size() < kVarintBytesMax : gathered.back() < 0) {
      TESSERA_ASSIGN_OR_RETURN(const std::string_view byte, Take(1));
      gathered.append(byte);
      if (gathered.size() > kVarintBytesMax) {
        return Damaged("a length is ill-formed");
      }
    }
    base::Decoder decoder(gathered.empty() ? rest_ : gathered);
    if (!decoder.Varint64(value).ok()) {
      return Damaged("a length is ill-formed");
    }
    if (gathered.empty()) {
      rest_.remove_prefix(rest_.size() - decoder.remaining());
    }
    return absl::OkStatus();
  }

  // Gathered in joined_ when the bytes span blocks; that grows no faster than blocks check out.
  absl::StatusOr<std::string_view> Take(uint64_t bytes) {
    if (rest_.empty() && bytes > 0) {
      TESSERA_RETURN_IF_ERROR(ReadBlock());
    }
    if (bytes <= rest_.size()) {
      const std::string_view taken = rest_.substr(0, bytes);
      rest_.remove_prefix(bytes);
      return taken;
    }
    joined_.clear();
    while (joined_.size() < bytes) {
      if (rest_.empty()) {
        TESSERA_RETURN_IF_ERROR(ReadBlock());
      }
      const size_t part = std::min<size_t>(rest_.size(), bytes - joined_.size());
      joined_.append(rest_.substr(0, part));
      rest_.remove_prefix(part);
    }
    return std::string_view(joined_);
  }

  const std::unique_ptr<base::RandomAccessFile> file_;
  const Run run_;
  std::vector<std::byte> block_;
  uint64_t offset_ = 0;    // of the next block
  std::string_view rest_;  // of this block's payload
  std::string joined_;
  uint64_t pairs_read_ = 0;
  std::string_view key_;
  std::string_view value_;
};

// The pairs of several runs in order; among equal keys those of the earlier run first.
class ExternalSorter::Merge {
 public:
  void AddRun(std::unique_ptr<RunReader> reader) { readers_.push_back(std::move(reader)); }

  absl::StatusOr<bool> Next(std::string_view* key, std::string_view* value) {
    if (!started_) {
      started_ = true;
      for (size_t run = 0; run < readers_.size(); ++run) {
        TESSERA_RETURN_IF_ERROR(Advance(run));
      }
    } else if (!heap_.empty()) {
      // The front one was handed out last.
      std::pop_heap(heap_.begin(), heap_.end(), Later{this});
      const size_t run = heap_.back();
      heap_.pop_back();
      TESSERA_RETURN_IF_ERROR(Advance(run));
    }
    if (heap_.empty()) {
      return false;
    }
    *key = readers_[heap_.front()]->key();
    *value = readers_[heap_.front()]->value();
    return true;
  }

 private:
  struct Later {
    const Merge* merge;
    bool operator()(size_t a, size_t b) const {
      const int order = merge->readers_[a]->key().compare(merge->readers_[b]->key());
      return order != 0 ? order > 0 : a > b;
    }
  };

  absl::Status Advance(size_t run) {
    TESSERA_ASSIGN_OR_RETURN(const bool more, readers_[run]->Next());
    if (more) {
      heap_.push_back(run);
      std::push_heap(heap_.begin(), heap_.end(), Later{this});
    } else {
      readers_[run].reset();  // its memory and file
    }
    return absl::OkStatus();
  }

  std::vector<std::unique_ptr<RunReader>> readers_;
  std::vector<size_t> heap_;
  bool started_ = false;
};

ExternalSorter::ExternalSorter(base::FileSystem& fs, std::string dir, uint64_t memory_bytes)
    : fs_(fs),
      dir_(std::move(dir)),
      id_(NextSorterId()),
      block_bytes_(std::clamp<size_t>(std::max(memory_bytes, kMemoryBytesMin) / kBlocksInMemory,
                                      kBlockBytesMin, kBlockBytesMax)),
      // Beside a block for what is written, either pairs or blocks of the runs that are merged.
      buffer_bytes_((std::max(memory_bytes, kMemoryBytesMin) - block_bytes_) / sizeof(Entry) *
                    sizeof(Entry)),
      fan_in_(std::min(buffer_bytes_ / block_bytes_, kFanInMax)) {}

ExternalSorter::~ExternalSorter() {
  merge_.reset();
  for (const std::string& path : files_) {
    static_cast<void>(fs_.RemoveFile(path));
  }
}

ExternalSorter::Entry* ExternalSorter::entries_begin() const {
  return reinterpret_cast<Entry*>(buffer_.get() + buffer_bytes_) - entry_count_;
}

std::string_view ExternalSorter::KeyOf(const Entry& entry) const {
  return {reinterpret_cast<const char*>(buffer_.get()) + entry.offset, entry.key_bytes};
}

std::string_view ExternalSorter::ValueOf(const Entry& entry) const {
  return {reinterpret_cast<const char*>(buffer_.get()) + entry.offset + entry.key_bytes,
          entry.value_bytes};
}

absl::Status ExternalSorter::Add(std::string_view key, std::string_view value) {
  TESSERA_CHECK(!finished_);
  if (key.size() > kPartBytesMax || value.size() > kPartBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("sorting a key of ", key.size(),
                                                   " bytes and a value of ", value.size(),
                                                   ", each at most ", kPartBytesMax));
  }
  if (failed_.ok()) {
    failed_ = AddChecked(key, value);
  }
  return failed_;
}

absl::Status ExternalSorter::AddChecked(std::string_view key, std::string_view value) {
  const size_t bytes = key.size() + value.size();
  const size_t free_bytes = buffer_bytes_ - used_bytes_ - entry_count_ * sizeof(Entry);
  if (bytes + sizeof(Entry) > free_bytes) {
    TESSERA_RETURN_IF_ERROR(Spill());
  }
  ++pair_count_;
  if (bytes + sizeof(Entry) <= buffer_bytes_) {
    Insert(key, value);
    return absl::OkStatus();
  }
  // Longer than all the memory: a run of its own.
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<RunWriter> writer, NewRun());
  TESSERA_RETURN_IF_ERROR(writer->Add(key, value));
  TESSERA_ASSIGN_OR_RETURN(Run run, writer->Finish());
  runs_.push_back(std::move(run));
  return absl::OkStatus();
}

// Pre: there is room.
void ExternalSorter::Insert(std::string_view key, std::string_view value) {
  if (buffer_ == nullptr) {
    buffer_ = std::make_unique_for_overwrite<std::byte[]>(buffer_bytes_);
  }
  ++entry_count_;
  new (entries_begin()) Entry{.prefix = PrefixOf(key),
                              .offset = used_bytes_,
                              .key_bytes = static_cast<uint32_t>(key.size()),
                              .value_bytes = static_cast<uint32_t>(value.size())};
  if (!key.empty()) {
    std::memcpy(buffer_.get() + used_bytes_, key.data(), key.size());
    used_bytes_ += key.size();
  }
  if (!value.empty()) {
    std::memcpy(buffer_.get() + used_bytes_, value.data(), value.size());
    used_bytes_ += value.size();
  }
}

void ExternalSorter::SortEntries() {
  if (entry_count_ == 0) {
    return;
  }
  // Not std::stable_sort, which takes memory. Offsets tell the order of adding; they are the same
  // only behind pairs of no bytes at all.
  std::sort(
      entries_begin(), entries_begin() + entry_count_, [this](const Entry& a, const Entry& b) {
        if (a.prefix != b.prefix) {
          return a.prefix < b.prefix;
        }
        const int order = KeyOf(a).compare(KeyOf(b));
        return order != 0 ? order < 0
                          : std::tie(a.offset, a.value_bytes) < std::tie(b.offset, b.value_bytes);
      });
}

absl::StatusOr<std::unique_ptr<ExternalSorter::RunWriter>> ExternalSorter::NewRun() {
  const std::string path =
      base::JoinPath(dir_, absl::StrCat("sort-", id_, "-", next_file_, ".run"));
  ++next_file_;
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<base::WritableFile> file,
                           fs_.OpenForWrite(path, base::WriteMode::kTruncate));
  files_.push_back(path);
  return std::make_unique<RunWriter>(std::move(file), path, block_bytes_);
}

absl::Status ExternalSorter::Spill() {
  if (entry_count_ == 0) {
    return absl::OkStatus();
  }
  SortEntries();
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<RunWriter> writer, NewRun());
  const Entry* const begin = entries_begin();
  for (size_t i = 0; i < entry_count_; ++i) {
    TESSERA_RETURN_IF_ERROR(writer->Add(KeyOf(begin[i]), ValueOf(begin[i])));
  }
  TESSERA_ASSIGN_OR_RETURN(Run run, writer->Finish());
  runs_.push_back(std::move(run));
  used_bytes_ = 0;
  entry_count_ = 0;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ExternalSorter::Merge>> ExternalSorter::OpenMerge(
    size_t first_run, size_t run_count) const {
  auto merge = std::make_unique<Merge>();
  for (size_t i = first_run; i < first_run + run_count; ++i) {
    absl::StatusOr<std::unique_ptr<base::RandomAccessFile>> file =
        fs_.OpenForRead(runs_[i].path, {});
    if (absl::IsNotFound(file.status())) {
      return absl::DataLossError(absl::StrCat("sorted run ", runs_[i].path, " is missing"));
    }
    TESSERA_RETURN_IF_ERROR(file.status());
    merge->AddRun(std::make_unique<RunReader>(*std::move(file), runs_[i], block_bytes_));
  }
  return merge;
}

absl::StatusOr<ExternalSorter::Run> ExternalSorter::MergeRuns(size_t first_run, size_t run_count) {
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<Merge> merge, OpenMerge(first_run, run_count));
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<RunWriter> writer, NewRun());
  for (;;) {
    std::string_view key;
    std::string_view value;
    TESSERA_ASSIGN_OR_RETURN(const bool more, merge->Next(&key, &value));
    if (!more) {
      break;
    }
    TESSERA_RETURN_IF_ERROR(writer->Add(key, value));
  }
  TESSERA_ASSIGN_OR_RETURN(Run merged, writer->Finish());
  merge.reset();
  for (size_t i = first_run; i < first_run + run_count; ++i) {  // space for the runs to come
    if (fs_.RemoveFile(runs_[i].path).ok()) {
      std::erase(files_, runs_[i].path);
    }
  }
  return merged;
}

absl::Status ExternalSorter::Finish() {
  TESSERA_CHECK(!finished_);
  finished_ = true;
  if (failed_.ok()) {
    failed_ = FinishChecked();
  }
  return failed_;
}

absl::Status ExternalSorter::FinishChecked() {
  if (runs_.empty()) {
    SortEntries();
    return absl::OkStatus();
  }
  TESSERA_RETURN_IF_ERROR(Spill());
  buffer_.reset();
  while (runs_.size() > fan_in_) {
    std::vector<Run> merged;
    for (size_t first = 0; first < runs_.size(); first += fan_in_) {
      const size_t count = std::min(fan_in_, runs_.size() - first);
      if (count == 1) {
        merged.push_back(runs_[first]);
        continue;
      }
      TESSERA_ASSIGN_OR_RETURN(Run run, MergeRuns(first, count));
      merged.push_back(std::move(run));
    }
    runs_ = std::move(merged);
  }
  TESSERA_ASSIGN_OR_RETURN(merge_, OpenMerge(0, runs_.size()));
  return absl::OkStatus();
}

absl::StatusOr<bool> ExternalSorter::Next(std::string_view* key, std::string_view* value) {
  TESSERA_CHECK(finished_);
  TESSERA_RETURN_IF_ERROR(failed_);
  if (merge_ == nullptr) {
    if (next_entry_ == entry_count_) {
      return false;
    }
    const Entry& entry = entries_begin()[next_entry_++];
    *key = KeyOf(entry);
    *value = ValueOf(entry);
    return true;
  }
  absl::StatusOr<bool> more = merge_->Next(key, value);
  failed_ = more.status();
  return more;
}

}  // namespace tessera::storage
