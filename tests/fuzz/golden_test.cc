// Every decoder takes its golden inputs, and whatever is done to them it neither crashes nor asks
// for memory that only a header promises.
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/fuzz/mutations.h"
#include "tests/fuzz/targets.h"

namespace {

// More than a line, a step of a reader and a parser of such a line need, far less than headers of
// 2^31 rows say.
constexpr size_t kAllocationMax = size_t{64} << 20;
std::atomic<bool> g_allocation_too_large{false};

}  // namespace

// NOLINTBEGIN(misc-definitions-in-headers,cppcoreguidelines-no-malloc)
void* operator new(size_t size) {
  if (size > kAllocationMax) g_allocation_too_large = true;
  void* const memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t /*size*/) noexcept {
  std::free(memory);
}
// NOLINTEND(misc-definitions-in-headers,cppcoreguidelines-no-malloc)

namespace tessera::fuzz {
namespace {

std::vector<std::string> GoldenInputs(const std::string& target) {
  std::vector<std::string> inputs;
  const std::filesystem::path folder = std::filesystem::path(TESSERA_GOLDEN) / target;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return inputs;
}

class GoldenTest : public testing::TestWithParam<Target> {};

TEST_P(GoldenTest, GoodInputsAreGood) {
  const std::vector<std::string> inputs = GoldenInputs(GetParam().name);
  ASSERT_FALSE(inputs.empty());
  for (const std::string& input : inputs) {
    const absl::Status status = GetParam().run(input);
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST_P(GoldenTest, MutationsAreAnsweredInBoundedMemory) {
  for (const std::string& input : GoldenInputs(GetParam().name)) {
    size_t refused = 0;
    ForEachMutation(input, [&](std::string_view bad) {
      g_allocation_too_large = false;
      if (!GetParam().run(bad).ok()) ++refused;
      EXPECT_FALSE(g_allocation_too_large)
          << "allocates by an unchecked number: " << testing::PrintToString(std::string(bad));
    });
    EXPECT_GT(refused, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryDecoder, GoldenTest, testing::ValuesIn(AllTargets()),
                         [](const auto& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace tessera::fuzz
