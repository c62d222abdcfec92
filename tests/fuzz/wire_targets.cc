#include <algorithm>
#include <string>

#include <google/protobuf/arena.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <tessera/v1/collections.pb.h>
#include <tessera/v1/ingest.pb.h>
#include <tessera/v1/points.pb.h>
#include <tessera/v1/search.pb.h>

#include "api/filters/filter_tree.h"
#include "api/rpc/wire_scan.h"
#include "base/check.h"
#include "query/filter/parser.h"
#include "tests/fuzz/targets.h"

namespace tessera::fuzz {
namespace {

// What the scan lets through is a message, and parsing it takes no more than the scan said.
template <typename Message>
absl::Status RunWire(std::string_view input) {
  // In blocks, as messages come in frames.
  google::protobuf::io::ArrayInputStream wire(input.data(), static_cast<int>(input.size()), 7);
  const absl::StatusOr<api::WireCost> cost =
      api::ScanWire(Message::descriptor(), static_cast<int>(input.size()), &wire);
  if (!cost.ok()) {
    TESSERA_CHECK(absl::IsInvalidArgument(cost.status()) && !cost.status().message().empty());
    return cost.status();
  }
  google::protobuf::Arena arena;
  auto* const message = google::protobuf::Arena::CreateMessage<Message>(&arena);
  TESSERA_CHECK(message->ParseFromArray(input.data(), static_cast<int>(input.size())));
  TESSERA_CHECK(cost->parsed_bytes >= arena.SpaceUsed());
  TESSERA_CHECK(cost->parsed_bytes >= message->SpaceUsedLong());
  return absl::OkStatus();
}

// A tree that is taken is an expression that parses, but for datetimes, of which the parser says
// the last word.
absl::Status RunFilter(std::string_view input) {
  if (absl::Status status = RunWire<v1::Filter>(input); !status.ok()) return status;
  v1::Filter filter;
  TESSERA_CHECK(filter.ParseFromArray(input.data(), static_cast<int>(input.size())));
  TESSERA_CHECK(api::FilterMemoryBytes(filter) >= filter.SpaceUsedLong());
  const absl::StatusOr<db::FilterText> text = api::FilterFromProto(filter, "filter");
  if (!text.ok()) {
    TESSERA_CHECK(absl::IsInvalidArgument(text.status()) && !text.status().message().empty());
    return text.status();
  }
  const absl::Status parsed = query::ParseFilter(text->expression, text->parameters).status();
  TESSERA_CHECK(parsed.ok() || filter.has_expression() ||
                text->expression.find("datetime(") != std::string::npos);
  return absl::OkStatus();
}

v1::Filter Tree() {
  v1::Filter filter;
  v1::FilterTree* const tree = filter.mutable_tree();
  v1::Condition* const range = tree->add_must();
  range->set_path("a.`b.c`");
  range->mutable_range()->mutable_gt()->set_number(0.5);
  range->mutable_range()->mutable_lte()->set_integer(9);
  v1::Condition* const in = tree->add_should();
  in->set_path("color");
  in->mutable_in()->add_values()->set_text("red");
  in->mutable_in()->add_values()->set_boolean(true);
  v1::FilterTree* const inner = tree->add_should()->mutable_filter();
  inner->add_must()->mutable_has_id()->add_ids()->set_str("doc");
  inner->add_must_not()->set_path("x");
  inner->mutable_must_not(0)->set_prefix("50%");
  tree->set_min_should(2);
  return filter;
}

std::vector<Sample> Filters() {
  v1::Filter expression;
  expression.set_expression("a < $max AND b IN (1, 'x')");
  (*expression.mutable_parameters())["max"].set_number(1.5);
  return {{"tree", Tree().SerializeAsString()}, {"expression", expression.SerializeAsString()}};
}

std::vector<Sample> Upserts() {
  v1::UpsertRequest points;
  points.set_collection("images");
  points.set_ack(v1::ACK_MEMORY);
  for (uint64_t i = 0; i < 3; ++i) {
    v1::Point* const point = points.add_points();
    point->mutable_id()->set_str("a point with a long name " + std::to_string(i));
    for (int j = 0; j < 4; ++j) point->mutable_vector()->add_values(0.5F * static_cast<float>(j));
    (*point->mutable_vectors())["image"].set_data("12345678");
    point->set_payload(R"({"a":"some text"})");
  }
  v1::UpsertRequest columns;
  columns.set_collection("c");
  for (uint64_t i = 0; i < 5; ++i) columns.mutable_batch()->mutable_ids()->add_num(i << (8 * i));
  columns.mutable_batch()->add_vectors()->set_data(std::string(40, 'x'));
  columns.mutable_batch()->add_payloads("{}");
  return {{"points", points.SerializeAsString()}, {"columns", columns.SerializeAsString()}};
}

std::vector<Sample> Searches() {
  v1::SearchRequest search;
  search.set_collection("images");
  search.mutable_point()->set_uuid("6f1c2a34-0b5d-4e7f-8a9b-0c1d2e3f4a5b");
  search.set_field("clip");
  search.set_limit(10);
  search.mutable_params()->set_recall_target(0.95);
  search.set_score_threshold(-4);
  search.set_with_payload(true);
  return {{"by_point", search.SerializeAsString()}};
}

std::vector<Sample> Ingests() {
  v1::IngestRequest request;
  for (uint64_t i = 0; i < 3; ++i) {
    v1::Point* const point = request.mutable_batch()->add_points();
    point->mutable_id()->set_num(i);
    point->mutable_vector()->set_data("12345678");
  }
  return {{"batch", request.SerializeAsString()}};
}

std::vector<Sample> Creations() {
  v1::CreateCollectionRequest request;
  request.mutable_schema()->set_name("images");
  v1::VectorField* const field = request.mutable_schema()->add_vectors();
  field->set_name("clip");
  field->set_dim(512);
  field->set_metric(v1::METRIC_COSINE);
  return {{"one_field", request.SerializeAsString()}};
}

}  // namespace

std::vector<Target> WireTargets() {
  return {
      {.name = "wire_upsert", .run = RunWire<v1::UpsertRequest>, .samples = Upserts},
      {.name = "wire_search", .run = RunWire<v1::SearchRequest>, .samples = Searches},
      {.name = "wire_ingest", .run = RunWire<v1::IngestRequest>, .samples = Ingests},
      {.name = "wire_create", .run = RunWire<v1::CreateCollectionRequest>, .samples = Creations},
      {.name = "wire_filter", .run = RunFilter, .samples = Filters},
  };
}

}  // namespace tessera::fuzz
