// What an input is by its first bytes, where it is none of the formats read here: people hold
// embeddings in NumPy, Parquet or HDF5 files, and a reader that takes their first bytes for a
// header of its own answers with a dimension of 88400.
//
// Threads: free functions without shared state.
#pragma once

#include <string_view>

#include "absl/status/status.h"

#include "api/formats/byte_source.h"

namespace tessera::api {

struct FileKind {
  std::string_view name;    // "a NumPy array (.npy)"
  std::string_view advice;  // how to turn it into something that is read here
};

// Null when `begin`, the first bytes of an input, are of no kind known to be something else. Text
// is none, but for one JSON array and UTF-16.
const FileKind* FindForeignKind(std::string_view begin);

// Whether it begins as an object of JSON, after blanks.
bool IsJsonLines(std::string_view begin);
// Whether it is text in UTF-8; no vector file is, since a dimension has zeros among its bytes.
bool IsText(std::string_view begin);

// kInvalidArgument naming kind and advice when `source` is of a foreign kind. Before its first
// read. Errors: also what the source answers.
absl::Status RefuseForeignKind(ByteSource& source);

}  // namespace tessera::api
