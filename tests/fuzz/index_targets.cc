#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "base/status_macros.h"
#include "index/codecs/codec.h"
#include "index/codecs/rabitq_codec.h"
#include "index/raw_plane.h"
#include "tests/fuzz/stored.h"
#include "tests/fuzz/targets.h"

namespace tessera::fuzz {
namespace {

using index::Codec;

constexpr uint32_t kDim = 12;
constexpr size_t kRows = 70;  // two blocks

std::string_view AsText(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::span<const std::byte> AsBytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// The first eight coordinates as they are.
std::unique_ptr<Codec> TinyCodec(uint32_t fine_bits) {
  index::RaBitQParameters parameters{.dim = kDim,
                                     .metric = base::Metric::kL2,
                                     .code_dim = 8,
                                     .fine_bits = fine_bits,
                                     .sigma = 0.25F,
                                     .projection = std::vector<float>(8 * kDim),
                                     .mean = std::vector<float>(kDim, 0.5F)};
  for (size_t i = 0; i < 8; ++i) parameters.projection[i * kDim + i] = 1;
  auto codec = index::RaBitQCodec::Create(std::move(parameters));
  TESSERA_CHECK(codec.ok());
  return *std::move(codec);
}

const Codec& Tiny() {
  static const std::unique_ptr<Codec> codec = TinyCodec(4);
  return *codec;
}

struct Planes {
  std::vector<std::byte> codes;
  std::vector<std::byte> fine;
};

Planes Encoded(const Codec& codec, size_t rows) {
  Planes planes;
  planes.codes.resize(codec.CodePlaneBytes(rows));
  planes.fine.resize(rows * codec.FineRecordBytes());
  const std::vector<float> head(codec.dim(), 1.0F);
  codec.EncodeList(head.data(), Grid(rows * codec.dim()).data(), rows, planes.codes.data(),
                   planes.fine.data());
  return planes;
}

// What is accepted is scanned in bounds, and every estimate is a number.
void Scan(const Codec& codec, const std::byte* codes, const std::byte* fine, size_t rows) {
  const std::unique_ptr<index::QueryCode> query = codec.NewQuery();
  codec.PrepareQuery(Grid(codec.dim()).data(), query.get());
  std::vector<index::Survivor> survivors(rows);
  const size_t found = codec.ScanList(*query,
                                      {.code_plane = codes,
                                       .rows = static_cast<uint32_t>(rows),
                                       .head_distance2 = 3,
                                       .head_dot = 2},
                                      survivors.data());
  TESSERA_CHECK(found == rows);
  for (const index::Survivor& survivor : survivors) {
    TESSERA_CHECK(survivor.slot < rows && !std::isnan(survivor.estimate));
  }
  if (fine != nullptr) codec.FineEstimates(*query, fine, 3, 2, survivors);
}

absl::StatusOr<std::string> RewriteCodec(std::string_view input) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Codec> codec, index::DeserializeCodec(input));
  const Planes planes = Encoded(*codec, kRows);
  TESSERA_CHECK(codec->ValidateCodePlane(planes.codes, kRows).ok());
  Scan(*codec, planes.codes.data(), planes.fine.empty() ? nullptr : planes.fine.data(), kRows);
  std::string bytes = codec->Serialize();
  TESSERA_CHECK(bytes == input);
  return bytes;
}

std::vector<Sample> Codecs() {
  return {{"fine_4_bits", TinyCodec(4)->Serialize()},
          {"fine_8_bits", TinyCodec(8)->Serialize()},
          {"no_fine_plane", TinyCodec(0)->Serialize()}};
}

absl::Status RunCodePlane(std::string_view input) {
  TESSERA_RETURN_IF_ERROR(CheckedStored(Tiny().ValidateCodePlane(AsBytes(input), kRows)));
  // Scans read whole lines.
  std::vector<std::byte> aligned(input.size() + 64);
  std::byte* plane = aligned.data() + (64 - reinterpret_cast<uintptr_t>(aligned.data()) % 64) % 64;
  std::copy(AsBytes(input).begin(), AsBytes(input).end(), plane);
  Scan(Tiny(), plane, nullptr, kRows);
  return absl::OkStatus();
}

std::vector<Sample> CodePlanes() {
  return {{"two_blocks", std::string(AsText(Encoded(Tiny(), kRows).codes))}};
}

absl::Status RunFineRecords(std::string_view input) {
  TESSERA_RETURN_IF_ERROR(CheckedStored(Tiny().ValidateFinePlane(AsBytes(input), kRows)));
  const Planes planes = Encoded(Tiny(), kRows);
  Scan(Tiny(), planes.codes.data(), AsBytes(input).data(), kRows);
  return absl::OkStatus();
}

std::vector<Sample> FineRecords() {
  return {{"records", std::string(AsText(Encoded(Tiny(), kRows).fine))}};
}

const base::VectorFieldSchema kField{.name = "", .dim = 3, .type = base::ElementType::kF16};
constexpr size_t kRawRows = 4;

absl::Status ReadRawUnit(std::string_view input) {
  TESSERA_RETURN_IF_ERROR(CheckedStored(index::ValidateRawUnit(kField, kRawRows, AsBytes(input))));
  const index::RawUnitShape shape(kField);
  for (size_t row = 0; row < kRawRows; ++row) {
    const std::byte* header = shape.Header(AsBytes(input).data(), row);
    if (index::RawKind(header) == index::RawIdKind::kLongString) continue;
    std::string key;
    index::RawPointId(header).EncodeKey(&key);
    TESSERA_CHECK(base::PointId::DecodeKey(key).ok());
  }
  return absl::OkStatus();
}

// Sets the checksums of all records right.
absl::Status RunRawUnit(std::string_view input) {
  if (input.size() == index::RawUnitBytes(kField, kRawRows)) {
    std::string mended(input);
    const index::RawUnitShape shape(kField);
    auto* const unit = reinterpret_cast<std::byte*>(mended.data());
    std::vector<std::byte> record(index::RawRecordBytes(kField));
    for (size_t row = 0; row < kRawRows; ++row) {
      shape.LoadRecord(unit, row, record.data());
      base::StoreU32(record.data(), base::Crc32c(std::span(record).subspan(4)));
      shape.StoreRecord(record.data(), row, unit);
    }
    ReadRawUnit(mended).IgnoreError();
  }
  return ReadRawUnit(input);
}

std::vector<Sample> RawUnits() {
  base::Uuid uuid;
  for (uint8_t i = 0; i < 16; ++i) uuid.bytes[i] = static_cast<uint8_t>(0xf0 + i);
  const std::vector<base::PointId> ids = {
      base::PointId(uint64_t{77}), base::PointId(uuid), base::PointId(std::string("short")),
      base::PointId(std::string("longer than what a header holds"))};
  std::vector<index::RawRow> rows;
  const std::string vector = "\x01\x3c\x02\x40\x03\x44";
  for (size_t i = 0; i < kRawRows; ++i) {
    rows.push_back(
        {.row = {100 + i}, .version = 1000 - i, .id = &ids[i], .vector = AsBytes(vector).data()});
  }
  std::vector<std::byte> plane(index::RawPlaneBytes(kField, kRawRows));
  index::EncodeRawPlane(kField, rows, plane.data());
  return {{"kinds_of_ids", std::string(AsText(plane))}};
}

}  // namespace

std::vector<Target> IndexTargets() {
  return {
      {.name = "codec", .run = RunSealed<RewriteCodec>, .rewrite = RewriteCodec, .samples = Codecs},
      {.name = "code_plane", .run = RunCodePlane, .samples = CodePlanes},
      {.name = "fine_records", .run = RunFineRecords, .samples = FineRecords},
      {.name = "raw_unit", .run = RunRawUnit, .samples = RawUnits},
  };
}

}  // namespace tessera::fuzz
