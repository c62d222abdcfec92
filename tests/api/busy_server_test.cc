// What some clients do must not keep the others waiting.
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/generic/generic_stub.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "api/client.h"
#include "tests/api/grpc_fixture.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

using Stream = grpc::ClientReaderWriter<v1::IngestRequest, v1::IngestResponse>;

// An ingest whose client may say nothing.
struct OpenStream {
  grpc::ClientContext context;
  std::unique_ptr<Stream> stream;

  void Begin(v1::Ingest::Stub& stub, v1::IngestMode mode) {
    stream = stub.Ingest(&context);
    v1::IngestRequest request;
    request.mutable_begin()->set_collection("c");
    request.mutable_begin()->set_mode(mode);
    stream->Write(request);
  }
  void SendPoint(uint64_t id) {
    v1::IngestRequest request;
    request.mutable_batch()->mutable_batch()->mutable_ids()->add_num(id);
    request.mutable_batch()->mutable_batch()->add_vectors()->set_data(FloatBytes({1, 2, 3, 4}));
    stream->Write(request);
  }
  grpc::Status Finish() {
    v1::IngestResponse answer;
    while (stream->Read(&answer)) continue;
    return stream->Finish();
  }
};

class BusyServer : public GrpcTest {
 protected:
  std::vector<std::unique_ptr<OpenStream>> OpenStreams(int count, v1::IngestMode mode) {
    std::vector<std::unique_ptr<OpenStream>> streams;
    for (int i = 0; i < count; ++i) {
      streams.push_back(std::make_unique<OpenStream>());
      streams.back()->Begin(*ingest_, mode);
    }
    return streams;
  }

  // Of another channel, and of the streams' own.
  void ExpectCallsAreAnswered() {
    const auto other = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
    for (const auto& channel : {channel_, other}) {
      const auto points = v1::Points::NewStub(channel);
      const auto search = v1::Search::NewStub(channel);
      v1::SearchRequest query;
      query.set_collection("c");
      query.mutable_vector()->set_data(FloatBytes({1, 0, 0, 0}));
      v1::SearchResponse found;
      grpc::ClientContext first;
      first.set_deadline(absl::ToChronoTime(absl::Now() + absl::Minutes(1)));
      const grpc::Status searched = search->Search(&first, query, &found);
      EXPECT_TRUE(searched.ok()) << searched.error_message();
      v1::CountRequest count;
      count.set_collection("c");
      v1::CountResponse counted;
      grpc::ClientContext second;
      second.set_deadline(absl::ToChronoTime(absl::Now() + absl::Minutes(1)));
      EXPECT_TRUE(points->Count(&second, count, &counted).ok());
    }
  }

  grpc::Status CallBytes(const std::string& method, const std::string& request) {
    grpc::GenericStub stub(channel_);
    grpc::CompletionQueue queue;
    grpc::ClientContext context;
    const grpc::Slice slice(request);
    const grpc::ByteBuffer buffer(&slice, 1);
    const auto call = stub.PrepareUnaryCall(&context, method, buffer, &queue);
    grpc::ByteBuffer answer;
    grpc::Status status;
    call->StartCall();
    call->Finish(&answer, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return status;
  }
};

TEST_F(BusyServer, SilentStreamsHoldNoThreads) {
  Fill(3);
  const auto streams = OpenStreams(400, v1::INGEST_MODE_UPSERT);
  ExpectCallsAreAnswered();
  for (const auto& stream : streams) stream->context.TryCancel();
}

TEST_F(BusyServer, SilentLoadsHoldNoThreadsOfOthers) {
  Fill(3);
  const auto streams = OpenStreams(100, v1::INGEST_MODE_BULK);
  for (const auto& stream : streams) stream->SendPoint(7);
  WaitUntil([&] { return collection().bulk_loads >= 16; });
  ExpectCallsAreAnswered();
  for (const auto& stream : streams) stream->context.TryCancel();
  for (const auto& stream : streams) {
    const grpc::Status status = stream->Finish();
    EXPECT_TRUE(status.error_code() == grpc::StatusCode::CANCELLED ||
                (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED &&
                 status.error_message().find("16 bulk loads run") != std::string::npos))
        << status.error_message();
  }
}

TEST_F(BusyServer, ASilentLoadEndsByItself) {
  StartServer({.ingest_idle_timeout = absl::Milliseconds(200)});
  for (const v1::IngestMode mode :
       {v1::INGEST_MODE_BULK, v1::INGEST_MODE_UPSERT, v1::INGEST_MODE_AUTO}) {
    OpenStream stream;
    stream.Begin(*ingest_, mode);
    stream.SendPoint(1);
    EXPECT_THAT(stream.Finish(),
                GrpcStatusIs(grpc::StatusCode::DEADLINE_EXCEEDED, HasSubstr("nothing for 200ms")));
  }
  EXPECT_EQ(collection().bulk_loads_failed, 1);
  OpenStream mute;  // never even begins
  mute.stream = ingest_->Ingest(&mute.context);
  EXPECT_EQ(mute.Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_F(BusyServer, ALoadBeginsWithItsFirstBatch) {
  OpenStream stream;
  stream.Begin(*ingest_, v1::INGEST_MODE_BULK);
  ExpectCallsAreAnswered();
  EXPECT_EQ(collection().bulk_loads, 0);
  stream.SendPoint(1);
  WaitUntil([&] { return collection().bulk_loads == 1; });
  stream.context.TryCancel();
  WaitUntil([&] { return collection().bulk_loads_failed == 1; });
}

TEST_F(BusyServer, ADropEndsIngestsAndSaysSo) {
  for (const v1::IngestMode mode :
       {v1::INGEST_MODE_BULK, v1::INGEST_MODE_UPSERT, v1::INGEST_MODE_AUTO}) {
    OpenStream stream;
    stream.Begin(*ingest_, mode);
    stream.SendPoint(1);
    v1::IngestResponse answer;
    if (mode != v1::INGEST_MODE_AUTO) {
      ASSERT_TRUE(stream.stream->Read(&answer));
    }
    v1::DropCollectionRequest request;
    request.set_collection("c");
    v1::DropCollectionResponse response;
    // Of an automatic ingest nothing tells when it has begun.
    grpc::Status ended;
    std::thread reader([&] { ended = stream.Finish(); });
    std::atomic<bool> done{false};
    std::thread dropper([&] {
      while (!done) {
        grpc::ClientContext context;
        collections_->Drop(&context, request, &response);
        if (database_.ListCollections().empty()) {
          ASSERT_OK(database_.CreateCollection(FloatSchema("c", 4)));
        }
      }
    });
    reader.join();
    done = true;
    dropper.join();
    if (mode == v1::INGEST_MODE_AUTO) {
      // One that begins between a drop and the next creation finds no collection at all.
      EXPECT_THAT(ended,
                  GrpcStatusIs(grpc::StatusCode::NOT_FOUND,
                               AnyOf(HasSubstr("dropped"), HasSubstr("no collection"))));
    } else {
      EXPECT_THAT(ended, GrpcStatusIs(grpc::StatusCode::NOT_FOUND, HasSubstr("dropped")));
    }
  }
}

TEST_F(BusyServer, WhatTheDatabaseCancelsIsNoCancellationOfTheClient) {
  OpenStream stream;
  stream.Begin(*ingest_, v1::INGEST_MODE_BULK);
  stream.SendPoint(1);
  v1::IngestResponse answer;
  ASSERT_TRUE(stream.stream->Read(&answer));
  ASSERT_OK(database_.DropCollection("c"));
  EXPECT_THAT(stream.Finish(), GrpcStatusIs(grpc::StatusCode::NOT_FOUND, HasSubstr("dropped")));
}

TEST_F(BusyServer, ALoadWithoutMemoryIsAnAnswer) {
  collection().source_throws = true;
  OpenStream stream;
  stream.Begin(*ingest_, v1::INGEST_MODE_BULK);
  stream.SendPoint(1);
  EXPECT_THAT(stream.Finish(),
              GrpcStatusIs(grpc::StatusCode::RESOURCE_EXHAUSTED, HasSubstr("out of memory")));
}

TEST_F(BusyServer, WhatIsNoProtobufIsRefusedWithAText) {
  for (const std::string method : {"Points/Upsert", "Points/Delete", "Points/Get", "Points/Scroll",
                                   "Search/Search", "Search/SearchBatch", "Collections/Create"}) {
    const grpc::Status status = CallBytes(absl::StrCat("/tessera.v1.", method), "\xff\xff");
    EXPECT_THAT(status, GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT,
                                     HasSubstr("the request is no valid tessera.v1.")));
  }
  // Field 1, the collection.
  const grpc::Status status = CallBytes("/tessera.v1.Points/Count", "\x0a\x02\xc3\x28");
  EXPECT_THAT(status, GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT,
                                   AllOf(HasSubstr("collection"), HasSubstr("UTF-8"))));
  EXPECT_EQ(BlamedField(status), "collection");
}

TEST_F(BusyServer, WhatCanNeverFitIsNotRetriable) {
  StartServer({.buffer_bytes_max = uint64_t{16} << 20});
  const auto details = [](const grpc::Status& status) {
    google::rpc::ErrorInfo info;
    EXPECT_TRUE(DetailsOf(status).details(0).UnpackTo(&info));
    return info.metadata();
  };
  // Longer than a request may be.
  v1::UpsertRequest request;
  request.set_collection("c");
  request.mutable_batch()->add_vectors()->mutable_data()->resize(size_t{5} << 20);
  v1::UpsertResponse response;
  grpc::ClientContext first;
  const grpc::Status too_long = points_->Upsert(&first, request, &response);
  EXPECT_EQ(too_long.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(details(too_long).at("retriable"), "false");
  EXPECT_EQ(details(too_long).at("limit"), absl::StrCat(4 << 20));
  // Short, but of empty points.
  request.Clear();
  request.set_collection("c");
  for (int i = 0; i < (1 << 20); ++i) request.add_points();
  grpc::ClientContext second;
  const grpc::Status too_many = points_->Upsert(&second, request, &response);
  EXPECT_EQ(too_many.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(details(too_many).at("retriable"), "false");
  // The limits can be learnt.
  v1::ListCollectionsResponse list;
  grpc::ClientContext third;
  ASSERT_TRUE(collections_->List(&third, {}, &list).ok());
  EXPECT_EQ(list.limits().request_bytes_max(), uint64_t{4} << 20);
  EXPECT_EQ(list.limits().reply_bytes_default(), uint64_t{4} << 20);
  EXPECT_EQ(details(too_many).at("limit"), absl::StrCat(list.limits().call_memory_bytes()));
}

TEST_F(BusyServer, RepliesStayShortUnlessAskedToBeLong) {
  const std::string payload = absl::StrCat(R"({"a":")", std::string(900'000, 'x'), R"("})");
  std::vector<db::Point> points;
  for (uint64_t id = 0; id < 8; ++id) points.push_back(MakePoint(id, {1, 2, 3, 4}, payload));
  ASSERT_OK(collection().Upsert(std::move(points), db::Ack::kWal));
  v1::ScrollRequest page;
  page.set_collection("c");
  page.set_limit(8);
  page.set_with_payload(true);
  v1::ScrollResponse scrolled;
  grpc::ClientContext first;
  ASSERT_TRUE(points_->Scroll(&first, page, &scrolled).ok());
  EXPECT_EQ(scrolled.points_size(), 4);
  EXPECT_EQ(scrolled.next_offset().num(), 4U);
  page.set_reply_bytes_max(UINT64_MAX);
  grpc::ClientContext second;
  ASSERT_TRUE(points_->Scroll(&second, page, &scrolled).ok());
  EXPECT_EQ(scrolled.points_size(), 8);
  EXPECT_FALSE(scrolled.has_next_offset());

  v1::GetRequest get;
  get.set_collection("c");
  get.set_with_payload(true);
  for (uint64_t id = 0; id < 8; ++id) get.add_ids()->set_num(id);
  v1::GetResponse got;
  grpc::ClientContext third;
  EXPECT_THAT(points_->Get(&third, get, &got),
              GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("reply_bytes_max")));
  EXPECT_LE(collection().bytes_shown_max, (uint64_t{4} << 20) + 1'000'000) << "read beyond it";
  get.set_reply_bytes_max(uint64_t{8} << 20);
  grpc::ClientContext fourth;
  EXPECT_TRUE(points_->Get(&fourth, get, &got).ok());
  EXPECT_EQ(got.points_size(), 8);
}

// At the limits of calls under 128 MiB and 256 MiB, and under 1 GiB.
TEST_F(BusyServer, TheLongestReplyIsAnswered) {
  for (const uint64_t buffer : {uint64_t{64} << 20, uint64_t{128} << 20}) {
    StartServer({.buffer_bytes_max = buffer});
    v1::ListCollectionsResponse list;
    grpc::ClientContext first;
    ASSERT_TRUE(collections_->List(&first, {}, &list).ok());
    const uint64_t longest = list.limits().reply_bytes_max();
    EXPECT_EQ(longest, buffer / 8);
    EXPECT_LE(3 * longest, list.limits().call_memory_bytes());
    const uint64_t count = longest / 1'000'100;
    const std::string payload = absl::StrCat(R"({"a":")", std::string(999'990, 'x'), R"("})");
    std::vector<base::PointId> ids;
    for (uint64_t id = 0; id < count; ++id) {
      ids.emplace_back(id);
      ASSERT_OK(collection().Upsert({MakePoint(id, {1, 2, 3, 4}, payload)}, db::Ack::kWal));
    }
    const std::unique_ptr<Client> client = NewRemoteClient(server_->address());
    ASSERT_OK_AND_ASSIGN(const std::vector<db::StoredPoint> points,
                         client->Get("c", ids, {.payload = true}));
    EXPECT_EQ(points.size(), count);
    EXPECT_EQ(points.back().payload.ToJson(), payload);
    ASSERT_OK_AND_ASSIGN(const db::ScrollPage page,
                         client->Scroll("c", std::nullopt, 1000, {.payload = true}));
    EXPECT_EQ(page.points.size(), count);
    EXPECT_FALSE(page.next_offset.has_value());
    db::SearchParams params;
    params.limit = static_cast<uint32_t>(count);
    params.with.payload = true;
    const std::vector<float> query(4);
    ASSERT_OK_AND_ASSIGN(const db::SearchResult found, client->Search("c", query, params));
    EXPECT_EQ(found.hits.size(), count);
    ASSERT_OK_AND_ASSIGN(const auto batch, client->SearchBatch("c", query, params));
    ASSERT_EQ(batch.size(), 1U);
    EXPECT_EQ(batch[0].hits.size(), count);
  }
}

// Writes may wait for a lock, a log or an absorption of their collection.
TEST_F(BusyServer, WritesThatWaitDoNotStopOtherCollections) {
  StartServer({.buffer_bytes_max = uint64_t{16} << 20});
  ASSERT_OK(database_.CreateCollection(FloatSchema("other", 4)));
  Fill(3);
  const int before = collection().upserts_waiting;
  collection().upsert_gate_closed = true;
  const auto upsert = [this](const std::string& name, uint64_t rows) {
    v1::UpsertRequest request;
    request.set_collection(name);
    for (uint64_t id = 0; id < rows; ++id) request.mutable_batch()->mutable_ids()->add_num(id);
    request.mutable_batch()->add_vectors()->mutable_data()->resize(rows * 16);
    v1::UpsertResponse response;
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Minutes(1)));
    return points_->Upsert(&context, request, &response);
  };
  // More than there are threads, with small and with large requests.
  std::vector<std::thread> writers;
  for (int i = 0; i < 60; ++i) {
    writers.emplace_back([&, i] {
      const grpc::Status status = upsert("c", i % 4 == 0 ? 5000 : 1);
      EXPECT_TRUE(status.ok()) << status.error_message();
    });
  }
  WaitUntil([&] { return collection().upserts_waiting > before; });
  for (int i = 0; i < 20; ++i) {
    const grpc::Status status = upsert("other", i % 2 == 0 ? 5000 : 1);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  ExpectCallsAreAnswered();
  collection().upsert_gate_closed = false;
  for (std::thread& writer : writers) writer.join();
}

TEST_F(BusyServer, CallsBeyondTheMemoryWaitWithoutAThread) {
  StartServer({.buffer_bytes_max = uint64_t{16} << 20});
  Fill(3);
  // Sixteen writes that each need most of the call memory: one after the other they fit.
  v1::UpsertRequest request;
  request.set_collection("c");
  for (uint64_t id = 0; id < 12'000; ++id) request.mutable_batch()->mutable_ids()->add_num(id);
  request.mutable_batch()->add_vectors()->mutable_data()->resize(12'000 * 16);
  std::atomic<int> stored{0};
  std::vector<std::thread> writers;
  for (int i = 0; i < 16; ++i) {
    writers.emplace_back([&] {
      v1::UpsertResponse response;
      grpc::ClientContext context;
      const grpc::Status status = points_->Upsert(&context, request, &response);
      EXPECT_TRUE(status.ok()) << status.error_message();
      if (status.ok()) ++stored;
    });
  }
  ExpectCallsAreAnswered();
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(stored, 16);
}

}  // namespace
}  // namespace tessera::api
