#include "version/leased_version.h"

#include <utility>
#include <vector>

#include "base/status_macros.h"

namespace tessera::version {
namespace {

struct Leased {
  std::shared_ptr<const void> lease;  // goes after the version
  std::shared_ptr<const IndexVersion> version;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const IndexVersion>> OpenLeasedVersion(
    Context& context, const base::VectorFieldSchema& field, storage::VersionRecord record,
    const OpenOptions& options) {
  auto leased = std::make_shared<Leased>();
  TESSERA_ASSIGN_OR_RETURN(leased->version,
                           OpenIndexVersion(context, field, std::move(record), options));
  leased->lease = context.files->Lease(leased->version->files());
  const IndexVersion* version = leased->version.get();
  return std::shared_ptr<const IndexVersion>(std::move(leased), version);
}

absl::StatusOr<query::LiveBitmap> LiveRows(const IndexVersion& version,
                                           std::span<const base::RowId> dead) {
  query::LiveBitmap live(version.view->positions);
  if (dead.empty()) return live;
  TESSERA_ASSIGN_OR_RETURN(const std::vector<std::optional<uint64_t>> found, version.Locate(dead));
  std::vector<uint64_t> positions;
  for (const std::optional<uint64_t>& position : found) {
    if (position.has_value()) positions.push_back(*position);
  }
  return live.WithCleared(positions);
}

}  // namespace tessera::version
