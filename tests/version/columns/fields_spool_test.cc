#include "version/columns/fields_spool.h"

#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::version {
namespace {

TEST(FieldsSpool, GivesTheRowsThatAreAskedForAsOftenAsTheyAre) {
  TempDir dir;
  Context context;
  context.fs = &base::PosixFileSystem();
  context.scratch_path = dir.path();
  constexpr uint64_t kFirst = 1000;
  auto spool = FieldsSpool::Create(context, {kFirst});
  ASSERT_THAT(spool, IsOk());
  std::mt19937_64 rng(TestSeed());
  std::vector<std::string> written;
  for (uint64_t i = 0; i < 5000; ++i) {
    // Some are longer than the spool's buffer.
    written.emplace_back(i % 1700 == 3 ? 700'000 : rng() % 200, static_cast<char>(rng() % 256));
    ASSERT_THAT((*spool)->Append(std::to_string(i), written.back()), IsOk());
  }
  ASSERT_THAT((*spool)->FinishWriting(), IsOk());
  for (const uint64_t step : {1, 7, 1500, 4999}) {
    std::vector<base::RowId> rows;
    for (uint64_t i = rng() % step; i < written.size(); i += step) rows.push_back({kFirst + i});
    size_t seen = 0;
    ASSERT_THAT((*spool)->Read(rows,
                               [&](size_t i, std::string_view id_key, std::string_view fields) {
                                 EXPECT_EQ(i, seen++);
                                 const uint64_t row = rows[i].value - kFirst;
                                 EXPECT_EQ(id_key, std::to_string(row));
                                 EXPECT_EQ(fields, written[row]);
                                 return absl::OkStatus();
                               }),
                IsOk());
    EXPECT_EQ(seen, rows.size());
  }
}

}  // namespace
}  // namespace tessera::version
