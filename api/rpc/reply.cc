#include "api/rpc/reply.h"

#include <algorithm>
#include <array>

namespace tessera::api {
namespace {

// Chunks are never copied to make them longer.
constexpr uint64_t kChunkBytesMin = 512;
constexpr uint64_t kChunkBytesMax = uint64_t{128} << 10;
constexpr uint64_t kLengthDelimited = 2;

size_t PutVarint(uint64_t value, char* out) {
  size_t bytes = 0;
  for (; value >= 0x80; value >>= 7) out[bytes++] = static_cast<char>((value & 0x7F) | 0x80);
  out[bytes++] = static_cast<char>(value);
  return bytes;
}

// Tag and length of an element.
size_t PutHeader(int field, uint64_t bytes, char* out) {
  const size_t tag = PutVarint((static_cast<uint64_t>(field) << 3) | kLengthDelimited, out);
  return tag + PutVarint(bytes, out + tag);
}

}  // namespace

uint64_t Reply::ElementBytes(int field, const google::protobuf::MessageLite& element) {
  std::array<char, 20> header{};
  const uint64_t bytes = element.ByteSizeLong();
  return PutHeader(field, bytes, header.data()) + bytes;
}

std::string* Reply::Room(uint64_t bytes) {
  if (chunks_.empty() || chunks_.back().capacity() - chunks_.back().size() < bytes) {
    const uint64_t usual = std::clamp(bytes_, kChunkBytesMin, kChunkBytesMax);
    chunks_.emplace_back().reserve(std::max(bytes, usual));
  }
  bytes_ += bytes;
  return &chunks_.back();
}

void Reply::AddHeader(int field, uint64_t bytes) {
  std::array<char, 20> header{};
  const size_t header_bytes = PutHeader(field, bytes, header.data());
  Room(header_bytes)->append(header.data(), header_bytes);
}

void Reply::AddElement(int field, const google::protobuf::MessageLite& element) {
  AddHeader(field, element.ByteSizeLong());
  AddFields(element);
}

void Reply::AddElement(int field, std::string element) {
  AddHeader(field, element.size());
  if (element.size() < kChunkBytesMin) {
    Room(element.size())->append(element);
    return;
  }
  bytes_ += element.size();
  chunks_.push_back(std::move(element));
}

void Reply::AddFields(const google::protobuf::MessageLite& rest) {
  std::string* const out = Room(rest.ByteSizeLong());
  rest.AppendToString(out);
}

void Reply::Clear() {
  chunks_.clear();
  bytes_ = 0;
}

std::vector<std::string> Reply::TakeChunks() {
  bytes_ = 0;
  return std::exchange(chunks_, {});
}

}  // namespace tessera::api
