#include "bench/dataset.h"

#include <filesystem>

#include <zlib.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/bench/vector_data.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::bench {
namespace {

using testing::ElementsAre;

std::vector<float> AllFloats(const std::string& path) {
  const auto file = VectorFile::Open(path);
  TESSERA_CHECK(file.ok());
  const auto values = ReadAllFloats(**file);
  TESSERA_CHECK(values.ok());
  return *values;
}

absl::StatusCode OpenCode(const std::string& path) {
  return VectorFile::Open(path).status().code();
}

std::string Header(uint32_t rows, uint32_t dim) {
  return FbinBytes(rows, dim, {});
}

TEST(VectorFile, ReadsEveryBinaryElementType) {
  TempDir dir;
  WriteFile(dir.File("a.fbin"), FbinBytes(2, 2, {1.5F, -2, 3, 4}));
  EXPECT_THAT(AllFloats(dir.File("a.fbin")), ElementsAre(1.5F, -2, 3, 4));
  WriteFile(dir.File("a.u8bin"), Header(2, 1) + std::string("\x00\xff", 2));
  EXPECT_THAT(AllFloats(dir.File("a.u8bin")), ElementsAre(0, 255));
  WriteFile(dir.File("a.i8bin"), Header(1, 2) + std::string("\x80\x7f", 2));
  EXPECT_THAT(AllFloats(dir.File("a.i8bin")), ElementsAre(-128, 127));
  WriteFile(dir.File("a.f16bin"), Header(1, 3) + std::string("\x00\x3c\x00\xc0\x01\x00", 6));
  EXPECT_THAT(AllFloats(dir.File("a.f16bin")), ElementsAre(1, -2, 0x1p-24F));
}

TEST(VectorFile, ReadsVecsAndRejectsARowOfAnotherDimension) {
  TempDir dir;
  std::string bytes;
  for (const float value : {1.0F, 2.0F}) {
    AppendU32(&bytes, 2);
    AppendFloats(&bytes, {value, -value});
  }
  WriteFile(dir.File("a.fvecs"), bytes);
  EXPECT_THAT(AllFloats(dir.File("a.fvecs")), ElementsAre(1, -1, 2, -2));
  bytes[12] = 3;
  WriteFile(dir.File("b.fvecs"), bytes);
  const auto file = VectorFile::Open(dir.File("b.fvecs"));
  ASSERT_OK(file);
  EXPECT_EQ(ReadAllFloats(**file).status().code(), absl::StatusCode::kDataLoss);
}

TEST(VectorFile, ReadsIdxImagesPlainAndGzipped) {
  TempDir dir;
  const std::string idx("\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x02\x05\x06\x07\x08", 20);
  WriteFile(dir.File("t-images-idx3-ubyte"), idx);
  EXPECT_THAT(AllFloats(dir.File("t-images-idx3-ubyte")), ElementsAre(5, 6, 7, 8));
  const std::string path = dir.File("t-images-idx3-ubyte.gz");
  gzFile gz = gzopen(path.c_str(), "wb");
  ASSERT_EQ(gzwrite(gz, idx.data(), static_cast<unsigned>(idx.size())), 20);
  ASSERT_EQ(gzclose(gz), Z_OK);
  const auto file = VectorFile::Open(path);
  ASSERT_OK(file);
  EXPECT_EQ((*file)->rows(), 2U);
  EXPECT_EQ((*file)->dim(), 2U);
  EXPECT_THAT(AllFloats(path), ElementsAre(5, 6, 7, 8));
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 9);
  EXPECT_EQ(OpenCode(path), absl::StatusCode::kDataLoss);
}

TEST(VectorFile, ReadsARangeAndRefusesOneBeyondTheEnd) {
  TempDir dir;
  WriteFile(dir.File("a.fbin"), FbinBytes(3, 1, {1, 2, 3}));
  const auto file = VectorFile::Open(dir.File("a.fbin"), 2);
  ASSERT_OK(file);
  EXPECT_EQ((*file)->rows(), 2U);
  float row = 0;
  ASSERT_OK((*file)->ReadFloats(1, 1, &row));
  EXPECT_EQ(row, 2);
  EXPECT_EQ((*file)->ReadFloats(2, 1, &row).code(), absl::StatusCode::kOutOfRange);
}

TEST(VectorFile, WrongInputIsAnAnswer) {
  TempDir dir;
  EXPECT_EQ(OpenCode(dir.File("none.fbin")), absl::StatusCode::kNotFound);
  WriteFile(dir.File("a.txt"), "hello");
  EXPECT_EQ(OpenCode(dir.File("a.txt")), absl::StatusCode::kInvalidArgument);
  WriteFile(dir.File("zero.fbin"), Header(1, 0));
  EXPECT_EQ(OpenCode(dir.File("zero.fbin")), absl::StatusCode::kInvalidArgument);
  WriteFile(dir.File("short.fbin"), Header(2, 1) + "1234");
  EXPECT_EQ(OpenCode(dir.File("short.fbin")), absl::StatusCode::kDataLoss);
  WriteFile(dir.File("tiny.fbin"), "123");
  EXPECT_EQ(OpenCode(dir.File("tiny.fbin")), absl::StatusCode::kDataLoss);
  WriteFile(dir.File("bad.idx"), std::string("\0\0\x0d\x03\0\0\0\x02", 8));
  EXPECT_EQ(OpenCode(dir.File("bad.idx")), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace tessera::bench
