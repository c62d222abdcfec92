#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "api/formats/line_reader.h"
#include "api/formats/payload_formats.h"
#include "base/status_macros.h"
#include "base/utf8.h"

namespace tessera::api {
namespace {

// A record of commas alone takes forty times its length in cells.
constexpr size_t kCellsMax = 100'000;

struct Cell {
  std::string text;
  bool quoted = false;
};

// Tells whether a growing record ends inside quotes; looks at every byte once.
class QuoteScan {
 public:
  // A quote opens at the beginning of a cell only; inside, "" is a quote.
  bool OpenAfter(std::string_view record) {
    for (; scanned_ < record.size(); ++scanned_) {
      const char c = record[scanned_];
      if (open_) {
        open_ = c != '"';  // of a pair, the second opens it again
        cell_begins_ = !open_;
      } else {
        open_ = c == '"' && cell_begins_;
        cell_begins_ = c == ',';
      }
    }
    return open_;
  }

 private:
  size_t scanned_ = 0;
  bool open_ = false;
  bool cell_begins_ = true;
};

// Cuts records out of lines. A record goes on over line ends inside quotes.
class CsvRecords {
 public:
  explicit CsvRecords(std::unique_ptr<ByteSource> source) : lines_(std::move(source)) {}

  // Errors: kInvalidArgument for a quote never closed or a record over kLineBytesMax.
  absl::StatusOr<bool> Next(std::vector<Cell>* cells, absl::Status* row_status) {
    cells->clear();
    *row_status = absl::OkStatus();
    TESSERA_ASSIGN_OR_RETURN(const bool more, lines_.Next(&record_));
    if (!more) return false;
    first_line_ = lines_.line_number();
    QuoteScan scan;
    while (scan.OpenAfter(record_)) {
      TESSERA_ASSIGN_OR_RETURN(const bool next, lines_.Next(&line_));
      if (!next || record_.size() + line_.size() > kLineBytesMax) {
        return absl::InvalidArgumentError(
            absl::StrCat(name(), ": the record at line ", first_line_, " opens a quote ",
                         next ? "and is longer than 8 MiB" : "that is never closed"));
      }
      record_ += '\n';
      record_ += line_;
    }
    *row_status = Split(cells);
    return true;
  }

  uint64_t first_line() const { return first_line_; }
  const std::string& name() const { return lines_.name(); }

 private:
  absl::Status Split(std::vector<Cell>* cells) const {
    size_t at = 0;
    for (;;) {
      Cell& cell = cells->emplace_back();
      if (at < record_.size() && record_[at] == '"') {
        cell.quoted = true;
        at = CopyQuoted(at + 1, &cell.text);
        if (at < record_.size() && record_[at] != ',') {
          return absl::InvalidArgumentError(
              absl::StrCat("cell ", cells->size(), " goes on after its closing quote"));
        }
      } else {
        const size_t end = std::min(record_.find(',', at), record_.size());
        cell.text = record_.substr(at, end - at);
        at = end;
      }
      if (at == record_.size()) return absl::OkStatus();
      ++at;
      if (cells->size() == kCellsMax) {
        return absl::InvalidArgumentError(absl::StrCat("has more than ", kCellsMax, " cells"));
      }
    }
  }

  // Returns the position behind the closing quote.
  size_t CopyQuoted(size_t at, std::string* text) const {
    for (; at < record_.size(); ++at) {
      if (record_[at] != '"') {
        *text += record_[at];
      } else if (at + 1 < record_.size() && record_[at + 1] == '"') {
        *text += '"';
        ++at;
      } else {
        return at + 1;
      }
    }
    return at;
  }

  LineReader lines_;
  std::string record_;
  std::string line_;
  uint64_t first_line_ = 0;
};

class CsvReader : public PayloadReader {
 public:
  explicit CsvReader(std::unique_ptr<ByteSource> source) : records_(std::move(source)) {}

  absl::Status ReadHeader() {
    absl::Status row_status;
    std::vector<Cell> cells;
    TESSERA_ASSIGN_OR_RETURN(const bool more, records_.Next(&cells, &row_status));
    if (!more) return absl::InvalidArgumentError(absl::StrCat(name(), ": has no header row"));
    TESSERA_RETURN_IF_ERROR(row_status);
    std::set<std::string> seen;
    for (Cell& cell : cells) {
      if (cell.text.empty() || !base::IsUtf8(cell.text) || !seen.insert(cell.text).second) {
        return absl::InvalidArgumentError(
            absl::StrCat(name(), ": key ", keys_.size() + 1,
                         " of the header row is empty, repeated or not UTF-8"));
      }
      keys_.push_back(std::move(cell.text));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<bool> Next(PayloadRow* row) override {
    absl::Status row_status;
    TESSERA_ASSIGN_OR_RETURN(const bool more, records_.Next(&cells_, &row_status));
    if (!more) return false;
    row->line = records_.first_line();
    row->payload = base::Value();
    row->status = row_status.ok() ? Fill(row) : row_status;
    return true;
  }

  bool tells_types() const override { return false; }
  const std::string& name() const override { return records_.name(); }

 private:
  absl::Status Fill(PayloadRow* row) {
    if (cells_.size() == 1 && keys_.size() > 1 && cells_[0].text.empty() && !cells_[0].quoted) {
      return EmptyLineError();
    }
    if (cells_.size() != keys_.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("has ", cells_.size(), " cells, the header row has ", keys_.size()));
    }
    base::Value::Object object;
    for (size_t i = 0; i < keys_.size(); ++i) {
      if (!base::IsUtf8(cells_[i].text)) {
        return absl::InvalidArgumentError(absl::StrCat("cell ", i + 1, " is not UTF-8"));
      }
      object.emplace(keys_[i], cells_[i].quoted ? base::Value(std::move(cells_[i].text))
                                                : InferCsvValue(cells_[i].text));
    }
    row->payload = base::Value(std::move(object));
    return absl::OkStatus();
  }

  CsvRecords records_;
  std::vector<std::string> keys_;
  std::vector<Cell> cells_;
};

// A sign, then no leading zero before another digit: 007 is a name, not a number.
bool LooksLikeNumber(std::string_view cell) {
  const std::string_view digits = cell.starts_with('-') ? cell.substr(1) : cell;
  if (digits.empty()) return false;
  const bool leading_zero =
      digits.size() > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9';
  const bool begins = (digits[0] >= '0' && digits[0] <= '9') || digits[0] == '.';
  return begins && !leading_zero;
}

}  // namespace

base::Value InferCsvValue(std::string_view cell) {
  if (cell.empty()) return base::Value();
  if (LooksLikeNumber(cell)) {
    const char* end = cell.data() + cell.size();
    int64_t integer = 0;
    if (const auto result = std::from_chars(cell.data(), end, integer); result.ptr == end) {
      // Digits beyond int64 stay text: a double would lose some of them.
      return result.ec == std::errc() ? base::Value(integer) : base::Value(std::string(cell));
    }
    double number = 0;
    const auto result = std::from_chars(cell.data(), end, number);
    if (result.ec == std::errc() && result.ptr == end && std::isfinite(number)) {
      return base::Value(number);
    }
  }
  return base::Value(std::string(cell));
}

absl::StatusOr<std::unique_ptr<PayloadReader>> NewCsvReader(std::unique_ptr<ByteSource> source) {
  auto reader = std::make_unique<CsvReader>(std::move(source));
  TESSERA_RETURN_IF_ERROR(reader->ReadHeader());
  return reader;
}

}  // namespace tessera::api
