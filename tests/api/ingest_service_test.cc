#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "tests/api/grpc_fixture.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class IngestService : public GrpcTest {
 protected:
  using Stream = grpc::ClientReaderWriter<v1::IngestRequest, v1::IngestResponse>;

  // Opens the stream and sends `begin`.
  void Begin(v1::IngestMode mode, const std::string& name = "c") {
    context_.emplace();
    stream_ = ingest_->Ingest(&*context_);
    v1::IngestRequest request;
    request.mutable_begin()->set_collection(name);
    request.mutable_begin()->set_mode(mode);
    request.mutable_begin()->set_threads(3);
    stream_->Write(request);
  }

  static v1::IngestRequest Batch(uint64_t first, uint64_t count) {
    v1::IngestRequest request;
    v1::PointBatch* batch = request.mutable_batch()->mutable_batch();
    std::string* data = batch->add_vectors()->mutable_data();
    for (uint64_t id = first; id < first + count; ++id) {
      batch->mutable_ids()->add_num(id);
      *data += FloatBytes({static_cast<float>(id), 0, 0, 0});
    }
    return request;
  }

  static v1::IngestRequest FinishAfter(uint64_t points) {
    v1::IngestRequest request;
    request.mutable_finish()->set_points(points);
    return request;
  }

  // Closes our side, reads all the answers and the status.
  grpc::Status End() {
    stream_->WritesDone();
    v1::IngestResponse answer;
    answers_.clear();
    while (stream_->Read(&answer)) answers_.push_back(answer);
    return stream_->Finish();
  }

  uint64_t Count() { return collection().Count().value(); }

  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<Stream> stream_;
  std::vector<v1::IngestResponse> answers_;
};

TEST_F(IngestService, ALargeLoadIntoAnEmptyCollectionIsBulk) {
  Begin(v1::INGEST_MODE_AUTO);
  for (uint64_t first = 0; first < 3000; first += 500) stream_->Write(Batch(first, 500));
  stream_->Write(FinishAfter(3000));
  ASSERT_TRUE(End().ok());
  EXPECT_EQ(collection().bulk_loads, 1);
  EXPECT_EQ(collection().upserts, 0);
  EXPECT_EQ(Count(), 3000U);
  ASSERT_FALSE(answers_.empty());
  EXPECT_TRUE(answers_.back().done());
  EXPECT_TRUE(answers_.back().bulk());
  EXPECT_EQ(answers_.back().received(), 3000U);
  EXPECT_EQ(answers_.back().stored(), 3000U);
  EXPECT_EQ(answers_.back().phase(), "publish");
  EXPECT_GT(answers_.back().time(), 0);
  for (size_t i = 0; i + 1 < answers_.size(); ++i) EXPECT_FALSE(answers_[i].done());
}

TEST_F(IngestService, ASmallLoadIntoAnEmptyCollectionIsOneUpsert) {
  Begin(v1::INGEST_MODE_AUTO);
  for (uint64_t first = 0; first < 30; first += 10) stream_->Write(Batch(first, 10));
  stream_->Write(FinishAfter(30));
  ASSERT_TRUE(End().ok());
  EXPECT_EQ(collection().bulk_loads, 0);
  EXPECT_EQ(collection().upserts, 1);
  EXPECT_EQ(Count(), 30U);
  EXPECT_FALSE(answers_.back().bulk());
  EXPECT_EQ(answers_.back().phase(), "upsert");
}

TEST_F(IngestService, ALoadIntoAFilledCollectionUpsertsBatchByBatch) {
  Fill(1);
  Begin(v1::INGEST_MODE_AUTO);
  for (uint64_t first = 0; first < 3000; first += 500) {
    stream_->Write(Batch(first, 500));
    // Every stored batch is told at once: a client can rely on what it has heard.
    v1::IngestResponse answer;
    do {
      ASSERT_TRUE(stream_->Read(&answer));
    } while (answer.stored() < first + 500);
    EXPECT_EQ(answer.stored(), first + 500);
    EXPECT_GE(Count(), first + 500);
  }
  stream_->Write(FinishAfter(3000));
  ASSERT_TRUE(End().ok());
  EXPECT_EQ(collection().bulk_loads, 0);
  EXPECT_EQ(collection().upserts, 1 + 6);
}

TEST_F(IngestService, AModeThatIsAskedForIsUsed) {
  Fill(1);
  Begin(v1::INGEST_MODE_BULK);
  stream_->Write(Batch(0, 10));
  stream_->Write(FinishAfter(10));
  ASSERT_TRUE(End().ok());
  EXPECT_EQ(collection().bulk_loads, 1);

  ASSERT_OK(database_.CreateCollection(FloatSchema("empty", 4)));
  Begin(v1::INGEST_MODE_UPSERT, "empty");
  for (uint64_t first = 0; first < 6000; first += 3000) stream_->Write(Batch(first, 3000));
  stream_->Write(FinishAfter(6000));
  ASSERT_TRUE(End().ok());
  EXPECT_EQ(database_.collection("empty")->bulk_loads, 0);
  EXPECT_EQ(database_.collection("empty")->upserts, 2);
}

TEST_F(IngestService, ABulkLoadWithoutFinishLeavesNothing) {
  Begin(v1::INGEST_MODE_BULK);
  stream_->Write(Batch(0, 100));
  EXPECT_THAT(
      End(), GrpcStatusIs(grpc::StatusCode::ABORTED, HasSubstr("after 100 points without finish")));
  EXPECT_EQ(Count(), 0U);
}

TEST_F(IngestService, ABulkLoadOfAClientThatIsGoneLeavesNothing) {
  Begin(v1::INGEST_MODE_BULK);
  stream_->Write(Batch(0, 100));
  v1::IngestResponse answer;
  ASSERT_TRUE(stream_->Read(&answer));
  context_->TryCancel();
  EXPECT_EQ(End().error_code(), grpc::StatusCode::CANCELLED);
  WaitUntil([&] { return collection().bulk_loads_failed == 1; });
  EXPECT_EQ(Count(), 0U);
}

TEST_F(IngestService, AClientThatIsGoneEndsABulkLoadThatHasReadAll) {
  collection().load_gate_closed = true;
  Begin(v1::INGEST_MODE_BULK);
  stream_->Write(Batch(0, 100));
  stream_->Write(FinishAfter(100));
  WaitUntil([&] { return collection().loads_waiting == 1; });
  context_->TryCancel();
  EXPECT_EQ(End().error_code(), grpc::StatusCode::CANCELLED);
  WaitUntil([&] { return collection().bulk_loads_failed == 1; });
  EXPECT_EQ(Count(), 0U);
}

TEST_F(IngestService, AServerThatStopsEndsABulkLoad) {
  collection().load_gate_closed = true;
  Begin(v1::INGEST_MODE_BULK);
  stream_->Write(Batch(0, 100));
  stream_->Write(FinishAfter(100));
  WaitUntil([&] { return collection().loads_waiting == 1; });
  const absl::Time begin = absl::Now();
  server_->Shutdown(absl::Minutes(10));
  EXPECT_LT(absl::Now() - begin, absl::Minutes(1));
  EXPECT_THAT(End(), GrpcStatusIs(grpc::StatusCode::UNAVAILABLE, HasSubstr("shutting down")));
  EXPECT_EQ(collection().bulk_loads_failed, 1);
  EXPECT_EQ(Count(), 0U);
}

TEST_F(IngestService, AServerThatStopsDoesNotWaitForASilentClient) {
  for (const v1::IngestMode mode : {v1::INGEST_MODE_BULK, v1::INGEST_MODE_UPSERT}) {
    Begin(mode);
    stream_->Write(Batch(0, 100));
    v1::IngestResponse answer;
    ASSERT_TRUE(stream_->Read(&answer));
    server_->Shutdown(absl::Minutes(10));
    EXPECT_FALSE(End().ok());
    EXPECT_EQ(Count(), mode == v1::INGEST_MODE_BULK ? 0U : 100U);
    StartServer({});
  }
}

TEST_F(IngestService, AnAutomaticLoadThatBreaksOffEarlyLeavesNothing) {
  Begin(v1::INGEST_MODE_AUTO);
  stream_->Write(Batch(0, 100));
  EXPECT_EQ(End().error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(Count(), 0U);
}

TEST_F(IngestService, AnUpsertIngestKeepsWhatWasAcknowledged) {
  Begin(v1::INGEST_MODE_UPSERT);
  stream_->Write(Batch(0, 100));
  EXPECT_EQ(End().error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(answers_.back().stored(), 100U);
  EXPECT_EQ(Count(), 100U);
}

TEST_F(IngestService, AFinishWithAnotherCountDropsABulkLoad) {
  Begin(v1::INGEST_MODE_BULK);
  stream_->Write(Batch(0, 100));
  stream_->Write(FinishAfter(101));
  const grpc::Status status = End();
  EXPECT_THAT(status, GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT,
                                   AllOf(HasSubstr("101 sent"), HasSubstr("100 received"))));
  EXPECT_EQ(BlamedField(status), "finish.points");
  EXPECT_EQ(Count(), 0U);
}

TEST_F(IngestService, ABadBatchSaysWhereAndDropsABulkLoad) {
  Begin(v1::INGEST_MODE_BULK);
  stream_->Write(Batch(0, 100));
  v1::IngestRequest bad = Batch(100, 2);
  bad.mutable_batch()->mutable_batch()->mutable_vectors(0)->mutable_data()->pop_back();
  stream_->Write(bad);
  const grpc::Status status = End();
  EXPECT_THAT(status,
              GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT,
                           AllOf(HasSubstr("batch after 100 points"), HasSubstr("31 bytes"))));
  EXPECT_EQ(BlamedField(status), "batch");
  EXPECT_EQ(Count(), 0U);
}

TEST_F(IngestService, BadBeginningsAreRefused) {
  context_.emplace();
  stream_ = ingest_->Ingest(&*context_);
  stream_->Write(Batch(0, 1));
  EXPECT_THAT(End(), GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT,
                                  HasSubstr("must be the first message")));
  Begin(v1::INGEST_MODE_AUTO, "nobody");
  EXPECT_THAT(End(), GrpcStatusIs(grpc::StatusCode::NOT_FOUND, HasSubstr("nobody")));
  Begin(static_cast<v1::IngestMode>(9));
  EXPECT_THAT(End(),
              GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("is 9, must be 0 .. 2")));
  Begin(v1::INGEST_MODE_AUTO);
  stream_->Write(v1::IngestRequest());
  EXPECT_THAT(End(), GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT,
                                  HasSubstr("neither batch nor finish")));
}

TEST_F(IngestService, AMessageOverTheLimitIsResourceExhausted) {
  StartServer({.buffer_bytes_max = uint64_t{16} << 20});
  Begin(v1::INGEST_MODE_BULK);
  v1::IngestRequest request = Batch(0, 1);
  request.mutable_batch()->mutable_batch()->mutable_vectors(0)->mutable_data()->resize(size_t{5}
                                                                                       << 20);
  stream_->Write(request);
  EXPECT_THAT(End(), GrpcStatusIs(grpc::StatusCode::RESOURCE_EXHAUSTED,
                                  AllOf(HasSubstr("52429"), HasSubstr("4194304"))));
  EXPECT_EQ(Count(), 0U);
}

TEST_F(IngestService, AnEmptyLoadIsDoneAtOnce) {
  for (const v1::IngestMode mode :
       {v1::INGEST_MODE_AUTO, v1::INGEST_MODE_BULK, v1::INGEST_MODE_UPSERT}) {
    Begin(mode);
    stream_->Write(FinishAfter(0));
    ASSERT_TRUE(End().ok());
    EXPECT_TRUE(answers_.back().done());
    EXPECT_EQ(answers_.back().stored(), 0U);
  }
}

TEST_F(IngestService, SmallBuffersCarryManyLoadsAtOnce) {
  StartServer({.buffer_bytes_max = uint64_t{8} << 20});
  constexpr int kLoads = 6;
  constexpr uint64_t kRows = 60;
  constexpr uint32_t kDim = 8192;  // 32 KiB a point, about 2 MiB a batch
  std::vector<std::thread> clients;
  for (int load = 0; load < kLoads; ++load) {
    const std::string name = absl::StrCat("load", load);
    ASSERT_OK(database_.CreateCollection(FloatSchema(name, kDim)));
    clients.emplace_back([this, name] {
      grpc::ClientContext context;
      context.set_wait_for_ready(true);
      const std::unique_ptr<Stream> stream = ingest_->Ingest(&context);
      v1::IngestRequest request;
      request.mutable_begin()->set_collection(name);
      request.mutable_begin()->set_mode(v1::INGEST_MODE_UPSERT);
      stream->Write(request);
      std::thread reader([&] {
        v1::IngestResponse answer;
        while (stream->Read(&answer)) continue;
      });
      for (uint64_t batch = 0; batch < 5; ++batch) {
        v1::PointBatch* points = request.mutable_batch()->mutable_batch();
        points->Clear();
        for (uint64_t i = 0; i < kRows; ++i) points->mutable_ids()->add_num(batch * kRows + i);
        points->add_vectors()->mutable_data()->resize(kRows * kDim * sizeof(float));
        stream->Write(request);
      }
      stream->Write(FinishAfter(5 * kRows));
      stream->WritesDone();
      reader.join();
      const grpc::Status status = stream->Finish();
      EXPECT_TRUE(status.ok()) << status.error_message();
    });
  }
  for (std::thread& client : clients) client.join();
  for (int load = 0; load < kLoads; ++load) {
    EXPECT_EQ(database_.collection(absl::StrCat("load", load))->Count().value(), 5 * kRows);
  }
}

}  // namespace
}  // namespace tessera::api
