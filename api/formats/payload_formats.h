// One factory per payload format; payload_reader.h chooses among them.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"

#include "api/formats/byte_source.h"
#include "api/formats/payload_reader.h"
#include "base/value.h"

namespace tessera::api {

absl::StatusOr<std::unique_ptr<PayloadReader>> NewCsvReader(std::unique_ptr<ByteSource> source);
absl::StatusOr<std::unique_ptr<PayloadReader>> NewJsonlReader(std::unique_ptr<ByteSource> source);

// The value of an unquoted CSV cell.
base::Value InferCsvValue(std::string_view cell);

}  // namespace tessera::api
