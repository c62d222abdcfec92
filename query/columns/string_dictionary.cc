#include "query/columns/string_dictionary.h"

#include <algorithm>
#include <cstring>

#include "base/coding/coding.h"

namespace tessera::query {
namespace {

constexpr uint32_t kGroup = 16;
constexpr size_t kStringBytesMax = 1024;

uint32_t GroupCount(uint32_t count) {
  return count / kGroup + (count % kGroup == 0 ? 0 : 1);
}

}  // namespace

bool StringDictionary::ForEachFrom(
    uint32_t group, absl::FunctionRef<bool(uint32_t, std::string_view)> visit) const {
  const size_t heads = size_t{4} * GroupCount(count_);
  if (bytes_.size() < heads) return false;
  if (group * kGroup >= count_) return true;
  uint32_t offset;
  std::memcpy(&offset, bytes_.data() + size_t{4} * group, sizeof(offset));
  if (offset > bytes_.size() - heads) return false;
  base::Decoder decoder(bytes_.substr(heads + offset));
  std::string text;
  for (uint32_t code = group * kGroup; code < count_; ++code) {
    uint64_t shared = 0;
    std::string_view rest;
    if (!decoder.Varint64(&shared).ok() || !decoder.Bytes(&rest).ok()) return false;
    if (shared > text.size() || (code % kGroup == 0 && shared != 0) ||
        shared + rest.size() > kStringBytesMax) {
      return false;
    }
    text.resize(shared);
    text.append(rest);
    if (!visit(code, text)) return true;
  }
  return true;
}

absl::Status StringDictionary::Validate() const {
  std::string last;
  bool ascending = true;
  const bool whole = ForEach([&](uint32_t code, std::string_view text) {
    ascending = code == 0 || last < text;
    last = text;
    return ascending;
  });
  for (uint32_t group = 0; whole && ascending && group < GroupCount(count_); ++group) {
    ascending = ForEachFrom(group, [](uint32_t, std::string_view) { return false; });
  }
  if (whole && ascending) return absl::OkStatus();
  return absl::DataLossError("column unit: a dictionary is damaged");
}

uint32_t StringDictionary::Below(std::string_view text, bool or_equal) const {
  const auto is_below = [&](std::string_view other) {
    const int order = other.compare(text);
    return order < 0 || (or_equal && order == 0);
  };
  // The last group whose head is below; only that one can have the border.
  uint32_t low = 0;
  uint32_t high = GroupCount(count_);
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    bool below = false;
    ForEachFrom(middle, [&](uint32_t, std::string_view head) {
      below = is_below(head);
      return false;
    });
    if (below) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == 0) return 0;
  uint32_t border = std::min(count_, low * kGroup);
  ForEachFrom(low - 1, [&](uint32_t code, std::string_view other) {
    if (code >= border) return false;
    if (is_below(other)) return true;
    border = code;
    return false;
  });
  return border;
}

std::string EncodeStrings(const std::vector<std::string_view>& strings) {
  std::string heads;
  std::string out;
  for (size_t i = 0; i < strings.size(); ++i) {
    size_t shared = 0;
    if (i % kGroup == 0) {
      base::PutU32(&heads, static_cast<uint32_t>(out.size()));
    } else {
      const size_t most = std::min(strings[i].size(), strings[i - 1].size());
      while (shared < most && strings[i][shared] == strings[i - 1][shared]) ++shared;
    }
    base::PutVarint64(&out, shared);
    base::PutBytes(&out, strings[i].substr(shared));
  }
  return heads + out;
}

}  // namespace tessera::query
