#include "api/rpc/wire_scan.h"

#include <algorithm>
#include <string>

#include <google/protobuf/arena.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <tessera/v1/collections.pb.h>
#include <tessera/v1/ingest.pb.h>
#include <tessera/v1/points.pb.h>
#include <tessera/v1/search.pb.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/status_details.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// In blocks, as messages come in frames.
absl::StatusOr<WireCost> Scan(const google::protobuf::Descriptor* type, const std::string& wire,
                              int block = 7) {
  google::protobuf::io::ArrayInputStream in(wire.data(), static_cast<int>(wire.size()), block);
  return ScanWire(type, static_cast<int>(wire.size()), &in);
}

// What an arena takes for the parsed message.
template <typename Message>
uint64_t ParsedBytes(const std::string& wire) {
  google::protobuf::Arena arena;
  auto* const message = google::protobuf::Arena::CreateMessage<Message>(&arena);
  EXPECT_TRUE(message->ParseFromString(wire));
  return std::max<uint64_t>(arena.SpaceUsed(), message->SpaceUsedLong());
}

template <typename Message>
void ExpectCovered(const Message& message, uint64_t rows) {
  const std::string wire = message.SerializeAsString();
  ASSERT_OK_AND_ASSIGN(const WireCost cost, Scan(Message::descriptor(), wire, 4096));
  const uint64_t taken = ParsedBytes<Message>(wire);
  EXPECT_GE(cost.parsed_bytes, taken);
  EXPECT_LE(cost.parsed_bytes, 6 * taken + 1000);
  EXPECT_EQ(cost.rows, rows);
}

TEST(WireScan, TheCostCoversWhatParsingTakes) {
  v1::UpsertRequest empty_points;
  for (int i = 0; i < 20'000; ++i) empty_points.add_points();
  ExpectCovered(empty_points, 20'000);

  v1::UpsertRequest whole_points;
  for (uint64_t i = 0; i < 3000; ++i) {
    v1::Point* point = whole_points.add_points();
    point->mutable_id()->set_str("a point with a long name " + std::to_string(i));
    for (int j = 0; j < 20; ++j) point->mutable_vector()->add_values(1);
    (*point->mutable_vectors())["image"].set_data("1234567812345678");
    point->set_payload(R"({"a":"some text that is longer than a short string"})");
  }
  ExpectCovered(whole_points, 3000);

  v1::UpsertRequest columns;
  for (uint64_t i = 0; i < 50'000; ++i) {
    columns.mutable_batch()->mutable_ids()->add_num(i);
    columns.mutable_batch()->add_payloads("{}");
  }
  columns.mutable_batch()->add_vectors()->set_data(std::string(100'000, 'x'));
  ExpectCovered(columns, 50'000);

  v1::DeleteRequest empty_ids;
  for (int i = 0; i < 50'000; ++i) empty_ids.add_ids();
  ExpectCovered(empty_ids, 50'000);
}

TEST(WireScan, FiltersAreCovered) {
  v1::CountRequest tree;
  for (int i = 0; i < 20'000; ++i) {
    v1::Condition* condition = tree.mutable_filter()->mutable_tree()->add_should();
    condition->set_path("a");
    condition->mutable_in()->add_values()->set_text("some text that is longer than a short string");
    condition->mutable_in()->add_values()->set_integer(i);
  }
  ExpectCovered(tree, 20'000);
  v1::CountRequest parameters;
  for (int i = 0; i < 1000; ++i) {
    v1::Value& value = (*parameters.mutable_filter()->mutable_parameters())[std::to_string(i)];
    for (int j = 0; j < 10; ++j) value.mutable_list()->add_values()->set_number(0.5);
  }
  ExpectCovered(parameters, 1000);
  v1::CountRequest empty;
  for (int i = 0; i < 50'000; ++i) empty.mutable_filter()->mutable_tree()->add_must();
  ExpectCovered(empty, 50'000);
}

TEST(WireScan, DeepMessagesAreRefusedWithoutTheStack) {
  std::string wire;
  for (int i = 0; i < 200'000; ++i) {
    // A tree in a condition in a tree; lengths are those of what is within, from the inside out.
    std::string head;
    for (const char tag : {'\x0a', '\x72'}) {
      std::string length;
      for (size_t left = head.size() + wire.size(); length.empty() || left > 0; left >>= 7) {
        length.push_back(static_cast<char>((left & 0x7f) | (left > 0x7f ? 0x80 : 0)));
      }
      head = std::string(1, tag) + length + head;
    }
    wire.insert(0, head);
    if (wire.size() > 100'000) break;
  }
  const absl::Status status = Scan(v1::Condition::descriptor(), wire).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("messages nested in each other")));
}

TEST(WireScan, TellsWhatCollectionIsMeant) {
  v1::CountRequest request;
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{100}, size_t{255}, size_t{256}}) {
    request.set_collection(std::string(bytes, 'c'));
    ASSERT_OK_AND_ASSIGN(const WireCost cost,
                         Scan(v1::CountRequest::descriptor(), request.SerializeAsString()));
    EXPECT_EQ(cost.collection, bytes < 256 ? request.collection() : "");
  }
  // Of a field that comes twice the last counts; those of inner messages do not.
  const std::string twice("\x0a\x01x\x0a\x01y", 6);
  ASSERT_OK_AND_ASSIGN(const WireCost last, Scan(v1::CountRequest::descriptor(), twice));
  EXPECT_EQ(last.collection, "y");
  v1::CreateCollectionRequest create;
  create.mutable_schema()->set_name("inner");
  ASSERT_OK_AND_ASSIGN(const WireCost none, Scan(v1::CreateCollectionRequest::descriptor(),
                                                 create.SerializeAsString()));
  EXPECT_EQ(none.collection, "");
}

TEST(WireScan, UnknownFieldsAreSkippedAndCounted) {
  std::string wire;
  for (int i = 0; i < 10'000; ++i) wire += std::string("\x78\x01\x7a\x02xy", 6);  // fields 15
  ASSERT_OK_AND_ASSIGN(const WireCost cost, Scan(v1::DeleteRequest::descriptor(), wire));
  EXPECT_GE(cost.parsed_bytes, ParsedBytes<v1::DeleteRequest>(wire));
}

TEST(WireScan, EveryCutOfAMessageIsDamageOrAMessage) {
  v1::UpsertRequest request;
  request.set_collection("c");
  request.mutable_batch()->mutable_ids()->add_num(300);
  request.mutable_batch()->add_vectors()->set_data("12345678");
  request.add_points()->mutable_id()->set_num(1);
  const std::string wire = request.SerializeAsString();
  for (size_t end = 0; end <= wire.size(); ++end) {
    v1::UpsertRequest parsed;
    const std::string cut = wire.substr(0, end);
    EXPECT_EQ(Scan(v1::UpsertRequest::descriptor(), cut).ok(), parsed.ParseFromString(cut)) << end;
  }
  for (const std::string& junk : {std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
                                  std::string("\x0b"), std::string("\x07"), std::string(1, '\0')}) {
    EXPECT_THAT(Scan(v1::UpsertRequest::descriptor(), junk).status(),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("no valid tessera.v1.UpsertRequest"), HasSubstr("byte"))));
  }
}

TEST(WireScan, TextThatIsNotUtf8IsNamed) {
  v1::DeleteRequest request;
  request.add_ids()->set_num(1);
  request.add_ids()->set_str("ok");
  request.add_ids()->set_str("abc");
  std::string wire = request.SerializeAsString();
  wire[wire.find("abc")] = '\xC3';
  const absl::Status status = Scan(v1::DeleteRequest::descriptor(), wire).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, "ids[2].str: is not UTF-8"));
  EXPECT_EQ(base::BlamedField(status), "ids[2].str");
}

}  // namespace
}  // namespace tessera::api
