#include "storage/rocks/row_store_check.h"

#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::storage {
namespace {

constexpr std::string_view kManifestPrefix = "MANIFEST-";
constexpr size_t kCurrentBytesMax = 64;

absl::Status Missing(const std::string& dir, std::string_view what) {
  return absl::DataLossError(
      absl::StrCat(base::Sv(what),
                   "; nothing was changed. Put the file back from a copy of the directory, or, "
                   "to go on with what is left of the rows, remove ",
                   LedgerPath(dir)));
}

absl::StatusOr<std::string> ReadStart(base::FileSystem& fs, const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<base::RandomAccessFile> file,
                           fs.OpenForRead(path, {}));
  std::string bytes(kCurrentBytesMax, '\0');
  TESSERA_ASSIGN_OR_RETURN(const size_t got,
                           file->Read(0, std::as_writable_bytes(std::span(bytes))));
  bytes.resize(got);
  return bytes;
}

// The number of the manifest that CURRENT names, which is one line.
std::optional<uint64_t> ManifestNumber(std::string_view current) {
  uint64_t number = 0;
  if (!current.starts_with(kManifestPrefix) || !current.ends_with('\n')) return std::nullopt;
  current.remove_prefix(kManifestPrefix.size());
  current.remove_suffix(1);
  return absl::SimpleAtoi(base::Sv(current), &number) ? std::optional(number) : std::nullopt;
}

absl::StatusOr<ManifestMark> ExamineManifest(base::FileSystem& fs, const std::string& dir,
                                             const LedgerState& ledger) {
  const std::string current = base::JoinPath(dir, "CURRENT");
  TESSERA_ASSIGN_OR_RETURN(const std::string bytes, ReadStart(fs, current));
  const std::optional<uint64_t> number = ManifestNumber(bytes);
  if (!number.has_value()) {
    return Missing(
        dir, absl::StrCat(current, " has ", bytes.size(), " bytes that do not name a manifest"));
  }
  const std::string path = base::JoinPath(dir, bytes.substr(0, bytes.size() - 1));
  const absl::StatusOr<uint64_t> whole = WholeBytes(fs, path);
  if (absl::IsNotFound(whole.status())) {
    return Missing(dir, absl::StrCat(path, " is missing, which CURRENT names"));
  }
  TESSERA_RETURN_IF_ERROR(whole.status());
  const ManifestMark found{.number = *number, .bytes = *whole};
  if (!ledger.manifest.has_value()) return found;
  if (found.number < ledger.manifest->number) {
    return Missing(dir, absl::StrCat(current, " names manifest ", found.number, ", but manifest ",
                                     ledger.manifest->number, " was in use already"));
  }
  // A later manifest begins with all that the one before had, and the ledger has nothing of it yet:
  // the power was cut before that.
  if (found.number == ledger.manifest->number && found.bytes < ledger.manifest->bytes) {
    return Missing(dir, absl::StrCat(path, " is whole up to byte ", found.bytes, ", but ",
                                     ledger.manifest->bytes, " bytes of it were synced"));
  }
  return found;
}

}  // namespace

absl::StatusOr<bool> RowStoreExists(base::FileSystem& fs, const std::string& dir,
                                    const LedgerState& ledger) {
  const std::string current = base::JoinPath(dir, "CURRENT");
  TESSERA_ASSIGN_OR_RETURN(const bool exists, fs.Exists(current));  // a creation writes it last
  if (exists) return true;
  if (ledger.manifest.has_value()) {
    return Missing(dir, absl::StrCat(current, " is missing, but manifest ", ledger.manifest->number,
                                     " was in use"));
  }
  const absl::StatusOr<std::vector<std::string>> names = fs.List(dir);
  if (absl::IsNotFound(names.status())) return false;
  TESSERA_RETURN_IF_ERROR(names.status());
  for (const std::string& name : *names) {
    // Both come after CURRENT, whose name is durable by then.
    if (!name.ends_with(".log") && !name.ends_with(".sst")) continue;
    return absl::DataLossError(
        absl::StrCat(current, " is missing, but there is ", base::JoinPath(dir, name),
                     "; nothing was changed. Put the file back from a copy"));
  }
  return false;
}

absl::StatusOr<RowStoreFindings> ExamineRowStore(base::FileSystem& fs, const std::string& dir,
                                                 const LedgerState& ledger) {
  RowStoreFindings findings;
  TESSERA_ASSIGN_OR_RETURN(const bool exists, RowStoreExists(fs, dir, ledger));
  if (!exists) return findings;
  TESSERA_ASSIGN_OR_RETURN(findings.manifest, ExamineManifest(fs, dir, ledger));
  absl::StatusOr<std::vector<LogVerdict>> logs = JudgeLogs(fs, dir, ledger.logs);
  if (absl::IsDataLoss(logs.status())) {
    const std::string_view what = base::StdSv(logs.status().message());
    // Watermarks in the logs themselves cannot be set aside as the ledger can.
    if (JudgeLogs(fs, dir, {}).ok()) return Missing(dir, what);
    return absl::DataLossError(absl::StrCat(
        base::Sv(what), "; nothing was changed. Put the file back from a copy of the directory"));
  }
  TESSERA_RETURN_IF_ERROR(logs.status());
  findings.logs = *std::move(logs);
  return findings;
}

}  // namespace tessera::storage
