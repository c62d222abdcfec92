#include "storage/rocks/rocks_status.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "rocksdb/io_status.h"
#include "rocksdb/status.h"

#include "base/strings.h"

namespace tessera::storage {
namespace {

absl::StatusCode CodeOf(const rocksdb::Status& status) {
  using Rocks = rocksdb::Status;
  switch (status.code()) {
    case Rocks::kOk:
      return absl::StatusCode::kOk;
    case Rocks::kNotFound:
      return absl::StatusCode::kNotFound;
    case Rocks::kCorruption:
      return absl::StatusCode::kDataLoss;
    case Rocks::kNotSupported:
      return absl::StatusCode::kUnimplemented;
    case Rocks::kInvalidArgument:
      return absl::StatusCode::kInvalidArgument;
    case Rocks::kIOError:
      switch (status.subcode()) {
        case Rocks::kNoSpace:
        case Rocks::kSpaceLimit:
          return absl::StatusCode::kResourceExhausted;
        case Rocks::kPathNotFound:
          return absl::StatusCode::kNotFound;
        case Rocks::kIOFenced:
          return absl::StatusCode::kPermissionDenied;
        default:
          return absl::StatusCode::kInternal;
      }
    case Rocks::kIncomplete:  // a strict block cache that is full
      return absl::StatusCode::kResourceExhausted;
    case Rocks::kAborted:
      return status.subcode() == Rocks::kMemoryLimit ? absl::StatusCode::kResourceExhausted
                                                     : absl::StatusCode::kAborted;
    case Rocks::kShutdownInProgress:
    case Rocks::kTimedOut:
    case Rocks::kBusy:
    case Rocks::kTryAgain:
      return absl::StatusCode::kUnavailable;
    default:
      return absl::StatusCode::kInternal;
  }
}

}  // namespace

absl::Status FromRocks(const rocksdb::Status& status, std::string_view what) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(CodeOf(status), absl::StrCat(base::Sv(what), ": ", status.ToString()));
}

rocksdb::IOStatus ToRocks(const absl::Status& status) {
  if (status.ok()) return rocksdb::IOStatus::OK();
  const std::string message(status.message());
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return rocksdb::IOStatus::PathNotFound(message);
    case absl::StatusCode::kResourceExhausted:
      return rocksdb::IOStatus::NoSpace(message);
    case absl::StatusCode::kDataLoss:
      return rocksdb::IOStatus::Corruption(message);
    case absl::StatusCode::kAborted:
      return rocksdb::IOStatus::Aborted(message);
    // RocksDB has no word for it; being fenced off is the nearest: it does not try again either.
    case absl::StatusCode::kPermissionDenied:
      return rocksdb::IOStatus::IOFenced(message);
    default:
      return rocksdb::IOStatus::IOError(message);
  }
}

}  // namespace tessera::storage
