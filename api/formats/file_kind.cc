#include "api/formats/file_kind.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "base/utf8.h"

namespace tessera::api {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kToFbin =
    "write it as fbin in Python, `a` being its array: "
    "open(\"x.fbin\", \"wb\").write(numpy.array(a.shape, \"<u4\").tobytes() + "
    "a.astype(\"<f4\").tobytes())";
constexpr std::string_view kUnpack = "unpack it first; gzip alone is read as it is";

constexpr std::string_view kFromFaiss =
    "export its vectors in Python: faiss.read_index(FILE).reconstruct_n()";

// At least four bytes each: the binary formats read here begin with a number of rows or a
// dimension, and fewer bytes could be one.
struct Magic {
  size_t at;
  std::string_view bytes;
  FileKind kind;
};

constexpr std::string_view kTable =
    "write the vectors as fbin and the other columns as JSON lines, in Python: "
    "t = pyarrow.parquet.read_table(FILE) or pyarrow.feather.read_table(FILE), then "
    "a = numpy.stack(t[COLUMN].to_numpy()) and open(\"x.fbin\", \"wb\").write("
    "numpy.array(a.shape, \"<u4\").tobytes() + a.astype(\"<f4\").tobytes())";

constexpr Magic kMagics[] = {
    {0, "\x93NUMPY"sv, {"a NumPy array (.npy)", kToFbin}},
    {0,
     "\x89HDF\r\n\x1a\n"sv,
     {"an HDF5 file",
      "write each of its datasets as fbin in Python, `a` being h5py.File(FILE)[NAME][:]: "
      "open(\"x.fbin\", \"wb\").write(numpy.array(a.shape, \"<u4\").tobytes() + "
      "a.astype(\"<f4\").tobytes())"}},
    {0, "PAR1"sv, {"a Parquet file", kTable}},
    {0, "PARE"sv, {"an encrypted Parquet file", kTable}},
    {0, "ARROW1"sv, {"an Arrow file", kTable}},
    {0, "FEA1"sv, {"a Feather file", kTable}},
    {0, "ORC\n"sv, {"an ORC file", kTable}},
    {0, "ORC\x08"sv, {"an ORC file", kTable}},
    {0, "Obj\x01"sv, {"an Avro file", kTable}},
    {0, "SQLite format 3\0"sv, {"an SQLite database", "export its rows as JSON lines"}},
    {0, "MATLAB 5.0"sv, {"a MATLAB file", kToFbin}},
    {0, "GGUF"sv, {"a GGUF model", "it holds a model and no vectors of points"}},
    {0, "%PDF-"sv, {"a PDF document", "it holds no vectors"}},
    {0, "\x89PNG\r\n\x1a\n"sv, {"a PNG picture", "it holds no vectors"}},
    {0, "\xFD\x37zXZ\0"sv, {"xz-compressed", kUnpack}},
    {0, "\x28\xB5\x2F\xFD"sv, {"zstd-compressed", kUnpack}},
    {0, "\x04\x22\x4D\x18"sv, {"lz4-compressed", kUnpack}},
    {0, "\xFF\x06\0\0sNaPpY"sv, {"snappy-compressed", kUnpack}},
    {0, "7z\xBC\xAF\x27\x1C"sv, {"a 7z archive", kUnpack}},
    {0, "Rar!\x1A\x07"sv, {"a RAR archive", kUnpack}},
    {257, "ustar"sv, {"a tar archive", kUnpack}},
    {0, "IxF2"sv, {"a FAISS index", kFromFaiss}},
    {0, "IxFI"sv, {"a FAISS index", kFromFaiss}},
    {0, "IxMp"sv, {"a FAISS index", kFromFaiss}},
    {0, "IwFl"sv, {"a FAISS index", kFromFaiss}},
};

constexpr FileKind kNpz = {
    "a zip archive of NumPy arrays (.npz)",
    "write each array as fbin in Python, `a` being numpy.load(FILE)[NAME]: "
    "open(\"x.fbin\", \"wb\").write(numpy.array(a.shape, \"<u4\").tobytes() + "
    "a.astype(\"<f4\").tobytes())"};
constexpr FileKind kTorch = {
    "a file of PyTorch (a zip archive)",
    "write its tensor as fbin in Python, `a` being torch.load(FILE).numpy(): "
    "open(\"x.fbin\", \"wb\").write(numpy.array(a.shape, \"<u4\").tobytes() + "
    "a.astype(\"<f4\").tobytes())"};
constexpr FileKind kZip = {"a zip archive", kUnpack};
constexpr FileKind kBzip2 = {"bzip2-compressed", kUnpack};
constexpr FileKind kGzip = {"gzip inside of gzip", "unpack it once"};
constexpr FileKind kUtf16 = {"text in UTF-16", "convert it to UTF-8: iconv -f UTF-16 -t UTF-8"};
constexpr FileKind kPickle = {"a Python pickle", kToFbin};
constexpr FileKind kJsonArray = {"one JSON array",
                                 "write one object a line: jq -c '.[]' FILE > x.jsonl"};

// A local file header: 30 bytes, of which two at 26 are the length of the name behind them.
const FileKind* KindOfZip(std::string_view begin) {
  if (begin.size() < 30) return &kZip;
  const size_t length = static_cast<uint8_t>(begin[26]) | static_cast<uint8_t>(begin[27]) << 8;
  const std::string_view first = begin.substr(30, length);
  if (first.ends_with(".npy")) return &kNpz;
  if (first.ends_with("data.pkl") || first.ends_with(".data/version")) return &kTorch;
  return &kZip;
}

// Protocols 2 and 3 begin with an opcode that a list, a dictionary or a class begins with, later
// ones with a frame, whose length of 8 bytes ends in zeros.
bool IsPickle(std::string_view begin) {
  if (begin.size() < 12 || begin[0] != '\x80') return false;
  if (begin[1] == 2 || begin[1] == 3) {
    return "]}(c"sv.find(begin[2]) != std::string_view::npos && begin[3] >= ' ';
  }
  return (begin[1] == 4 || begin[1] == 5) && begin[2] == '\x95' && begin.substr(8, 3) == "\0\0\0"sv;
}

// A byte order mark and, in each of three characters, one byte that is 0 and one that is not.
bool IsUtf16(std::string_view begin) {
  if (begin.size() < 8) return false;
  const bool little = begin.starts_with("\xFF\xFE");
  if (!little && !begin.starts_with("\xFE\xFF")) return false;
  for (size_t i = 2; i < 8; i += 2) {
    if ((begin[i] == '\0') == little || (begin[i + 1] == '\0') != little) return false;
  }
  return true;
}

// Rows and dimension of a binary file have zeros among their eight bytes.
bool HasNoZeros(std::string_view begin) {
  return begin.substr(0, 8).find('\0') == std::string_view::npos;
}

std::string_view SkipBlanks(std::string_view begin) {
  if (begin.starts_with("\xEF\xBB\xBF")) begin.remove_prefix(3);
  const size_t at = begin.find_first_not_of(" \t\r\n");
  return at == std::string_view::npos ? std::string_view() : begin.substr(at);
}

// Objects in an array; an array of numbers may be a row.
bool IsJsonArray(std::string_view begin) {
  std::string_view text = SkipBlanks(begin);
  if (!HasNoZeros(begin) || !text.starts_with('[')) return false;
  text.remove_prefix(1);
  return text.starts_with('\n') || text.starts_with("\r\n") || SkipBlanks(text).starts_with("{\"");
}

}  // namespace

const FileKind* FindForeignKind(std::string_view begin) {
  for (const Magic& magic : kMagics) {
    if (begin.size() >= magic.at && begin.substr(magic.at).starts_with(magic.bytes)) {
      return &magic.kind;
    }
  }
  if (begin.starts_with("PK\x03\x04") || begin.starts_with("PK\x05\x06")) return KindOfZip(begin);
  if (begin.starts_with("BZh") && begin.substr(4).starts_with("1AY&SY")) return &kBzip2;
  if (begin.size() >= 8 && BeginsAsGzip(begin)) return &kGzip;
  if (IsUtf16(begin)) return &kUtf16;
  if (IsPickle(begin)) return &kPickle;
  return IsJsonArray(begin) ? &kJsonArray : nullptr;
}

bool IsJsonLines(std::string_view begin) {
  std::string_view text = SkipBlanks(begin);
  if (!HasNoZeros(begin) || !text.starts_with('{')) return false;
  text = SkipBlanks(text.substr(1));
  return text.starts_with('"') || text.starts_with('}');
}

bool IsText(std::string_view begin) {
  const auto is_text = [](char c) {
    return static_cast<uint8_t>(c) >= ' ' || c == '\t' || c == '\r' || c == '\n';
  };
  if (begin.size() < 8 || !std::all_of(begin.begin(), begin.end(), is_text)) return false;
  // The first bytes may end within a character.
  for (size_t cut = 0; cut < 4; ++cut) {
    if (base::IsUtf8(begin.substr(0, begin.size() - cut))) return true;
  }
  return false;
}

absl::Status RefuseForeignKind(ByteSource& source) {
  TESSERA_ASSIGN_OR_RETURN(const std::string_view begin, source.Begin());
  const FileKind* kind = FindForeignKind(begin);
  if (kind == nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(source.name(), ": is ", base::Sv(kind->name),
                                                 ", which is not read here; ",
                                                 base::Sv(kind->advice)));
}

}  // namespace tessera::api
