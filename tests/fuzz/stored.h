// What the targets of stored bytes have in common.
//
// Most of what is stored has a checksum, and a mutation that does not match it says nothing about
// the decoder behind it. So those inputs are decoded twice: with the checksum set right, then as
// they are.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/check.h"

namespace tessera::fuzz {

// Damage is kDataLoss or, where it reads like a newer format, kUnimplemented, and says what it is.
absl::Status CheckedStored(absl::Status status);

// With the CRC-32C of all before them as the last four bytes, or of all behind as the first four.
// Inputs of less than four bytes as they are.
std::string Resealed(std::string_view input);
std::string ResealedInFront(std::string_view input);

// Small multiples of a half: their sums and products are exact, and so the same bytes come of them
// on every machine.
std::vector<float> Grid(size_t count);

// What is accepted and encoded again means the same: encoded once more it is the same bytes.
template <auto kRewrite>
absl::Status RunStored(std::string_view input) {
  const absl::StatusOr<std::string> once = kRewrite(input);
  if (!once.ok()) return CheckedStored(once.status());
  const absl::StatusOr<std::string> twice = kRewrite(*once);
  TESSERA_CHECK(twice.ok() && *twice == *once);
  return absl::OkStatus();
}

// The same with the checksum set right before.
template <auto kRewrite>
absl::Status RunSealed(std::string_view input) {
  RunStored<kRewrite>(Resealed(input)).IgnoreError();
  return RunStored<kRewrite>(input);
}

// Decodes into a value and encodes that.
template <auto kDecode, auto kEncode>
absl::StatusOr<std::string> Rewrite(std::string_view input) {
  const auto value = kDecode(input);
  if (!value.ok()) return value.status();
  return kEncode(*value);
}

}  // namespace tessera::fuzz
