#include "api/formats/byte_source.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/status_macros.h"
#include "base/types.h"

namespace tessera::api {
namespace {

constexpr size_t kBufferBytes = size_t{256} << 10;
constexpr size_t kGzipHeaderBytes = 10;
constexpr int kGzipWindowBits = 15 + 16;  // 16: gzip framing, zlib's own is refused

absl::Status ErrnoStatus(const std::string& what, int error) {
  const std::string message =
      absl::StrCat(what, ": ", std::strerror(error), " (errno ", error, ")");
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(message);
    case EISDIR:
      return absl::InvalidArgumentError(message);
    case EIO:
      return absl::DataLossError(message);
    default:
      return absl::InternalError(message);
  }
}

// Fills a buffer, less only when there are no more bytes for now; 0 at the end.
using RawRead = std::function<absl::StatusOr<size_t>(std::span<std::byte>)>;

RawRead ReadDescriptor(int descriptor, bool owned, const std::string& name) {
  const std::shared_ptr<void> closes(nullptr, [=](void*) {
    if (owned) ::close(descriptor);
  });
  return [descriptor, name, closes](std::span<std::byte> out) -> absl::StatusOr<size_t> {
    const ssize_t got = ::read(descriptor, out.data(), out.size());
    if (got >= 0) return static_cast<size_t>(got);
    // Handlers of signals that are not meant to end the reading have it started again.
    if (errno == EINTR)
      return absl::CancelledError(absl::StrCat("reading ", name, ": interrupted"));
    return ErrnoStatus(absl::StrCat("reading ", name), errno);
  };
}

RawRead ReadMemory(std::string bytes) {
  return [bytes = std::move(bytes), at = size_t{0}](std::span<std::byte> out) mutable {
    const size_t count = std::min(out.size(), bytes.size() - at);
    std::memcpy(out.data(), bytes.data() + at, count);
    at += count;
    return absl::StatusOr<size_t>(count);
  };
}

std::string_view AsText(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Raw bytes with a buffer; the first ones can be looked at before they are read.
class RawSource : public ByteSource {
 public:
  RawSource(RawRead read, std::string name, std::optional<uint64_t> size)
      : read_(std::move(read)), name_(std::move(name)), size_(size) {}

  absl::StatusOr<size_t> Read(std::span<std::byte> out) override {
    size_t done = 0;
    while (done < out.size()) {
      if (begin_ == end_) {
        TESSERA_RETURN_IF_ERROR(Fill());
        if (begin_ == end_) break;
      }
      const size_t count = std::min(out.size() - done, end_ - begin_);
      std::memcpy(out.data() + done, buffer_.data() + begin_, count);
      begin_ += count;
      done += count;
    }
    return done;
  }

  absl::StatusOr<std::string_view> Begin() override { return FirstBytes(kBeginBytes); }

  // The buffered bytes not yet read, filled if there are none; empty at the end.
  absl::StatusOr<std::span<const std::byte>> Peek() {
    if (begin_ == end_) TESSERA_RETURN_IF_ERROR(Fill());
    return std::span<const std::byte>(buffer_).subspan(begin_, end_ - begin_);
  }

  void Skip(size_t count) {
    begin_ += count;
    skipped_ += count;
  }

  uint64_t skipped() const { return skipped_; }

  // Only before the first read.
  absl::StatusOr<bool> IsGzip() {
    TESSERA_ASSIGN_OR_RETURN(const std::string_view begin, FirstBytes(kGzipHeaderBytes));
    return BeginsAsGzip(begin);
  }

  const std::string& name() const override { return name_; }
  std::optional<uint64_t> size() const override { return size_; }

 private:
  absl::StatusOr<std::string_view> FirstBytes(size_t count) {
    while (end_ < count) {  // a pipe may give one byte at a time
      const size_t had = end_;
      TESSERA_RETURN_IF_ERROR(FillMore());
      if (end_ == had) break;
    }
    return AsText(buffer_).substr(0, std::min(end_, count));
  }

  absl::Status Fill() {
    begin_ = end_ = 0;
    return FillMore();
  }

  absl::Status FillMore() {
    TESSERA_ASSIGN_OR_RETURN(const size_t got, read_(std::span(buffer_).subspan(end_)));
    end_ += got;
    return absl::OkStatus();
  }

  const RawRead read_;
  const std::string name_;
  const std::optional<uint64_t> size_;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(kBufferBytes);
  size_t begin_ = 0;
  size_t end_ = 0;
  uint64_t skipped_ = 0;
};

// One gzip stream or several in a row, as `cat a.gz b.gz` makes them.
class GzipSource : public ByteSource {
 public:
  explicit GzipSource(std::unique_ptr<RawSource> file) : file_(std::move(file)) {}
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;
  ~GzipSource() override { inflateEnd(&stream_); }

  absl::Status Start() {
    if (inflateInit2(&stream_, kGzipWindowBits) != Z_OK) {
      return absl::ResourceExhaustedError("no memory for gunzip");
    }
    return absl::OkStatus();
  }

  absl::StatusOr<size_t> Read(std::span<std::byte> out) override {
    const size_t ahead = std::min(out.size(), begin_.size() - begin_read_);
    std::memcpy(out.data(), begin_.data() + begin_read_, ahead);
    begin_read_ += ahead;
    TESSERA_ASSIGN_OR_RETURN(const size_t more, ReadOn(out.subspan(ahead)));
    return ahead + more;
  }

  absl::StatusOr<std::string_view> Begin() override {
    if (begin_.empty()) {
      begin_.resize(kBeginBytes);
      TESSERA_ASSIGN_OR_RETURN(const size_t got, ReadOn(begin_));
      begin_.resize(got);
    }
    return AsText(begin_);
  }

  const std::string& name() const override { return file_->name(); }
  std::optional<uint64_t> size() const override { return std::nullopt; }

 private:
  absl::StatusOr<size_t> ReadOn(std::span<std::byte> out) {
    size_t done = 0;
    while (done < out.size() && !finished_) {
      TESSERA_ASSIGN_OR_RETURN(const std::span<const std::byte> in, file_->Peek());
      if (between_members_ && in.empty()) {
        finished_ = true;
        break;
      }
      if (in.empty()) {
        return absl::InvalidArgumentError(absl::StrCat(
            name(), ": the gzip stream is cut off after ", file_->skipped(), " compressed bytes"));
      }
      TESSERA_ASSIGN_OR_RETURN(const size_t count, Inflate(in, out.subspan(done)));
      done += count;
    }
    return done;
  }

  absl::StatusOr<size_t> Inflate(std::span<const std::byte> in, std::span<std::byte> out) {
    if (between_members_) {
      inflateReset(&stream_);
      between_members_ = false;
    }
    constexpr size_t kStepMax = size_t{1} << 30;  // zlib counts in unsigned int
    const size_t in_bytes = in.size();
    const size_t out_bytes = std::min(out.size(), kStepMax);
    // zlib does not write through next_in; its type lacks the const.
    stream_.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(in.data()));  // NOLINT
    stream_.avail_in = static_cast<uInt>(in_bytes);
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out_bytes);
    const int result = inflate(&stream_, Z_NO_FLUSH);
    file_->Skip(in_bytes - stream_.avail_in);
    if (result == Z_STREAM_END) {
      between_members_ = true;
    } else if (result != Z_OK) {
      return absl::InvalidArgumentError(
          absl::StrCat(name(), ": damaged gzip stream at compressed byte ", file_->skipped(), " (",
                       stream_.msg != nullptr ? stream_.msg : "bad data", ")"));
    }
    return out_bytes - stream_.avail_out;
  }

  std::unique_ptr<RawSource> file_;
  z_stream stream_{};
  bool between_members_ = false;
  bool finished_ = false;
  std::vector<std::byte> begin_;  // unzipped to be looked at
  size_t begin_read_ = 0;
};

absl::StatusOr<std::unique_ptr<ByteSource>> UnzipIfGzip(std::unique_ptr<RawSource> raw) {
  TESSERA_ASSIGN_OR_RETURN(const bool gzip, raw->IsGzip());
  if (!gzip && raw->name().ends_with(".gz")) {
    return absl::InvalidArgumentError(absl::StrCat(
        raw->name(), ": its name says gzip, but it is no gzip file: it begins otherwise"));
  }
  if (!gzip) return raw;
  auto unzipped = std::make_unique<GzipSource>(std::move(raw));
  TESSERA_RETURN_IF_ERROR(unzipped->Start());
  return unzipped;
}

}  // namespace

bool BeginsAsGzip(std::string_view begin) {
  if (!begin.starts_with("\x1f\x8b\x08")) return false;
  if (begin.size() < 8) return true;
  // 559,903 rows of some dimension begin with the same bytes. In a gzip header the next four are a
  // time, which is 0 or some 1.7e9.
  const uint32_t time = base::LoadU32(reinterpret_cast<const std::byte*>(begin.data()) + 4);
  return time == 0 || time > base::kDimMax;
}

absl::StatusOr<std::unique_ptr<ByteSource>> OpenByteSource(const std::string& path) {
  if (path == "-") {
    return UnzipIfGzip(std::make_unique<RawSource>(ReadDescriptor(STDIN_FILENO, false, "stdin"),
                                                   "stdin", std::nullopt));
  }
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return ErrnoStatus(absl::StrCat("opening ", path), errno);
  RawRead read = ReadDescriptor(descriptor, true, path);
  struct stat info{};
  if (::fstat(descriptor, &info) != 0) return ErrnoStatus(absl::StrCat("opening ", path), errno);
  std::optional<uint64_t> size;
  if (S_ISREG(info.st_mode)) size = static_cast<uint64_t>(info.st_size);
  return UnzipIfGzip(std::make_unique<RawSource>(std::move(read), path, size));
}

absl::StatusOr<std::unique_ptr<ByteSource>> NewMemorySource(std::string name, std::string bytes) {
  const uint64_t size = bytes.size();
  return UnzipIfGzip(
      std::make_unique<RawSource>(ReadMemory(std::move(bytes)), std::move(name), size));
}

}  // namespace tessera::api
