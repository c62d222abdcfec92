#include <memory>
#include <optional>
#include <string>

#include "base/check.h"
#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "base/status_macros.h"
#include "storage/extent_store.h"
#include "storage/external_sorter.h"
#include "storage/manifest.h"
#include "tests/fuzz/stored.h"
#include "tests/fuzz/targets.h"
#include "tests/support/fault_fs.h"
#include "tests/support/fs_image.h"

namespace tessera::fuzz {
namespace {

using storage::ExtentRef;
using storage::ExtentStore;
using storage::VersionRecord;

absl::StatusOr<std::string> RewriteVersion(std::string_view input) {
  TESSERA_ASSIGN_OR_RETURN(const VersionRecord record, storage::DecodeVersionRecord(input));
  for (const auto& [kind, extents] : record.planes) {
    TESSERA_CHECK(extents.size() == record.list_rows.size());
  }
  const auto ends = storage::ReferencedFileEnds(record);
  TESSERA_CHECK(ends.size() == storage::ReferencedFiles(record).size() && !ends.contains(0));
  const std::string bytes = storage::EncodeVersionRecord(record);
  const absl::StatusOr<VersionRecord> again = storage::DecodeVersionRecord(bytes);
  TESSERA_CHECK(again.ok() && *again == record);
  return bytes;
}

std::vector<Sample> Versions() {
  using storage::BlobKind;
  using storage::PlaneKind;
  VersionRecord full;
  full.generation = 300;
  full.list_rows = {64, 0, 1 << 24};
  full.planes[PlaneKind::kCodes] = {{1, 4096, 640, 0xfeedbeef}, {}, {1, 8192, 100, 7}};
  full.planes[PlaneKind::kFine] = {{2, 4096, 77, 1}, {}, {1, 4096, 1, 0}};
  full.planes[PlaneKind::kRaw] = {{2, uint64_t{1} << 40, UINT32_MAX, 2}, {}, {UINT32_MAX, 0, 9, 3}};
  full.blobs[BlobKind::kHeadIndex] = {3, 4096, 1000, 4};
  full.blobs[BlobKind::kCodec] = {3, 5632, 1000, 5};
  full.blobs[BlobKind::kLocations] = {2, 512, 3, 6};
  full.counters = {{"rows", (1 << 24) + 64}, {"positions", UINT64_MAX}, {"lists", 2}};
  return {{"full", storage::EncodeVersionRecord(full)},
          {"empty", storage::EncodeVersionRecord({})}};
}

constexpr char kExtentDir[] = "/extents";
constexpr char kExtentFile[] = "/extents/0000000001.extents";
constexpr std::string_view kExtentText = "an extent";

ExtentRef ExtentOfSample() {
  return {.file = 1,
          .offset = storage::kExtentFileHeaderBytes,
          .bytes = kExtentText.size(),
          .crc = base::Crc32c(kExtentText)};
}

std::unique_ptr<ExtentStore> MustOpenExtents(FaultFs& fs) {
  absl::StatusOr<std::unique_ptr<ExtentStore>> store = ExtentStore::Open(fs, kExtentDir, 1);
  TESSERA_CHECK(store.ok());
  return *std::move(store);
}

absl::Status ReadExtent(std::string_view input) {
  FaultFs fs(1);
  PutFile(fs, kExtentFile, std::string(input));
  const std::unique_ptr<ExtentStore> store = MustOpenExtents(fs);
  TESSERA_CHECK(store->next_file() == 2);  // whatever is in it, it is never overwritten
  const ExtentRef ref = ExtentOfSample();
  if (store->CheckPresent({{1, ref.offset + ref.bytes}}).ok()) {
    TESSERA_CHECK(input.size() >= ref.offset + ref.bytes);
  }
  TESSERA_ASSIGN_OR_RETURN(const std::string text, store->Read(ref));
  TESSERA_CHECK(text == kExtentText);
  return absl::OkStatus();
}

absl::Status RunExtentFile(std::string_view input) {
  const size_t header = 16;  // magic, version and number, then their checksum
  if (input.size() >= header + 4) {
    std::string mended = Resealed(input.substr(0, header + 4));
    mended.append(input.substr(mended.size()));
    CheckedStored(ReadExtent(mended)).IgnoreError();
  }
  return CheckedStored(ReadExtent(input));
}

std::vector<Sample> ExtentFiles() {
  FaultFs fs(1);
  const std::unique_ptr<ExtentStore> store = MustOpenExtents(fs);
  const std::unique_ptr<storage::ExtentWriter> writer = store->NewWriter();
  const absl::StatusOr<ExtentRef> ref =
      writer->Append(std::as_bytes(std::span(kExtentText)), storage::kPlaneAlignment);
  TESSERA_CHECK(ref.ok() && *ref == ExtentOfSample() && writer->Finish().ok());
  return {{"one_extent", Capture(fs).at(kExtentFile)}};
}

// A sorter whose first run is a file by the time it is asked for the pairs. Pair lengths are such
// that varints, keys and values span blocks.
class SortedPairs {
 public:
  SortedPairs() {
    TESSERA_CHECK(fs_.CreateDirectory("/scratch").ok());
    sorter_.emplace(fs_, "/scratch", storage::ExternalSorter::kMemoryBytesMin);
    for (; sorter_->run_count() == 0; ++pairs_) {
      const std::string key = Key(pairs_);
      TESSERA_CHECK(sorter_->Add(key, std::string(100 + pairs_ % 90, key[0])).ok());
    }
  }

  std::string path() const { return fs_.Files().front(); }
  FaultFs& fs() { return fs_; }

  // Reads all pairs, of which those of the first run are `run`.
  absl::Status ReadAll(std::string_view run) {
    PutFile(fs_, path(), std::string(run));
    TESSERA_CHECK(sorter_->Finish().ok());
    for (uint64_t pairs = 0;; ++pairs) {
      std::string_view key;
      std::string_view value;
      absl::StatusOr<bool> more = sorter_->Next(&key, &value);
      if (!more.ok()) {
        TESSERA_CHECK(sorter_->Next(&key, &value).status() == more.status());
        return more.status();
      }
      if (!*more) {
        TESSERA_CHECK(pairs == pairs_);
        return absl::OkStatus();
      }
    }
  }

 private:
  static std::string Key(uint64_t number) {
    std::string key;
    base::PutBigEndian64(&key, number * 0x9e3779b97f4a7c15);
    return key;
  }

  FaultFs fs_{1};
  std::optional<storage::ExternalSorter> sorter_;
  uint64_t pairs_ = 0;
};

// Sets the checksums of all blocks right, as far as their lengths lead.
std::string MendedRun(std::string_view input) {
  std::string mended(input);
  for (size_t at = 0; at + 8 <= mended.size();) {
    auto* const block = reinterpret_cast<std::byte*>(mended.data()) + at;
    const size_t bytes = size_t{8} + base::LoadU32(block + 4);
    if (bytes > mended.size() - at) break;
    base::StoreU32(block, base::Crc32c(std::span<const std::byte>(block + 4, bytes - 4)));
    at += bytes;
  }
  return mended;
}

absl::Status RunSortedRun(std::string_view input) {
  CheckedStored(SortedPairs().ReadAll(MendedRun(input))).IgnoreError();
  return CheckedStored(SortedPairs().ReadAll(input));
}

std::vector<Sample> SortedRuns() {
  SortedPairs pairs;
  return {{"first_run", Capture(pairs.fs()).at(pairs.path())}};
}

}  // namespace

std::vector<Target> StorageTargets() {
  return {
      {.name = "version_record",
       .run = RunSealed<RewriteVersion>,
       .rewrite = RewriteVersion,
       .samples = Versions},
      {.name = "extent_file", .run = RunExtentFile, .samples = ExtentFiles},
      {.name = "sorted_run", .run = RunSortedRun, .samples = SortedRuns},
  };
}

}  // namespace tessera::fuzz
