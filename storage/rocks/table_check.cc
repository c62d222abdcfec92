#include "storage/rocks/table_check.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/table.h"

#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "storage/rocks/masked_crc.h"

namespace tessera::storage {
namespace {

// The footer: u8 checksum type, the places of metaindex and index in 40 bytes, u32 version, u64
// magic.
constexpr uint64_t kFooterBytes = 53;
constexpr size_t kPlacesBytes = 40;
constexpr size_t kVersionAt = 1 + kPlacesBytes;
constexpr uint64_t kMagic = 0x88e241b785f4cff7;
constexpr uint8_t kChecksum = rocksdb::kCRC32c;
constexpr uint32_t kVersion = 5;
constexpr std::string_view kPropertiesName = "rocksdb.properties";

constexpr uint64_t kTrailerBytes = 5;  // behind a block
constexpr uint64_t kTailBytes = 4096;  // that are read at once: all that is wanted, as a rule

struct Place {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

bool Take(base::Decoder& decoder, Place* place) {
  return decoder.Varint64(&place->offset).ok() && decoder.Varint64(&place->bytes).ok();
}

// The value of `name` in a block, whose entries are varint bytes of the key before that are kept,
// varint bytes of the key that follow, varint bytes of the value, then both. Behind them are u32
// places of whole keys and their count.
std::optional<std::string_view> Find(std::string_view block, std::string_view name) {
  if (block.size() < sizeof(uint32_t)) return std::nullopt;
  const std::span<const std::byte> bytes = std::as_bytes(std::span(block));
  const uint64_t index_bytes =
      (uint64_t{1} + base::LoadU32(bytes.last(sizeof(uint32_t)).data())) * sizeof(uint32_t);
  if (index_bytes > block.size()) return std::nullopt;
  base::Decoder decoder(block.substr(0, block.size() - index_bytes));
  std::string key;
  while (decoder.remaining() > 0) {
    uint64_t kept = 0;
    uint64_t more = 0;
    uint64_t value_bytes = 0;
    std::string_view rest;
    std::string_view value;
    if (!decoder.Varint64(&kept).ok() || !decoder.Varint64(&more).ok() ||
        !decoder.Varint64(&value_bytes).ok() || !decoder.Raw(more, &rest).ok() ||
        !decoder.Raw(value_bytes, &value).ok() || kept > key.size()) {
      return std::nullopt;
    }
    key.resize(kept);
    key.append(rest);
    if (key == name) return value;
  }
  return std::nullopt;
}

class TableEnd {
 public:
  TableEnd(const base::RandomAccessFile& file, const std::string& path)
      : file_(file), path_(path) {}

  absl::Status Check() {
    TESSERA_ASSIGN_OR_RETURN(bytes_, file_.Size());
    if (bytes_ < kFooterBytes) return Damaged("footer");
    tail_.resize(std::min(bytes_, kTailBytes));
    TESSERA_RETURN_IF_ERROR(ReadFully(bytes_ - tail_.size(), tail_));
    Place index;
    Place metaindex;
    if (!ParseFooter(&metaindex, &index)) return Damaged("footer");
    TESSERA_RETURN_IF_ERROR(Block(index, "index").status());
    TESSERA_ASSIGN_OR_RETURN(const std::string names, Block(metaindex, "metaindex"));
    const std::optional<std::string_view> named = Find(names, kPropertiesName);
    base::Decoder decoder(named.value_or(""));
    Place properties;
    if (!Take(decoder, &properties)) return Damaged("metaindex");
    return Block(properties, "properties").status();
  }

 private:
  bool ParseFooter(Place* metaindex, Place* index) const {
    const std::span<const std::byte> footer = std::span(tail_).last(kFooterBytes);
    const std::string_view places(reinterpret_cast<const char*>(footer.data()) + 1, kPlacesBytes);
    base::Decoder decoder(places);
    if (!Take(decoder, metaindex) || !Take(decoder, index)) return false;
    const std::string_view padding = places.substr(kPlacesBytes - decoder.remaining());
    return static_cast<uint8_t>(footer[0]) == kChecksum &&
           padding.find_first_not_of('\0') == std::string_view::npos &&
           base::LoadU32(footer.data() + kVersionAt) == kVersion &&
           base::LoadU64(footer.data() + kVersionAt + sizeof(uint32_t)) == kMagic;
  }

  // The bytes of a block that checks out.
  absl::StatusOr<std::string> Block(const Place& place, std::string_view what) const {
    const uint64_t end = bytes_ - kFooterBytes;
    if (place.offset > end || end - place.offset < kTrailerBytes ||
        place.bytes > end - place.offset - kTrailerBytes) {
      return Damaged(what);
    }
    std::vector<std::byte> block(place.bytes + kTrailerBytes);
    const uint64_t tail_at = bytes_ - tail_.size();
    if (place.offset >= tail_at) {
      const auto from = tail_.begin() + static_cast<ptrdiff_t>(place.offset - tail_at);
      std::copy_n(from, block.size(), block.begin());
    } else {
      TESSERA_RETURN_IF_ERROR(ReadFully(place.offset, block));
    }
    const std::span<const std::byte> checked = std::span(block).first(place.bytes + 1);
    if (base::Crc32c(checked) != UnmaskCrc(base::LoadU32(block.data() + checked.size()))) {
      return Damaged(what);
    }
    return std::string(reinterpret_cast<const char*>(block.data()), place.bytes);
  }

  absl::Status ReadFully(uint64_t offset, std::span<std::byte> out) const {
    TESSERA_ASSIGN_OR_RETURN(const size_t got, file_.Read(offset, out));
    return got == out.size() ? absl::OkStatus() : Damaged("length");
  }

  absl::Status Damaged(std::string_view what) const {
    return absl::DataLossError(absl::StrCat("table file ", path_, " of ", bytes_,
                                            " bytes is damaged in its ", base::Sv(what)));
  }

  const base::RandomAccessFile& file_;
  const std::string& path_;
  uint64_t bytes_ = 0;
  std::vector<std::byte> tail_;
};

}  // namespace

absl::Status CheckTableFile(const base::RandomAccessFile& file, const std::string& path) {
  return TableEnd(file, path).Check();
}

}  // namespace tessera::storage
