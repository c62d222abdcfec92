// Every decoder takes its golden inputs, and whatever is done to them it neither crashes nor asks
// for memory that only a header promises. Every encoder still writes them: with
// TESSERA_WRITE_GOLDEN=1 they are written anew, for a format that was changed on purpose.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/fuzz/allocation_limit.h"
#include "tests/fuzz/mutations.h"
#include "tests/fuzz/targets.h"

namespace tessera::fuzz {
namespace {

std::filesystem::path Folder(const Target& target) {
  return std::filesystem::path(TESSERA_GOLDEN) / target.name;
}

std::string Contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// By name.
std::map<std::string, std::string> GoldenInputs(const Target& target) {
  std::map<std::string, std::string> inputs;
  for (const auto& entry : std::filesystem::directory_iterator(Folder(target))) {
    inputs[entry.path().filename()] = Contents(entry.path());
  }
  return inputs;
}

void WriteGolden(const Target& target) {
  std::filesystem::create_directories(Folder(target));
  for (const Sample& sample : target.samples()) {
    std::ofstream file(Folder(target) / sample.name, std::ios::binary | std::ios::trunc);
    file.write(sample.bytes.data(), static_cast<std::streamsize>(sample.bytes.size()));
  }
}

class GoldenTest : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    const char* const write = std::getenv("TESSERA_WRITE_GOLDEN");
    if (write != nullptr && GetParam().samples != nullptr) WriteGolden(GetParam());
  }
};

TEST_P(GoldenTest, GoodInputsAreGood) {
  const auto inputs = GoldenInputs(GetParam());
  ASSERT_FALSE(inputs.empty());
  for (const auto& [name, input] : inputs) {
    const absl::Status status = GetParam().run(input);
    EXPECT_TRUE(status.ok()) << name << ": " << status;
  }
}

TEST_P(GoldenTest, MutationsAreAnsweredInBoundedMemory) {
  for (const auto& [name, input] : GoldenInputs(GetParam())) {
    size_t refused = 0;
    ForEachMutation(input, [&](std::string_view bad) {
      ResetAllocationLimit();
      if (!GetParam().run(bad).ok()) ++refused;
      EXPECT_FALSE(AllocationWasTooLarge())
          << "allocates by an unchecked number: " << testing::PrintToString(std::string(bad));
    });
    EXPECT_GT(refused, 0u) << name;
  }
}

class GoldenSampleTest : public GoldenTest {};

TEST_P(GoldenSampleTest, EncodersStillWriteTheGoldenBytes) {
  const auto inputs = GoldenInputs(GetParam());
  for (const Sample& sample : GetParam().samples()) {
    ASSERT_TRUE(inputs.contains(sample.name)) << sample.name;
    EXPECT_TRUE(!sample.exact || inputs.at(sample.name) == sample.bytes)
        << "the format of " << sample.name << " has changed, from "
        << testing::PrintToString(inputs.at(sample.name)) << " to "
        << testing::PrintToString(sample.bytes);
  }
}

TEST_P(GoldenSampleTest, WhatIsDecodedIsAllThatWasWritten) {
  if (GetParam().rewrite == nullptr) return;
  for (const auto& [name, input] : GoldenInputs(GetParam())) {
    const absl::StatusOr<std::string> again = GetParam().rewrite(input);
    ASSERT_TRUE(again.ok()) << name << ": " << again.status();
    EXPECT_TRUE(*again == input) << name;
  }
}

std::vector<Target> TargetsWithSamples() {
  std::vector<Target> targets = AllTargets();
  std::erase_if(targets, [](const Target& target) { return target.samples == nullptr; });
  return targets;
}

INSTANTIATE_TEST_SUITE_P(EveryDecoder, GoldenTest, testing::ValuesIn(AllTargets()),
                         [](const auto& param) { return std::string(param.param.name); });
INSTANTIATE_TEST_SUITE_P(EveryEncoder, GoldenSampleTest, testing::ValuesIn(TargetsWithSamples()),
                         [](const auto& param) { return std::string(param.param.name); });

// The list in CMakeLists.txt, by which fuzzers are built.
TEST(Golden, EveryTargetHasAFuzzer) {
  std::vector<std::string> targets;
  for (const Target& target : AllTargets()) targets.emplace_back(target.name);
  std::istringstream listed(TESSERA_FUZZ_TARGETS);
  EXPECT_THAT(targets, testing::UnorderedElementsAreArray(
                           std::vector<std::string>(std::istream_iterator<std::string>(listed),
                                                    std::istream_iterator<std::string>())));
}

}  // namespace
}  // namespace tessera::fuzz
