#include "tests/support/fault_fs.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "base/status_macros.h"

namespace tessera::inline test {
namespace {

absl::Status NotThere(const std::string& path) {
  return absl::NotFoundError(absl::StrCat(path, ": no such file or directory"));
}

absl::Status AlreadyHeld(const std::string& path) {
  return absl::FailedPreconditionError(absl::StrCat("lock ", path, ": already held"));
}
absl::Status IsADirectory(const std::string& path) {
  return absl::InternalError(absl::StrCat(path, ": is a directory"));
}

bool Holds(const FaultNodePtr& tree, const FaultNodePtr& wanted) {
  if (tree == wanted) return true;
  return std::any_of(tree->entries.begin(), tree->entries.end(), [&wanted](const auto& entry) {
    return entry.second->is_directory && Holds(entry.second, wanted);
  });
}

}  // namespace

std::string_view ToString(Tear tear) {
  switch (tear) {
    case Tear::kNothing:
      return "nothing";
    case Tear::kUnsyncedTail:
      return "unsynced tail";
    case Tear::kHalfOfLastWrite:
      return "half of last write";
  }
  return "unknown";
}

class FaultFs::ReadHandle final : public base::RandomAccessFile {
 public:
  ReadHandle(FaultFs& fs, std::string path, FaultNodePtr node, bool direct_io, uint64_t life)
      : fs_(fs),
        path_(std::move(path)),
        node_(std::move(node)),
        direct_io_(direct_io),
        life_(life) {}

  absl::StatusOr<size_t> Read(uint64_t offset, std::span<std::byte> out) const override {
    const auto address = reinterpret_cast<uintptr_t>(out.data());
    if (direct_io_ && (offset | out.size() | address) % base::kDirectIoAlignment != 0) {
      return absl::InternalError(absl::StrCat("read ", path_, ": direct read of ", out.size(),
                                              " bytes at ", offset, " is not aligned"));
    }
    base::MutexLock lock(&fs_.mu_);
    TESSERA_RETURN_IF_ERROR(Usable());
    TESSERA_RETURN_IF_ERROR(fs_.AdmitUncounted(FaultOp::kRead, path_));
    if (offset >= node_->flushed_bytes) return size_t{0};
    const size_t bytes = std::min<size_t>(out.size(), node_->flushed_bytes - offset);
    std::copy_n(reinterpret_cast<const std::byte*>(node_->data.data()) + offset, bytes,
                out.begin());
    return bytes;
  }

  absl::StatusOr<uint64_t> Size() const override {
    base::MutexLock lock(&fs_.mu_);
    TESSERA_RETURN_IF_ERROR(Usable());
    return node_->flushed_bytes;
  }

 private:
  absl::Status Usable() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(fs_.mu_) {
    if (life_ == fs_.lives_) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(path_, " was opened in an earlier life"));
  }

  FaultFs& fs_;
  const std::string path_;
  const FaultNodePtr node_;
  const bool direct_io_;
  const uint64_t life_;
};

class FaultFs::WriteHandle final : public base::WritableFile {
 public:
  WriteHandle(FaultFs& fs, std::string path, FaultNodePtr node, uint64_t life)
      : fs_(fs), path_(std::move(path)), node_(std::move(node)), life_(life) {}
  ~WriteHandle() override { static_cast<void>(Close()); }
  WriteHandle(const WriteHandle&) = delete;
  WriteHandle& operator=(const WriteHandle&) = delete;

  absl::Status Append(std::span<const std::byte> data) override {
    base::MutexLock lock(&fs_.mu_);
    TESSERA_RETURN_IF_ERROR(Usable());
    const Verdict verdict = fs_.Admit(FaultOp::kAppend, path_);
    if (verdict.half) data = data.first(data.size() / 2);
    if (verdict.status.ok() || verdict.under_way || verdict.half) {
      node_->Append(data);
      node_->modified_seconds = fs_.now_seconds_;
      fs_.tree_.SetLastAppend(node_);
    }
    return error_ = verdict.status;
  }

  absl::Status Flush() override {
    base::MutexLock lock(&fs_.mu_);
    TESSERA_RETURN_IF_ERROR(Usable());
    node_->flushed_bytes = node_->data.size();
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    base::MutexLock lock(&fs_.mu_);
    TESSERA_RETURN_IF_ERROR(Usable());
    error_ = fs_.Admit(FaultOp::kSync, path_).status;
    if (error_.ok()) node_->Sync();
    return error_;
  }

  absl::Status Close() override {
    base::MutexLock lock(&fs_.mu_);
    if (closed_) return absl::OkStatus();
    absl::Status usable = Usable();
    if (usable.ok()) node_->flushed_bytes = node_->data.size();
    closed_ = true;
    return usable;
  }

  absl::Status Truncate(uint64_t size) override {
    base::MutexLock lock(&fs_.mu_);
    TESSERA_RETURN_IF_ERROR(Usable());
    const Verdict verdict = fs_.Admit(FaultOp::kTruncate, path_);
    if (verdict.status.ok() || verdict.under_way) node_->Truncate(size);
    return error_ = verdict.status;
  }

  uint64_t size() const override {
    base::MutexLock lock(&fs_.mu_);
    return node_->data.size();
  }

 private:
  absl::Status Usable() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(fs_.mu_) {
    if (life_ != fs_.lives_) {
      return absl::FailedPreconditionError(absl::StrCat(path_, " was opened in an earlier life"));
    }
    if (closed_) return absl::FailedPreconditionError(absl::StrCat(path_, " is closed"));
    return error_;
  }

  FaultFs& fs_;
  const std::string path_;
  const FaultNodePtr node_;
  const uint64_t life_;
  bool closed_ = false;
  absl::Status error_;
};

class FaultFs::LockHandle final : public base::FileLock {
 public:
  LockHandle(FaultFs& fs, FaultNodePtr node, uint64_t life)
      : fs_(fs), node_(std::move(node)), life_(life) {}
  ~LockHandle() override {
    base::MutexLock lock(&fs_.mu_);
    if (life_ != fs_.lives_) return;
    int& holders = fs_.locked_[node_.get()];
    if (--holders <= 0) fs_.locked_.erase(node_.get());
  }
  LockHandle(const LockHandle&) = delete;
  LockHandle& operator=(const LockHandle&) = delete;

 private:
  FaultFs& fs_;
  const FaultNodePtr node_;
  const uint64_t life_;
};

FaultFs::FaultFs(uint64_t seed) : rng_(seed) {}
FaultFs::~FaultFs() = default;

int64_t FaultFs::operations() const {
  base::MutexLock lock(&mu_);
  return operations_;
}

void FaultFs::FailFrom(int64_t operation) {
  base::MutexLock lock(&mu_);
  fail_from_ = operation;
}

void FaultFs::AddRule(FaultRule rule) {
  base::MutexLock lock(&mu_);
  rules_.push_back(std::move(rule));
}

void FaultFs::SetReadOnly(bool read_only) {
  base::MutexLock lock(&mu_);
  read_only_ = read_only;
}

void FaultFs::ClearRules() {
  base::MutexLock lock(&mu_);
  rules_.clear();
}

void FaultFs::CutPower(Tear tear) {
  base::MutexLock lock(&mu_);
  switch (tear) {
    case Tear::kNothing:
      tree_.CutPower(FaultSurvival::kNothing, rng_);
      break;
    case Tear::kUnsyncedTail:
      tree_.CutPower(FaultSurvival::kRandomPrefix, rng_);
      break;
    case Tear::kHalfOfLastWrite:
      tree_.CutPower(FaultSurvival::kHalfOfLastAppend, rng_);
      break;
  }
  Restart();
}

void FaultFs::KillProcess() {
  base::MutexLock lock(&mu_);
  tree_.KillProcess(rng_);
  Restart();
}

void FaultFs::Restart() {
  rules_.clear();
  locked_.clear();
  operations_ = 0;
  fail_from_ = kFaultNever;
  tripped_ = false;
  ++lives_;
}

FaultFs::Verdict FaultFs::Admit(FaultOp op, const std::string& path) {
  if (read_only_) {
    return {absl::PermissionDeniedError(absl::StrCat(path, ": read-only file system")), false,
            false};
  }
  ++now_seconds_;
  const int64_t number = operations_++;
  if (number >= fail_from_) {
    const bool under_way = !std::exchange(tripped_, true);
    return {absl::DataLossError(absl::StrCat(path, ": injected failure of operation ", number)),
            under_way, false};
  }
  absl::Status status = AdmitUncounted(op, path);
  const bool half = op == FaultOp::kAppend && absl::IsResourceExhausted(status);
  return {std::move(status), false, half};
}

absl::Status FaultFs::AdmitUncounted(FaultOp op, const std::string& path) {
  for (FaultRule& rule : rules_) {
    if (rule.op != op || !absl::StrContains(path, rule.path_part)) continue;
    if (rule.skip > 0) {
      --rule.skip;
      continue;
    }
    if (rule.count <= 0) continue;
    --rule.count;
    if (rule.kind == FaultKind::kNoSpace) {
      return absl::ResourceExhaustedError(absl::StrCat(path, ": injected: no space left"));
    }
    if (rule.kind == FaultKind::kDenied) {
      return absl::PermissionDeniedError(absl::StrCat(path, ": injected: permission denied"));
    }
    return absl::DataLossError(absl::StrCat(path, ": injected I/O error"));
  }
  return absl::OkStatus();
}

absl::Status FaultFs::Change(FaultOp op, const std::string& path, FaultNameChange change) {
  Verdict verdict = Admit(op, path);
  if (verdict.under_way) {
    tree_.SetUnderWay(std::move(change));
  } else if (verdict.status.ok()) {
    tree_.Apply(std::move(change));
  }
  return std::move(verdict.status);
}

absl::StatusOr<FaultFs::Place> FaultFs::Find(const std::string& path) const {
  Place place{nullptr, "", tree_.root()};
  for (const absl::string_view part : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    if (part == ".") continue;
    if (place.node == nullptr || !place.node->is_directory) return NotThere(path);
    place.directory = place.node;
    place.name = std::string(part);
    const auto it = place.directory->entries.find(place.name);
    place.node = it == place.directory->entries.end() ? nullptr : it->second;
  }
  return place;
}

absl::StatusOr<FaultNodePtr> FaultFs::FindDirectory(const std::string& path) const {
  TESSERA_ASSIGN_OR_RETURN(const Place place, Find(path));
  if (place.node == nullptr || !place.node->is_directory) return NotThere(path);
  return place.node;
}

absl::StatusOr<FaultNodePtr> FaultFs::FindFile(const std::string& path) const {
  TESSERA_ASSIGN_OR_RETURN(const Place place, Find(path));
  if (place.node == nullptr) return NotThere(path);
  if (place.node->is_directory) return IsADirectory(path);
  return place.node;
}

absl::Status FaultFs::CorruptByte(const std::string& path, uint64_t offset, uint8_t mask) {
  base::MutexLock lock(&mu_);
  TESSERA_ASSIGN_OR_RETURN(const FaultNodePtr file, FindFile(path));
  if (offset >= file->data.size()) {
    return absl::OutOfRangeError(
        absl::StrCat(path, " has ", file->data.size(), " bytes, none at ", offset));
  }
  file->data[offset] = static_cast<char>(static_cast<uint8_t>(file->data[offset]) ^ mask);
  return absl::OkStatus();
}

std::vector<std::string> FaultFs::Files() const {
  base::MutexLock lock(&mu_);
  return tree_.Files();
}

void FaultFs::SetFreeBytes(uint64_t bytes) {
  base::MutexLock lock(&mu_);
  free_bytes_ = bytes;
}

absl::StatusOr<std::unique_ptr<base::RandomAccessFile>> FaultFs::OpenForRead(
    const std::string& path, const base::ReadOptions& options) {
  base::MutexLock lock(&mu_);
  TESSERA_ASSIGN_OR_RETURN(const FaultNodePtr file, FindFile(path));
  TESSERA_RETURN_IF_ERROR(AdmitUncounted(FaultOp::kOpenForRead, path));
  return std::make_unique<ReadHandle>(*this, path, file, options.direct_io, lives_);
}

absl::StatusOr<std::unique_ptr<base::WritableFile>> FaultFs::OpenForWrite(const std::string& path,
                                                                          base::WriteMode mode) {
  base::MutexLock lock(&mu_);
  TESSERA_ASSIGN_OR_RETURN(Place place, Find(path));
  if (place.node != nullptr && place.node->is_directory) return IsADirectory(path);
  if (place.node == nullptr) {
    place.node = std::make_shared<FaultNode>();
    place.node->modified_seconds = now_seconds_;
    TESSERA_RETURN_IF_ERROR(
        Change(FaultOp::kOpenForWrite, path, {{{place.directory, place.name, place.node}}}));
  } else {
    const Verdict verdict = Admit(FaultOp::kOpenForWrite, path);
    if (mode == base::WriteMode::kTruncate && (verdict.status.ok() || verdict.under_way)) {
      place.node->Truncate(0);
    }
    TESSERA_RETURN_IF_ERROR(verdict.status);
  }
  return std::make_unique<WriteHandle>(*this, path, place.node, lives_);
}

absl::Status FaultFs::CreateDirectory(const std::string& path) {
  base::MutexLock lock(&mu_);
  TESSERA_ASSIGN_OR_RETURN(const Place place, Find(path));
  if (place.node != nullptr) {
    if (place.node->is_directory) return absl::OkStatus();
    return absl::AlreadyExistsError(absl::StrCat(path, ": is a file"));
  }
  const auto node = std::make_shared<FaultNode>();
  node->is_directory = true;
  node->modified_seconds = now_seconds_;
  return Change(FaultOp::kCreateDirectory, path, {{{place.directory, place.name, node}}});
}

absl::Status FaultFs::SyncDirectory(const std::string& path) {
  base::MutexLock lock(&mu_);
  TESSERA_ASSIGN_OR_RETURN(const FaultNodePtr directory, FindDirectory(path));
  TESSERA_RETURN_IF_ERROR(Admit(FaultOp::kSyncDirectory, path).status);
  tree_.SyncDirectory(directory);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> FaultFs::List(const std::string& path) {
  base::MutexLock lock(&mu_);
  TESSERA_ASSIGN_OR_RETURN(const FaultNodePtr directory, FindDirectory(path));
  TESSERA_RETURN_IF_ERROR(AdmitUncounted(FaultOp::kList, path));
  std::vector<std::string> names;
  for (const auto& [name, node] : directory->entries) names.push_back(name);
  return names;
}

absl::Status FaultFs::RemoveFile(const std::string& path) {
  base::MutexLock lock(&mu_);
  TESSERA_RETURN_IF_ERROR(FindFile(path).status());
  TESSERA_ASSIGN_OR_RETURN(const Place place, Find(path));
  return Change(FaultOp::kRemoveFile, path, {{{place.directory, place.name, nullptr}}});
}

absl::Status FaultFs::RemoveDirectory(const std::string& path) {
  base::MutexLock lock(&mu_);
  TESSERA_ASSIGN_OR_RETURN(const FaultNodePtr directory, FindDirectory(path));
  TESSERA_ASSIGN_OR_RETURN(const Place place, Find(path));
  if (!directory->entries.empty() || place.directory == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": directory not empty"));
  }
  return Change(FaultOp::kRemoveDirectory, path, {{{place.directory, place.name, nullptr}}});
}

absl::Status FaultFs::Rename(const std::string& from, const std::string& to) {
  base::MutexLock lock(&mu_);
  TESSERA_ASSIGN_OR_RETURN(const Place source, Find(from));
  TESSERA_ASSIGN_OR_RETURN(const Place target, Find(to));
  if (source.node == nullptr) return NotThere(from);
  if (source.node == target.node) return absl::OkStatus();
  if (target.node != nullptr) {
    if (target.node->is_directory != source.node->is_directory) {
      return absl::InternalError(absl::StrCat("rename ", from, " to ", to, ": not of one kind"));
    }
    if (!target.node->entries.empty()) {
      return absl::FailedPreconditionError(absl::StrCat(to, ": directory not empty"));
    }
  }
  if (target.directory == nullptr || Holds(source.node, target.directory)) {
    return absl::InternalError(absl::StrCat("rename ", from, " to ", to, ": is below itself"));
  }
  return Change(
      FaultOp::kRename, to,
      {{{source.directory, source.name, nullptr}, {target.directory, target.name, source.node}}});
}

absl::Status FaultFs::Link(const std::string& from, const std::string& to) {
  base::MutexLock lock(&mu_);
  TESSERA_ASSIGN_OR_RETURN(const FaultNodePtr file, FindFile(from));
  TESSERA_ASSIGN_OR_RETURN(const Place target, Find(to));
  if (target.node != nullptr) return absl::AlreadyExistsError(absl::StrCat(to, ": exists"));
  return Change(FaultOp::kLink, to, {{{target.directory, target.name, file}}});
}

absl::StatusOr<bool> FaultFs::Exists(const std::string& path) {
  base::MutexLock lock(&mu_);
  const absl::StatusOr<Place> place = Find(path);
  return place.ok() && place->node != nullptr;
}

absl::StatusOr<bool> FaultFs::IsDirectory(const std::string& path) {
  base::MutexLock lock(&mu_);
  return FindDirectory(path).ok();
}

absl::StatusOr<uint64_t> FaultFs::FileSize(const std::string& path) {
  base::MutexLock lock(&mu_);
  TESSERA_ASSIGN_OR_RETURN(const FaultNodePtr file, FindFile(path));
  return file->flushed_bytes;
}

absl::StatusOr<uint64_t> FaultFs::ModifiedSeconds(const std::string& path) {
  base::MutexLock lock(&mu_);
  TESSERA_ASSIGN_OR_RETURN(const Place place, Find(path));
  if (place.node == nullptr) return NotThere(path);
  return place.node->modified_seconds;
}

absl::StatusOr<uint64_t> FaultFs::FreeBytes(const std::string& path) {
  base::MutexLock lock(&mu_);
  TESSERA_ASSIGN_OR_RETURN(const Place place, Find(path));
  if (place.node == nullptr) return NotThere(path);
  return free_bytes_;
}

absl::StatusOr<std::unique_ptr<base::FileLock>> FaultFs::Lock(const std::string& path) {
  base::MutexLock lock(&mu_);
  TESSERA_ASSIGN_OR_RETURN(Place place, Find(path));
  if (place.node != nullptr && place.node->is_directory) return IsADirectory(path);
  TESSERA_RETURN_IF_ERROR(AdmitUncounted(FaultOp::kLock, path));
  if (read_only_) {
    return absl::PermissionDeniedError(absl::StrCat(path, ": read-only file system"));
  }
  if (place.node == nullptr) {
    place.node = std::make_shared<FaultNode>();
    tree_.Apply({{{place.directory, place.name, place.node}}});
  }
  if (!locked_.emplace(place.node.get(), -1).second) return AlreadyHeld(path);
  return std::make_unique<LockHandle>(*this, place.node, lives_);
}

absl::StatusOr<std::unique_ptr<base::FileLock>> FaultFs::LockShared(const std::string& path) {
  base::MutexLock lock(&mu_);
  TESSERA_ASSIGN_OR_RETURN(const FaultNodePtr file, FindFile(path));
  TESSERA_RETURN_IF_ERROR(AdmitUncounted(FaultOp::kLock, path));
  int& holders = locked_[file.get()];
  if (holders < 0) return AlreadyHeld(path);
  ++holders;
  return std::make_unique<LockHandle>(*this, file, lives_);
}

}  // namespace tessera::inline test
