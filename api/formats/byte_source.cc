#include "api/formats/byte_source.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace tessera::api {
namespace {

constexpr size_t kBufferBytes = size_t{256} << 10;
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

// A descriptor with a buffer; the first bytes can be looked at before they are read.
class FileSource : public ByteSource {
 public:
  FileSource(int descriptor, bool owned, std::string name, std::optional<uint64_t> size)
      : descriptor_(descriptor), owned_(owned), name_(std::move(name)), size_(size) {}
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;
  ~FileSource() override {
    if (owned_) ::close(descriptor_);
  }

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

  // True if the input begins with gzip's magic. Only before the first read.
  absl::StatusOr<bool> BeginsLikeGzip() {
    while (end_ < 2) {  // a pipe may give one byte at a time
      const size_t had = end_;
      TESSERA_RETURN_IF_ERROR(FillMore());
      if (end_ == had) return false;
    }
    return buffer_[0] == std::byte{0x1f} && buffer_[1] == std::byte{0x8b};
  }

  const std::string& name() const override { return name_; }
  std::optional<uint64_t> size() const override { return size_; }

 private:
  absl::Status Fill() {
    begin_ = end_ = 0;
    return FillMore();
  }

  absl::Status FillMore() {
    const ssize_t got = ::read(descriptor_, buffer_.data() + end_, buffer_.size() - end_);
    if (got >= 0) {
      end_ += static_cast<size_t>(got);
      return absl::OkStatus();
    }
    // Handlers of signals that are not meant to end the reading have it started again.
    if (errno == EINTR)
      return absl::CancelledError(absl::StrCat("reading ", name_, ": interrupted"));
    return ErrnoStatus(absl::StrCat("reading ", name_), errno);
  }

  const int descriptor_;
  const bool owned_;
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
  explicit GzipSource(std::unique_ptr<FileSource> file) : file_(std::move(file)) {}
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

  const std::string& name() const override { return file_->name(); }
  std::optional<uint64_t> size() const override { return std::nullopt; }

 private:
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

  std::unique_ptr<FileSource> file_;
  z_stream stream_{};
  bool between_members_ = false;
  bool finished_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ByteSource>> OpenByteSource(const std::string& path) {
  std::unique_ptr<FileSource> file;
  if (path == "-") {
    file = std::make_unique<FileSource>(STDIN_FILENO, false, "stdin", std::nullopt);
  } else {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return ErrnoStatus(absl::StrCat("opening ", path), errno);
    struct stat info{};
    if (::fstat(descriptor, &info) != 0) {
      const int error = errno;
      ::close(descriptor);
      return ErrnoStatus(absl::StrCat("opening ", path), error);
    }
    std::optional<uint64_t> size;
    if (S_ISREG(info.st_mode)) size = static_cast<uint64_t>(info.st_size);
    file = std::make_unique<FileSource>(descriptor, true, path, size);
  }
  TESSERA_ASSIGN_OR_RETURN(const bool gzip, file->BeginsLikeGzip());
  if (!gzip && path.ends_with(".gz")) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": its name says gzip, but it is no gzip file: it begins otherwise"));
  }
  if (!gzip) return file;
  auto unzipped = std::make_unique<GzipSource>(std::move(file));
  TESSERA_RETURN_IF_ERROR(unzipped->Start());
  return unzipped;
}

}  // namespace tessera::api
