#include "version/build/field_spool.h"

#include <string>
#include <string_view>

#include "base/coding/coding.h"
#include "base/status_macros.h"
#include "index/raw_plane.h"
#include "storage/external_sorter.h"
#include "version/build/live_records.h"

namespace tessera::version {
namespace {

constexpr size_t kSpoolBufferBytes = size_t{1} << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<RecordSpool>> NewRecordSpool(Context& context,
                                                            const base::VectorFieldSchema& field) {
  return RecordSpool::Create(*context.fs, context.ScratchFile("records"),
                             index::RawRecordBytes(field), kSpoolBufferBytes);
}

absl::Status AppendLiveRecords(Context& context, const IndexVersion& version,
                               const query::LiveBitmap& live, uint64_t memory_bytes,
                               RecordSpool* spool) {
  storage::ExternalSorter by_row(*context.fs, context.scratch_path, memory_bytes);
  TESSERA_RETURN_IF_ERROR(
      ReadLiveRecords(context, version, live, [&](std::span<const std::byte> record) {
        std::string key;
        base::PutBigEndian64(&key, index::RawRowId(record.data()).value);
        return by_row.Add(key, {reinterpret_cast<const char*>(record.data()), record.size()});
      }));
  TESSERA_RETURN_IF_ERROR(by_row.Finish());
  std::string_view key;
  std::string_view record;
  while (true) {
    TESSERA_ASSIGN_OR_RETURN(const bool more, by_row.Next(&key, &record));
    if (!more) return absl::OkStatus();
    TESSERA_RETURN_IF_ERROR(spool->Append(std::as_bytes(std::span(record))));
  }
}

}  // namespace tessera::version
