#include "api/cli/output_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::api {

OutputFile::OutputFile(std::string path, std::string written_path)
    : path_(std::move(path)), written_path_(std::move(written_path)) {}

OutputFile::~OutputFile() {
  if (file_ == nullptr) return;
  std::fclose(file_);
  if (written_path_ != path_) ::unlink(written_path_.c_str());
}

absl::StatusOr<std::unique_ptr<OutputFile>> OutputFile::Create(const std::string& path) {
  struct stat info{};
  const bool special = ::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode);
  const std::string written = special ? path : absl::StrCat(path, ".partial-", ::getpid());
  std::unique_ptr<OutputFile> output(new OutputFile(path, written));
  output->file_ = std::fopen(written.c_str(), "wbe");
  if (output->file_ == nullptr) return output->Error("cannot write");
  return output;
}

absl::Status OutputFile::Write(std::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) {
    return Error("cannot write");
  }
  return absl::OkStatus();
}

absl::Status OutputFile::WriteAt(uint64_t offset, std::string_view bytes) {
  if (!is_regular()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": is no regular file, and its header is known only at the end"));
  }
  if (::fseeko(file_, static_cast<off_t>(offset), SEEK_SET) != 0) return Error("cannot write");
  TESSERA_RETURN_IF_ERROR(Write(bytes));
  if (::fseeko(file_, 0, SEEK_END) != 0) return Error("cannot write");
  return absl::OkStatus();
}

absl::Status OutputFile::Commit() {
  if (std::fflush(file_) != 0) return Error("cannot write");
  if (written_path_ != path_ && std::rename(written_path_.c_str(), path_.c_str()) != 0) {
    return Error("cannot rename the finished file to");
  }
  std::FILE* const file = std::exchange(file_, nullptr);
  if (std::fclose(file) != 0) return Error("cannot write");
  return absl::OkStatus();
}

absl::Status OutputFile::Error(std::string_view what) const {
  const int error = errno;
  const std::string message =
      absl::StrCat(base::Sv(what), " ", path_, ": ", std::strerror(error), " (errno ", error, ")");
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case EISDIR:
      return absl::InvalidArgumentError(message);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::InternalError(message);
  }
}

}  // namespace tessera::api
