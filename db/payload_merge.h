// Merging a payload into stored ones, key by key, as text: a stored payload of many small numbers
// would take sixty times its text as a base::Value, and under the write lock.
//
// Threads: concurrent Merge calls allowed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "base/value.h"

namespace tessera::db {

class PayloadMerger {
 public:
  // `changes` is an object: its keys replace those of the same name, a null removes the key.
  explicit PayloadMerger(const base::Value& changes);

  // `stored` ("" for no payload) with the changes, again in canonical text. Pre: `stored` is an
  // object as base::CanonicalJson writes it. Cost: O(text), memory of the result alone.
  // Errors: kDataLoss when it is not.
  absl::StatusOr<std::string> Merge(std::string_view stored) const;

 private:
  struct Change {
    std::string key;
    std::string member;  // "key":value, "" removes the key
  };

  std::vector<Change> changes_;  // in the order of their keys
};

}  // namespace tessera::db
