#include "tests/fuzz/mutations.h"

#include <algorithm>
#include <cstdint>
#include <random>

#include <zlib.h>

#include "base/check.h"

namespace tessera::fuzz {
namespace {

constexpr size_t kPlaces = 300;

std::string Gzip(std::string_view bytes) {
  z_stream stream{};
  TESSERA_CHECK(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string in(bytes);
  std::string out(deflateBound(&stream, static_cast<uLong>(in.size())), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  TESSERA_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string Edited(std::string_view good, std::mt19937_64& random) {
  std::string bad(good);
  for (uint64_t edits = 1 + random() % 4; edits > 0 && !bad.empty(); --edits) {
    const size_t at = random() % bad.size();
    const size_t length = std::min<size_t>(1 + random() % 16, bad.size() - at);
    switch (random() % 4) {
      case 0:
        bad[at] = static_cast<char>(bad[at] ^ static_cast<char>(1 << random() % 8));
        break;
      case 1:
        bad[at] = static_cast<char>(random());
        break;
      case 2:
        bad.erase(at, length);
        break;
      default:
        bad.insert(random() % bad.size(), bad.substr(at, length));
    }
  }
  return bad;
}

class Visitor {
 public:
  explicit Visitor(const std::function<void(std::string_view)>& visit) : visit_(visit) {}

  void Plain(const std::string& bad) {
    visit_(bad);
    if (++count_ % 10 != 0) return;
    std::string packed = Gzip(bad);
    visit_(packed);
    packed[packed.size() * (count_ / 10 % 20) / 20] ^= 0x20;
    visit_(packed);
    visit_(packed.substr(0, packed.size() / 2));
  }

 private:
  const std::function<void(std::string_view)>& visit_;
  size_t count_ = 0;
};

void CutAndFlip(std::string_view good, Visitor& visitor) {
  const size_t step = good.size() / kPlaces + 1;
  for (size_t size = 0; size < good.size(); size += step) {
    visitor.Plain(std::string(good.substr(0, size)));
  }
  for (size_t at = 0; at < std::min(good.size(), kPlaces); ++at) {
    std::string bad(good);
    bad[at] = static_cast<char>(~bad[at]);
    visitor.Plain(bad);
  }
}

void PutHostileNumbers(std::string_view good, Visitor& visitor) {
  for (const uint64_t number :
       {uint64_t{0}, uint64_t{0x7fffffff}, uint64_t{0x80000000}, uint64_t{0xffffffff},
        uint64_t{0x7f800000}, uint64_t{0x7fc00000}, uint64_t{1} << 63}) {
    const size_t width = number >> 32 == 0 ? 4 : 8;
    std::string bytes;
    for (size_t i = 0; i < width; ++i) bytes += static_cast<char>(number >> (8 * i));
    for (size_t at = 0; at + width <= std::min<size_t>(good.size(), 64); ++at) {
      std::string bad(good);
      bad.replace(at, width, bytes);
      visitor.Plain(bad);
      bad.replace(at, width, std::string(bytes.rbegin(), bytes.rend()));
      visitor.Plain(bad);
    }
  }
}

}  // namespace

void ForEachMutation(std::string_view good, const std::function<void(std::string_view)>& visit) {
  Visitor visitor(visit);
  CutAndFlip(good, visitor);
  PutHostileNumbers(good, visitor);
  std::mt19937_64 random(good.size());
  for (size_t i = 0; i < kPlaces; ++i) visitor.Plain(Edited(good, random));
}

}  // namespace tessera::fuzz
