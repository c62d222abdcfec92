#include "storage/manifest.h"

#include <random>
#include <string>

#include "absl/strings/escaping.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

VersionRecord SmallRecord() {
  VersionRecord record;
  record.generation = 300;
  record.list_rows = {256, 0, 7};
  record.planes[PlaneKind::kCodes] = {{.file = 3, .offset = 4096, .bytes = 4352, .crc = 0x01020304},
                                      {},
                                      {.file = 3, .offset = 12288, .bytes = 512, .crc = 5}};
  record.planes[PlaneKind::kRaw] = {{.file = 9, .offset = 8192, .bytes = 1, .crc = 6},
                                    {},
                                    {.file = 4, .offset = 4096, .bytes = 70000, .crc = 7}};
  record.blobs[BlobKind::kHeads] = {.file = 10, .offset = 4096, .bytes = 99, .crc = 8};
  record.blobs[BlobKind::kCodec] = {.file = 10, .offset = 8192, .bytes = 1000, .crc = 9};
  record.counters = {{"next_file", 11}, {"rows", 263}};
  return record;
}

VersionRecord RandomRecord(std::mt19937_64& rng) {
  const auto draw = [&rng](uint64_t max) {
    return std::uniform_int_distribution<uint64_t>(0, max)(rng);
  };
  const auto extent = [&]() -> ExtentRef {
    if (draw(4) == 0) {
      return {};
    }
    return {.file = static_cast<uint32_t>(1 + (draw(1) == 0 ? draw(2) : draw(UINT32_MAX - 1))),
            .offset = draw(uint64_t{1} << draw(60)),
            .bytes = static_cast<uint32_t>(1 + draw(UINT32_MAX - 1)),
            .crc = static_cast<uint32_t>(draw(UINT32_MAX))};
  };
  VersionRecord record;
  record.generation = draw(UINT64_MAX);
  record.list_rows.resize(draw(20));
  for (uint32_t& rows : record.list_rows) {
    rows = static_cast<uint32_t>(draw(kPartRowsMax));
  }
  for (uint64_t plane = draw(3); plane > 0; --plane) {
    auto& extents = record.planes[static_cast<PlaneKind>(1 + draw(200))];
    extents.clear();
    for (size_t i = 0; i < record.list_rows.size(); ++i) {
      extents.push_back(extent());
    }
  }
  for (uint64_t blob = draw(4); blob > 0; --blob) {
    record.blobs[static_cast<BlobKind>(1 + draw(200))] = extent();
  }
  for (uint64_t counter = draw(3); counter > 0; --counter) {
    record.counters[std::string(1 + draw(40), static_cast<char>('a' + draw(20)))] =
        draw(UINT64_MAX);
  }
  return record;
}

// Replaces the checksum of a record whose body was changed on purpose.
std::string Sealed(std::string record) {
  record.resize(record.size() - 4);
  base::PutU32(&record, base::Crc32c(std::string_view(record)));
  return record;
}

TEST(Manifest, RecordsComeBackAsTheyWere) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(seed);
  std::mt19937_64 rng(seed);
  EXPECT_THAT(DecodeVersionRecord(EncodeVersionRecord({})), IsOkAndHolds(VersionRecord{}));
  EXPECT_THAT(DecodeVersionRecord(EncodeVersionRecord(SmallRecord())), IsOkAndHolds(SmallRecord()));
  for (int i = 0; i < 500; ++i) {
    const VersionRecord record = RandomRecord(rng);
    EXPECT_THAT(DecodeVersionRecord(EncodeVersionRecord(record)), IsOkAndHolds(record));
  }
}

TEST(Manifest, BytesAreThoseOfTheFormatPage) {
  VersionRecord record;
  record.generation = 300;
  record.list_rows = {5, 2};
  record.planes[PlaneKind::kCodes] = {{.file = 3, .offset = 4096, .bytes = 512, .crc = 0x01020304},
                                      {.file = 3, .offset = 8192, .bytes = 512, .crc = 5}};
  record.blobs[BlobKind::kHeads] = {.file = 1, .offset = 4096, .bytes = 1, .crc = 6};
  record.counters = {{"n", 7}};
  const std::string bytes = EncodeVersionRecord(record);
  EXPECT_EQ(absl::BytesToHexString(bytes.substr(0, bytes.size() - 4)),
            "54455356"  // magic
            "0100"      // format
            "ac02"      // generation
            "02"
            "05"
            "02"  // lists and their rows
            "01"
            "01"  // one plane: codes
            "8004"
            "03"
            "8020"
            "04030201"
            "8004"
            "00"
            "801c"
            "05000000"  // same file, 3584 bytes after the one before
            "01"
            "01"
            "01"
            "01"
            "8020"
            "06000000"  // one blob: heads
            "01"
            "01"
            "6e"
            "07");  // one counter
}

TEST(Manifest, EveryTruncationIsDataLoss) {
  const std::string bytes = EncodeVersionRecord(SmallRecord());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THAT(DecodeVersionRecord(std::string_view(bytes).substr(0, size)),
                StatusIs(absl::StatusCode::kDataLoss))
        << size;
    if (size > 4) {  // ... also when the checksum happens to be right
      EXPECT_THAT(DecodeVersionRecord(Sealed(bytes.substr(0, size))),
                  StatusIs(absl::StatusCode::kDataLoss))
          << size;
    }
  }
  EXPECT_THAT(DecodeVersionRecord(Sealed(bytes + "x")), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(Manifest, EveryByteFlipIsDataLoss) {
  std::string bytes = EncodeVersionRecord(SmallRecord());
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
      EXPECT_THAT(DecodeVersionRecord(bytes), StatusIs(absl::StatusCode::kDataLoss)) << at;
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
    }
  }
}

// A right checksum over wrong bytes: whatever they say, there is an answer and no crash.
TEST(Manifest, SurvivesAnyBytesUnderARightChecksum) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(seed);
  std::mt19937_64 rng(seed);
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = EncodeVersionRecord(RandomRecord(rng));
    for (int changes = 0; changes < 3; ++changes) {
      const size_t at = 6 + rng() % (bytes.size() - 6);
      bytes[at] = static_cast<char>(rng());
    }
    const absl::StatusOr<VersionRecord> record = DecodeVersionRecord(Sealed(bytes));
    if (record.ok()) {
      // What was accepted keeps the rules Encode checks.
      EXPECT_THAT(DecodeVersionRecord(EncodeVersionRecord(*record)), IsOkAndHolds(*record));
    } else {
      EXPECT_THAT(record, StatusIs(absl::StatusCode::kDataLoss));
    }
  }
}

TEST(Manifest, NewerFormatIsUnimplemented) {
  std::string bytes = EncodeVersionRecord(SmallRecord());
  bytes[4] = 2;
  EXPECT_THAT(DecodeVersionRecord(Sealed(bytes)),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("format 2")));
}

TEST(Manifest, HugeCountsTakeNoMemory) {
  std::string bytes;
  base::PutU32(&bytes, 0x56534554);
  base::PutU16(&bytes, 1);
  base::PutVarint64(&bytes, 1);
  base::PutVarint64(&bytes, kListsMax);
  base::PutU32(&bytes, 0);
  EXPECT_THAT(DecodeVersionRecord(Sealed(bytes)),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("list count")));
}

TEST(Manifest, NamesTheFilesItRefersTo) {
  EXPECT_THAT(ReferencedFiles(SmallRecord()), ElementsAre(3, 4, 9, 10));
}

}  // namespace
}  // namespace tessera::storage
