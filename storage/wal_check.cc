#include "storage/wal_check.h"

#include "base/coding.h"

namespace tessera::storage {
namespace {

constexpr uint8_t kWatermarkKind = 'W';

}  // namespace

std::string EncodeWatermark(const WalPosition& durable) {
  std::string bytes;
  base::PutU8(&bytes, kWatermarkKind);
  base::PutVarint64(&bytes, durable.log);
  base::PutVarint64(&bytes, durable.bytes);
  return bytes;
}

bool DecodeWatermark(std::string_view bytes, WalPosition* durable) {
  base::Decoder decoder(bytes);
  uint8_t kind = 0;
  return decoder.U8(&kind).ok() && kind == kWatermarkKind && decoder.Varint64(&durable->log).ok() &&
         decoder.Varint64(&durable->bytes).ok() && decoder.ExpectEnd().ok();
}

}  // namespace tessera::storage
