#include "storage/extent_store.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "base/check.h"
#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "storage/aligned_buffer.h"
#include "storage/directory.h"

namespace tessera::storage {
namespace {

constexpr std::string_view kMagic = "TESSEXT\n";
constexpr std::string_view kFileSuffix = ".extents";
constexpr size_t kFileDigits = 10;
constexpr size_t kHeaderChecksumAt = 16;  // after magic, version and file number
constexpr size_t kWriteBytes = 1 << 20;
constexpr uint64_t kFileBytesMin = 2 * kExtentFileHeaderBytes;

uint64_t RoundUp(uint64_t value, uint64_t to) {
  return (value + to - 1) / to * to;
}

std::string FileName(uint32_t file) {
  return absl::StrFormat("%010u%s", file, kFileSuffix.data());
}

// The number in a name FileName made; nothing for any other name.
std::optional<uint32_t> FileNumber(std::string_view name) {
  if (name.size() != kFileDigits + kFileSuffix.size() || !name.ends_with(kFileSuffix)) {
    return std::nullopt;
  }
  uint64_t number = 0;
  for (const char c : name.substr(0, kFileDigits)) {
    if (c < '0' || c > '9') {
      return std::nullopt;
    }
    number = number * 10 + static_cast<uint64_t>(c - '0');
  }
  if (number == 0 || number > std::numeric_limits<uint32_t>::max()) {
    return std::nullopt;
  }
  return static_cast<uint32_t>(number);
}

std::string EncodeHeader(uint32_t file) {
  std::string header(kMagic);
  base::PutU32(&header, kExtentFormatVersion);
  base::PutU32(&header, file);
  base::PutU32(&header, base::Crc32c(std::string_view(header)));
  header.resize(kExtentFileHeaderBytes, '\0');
  return header;
}

absl::Status CheckHeader(std::span<const std::byte> header, uint32_t file) {
  const auto* bytes = header.data();
  if (header.size() < kHeaderChecksumAt + 4 ||
      std::memcmp(bytes, kMagic.data(), kMagic.size()) != 0) {
    return absl::DataLossError(absl::StrCat("extent file ", file, " does not begin as one"));
  }
  if (base::LoadU32(bytes + kHeaderChecksumAt) != base::Crc32c(header.first(kHeaderChecksumAt))) {
    return absl::DataLossError(absl::StrCat("extent file ", file, " has a damaged header"));
  }
  const uint32_t version = base::LoadU32(bytes + kMagic.size());
  if (version > kExtentFormatVersion) {
    return absl::UnimplementedError(absl::StrCat("extent file ", file, " has format version ",
                                                 version, ", this program reads up to ",
                                                 kExtentFormatVersion));
  }
  const uint32_t number = base::LoadU32(bytes + kMagic.size() + 4);
  if (version == 0 || number != file) {
    return absl::DataLossError(absl::StrCat("extent file ", file, " says it is file ", number,
                                            " of format version ", version));
  }
  return absl::OkStatus();
}

}  // namespace

bool IsExtentFileName(std::string_view name) {
  return FileNumber(name).has_value();
}

ExtentWriter::~ExtentWriter() {
  file_.reset();
  store_.FilesReleased(files_, kept_);
}

void ExtentWriter::Keep() {
  TESSERA_CHECK(finished_);
  kept_ = true;
}

absl::StatusOr<ExtentRef> ExtentWriter::Append(std::span<const std::byte> data, size_t alignment) {
  TESSERA_CHECK(alignment == kPlaneAlignment || alignment == kListAlignment);
  TESSERA_CHECK(!finished_);
  if (data.empty() || data.size() > std::numeric_limits<uint32_t>::max()) {
    return absl::InvalidArgumentError(
        absl::StrCat("an extent of ", data.size(), " bytes, must be 1 .. 4294967295"));
  }
  TESSERA_RETURN_IF_ERROR(failed_);
  absl::StatusOr<ExtentRef> ref = AppendUnchecked(data, alignment);
  failed_ = ref.status();
  return ref;
}

absl::StatusOr<ExtentRef> ExtentWriter::AppendUnchecked(std::span<const std::byte> data,
                                                        size_t alignment) {
  if (file_ != nullptr &&
      RoundUp(files_.back().second, alignment) + data.size() > store_.options_.file_bytes_max) {
    TESSERA_RETURN_IF_ERROR(CloseFile());
  }
  if (file_ == nullptr) {
    TESSERA_RETURN_IF_ERROR(StartFile());
  }
  TESSERA_RETURN_IF_ERROR(PadTo(alignment));
  const ExtentRef ref{.file = files_.back().first,
                      .offset = files_.back().second,
                      .bytes = static_cast<uint32_t>(data.size()),
                      .crc = base::Crc32c(data)};
  TESSERA_RETURN_IF_ERROR(Write(data));
  return ref;
}

absl::Status ExtentWriter::StartFile() {
  TESSERA_ASSIGN_OR_RETURN(const uint32_t number, store_.TakeFileNumber());
  files_.emplace_back(number, 0);
  TESSERA_ASSIGN_OR_RETURN(
      file_, store_.fs_.OpenForWrite(store_.FilePath(number), base::WriteMode::kTruncate));
  buffer_.reserve(kWriteBytes);
  const std::string header = EncodeHeader(number);
  return Write(std::as_bytes(std::span(header)));
}

absl::Status ExtentWriter::PadTo(size_t alignment) {
  static constexpr std::array<std::byte, kListAlignment> kZeros{};
  const uint64_t at = files_.back().second;
  return Write(std::span(kZeros).first(static_cast<size_t>(RoundUp(at, alignment) - at)));
}

absl::Status ExtentWriter::Write(std::span<const std::byte> data) {
  files_.back().second += data.size();
  if (buffer_.size() + data.size() > kWriteBytes) {
    TESSERA_RETURN_IF_ERROR(WriteBuffer());
    if (data.size() > kWriteBytes) {
      return file_->Append(data);
    }
  }
  buffer_.insert(buffer_.end(), data.begin(), data.end());
  return absl::OkStatus();
}

absl::Status ExtentWriter::WriteBuffer() {
  if (!buffer_.empty()) {
    TESSERA_RETURN_IF_ERROR(file_->Append(buffer_));
    buffer_.clear();
  }
  return absl::OkStatus();
}

absl::Status ExtentWriter::CloseFile() {
  TESSERA_RETURN_IF_ERROR(PadTo(kListAlignment));
  TESSERA_RETURN_IF_ERROR(WriteBuffer());
  TESSERA_RETURN_IF_ERROR(file_->Sync());
  TESSERA_RETURN_IF_ERROR(file_->Close());
  file_.reset();
  return absl::OkStatus();
}

absl::Status ExtentWriter::Finish() {
  TESSERA_CHECK(!finished_);
  TESSERA_RETURN_IF_ERROR(failed_);
  if (file_ != nullptr) {
    failed_ = CloseFile();
  }
  if (failed_.ok() && !files_.empty()) {
    failed_ = store_.fs_.SyncDirectory(store_.dir_);
  }
  TESSERA_RETURN_IF_ERROR(failed_);
  finished_ = true;
  buffer_ = {};
  store_.FilesFinished(files_);
  return absl::OkStatus();
}

std::vector<uint32_t> ExtentWriter::files() const {
  std::vector<uint32_t> numbers;
  numbers.reserve(files_.size());
  for (const auto& [number, bytes] : files_) {
    numbers.push_back(number);
  }
  return numbers;
}

uint64_t ExtentWriter::file_bytes() const {
  uint64_t sum = 0;
  for (const auto& [number, bytes] : files_) {
    sum += bytes;
  }
  return sum;
}

absl::StatusOr<std::unique_ptr<ExtentStore>> ExtentStore::Open(base::FileSystem& fs,
                                                               const std::string& dir,
                                                               uint32_t next_file,
                                                               const ExtentStoreOptions& options) {
  if (options.file_bytes_max < kFileBytesMin || options.open_files_max == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("extent files of ", options.file_bytes_max, " bytes (at least ", kFileBytesMin,
                     "), ", options.open_files_max, " of them open (at least 1)"));
  }
  if (!options.read_only) TESSERA_RETURN_IF_ERROR(CreateDurableDirectory(fs, dir));
  std::unique_ptr<ExtentStore> store(new ExtentStore(fs, dir, options));
  TESSERA_RETURN_IF_ERROR(store->LoadFileList(next_file));
  return store;
}

absl::Status ExtentStore::LoadFileList(uint32_t next_file) {
  absl::StatusOr<std::vector<std::string>> names = fs_.List(dir_);
  if (options_.read_only && absl::IsNotFound(names.status())) names = std::vector<std::string>();
  TESSERA_RETURN_IF_ERROR(names.status());
  base::MutexLock lock(&mu_);
  next_file_ = std::max<uint32_t>(next_file, 1);
  for (const std::string& name : *names) {
    const std::optional<uint32_t> number = FileNumber(name);
    if (!number.has_value()) {
      continue;
    }
    TESSERA_ASSIGN_OR_RETURN(const uint64_t bytes, fs_.FileSize(FilePath(*number)));
    files_[*number] = bytes;
    if (*number >= next_file_) {
      next_file_ = *number + 1;  // wraps to 0 after the last number: TakeFileNumber's error
    }
  }
  return absl::OkStatus();
}

absl::Status ExtentStore::CheckPresent(const std::map<uint32_t, uint64_t>& file_ends) const {
  base::MutexLock lock(&mu_);
  for (const auto& [file, end] : file_ends) {
    const auto found = files_.find(file);
    if (found == files_.end()) {
      return absl::DataLossError(absl::StrCat("extent file ", FilePath(file),
                                              " is missing, of which ", end,
                                              " bytes are in use; put it back from a copy"));
    }
    if (found->second < end) {
      return absl::DataLossError(absl::StrCat("extent file ", FilePath(file), " has ",
                                              found->second, " bytes, ", end,
                                              " are in use; put it back from a copy"));
    }
  }
  return absl::OkStatus();
}

std::unique_ptr<ExtentWriter> ExtentStore::NewWriter() {
  TESSERA_CHECK(!options_.read_only);
  return std::unique_ptr<ExtentWriter>(new ExtentWriter(*this));
}

absl::StatusOr<uint32_t> ExtentStore::TakeFileNumber() {
  base::MutexLock lock(&mu_);
  if (next_file_ == 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("all extent file numbers of ", dir_, " are used"));
  }
  writers_files_.insert(next_file_);
  return next_file_++;
}

void ExtentStore::FilesFinished(const std::vector<std::pair<uint32_t, uint64_t>>& files) {
  base::MutexLock lock(&mu_);
  files_.insert(files.begin(), files.end());
}

// Best effort: what stays is unreferenced and goes with the next RemoveUnreferenced. The numbers
// are the writer's until the files are gone, so that the two do not meet.
void ExtentStore::FilesReleased(const std::vector<std::pair<uint32_t, uint64_t>>& files,
                                bool kept) {
  for (const auto& [number, bytes] : files) {
    if (kept || !KeepIfPinned(number).ok()) continue;
    {
      base::MutexLock lock(&mu_);
      open_files_.erase(number);
      files_.erase(number);
    }
    fs_.RemoveFile(FilePath(number)).IgnoreError();
  }
  base::MutexLock lock(&mu_);
  for (const auto& [number, bytes] : files) writers_files_.erase(number);
}

void ExtentPin::Release() {
  if (store_ != nullptr) {
    store_->Unpin(files_);
  }
}

ExtentPin ExtentStore::Pin(std::set<uint32_t> files) {
  base::MutexLock lock(&mu_);
  for (const uint32_t file : files) {
    ++pinned_[file].pins;
  }
  return ExtentPin(*this, std::move(files));
}

void ExtentStore::Unpin(const std::set<uint32_t>& files) {
  base::MutexLock lock(&mu_);
  for (const uint32_t file : files) {
    const auto found = pinned_.find(file);
    if (--found->second.pins == 0) {
      pinned_.erase(found);
    }
  }
}

// Takes hold of a file that is about to be removed, if it is pinned.
absl::Status ExtentStore::KeepIfPinned(uint32_t file) {
  {
    base::MutexLock lock(&mu_);
    if (!pinned_.contains(file)) {
      return absl::OkStatus();
    }
  }
  TESSERA_ASSIGN_OR_RETURN(std::shared_ptr<const base::RandomAccessFile> opened, OpenFile(file));
  base::MutexLock lock(&mu_);
  const auto found = pinned_.find(file);
  if (found != pinned_.end()) {
    found->second.removed = std::move(opened);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const base::RandomAccessFile>> ExtentStore::OpenFile(uint32_t file) {
  {
    base::MutexLock lock(&mu_);
    const auto pinned = pinned_.find(file);
    if (pinned != pinned_.end() && pinned->second.removed != nullptr) {
      return pinned->second.removed;
    }
    const auto found = open_files_.find(file);
    if (found != open_files_.end()) {
      found->second.used_at = ++open_clock_;
      return found->second.file;
    }
  }
  // Opened outside the lock: two threads may both do it, one of the results is kept.
  TESSERA_ASSIGN_OR_RETURN(std::shared_ptr<const base::RandomAccessFile> opened,
                           fs_.OpenForRead(FilePath(file), {.direct_io = options_.direct_io}));
  AlignedBuffer header(kExtentFileHeaderBytes);
  TESSERA_ASSIGN_OR_RETURN(const size_t bytes, opened->Read(0, header.span()));
  TESSERA_RETURN_IF_ERROR(CheckHeader(header.span().first(bytes), file));

  base::MutexLock lock(&mu_);
  CachedFile& cached = open_files_[file];
  if (cached.file == nullptr) {
    cached.file = std::move(opened);
  }
  cached.used_at = ++open_clock_;
  std::shared_ptr<const base::RandomAccessFile> result = cached.file;
  if (open_files_.size() > options_.open_files_max) {
    open_files_.erase(std::min_element(
        open_files_.begin(), open_files_.end(),
        [](const auto& a, const auto& b) { return a.second.used_at < b.second.used_at; }));
  }
  return result;
}

absl::StatusOr<std::string> ExtentStore::Read(const ExtentRef& ref) {
  absl::StatusOr<std::shared_ptr<const base::RandomAccessFile>> file = OpenFile(ref.file);
  if (absl::IsNotFound(file.status())) {
    return absl::DataLossError(absl::StrCat("extent file ", ref.file, " is missing"));
  }
  TESSERA_RETURN_IF_ERROR(file.status());
  // Checked before memory is taken for it: `ref` may be damaged too.
  TESSERA_ASSIGN_OR_RETURN(const uint64_t file_bytes, (*file)->Size());
  if (ref.offset > file_bytes || ref.bytes > file_bytes - ref.offset) {
    return absl::DataLossError(absl::StrCat("extent file ", ref.file, " has ", file_bytes,
                                            " bytes, an extent of ", ref.bytes, " is to be at ",
                                            ref.offset));
  }
  std::string data;
  data.reserve(ref.bytes);
  AlignedBuffer buffer(
      std::min<size_t>(kWriteBytes, RoundUp(ref.bytes, kPlaneAlignment) + kPlaneAlignment));
  uint64_t at = ref.offset / kPlaneAlignment * kPlaneAlignment;
  size_t skip = static_cast<size_t>(ref.offset - at);
  while (data.size() < ref.bytes) {
    TESSERA_ASSIGN_OR_RETURN(const size_t got, (*file)->Read(at, buffer.span()));
    if (got <= skip) {
      return absl::DataLossError(absl::StrCat("extent file ", ref.file, " ends at ", at + got));
    }
    const size_t take = std::min(got - skip, ref.bytes - data.size());
    const auto* from = reinterpret_cast<const char*>(buffer.span().data());
    data.append(from + skip, take);
    at += got;
    skip = 0;
  }
  if (base::Crc32c(std::string_view(data)) != ref.crc) {
    return absl::DataLossError(absl::StrCat("wrong checksum of ", ref.bytes, " bytes at ",
                                            ref.offset, " of extent file ", ref.file));
  }
  return data;
}

absl::Status ExtentStore::RemoveUnreferenced(const std::set<uint32_t>& live_files) {
  TESSERA_CHECK(!options_.read_only);
  TESSERA_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs_.List(dir_));
  bool any = false;
  for (const std::string& name : names) {
    const std::optional<uint32_t> number = FileNumber(name);
    if (!number.has_value() || live_files.contains(*number)) {
      continue;
    }
    {
      base::MutexLock lock(&mu_);
      if (writers_files_.contains(*number)) {
        continue;
      }
    }
    if (!KeepIfPinned(*number).ok()) {
      continue;  // it cannot be opened now; it goes when nobody has it pinned
    }
    {
      base::MutexLock lock(&mu_);
      open_files_.erase(*number);
      files_.erase(*number);
    }
    TESSERA_RETURN_IF_ERROR(fs_.RemoveFile(FilePath(*number)));
    any = true;
  }
  return any ? fs_.SyncDirectory(dir_) : absl::OkStatus();
}

uint64_t ExtentStore::disk_bytes() const {
  base::MutexLock lock(&mu_);
  uint64_t sum = 0;
  for (const auto& [number, bytes] : files_) {
    sum += bytes;
  }
  return sum;
}

uint32_t ExtentStore::next_file() const {
  base::MutexLock lock(&mu_);
  return next_file_;
}

std::string ExtentStore::FilePath(uint32_t file) const {
  return base::JoinPath(dir_, FileName(file));
}

}  // namespace tessera::storage
