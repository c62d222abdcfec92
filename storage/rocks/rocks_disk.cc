#include "storage/rocks/rocks_disk.h"

#include <mutex>
#include <utility>

#include "absl/strings/numbers.h"

#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::storage {

uint64_t RocksFileNumber(std::string_view path) {
  std::string_view name = path.substr(path.rfind('/') + 1);
  constexpr std::string_view kManifestPrefix = "MANIFEST-";
  if (name.starts_with(kManifestPrefix)) name.remove_prefix(kManifestPrefix.size());
  uint64_t number = 0;
  return absl::SimpleAtoi(base::Sv(name.substr(0, name.find('.'))), &number) ? number : 0;
}

void RocksDisk::Begin(SyncLedger* ledger, const std::vector<LogVerdict>& logs) {
  ledger_ = ledger;
  if (ledger != nullptr) return;
  for (const LogVerdict& log : logs) {
    if (log.damaged || !log.kept) visible_bytes_[log.path] = log.kept ? log.whole.bytes : 0;
  }
}

absl::Status RocksDisk::Change(absl::FunctionRef<absl::Status()> change) {
  const std::shared_lock<std::shared_mutex> changing(changing_mu_);
  if (ledger_ == nullptr) {
    return absl::FailedPreconditionError("the row store is open for reading only");
  }
  if (fenced_) {
    return absl::AbortedError("the row store has been opened anew after an error");
  }
  return change();
}

absl::Status RocksDisk::Remove(const std::string& path) {
  {
    const base::MutexLock lock(&mu_);
    if (!released_) {
      to_remove_.insert(path);
      return absl::OkStatus();
    }
  }
  return RemoveNow(path);
}

absl::Status RocksDisk::RemoveNow(const std::string& path) {
  return Change([&] {
    if (const std::optional<uint64_t> log = WalNumber(path); log.has_value()) {
      TESSERA_RETURN_IF_ERROR(ledger_->LogObsolete(*log));
      TESSERA_RETURN_IF_ERROR(fs_.RemoveFile(path));
      wals_.Removed(*log);
      return absl::OkStatus();
    }
    return fs_.RemoveFile(path);
  });
}

void RocksDisk::Release() {
  std::set<std::string> paths;
  {
    const base::MutexLock lock(&mu_);
    released_ = true;
    paths.swap(to_remove_);
  }
  // What stays is removed by a later open.
  for (const std::string& path : paths) {
    if (path.ends_with(".sst") && !manifest_known()) continue;
    RemoveNow(path).IgnoreError();
  }
}

void RocksDisk::Replaced(const std::string& path) {
  const base::MutexLock lock(&mu_);
  to_remove_.erase(path);
}

std::optional<uint64_t> RocksDisk::VisibleBytes(const std::string& path) const {
  const auto found = visible_bytes_.find(path);
  return found == visible_bytes_.end() ? std::nullopt : std::optional(found->second);
}

void RocksDisk::Fence() {
  const std::unique_lock<std::shared_mutex> changing(changing_mu_);
  fenced_ = true;
}

void RocksDisk::CurrentRenamed(uint64_t manifest) {
  manifest_ = Manifest::kRenamed;
  const base::MutexLock lock(&mu_);
  renamed_manifest_ = manifest;
}

absl::Status RocksDisk::SyncDirectory(const std::string& path) {
  const uint64_t newest_log =
      wals_.newest();  // one that comes after the sync has begun may miss it
  const absl::Status status = fs_.SyncDirectory(path);
  if (path != dir_) return status;
  Manifest expected = Manifest::kRenamed;
  manifest_.compare_exchange_strong(expected, status.ok() ? Manifest::kKnown : Manifest::kUnknown);
  if (status.ok()) NamesSynced(newest_log);
  return status;
}

void RocksDisk::NamesSynced(uint64_t newest_log) {
  wals_.Named(newest_log);
  ledger_->LogsSynced(wals_.DurableLogs());
  const base::MutexLock lock(&mu_);
  // Only now: before, a power cut could bring back the manifest that CURRENT named last.
  if (renamed_manifest_ == current_manifest_) return;
  current_manifest_ = renamed_manifest_;
  ledger_->ManifestSynced(
      {.number = current_manifest_, .bytes = manifest_bytes_[current_manifest_]});
}

void RocksDisk::LogSynced() {
  ledger_->LogsSynced(wals_.DurableLogs());
}

void RocksDisk::ManifestSynced(uint64_t manifest, uint64_t bytes) {
  const base::MutexLock lock(&mu_);
  manifest_bytes_[manifest] = bytes;
  if (manifest == current_manifest_) {
    ledger_->ManifestSynced({.number = manifest, .bytes = bytes});
  }
}

}  // namespace tessera::storage
