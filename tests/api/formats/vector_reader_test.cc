#include "api/formats/vector_reader.h"

#include <cstring>
#include <vector>

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "api/formats/element_convert.h"
#include "tests/api/files.h"

namespace tessera::api {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

std::string FloatBytes(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// Reads a whole file in steps of `step` rows; the status of the first thing that went wrong.
absl::StatusOr<std::vector<float>> ReadAll(const std::string& path,
                                           std::optional<VectorFormat> format, size_t step = 2) {
  absl::StatusOr<std::unique_ptr<VectorReader>> reader = OpenVectorFile(path, format);
  if (!reader.ok()) return reader.status();
  std::string bytes;
  for (;;) {
    absl::StatusOr<size_t> rows = (*reader)->Read(step, &bytes);
    if (!rows.ok()) return rows.status();
    if (*rows == 0) break;
  }
  return ToFloats(bytes, (*reader)->type());
}

struct FormatCase {
  std::string name;
  VectorFormat format;
  std::string bytes;
  uint32_t dim;
  base::ElementType type;
  std::vector<float> values;
};

std::string Bytes(std::initializer_list<int> values) {
  std::string bytes;
  for (const int value : values) bytes += static_cast<char>(value);
  return bytes;
}

// Three rows (two of idx) of every format.
std::vector<FormatCase> Cases() {
  const std::vector<float> floats = {1, -2.5F, 3, 0.125F, 5, 1e-20F};
  std::string fvecs;
  std::string bvecs;
  for (int row = 0; row < 3; ++row) {
    fvecs += LittleU32(2) + FloatBytes({floats.begin() + row * 2, floats.begin() + row * 2 + 2});
    bvecs += LittleU32(2) + Bytes({row, 255 - row});
  }
  std::string big_floats;
  for (const float value : {1.5F, -2.0F}) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    big_floats += BigU32(bits);
  }
  const std::string header = LittleU32(3) + LittleU32(2);
  using base::ElementType;
  return {
      {"Fbin", VectorFormat::kFbin, header + FloatBytes(floats), 2, ElementType::kF32, floats},
      {"F16bin",
       VectorFormat::kF16bin,
       header + Bytes({0x00, 0x3C, 0x00, 0xC0, 0x01, 0x00, 0xFF, 0x7B, 0x55, 0x35, 0, 0}),
       2,
       ElementType::kF16,
       {1, -2, 0x1p-24F, 65504, 0.333251953125F, 0}},
      {"U8bin",
       VectorFormat::kU8bin,
       header + Bytes({0, 1, 127, 128, 254, 255}),
       2,
       ElementType::kU8,
       {0, 1, 127, 128, 254, 255}},
      {"I8bin",
       VectorFormat::kI8bin,
       header + Bytes({0, 1, 127, 128, 254, 255}),
       2,
       ElementType::kI8,
       {0, 1, 127, -128, -2, -1}},
      {"Fvecs", VectorFormat::kFvecs, fvecs, 2, ElementType::kF32, floats},
      {"Bvecs", VectorFormat::kBvecs, bvecs, 2, ElementType::kU8, {0, 255, 1, 254, 2, 253}},
      {"IdxU8",
       VectorFormat::kIdx,
       Bytes({0, 0, 8, 3}) + BigU32(2) + BigU32(2) + BigU32(2) + Bytes({1, 2, 3, 4, 5, 6, 7, 200}),
       4,
       ElementType::kU8,
       {1, 2, 3, 4, 5, 6, 7, 200}},
      {"IdxF32",
       VectorFormat::kIdx,
       Bytes({0, 0, 0x0D, 2}) + BigU32(2) + BigU32(1) + big_floats,
       1,
       ElementType::kF32,
       {1.5F, -2}},
  };
}

class VectorReaderTest : public testing::TestWithParam<FormatCase> {};

TEST_P(VectorReaderTest, ReadsRowsInOrder) {
  const InputDir dir;
  const std::string path = dir.Write("in", GetParam().bytes);
  for (const size_t step : {1, 2, 100}) {
    absl::StatusOr<std::vector<float>> values = ReadAll(path, GetParam().format, step);
    ASSERT_TRUE(values.ok()) << values.status();
    EXPECT_THAT(*values, ElementsAreArray(GetParam().values));
  }
  const auto reader = OpenVectorFile(path, GetParam().format);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ((*reader)->dim(), GetParam().dim);
  EXPECT_EQ((*reader)->type(), GetParam().type);
  EXPECT_EQ((*reader)->rows(), GetParam().values.size() / GetParam().dim);
}

TEST_P(VectorReaderTest, ReadsGzipAndSeveralMembers) {
  const InputDir dir;
  const std::string& bytes = GetParam().bytes;
  const size_t half = bytes.size() / 2;
  for (const std::string& packed :
       {Gzip(bytes), Gzip(bytes.substr(0, half)) + Gzip(bytes.substr(half))}) {
    absl::StatusOr<std::vector<float>> values = ReadAll(dir.Write("in", packed), GetParam().format);
    ASSERT_TRUE(values.ok()) << values.status();
    EXPECT_THAT(*values, ElementsAreArray(GetParam().values));
  }
}

TEST_P(VectorReaderTest, EveryTruncationIsInvalidArgumentNamingTheFile) {
  const InputDir dir;
  const std::string& bytes = GetParam().bytes;
  const size_t row_bytes = GetParam().dim * base::ElementBytes(GetParam().type) + 4;
  const bool rows_only =
      GetParam().format == VectorFormat::kFvecs || GetParam().format == VectorFormat::kBvecs;
  for (size_t size = 0; size < bytes.size(); ++size) {
    if (rows_only && size > 0 && size % row_bytes == 0) continue;  // whole rows: nothing to see
    SCOPED_TRACE(absl::StrCat(size, " of ", bytes.size(), " bytes"));
    // Plain: the size is known at open. Gzipped: it shows while reading.
    for (const std::string& cut : {bytes.substr(0, size), Gzip(bytes.substr(0, size))}) {
      const std::string path = dir.Write("cut", cut);
      const absl::StatusOr<std::vector<float>> values = ReadAll(path, GetParam().format);
      EXPECT_EQ(values.status().code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(values.status().message()), HasSubstr(path));
    }
  }
}

TEST_P(VectorReaderTest, EveryTruncationOfTheGzipStreamIsInvalidArgument) {
  const InputDir dir;
  const std::string packed = Gzip(GetParam().bytes);
  for (size_t size = 2; size < packed.size(); ++size) {  // below 2 it is no gzip
    const std::string path = dir.Write("cut", packed.substr(0, size));
    const absl::StatusOr<std::vector<float>> values = ReadAll(path, GetParam().format);
    // The rows may be whole while the trailer with the checksum is not: the reader looks for the
    // end of the input behind the last row, and so sees that too.
    EXPECT_EQ(values.status().code(), absl::StatusCode::kInvalidArgument)
        << size << ": " << values.status();
    EXPECT_THAT(std::string(values.status().message()), HasSubstr(path));
  }
}

TEST_P(VectorReaderTest, EveryFlippedByteOfTheGzipStreamIsAnswered) {
  const InputDir dir;
  const std::string packed = Gzip(GetParam().bytes);
  size_t refused = 0;
  for (size_t i = 10; i < packed.size(); ++i) {  // behind the header: time and system are free
    std::string bad = packed;
    bad[i] = static_cast<char>(bad[i] ^ 0x11);
    const absl::StatusOr<std::vector<float>> values =
        ReadAll(dir.Write("bad", bad), GetParam().format);
    if (!values.ok()) ++refused;
  }
  EXPECT_EQ(refused, packed.size() - 10);
}

TEST_P(VectorReaderTest, BytesBehindTheLastRowAreInvalidArgument) {
  const InputDir dir;
  const std::string bytes = GetParam().bytes + "x";
  for (const std::string& file : {bytes, Gzip(bytes)}) {
    EXPECT_EQ(ReadAll(dir.Write("long", file), GetParam().format).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryFormat, VectorReaderTest, testing::ValuesIn(Cases()),
                         [](const auto& param) { return param.param.name; });

TEST(VectorReader, FlippedHeadersNeverCrashNorAllocateWhatTheyClaim) {
  const InputDir dir;
  for (const FormatCase& format : Cases()) {
    for (size_t i = 0; i < std::min<size_t>(format.bytes.size(), 16); ++i) {
      for (const int bit : {0, 3, 7}) {
        std::string bad = format.bytes;
        bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
        for (const std::string& file : {bad, Gzip(bad)}) {
          const auto values = ReadAll(dir.Write("bad", file), format.format, 1 << 20);
          if (!values.ok()) {
            EXPECT_EQ(values.status().code(), absl::StatusCode::kInvalidArgument);
          }
        }
      }
    }
  }
}

TEST(VectorReader, WrongMagicOfIdxNamesIt) {
  const InputDir dir;
  const auto values = ReadAll(dir.Write("a.idx", "\x89PNG0123456789"), std::nullopt);
  EXPECT_EQ(values.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(values.status().message()), HasSubstr("wrong magic 0x89504e47"));
}

TEST(VectorReader, LabelsOfIdxAreNoVectors) {
  const InputDir dir;
  const std::string labels = Bytes({0, 0, 8, 1}) + BigU32(2) + Bytes({1, 2});
  EXPECT_EQ(ReadAll(dir.Write("labels", labels), VectorFormat::kIdx).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(VectorReader, RowsOfAnotherDimensionAreInvalidArgument) {
  const InputDir dir;
  const std::string bytes = LittleU32(1) + FloatBytes({1}) + LittleU32(3) + FloatBytes({1, 2, 3});
  const auto values = ReadAll(dir.Write("a.fvecs", bytes), std::nullopt);
  EXPECT_EQ(values.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(values.status().message()), HasSubstr("row 1 has dimension 3"));
}

TEST(VectorReader, DimensionsOutsideTheLimitAreInvalidArgument) {
  const InputDir dir;
  for (const uint32_t dim : {0U, base::kDimMax + 1, 0xFFFFFFFFU}) {
    const auto values = ReadAll(dir.Write("a.fbin", LittleU32(0) + LittleU32(dim)), std::nullopt);
    EXPECT_EQ(values.status().code(), absl::StatusCode::kInvalidArgument) << dim;
  }
}

TEST(VectorReader, AHeaderWithoutRowsIsAnEmptyFile) {
  const InputDir dir;
  const auto values = ReadAll(dir.Write("a.fbin", LittleU32(0) + LittleU32(4)), std::nullopt);
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_TRUE(values->empty());
}

TEST(VectorReader, MissingFilesAndDirectoriesHaveTheirOwnCodes) {
  const InputDir dir;
  EXPECT_EQ(ReadAll(dir.PathOf("none.fbin"), std::nullopt).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadAll(dir.path(), VectorFormat::kFbin).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(VectorReader, NamesTellTheFormat) {
  EXPECT_EQ(*DetectVectorFormat("x/base.fbin"), VectorFormat::kFbin);
  EXPECT_EQ(*DetectVectorFormat("base.f16bin.gz"), VectorFormat::kF16bin);
  EXPECT_EQ(*DetectVectorFormat("t10k-images-idx3-ubyte.gz"), VectorFormat::kIdx);
  EXPECT_FALSE(DetectVectorFormat("base.bin").ok());
  EXPECT_FALSE(DetectVectorFormat("fbin").ok());
  EXPECT_FALSE(DetectVectorFormat("-").ok());
  EXPECT_FALSE(ParseVectorFormat("FBIN").ok());
}

// Replaces stdin by a pipe for the time of one test.
TEST(VectorReader, ReadsStdinPlainAndGzipped) {
  const std::string bytes = LittleU32(1) + LittleU32(2) + FloatBytes({7, 8});
  const int saved = ::dup(STDIN_FILENO);
  for (const std::string& input : {bytes, Gzip(bytes)}) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    ASSERT_EQ(::write(ends[1], input.data(), input.size()), static_cast<ssize_t>(input.size()));
    ::close(ends[1]);
    ::dup2(ends[0], STDIN_FILENO);
    ::close(ends[0]);
    const auto values = ReadAll("-", VectorFormat::kFbin);
    ASSERT_TRUE(values.ok()) << values.status();
    EXPECT_THAT(*values, ElementsAre(7, 8));
  }
  ::dup2(saved, STDIN_FILENO);
  ::close(saved);
}

}  // namespace
}  // namespace tessera::api
