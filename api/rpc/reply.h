// A reply as bytes on the wire, put together piece by piece.
//
// Repeated messages go in one after the other, so a long reply never exists as protobuf objects,
// which take several times its bytes, and its length is known all along.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <google/protobuf/message_lite.h>

namespace tessera::api {

class Reply {
 public:
  // What AddElement would add.
  static uint64_t ElementBytes(int field, const google::protobuf::MessageLite& element);
  // One more element of the repeated message field of that number.
  void AddElement(int field, const google::protobuf::MessageLite& element);
  // The same for an element that is on the wire already.
  void AddElement(int field, std::string element);
  // The fields of `rest`, beside the elements.
  void AddFields(const google::protobuf::MessageLite& rest);

  uint64_t bytes() const { return bytes_; }
  void Clear();
  // In their order; the reply is empty then.
  std::vector<std::string> TakeChunks();

 private:
  // Where the next `bytes` go.
  std::string* Room(uint64_t bytes);
  void AddHeader(int field, uint64_t bytes);

  std::vector<std::string> chunks_;
  uint64_t bytes_ = 0;
};

}  // namespace tessera::api
