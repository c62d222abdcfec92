// What files are that are not read, and formats told by their first bytes.
#include "api/formats/file_kind.h"

#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "api/formats/vector_reader.h"
#include "tests/api/files.h"

namespace tessera::api {
namespace {

using namespace std::string_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Zip(const std::string& name) {
  std::string header("PK\x03\x04\x14\0\0\0\0\0\0\0\0\0", 14);
  header += std::string(12, '\0');
  header += static_cast<char>(name.size());
  header += std::string(3, '\0');
  return header + name + "contents of the entry";
}

std::string Floats(size_t count) {
  return std::string(count * 4, '\x01');
}

TEST(FileKind, FilesPeopleHaveAreNamedWhateverTheirNameAndFormat) {
  const InputDir dir;
  const std::string rest(4000, '\x05');
  const std::vector<std::tuple<std::string, std::string, std::string>> cases = {
      {"\x93NUMPY\x01\0v\0"s + "{'descr': '<f4'}" + rest, "NumPy array", "astype"},
      {"\x89HDF\r\n\x1a\n"s + rest, "HDF5", "h5py"},
      {"PAR1\x15\x04"s + rest, "Parquet", "pyarrow"},
      {"ARROW1\0\0"s + rest, "Arrow", "pyarrow"},
      {"Obj\x01\x04\x14"s + rest, "Avro", "JSON lines"},
      {Zip("arr_0.npy"), "NumPy arrays (.npz)", "numpy.load"},
      {Zip("archive/data.pkl"), "PyTorch", "torch.load"},
      {Zip("a.txt"), "zip archive", "unpack"},
      {"BZh91AY&SY"s + rest, "bzip2", "unpack"},
      {"\xFD\x37zXZ\0"s + rest, "xz", "unpack"},
      {"\x28\xB5\x2F\xFD"s + rest, "zstd", "unpack"},
      {"SQLite format 3\0"s + rest, "SQLite", "export"},
      {"\x80\x04\x95\x10\x20\0\0\0\0\0\0\x8c"s + rest, "pickle", "astype"},
      {"\x80\x03]q\0(cnumpy"s + rest, "pickle", "astype"},
      {std::string(257, 'a') + "ustar\0"s + rest, "tar archive", "unpack"},
      {"IxF2\0\0\0\0"s + rest, "FAISS", "reconstruct_n"},
      {"{\"id\": 1, \"embedding\": [1.5, 2]}\n"s, "JSON lines", "jsonl"},
      {"[\n  {\"id\": 1}\n]\n"s, "one JSON array", "jq"},
      {"id,text,vector\n0,\"x\",\"[1, 2]\"\n"s, "is text", "csv.DictReader"},
  };
  for (const auto& [bytes, kind, advice] : cases) {
    for (const std::string& file : {bytes, Gzip(bytes)}) {
      const std::string path = dir.Write("emb", file);
      for (const char* format : {"fbin", "u8bin", "fvecs", "idx"}) {
        const absl::Status status = OpenVectorFile(path, *ParseVectorFormat(format)).status();
        EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << kind;
        EXPECT_THAT(std::string(status.message()),
                    AllOf(HasSubstr(path), HasSubstr(kind), HasSubstr(advice)))
            << format;
      }
      EXPECT_THAT(std::string(OpenVectorFile(path, std::nullopt).status().message()),
                  AllOf(HasSubstr(path), HasSubstr(kind)));
    }
  }
}

TEST(FileKind, AHeaderThatTheSizeProvesIsNoOtherKind) {
  const InputDir dir;
  // Counts whose bytes are those of a UTF-16 mark, of JSON, of bzip2 and of gzip.
  for (const uint32_t rows : {0xFEFFu, 0x227Bu, 0x0A5Bu, 0x5A42u, 0x8B1Fu}) {
    const std::string bytes = LittleU32(rows) + LittleU32(1) + std::string(rows, 'a');
    EXPECT_TRUE(OpenVectorFile(dir.Write("a.u8bin", bytes), std::nullopt).ok()) << rows;
    EXPECT_TRUE(OpenVectorFile(dir.Write("a.u8bin.gz", Gzip(bytes)), std::nullopt).ok()) << rows;
  }
}

TEST(FileKind, FormatsAreRecognisedWhereTheNameTellsNothing) {
  const InputDir dir;
  const std::string idx = "\0\0\x08\x03"s + BigU32(2) + BigU32(2) + BigU32(2) + "abcdefgh";
  std::string fvecs;
  std::string bvecs;
  for (int row = 0; row < 3; ++row) {
    fvecs += LittleU32(5) + Floats(5);
    bvecs += LittleU32(5) + "abcde";
  }
  const auto format_of = [&](const std::string& bytes) -> absl::StatusOr<VectorFormat> {
    auto source = OpenByteSource(dir.Write("vectors", bytes));
    if (!source.ok()) return source.status();
    return RecognizeVectorFormat(**source);
  };
  EXPECT_EQ(*format_of(idx), VectorFormat::kIdx);
  EXPECT_EQ(*format_of(Gzip(idx)), VectorFormat::kIdx);
  EXPECT_EQ(*format_of(fvecs), VectorFormat::kFvecs);
  EXPECT_EQ(*format_of(Gzip(fvecs)), VectorFormat::kFvecs);
  EXPECT_EQ(*format_of(bvecs), VectorFormat::kBvecs);
  const std::string header = LittleU32(3) + LittleU32(5);
  EXPECT_EQ(*format_of(header + Floats(15)), VectorFormat::kFbin);
  EXPECT_EQ(*format_of(header + std::string(30, 'x')), VectorFormat::kF16bin);
  EXPECT_THAT(std::string(format_of(header + std::string(15, 'x')).status().message()),
              HasSubstr("may be u8bin or i8bin; give --format"));
  EXPECT_THAT(std::string(format_of("what is this\1").status().message()),
              HasSubstr("neither its name nor its first bytes tell its format"));
  EXPECT_FALSE(format_of("").ok());
}

TEST(FileKind, FirstBytesAreLookedAtWithoutBeingTaken) {
  const std::string bytes = std::string(kBeginBytes, 'a') + std::string(kBeginBytes, 'b');
  for (const std::string& input :
       {bytes, Gzip(bytes), Gzip(bytes.substr(0, 10)) + Gzip(bytes.substr(10))}) {
    const auto source = NewMemorySource("in", input);
    ASSERT_TRUE(source.ok());
    EXPECT_EQ(*(*source)->Begin(), bytes.substr(0, kBeginBytes));
    EXPECT_EQ(*(*source)->Begin(), bytes.substr(0, kBeginBytes));
    std::string out(bytes.size() + 10, '\0');
    EXPECT_EQ(*(*source)->Read(std::as_writable_bytes(std::span<char>(out)).first(7)), 7u);
    EXPECT_EQ(*(*source)->Read(std::as_writable_bytes(std::span<char>(out)).subspan(7)),
              bytes.size() - 7);
    out.resize(bytes.size());
    EXPECT_EQ(out, bytes);
  }
}

}  // namespace
}  // namespace tessera::api
