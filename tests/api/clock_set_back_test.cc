// A wall clock that is set while the server runs. This binary's clock_gettime is ours: what the
// libraries call is found here first.
#include <dlfcn.h>
#include <time.h>

#include <atomic>

#include "absl/time/clock.h"

#include "tests/api/grpc_fixture.h"

namespace {

std::atomic<int64_t> clock_offset_seconds{0};

}  // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* now) noexcept {
  using Function = int (*)(clockid_t, timespec*);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "clock_gettime"));
  const int result = real(clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += clock_offset_seconds.load();
  return result;
}

namespace tessera::api {
namespace {

TEST_F(GrpcTest, DeadlinesOutliveAClockThatIsSet) {
  Fill(3);
  ASSERT_GT(absl::Now(), absl::UnixEpoch());
  v1::SearchRequest query;
  query.set_collection("c");
  query.mutable_vector()->set_data(FloatBytes({1, 0, 0, 0}));
  for (const int64_t offset : {-3600, 0, 3600, -7200, 0}) {
    clock_offset_seconds = offset;
    for (int call = 0; call < 20; ++call) {
      grpc::ClientContext context;
      context.set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                        gpr_time_from_seconds(60, GPR_TIMESPAN)));
      v1::SearchResponse response;
      const grpc::Status status = search_->Search(&context, query, &response);
      EXPECT_TRUE(status.ok()) << offset << ": " << status.error_message();
    }
  }
}

}  // namespace
}  // namespace tessera::api
