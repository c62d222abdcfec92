#include "storage/read_batch.h"

#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "storage/aligned_buffer.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::storage {
namespace {

using testing::ElementsAre;

constexpr size_t kBlock = 512;

std::byte ContentAt(uint64_t offset) {
  return static_cast<std::byte>((offset * 2654435761u) >> 13);
}

class ReadBatchTest : public testing::Test {
 protected:
  void SetUp() override {
    std::vector<std::byte> data(file_bytes_);
    for (size_t i = 0; i < data.size(); ++i) {
      data[i] = ContentAt(i);
    }
    base::FileSystem& fs = base::PosixFileSystem();
    const std::string path = dir_.File("data");
    ASSERT_OK_AND_ASSIGN(auto file, fs.OpenForWrite(path, base::WriteMode::kTruncate));
    ASSERT_OK(file->Append(data));
    ASSERT_OK(file->Close());
    ASSERT_OK_AND_ASSIGN(file_, fs.OpenForRead(path, {.direct_io = true}));
  }

  ReadRequest Request(uint64_t tag, uint64_t offset, const AlignedBuffer& buffer) {
    return {.file = file_.get(), .offset = offset, .out = buffer.span(), .tag = tag};
  }

  static bool Holds(const AlignedBuffer& buffer, uint64_t offset) {
    for (size_t i = 0; i < buffer.bytes(); ++i) {
      if (buffer.span()[i] != ContentAt(offset + i)) {
        return false;
      }
    }
    return true;
  }

  TempDir dir_;
  const size_t file_bytes_ = 256 * kBlock;
  std::unique_ptr<base::RandomAccessFile> file_;
};

// Random requests in several submissions; each is returned once, with its bytes.
void ReadRandomly(ReadEngine& engine, const base::RandomAccessFile& file, size_t file_bytes,
                  uint64_t seed) {
  std::mt19937_64 rng(seed);
  for (int round = 0; round < 20; ++round) {
    std::vector<AlignedBuffer> buffers;
    std::vector<ReadRequest> requests;
    const size_t count = rng() % 40;
    for (size_t i = 0; i < count; ++i) {
      buffers.emplace_back((1 + rng() % 8) * kBlock);
      const uint64_t offset = rng() % ((file_bytes - buffers[i].bytes()) / kBlock + 1) * kBlock;
      requests.push_back(
          {.file = &file, .offset = offset, .out = buffers[i].span(), .tag = 1000 + i});
    }
    const std::unique_ptr<ReadBatch> batch = engine.NewBatch();
    batch->Submit(std::span(requests).first(count / 2));
    size_t submitted = count / 2;
    std::map<uint64_t, int> seen;
    while (true) {
      const std::optional<ReadCompletion> done = batch->Next();
      if (!done.has_value()) {
        if (submitted == count) {
          break;
        }
        batch->Submit(std::span(requests).subspan(submitted));
        submitted = count;
        continue;
      }
      ASSERT_OK(done->status);
      const ReadRequest& request = requests[done->tag - 1000];
      ASSERT_EQ(done->bytes, request.out.size());
      ++seen[done->tag];
      for (size_t i = 0; i < request.out.size(); ++i) {
        ASSERT_EQ(request.out[i], ContentAt(request.offset + i));
      }
    }
    ASSERT_EQ(seen.size(), count);
    for (const auto& [tag, times] : seen) {
      ASSERT_EQ(times, 1);
    }
  }
}

TEST_F(ReadBatchTest, PreadPoolReturnsEachReadOnceWithAnyNumberOfThreads) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(seed);
  for (const int threads : {0, 1, 4}) {
    PreadPool pool(threads);
    ReadRandomly(pool, *file_, file_bytes_, seed);
  }
}

TEST_F(ReadBatchTest, PreadPoolServesBatchesOfManyThreads) {
  const uint64_t seed = TestSeed();
  PreadPool pool(3);
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] { ReadRandomly(pool, *file_, file_bytes_, seed + i); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST_F(ReadBatchTest, ReadsAtTheEndAreShortAndBeyondItEmpty) {
  PreadPool pool(1);
  AlignedBuffer across(4 * kBlock);
  AlignedBuffer beyond(kBlock);
  const std::unique_ptr<ReadBatch> batch = pool.NewBatch();
  const ReadRequest requests[] = {Request(1, file_bytes_ - kBlock, across),
                                  Request(2, file_bytes_ + kBlock, beyond)};
  batch->Submit(requests);
  std::map<uint64_t, size_t> bytes;
  while (const std::optional<ReadCompletion> done = batch->Next()) {
    ASSERT_OK(done->status);
    bytes[done->tag] = done->bytes;
  }
  EXPECT_THAT(bytes, ElementsAre(testing::Pair(1, kBlock), testing::Pair(2, 0)));
}

// A file whose reads wait until they are let go.
class GatedFile final : public base::RandomAccessFile {
 public:
  absl::StatusOr<size_t> Read(uint64_t, std::span<std::byte> out) const override {
    started.fetch_add(1);
    gate.wait(false);
    std::memset(out.data(), 7, out.size());
    return out.size();
  }
  absl::StatusOr<uint64_t> Size() const override { return 1 << 20; }

  mutable std::atomic<int> started{0};
  std::atomic<bool> gate{false};
};

TEST_F(ReadBatchTest, DestroyingABatchWaitsForItsReadsAndDropsTheRest) {
  GatedFile file;
  PreadPool pool(1);
  AlignedBuffer first(kBlock);
  AlignedBuffer second(kBlock);
  std::memset(second.span().data(), 1, kBlock);
  std::unique_ptr<ReadBatch> batch = pool.NewBatch();
  const ReadRequest requests[] = {{.file = &file, .offset = 0, .out = first.span(), .tag = 0},
                                  {.file = &file, .offset = 0, .out = second.span(), .tag = 1}};
  batch->Submit(requests);
  while (file.started.load() == 0) {
    std::this_thread::yield();
  }
  std::atomic<bool> destroyed{false};
  std::thread destroyer([&] {
    batch.reset();
    destroyed = true;
  });
  EXPECT_FALSE(destroyed);
  file.gate = true;
  file.gate.notify_all();
  destroyer.join();
  EXPECT_EQ(first.span()[0], std::byte{7});
}

TEST_F(ReadBatchTest, FaultingEngineDamagesTheChosenRequests) {
  PreadPool pool(0);
  FaultingEngine engine(pool, [](const ReadRequest& request, uint64_t ordinal) -> ReadFault {
    switch (ordinal) {
      case 0:
        return {.last = true};
      case 1:
        return {.error = absl::DataLossError("no such luck")};
      case 2:
        return {.short_bytes = 100};
      case 3:
        return {.flipped_bit = 8 * 17 + 3};
      default:
        EXPECT_EQ(request.tag, 14u);
        return {};
    }
  });
  std::vector<AlignedBuffer> buffers;
  std::vector<ReadRequest> requests;
  for (uint64_t i = 0; i < 5; ++i) {
    buffers.emplace_back(kBlock);
    requests.push_back(Request(10 + i, i * kBlock, buffers[i]));
  }
  const std::unique_ptr<ReadBatch> batch = engine.NewBatch();
  batch->Submit(requests);
  std::vector<uint64_t> order;
  std::map<uint64_t, ReadCompletion> done;
  while (std::optional<ReadCompletion> completion = batch->Next()) {
    order.push_back(completion->tag);
    done[completion->tag] = *completion;
  }
  ASSERT_EQ(order.size(), 5u);
  EXPECT_EQ(order.back(), 10u);
  EXPECT_TRUE(Holds(buffers[0], 0));
  EXPECT_THAT(done[11].status, StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_EQ(done[12].bytes, 100u);
  EXPECT_EQ(buffers[3].span()[17] ^ ContentAt(3 * kBlock + 17), std::byte{8});
  buffers[3].span()[17] ^= std::byte{8};
  EXPECT_TRUE(Holds(buffers[3], 3 * kBlock));
  EXPECT_TRUE(Holds(buffers[4], 4 * kBlock));
}

}  // namespace
}  // namespace tessera::storage
