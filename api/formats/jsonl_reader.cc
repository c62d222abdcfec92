#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "api/formats/line_reader.h"
#include "api/formats/payload_formats.h"
#include "base/files/json_file.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

class JsonlReader : public PayloadReader {
 public:
  explicit JsonlReader(std::unique_ptr<ByteSource> source) : lines_(std::move(source)) {}

  absl::StatusOr<bool> Next(PayloadRow* row) override {
    TESSERA_ASSIGN_OR_RETURN(const bool more, lines_.Next(&line_));
    if (!more) return false;
    row->line = lines_.line_number();
    row->status = Fill(row);
    return true;
  }

  bool tells_types() const override { return true; }
  const std::string& name() const override { return lines_.name(); }

 private:
  absl::Status Fill(PayloadRow* row) const {
    row->payload = base::Value();
    row->large_keys.clear();
    TESSERA_RETURN_IF_ERROR(CheckJsonLine(line_));
    TESSERA_ASSIGN_OR_RETURN(base::Value value,
                             base::ParseJsonKeepingLarge(line_, &row->large_keys));
    if (value.object() == nullptr && !value.is_null()) {
      return absl::InvalidArgumentError("a payload must be a JSON object or null");
    }
    row->payload = std::move(value);
    return absl::OkStatus();
  }

  LineReader lines_;
  std::string line_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PayloadReader>> NewJsonlReader(std::unique_ptr<ByteSource> source) {
  return std::make_unique<JsonlReader>(std::move(source));
}

}  // namespace tessera::api
