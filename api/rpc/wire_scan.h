// What a serialised message is and what parsing it will take, found out without parsing it.
//
// A protobuf object takes up to a hundred times its bytes on the wire: two bytes are an empty point.
// So a request is looked through first, which takes no memory, and parsed once there is room.
//
// Threads: free functions.
#pragma once

#include <cstdint>
#include <string>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include "absl/status/statusor.h"

namespace tessera::api {

struct WireCost {
  uint64_t parsed_bytes = 0;   // of the message once it is parsed, on an arena; never less
  uint64_t content_bytes = 0;  // of these, in strings and packed numbers
  uint64_t text_bytes_max = 0;  // of its longest string
  uint64_t rows = 0;           // elements of its longest repeated field
  // Its field 1 if that is a text of at most 255 bytes: of requests, what collection is meant.
  std::string collection = {};
};

// Looks through all of `wire`, which has `bytes`. Cost: O(bytes), about 10 ns a field.
// Errors: kInvalidArgument: no message of that type; naming the field: a string that is not UTF-8.
absl::StatusOr<WireCost> ScanWire(const google::protobuf::Descriptor* type, int bytes,
                                  google::protobuf::io::ZeroCopyInputStream* wire);

}  // namespace tessera::api
