#include <set>
#include <string>

#include "base/check.h"
#include "base/coding/sealed.h"
#include "base/files/json_file.h"
#include "base/point_id.h"
#include "base/schema.h"
#include "base/status_macros.h"
#include "base/value.h"
#include "tests/fuzz/stored.h"
#include "tests/fuzz/targets.h"

namespace tessera::fuzz {
namespace {

using base::CollectionSchema;
using base::PointId;

constexpr auto kRewriteSchema = Rewrite<base::DecodeSchema, base::EncodeSchema>;

std::vector<Sample> Schemas() {
  const CollectionSchema one{.name = "c", .vectors = {{.name = "", .dim = 768}}};
  const CollectionSchema three{.name = "Many.fields_of-7",
                               .vectors = {{.name = "",
                                            .dim = base::kDimMax,
                                            .metric = base::Metric::kL2,
                                            .type = base::ElementType::kF16},
                                           {.name = "image",
                                            .dim = 1,
                                            .metric = base::Metric::kInnerProduct,
                                            .type = base::ElementType::kI8},
                                           {.name = "t",
                                            .dim = 96,
                                            .metric = base::Metric::kCosine,
                                            .type = base::ElementType::kU8}}};
  return {{"one_field", base::EncodeSchema(one)}, {"three_fields", base::EncodeSchema(three)}};
}

absl::StatusOr<std::string> RewriteSealed(std::string_view input) {
  TESSERA_ASSIGN_OR_RETURN(const std::string_view body, base::Unseal("input", input));
  std::string sealed(body);
  base::Seal(&sealed);
  TESSERA_CHECK(sealed == input);
  return sealed;
}

std::vector<Sample> SealedBytes() {
  std::string text = "what is stored whole";
  std::string nothing;
  base::Seal(&text);
  base::Seal(&nothing);
  return {{"text", text}, {"nothing", nothing}};
}

absl::StatusOr<std::string> RewriteKey(std::string_view input) {
  TESSERA_ASSIGN_OR_RETURN(const PointId id, PointId::DecodeKey(input));
  std::string key;
  id.EncodeKey(&key);
  TESSERA_CHECK(key == input);  // two keys of one id would be two points
  return key;
}

std::vector<Sample> Keys() {
  std::vector<Sample> samples;
  for (const auto& [name, text] : {std::pair("number", "18446744073709551615"),
                                   std::pair("uuid", "6f1c2a34-0b5d-4e7f-8a9b-0c1d2e3f4a5b"),
                                   std::pair("string", "\xc3\xa9tude no. 7")}) {
    const absl::StatusOr<PointId> id = PointId::Parse(text);
    TESSERA_CHECK(id.ok() && id->ToString() == text);
    Sample sample;
    sample.name = name;
    id->EncodeKey(&sample.bytes);
    samples.push_back(sample);
  }
  return samples;
}

// The value and the canonical text are read by code of their own, and must agree.
absl::Status RunJson(std::string_view input) {
  const absl::StatusOr<base::Value> value = base::ParseJson(input);
  const absl::StatusOr<std::string> canonical = base::CanonicalJson(input);
  std::set<std::string, std::less<>> large_keys;
  const absl::StatusOr<base::Value> lenient = base::ParseJsonKeepingLarge(input, &large_keys);
  TESSERA_CHECK(value.ok() == canonical.ok());
  if (!value.ok()) {
    TESSERA_CHECK(absl::IsInvalidArgument(value.status()) && !value.status().message().empty());
    TESSERA_CHECK(absl::IsInvalidArgument(canonical.status()));
    TESSERA_CHECK(lenient.ok() || absl::IsInvalidArgument(lenient.status()));
    return value.status();
  }
  TESSERA_CHECK(*canonical == value->ToJson());
  TESSERA_CHECK(lenient.ok() && *lenient == *value && large_keys.empty());
  const absl::StatusOr<base::Value> again = base::ParseJson(*canonical);
  TESSERA_CHECK(again.ok() && *again == *value);
  return absl::OkStatus();
}

std::vector<Sample> JsonTexts() {
  using base::Value;
  const Value numbers(Value::List{Value(int64_t{0}), Value(INT64_MIN), Value(INT64_MAX), Value(0.1),
                                  Value(-0.0), Value(5e-324), Value(1e300), Value(3.0)});
  const Value object(
      Value::Object{{"", Value()},
                    {"a \"quoted\" \\ key\n", Value(true)},
                    {"list", Value(Value::List{})},
                    {"text", Value(std::string("\xe2\x82\xac \x01 \xf0\x9f\x98\x80"))},
                    {"z", Value(Value::Object{{"y", Value(false)}})}});
  Value deep(int64_t{1});
  for (int i = 1; i < base::kValueDepthMax; ++i) deep = Value(Value::List{deep});
  return {{"numbers", numbers.ToJson()}, {"object", object.ToJson()}, {"deep", deep.ToJson()}};
}

}  // namespace

std::vector<Target> BaseTargets() {
  return {
      {.name = "schema",
       .run = RunSealed<kRewriteSchema>,
       .rewrite = kRewriteSchema,
       .samples = Schemas},
      {.name = "sealed",
       .run = RunSealed<RewriteSealed>,
       .rewrite = RewriteSealed,
       .samples = SealedBytes},
      {.name = "id_key", .run = RunStored<RewriteKey>, .rewrite = RewriteKey, .samples = Keys},
      {.name = "json", .run = RunJson, .rewrite = base::CanonicalJson, .samples = JsonTexts},
  };
}

}  // namespace tessera::fuzz
