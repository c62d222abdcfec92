// Which format an input is in: what the caller says, else what its name says, else, of a regular
// file, what its first bytes say.
//
// Threads: free functions without shared state.
#pragma once

#include <string>

#include "absl/status/statusor.h"

#include "api/formats/payload_reader.h"
#include "api/formats/vector_reader.h"

namespace tessera::api {

// `named` is "" or a format's name. Errors: kInvalidArgument saying what to give, or what else the
// file is and how to convert it; those of OpenByteSource.
absl::StatusOr<VectorFormat> FindVectorFormat(const std::string& path, const std::string& named);
absl::StatusOr<PayloadFormat> FindPayloadFormat(const std::string& path, const std::string& named);

// Whether `path` holds whole points as JSON lines: `named` is "jsonl", or its name or first bytes
// say so.
bool IsPointLines(const std::string& path, const std::string& named);

}  // namespace tessera::api
