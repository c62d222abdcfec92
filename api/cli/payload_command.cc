// set-payload: one payload for many points, or one for each point out of a file.
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"

#include "api/cli/commands.h"
#include "api/cli/filter/filter_flags.h"
#include "api/cli/json_line.h"
#include "api/cli/target.h"
#include "api/formats/file_kind.h"
#include "api/formats/line_reader.h"
#include "api/inputs/id_lines.h"
#include "api/inputs/point_rows.h"
#include "base/files/json_file.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "base/value.h"

namespace tessera::api {
namespace {

// Ids of one call: at most 2 MiB of them, so that every server takes it.
constexpr size_t kIdsPerCall = 4096;

struct PayloadFlags {
  TargetFlags target;
  std::string name;
  std::vector<std::string> ids;
  std::string ids_path;
  std::string payload;
  std::string file;
  FilterFlags filter;
};

absl::Status CheckFlags(const PayloadFlags& flags) {
  if (flags.payload.empty() == flags.file.empty()) {
    return UsageError(flags.file.empty()
                          ? "neither --payload nor --file is given, exactly one is needed"
                          : "both --payload and --file are given, exactly one is needed");
  }
  if (flags.filter.expression.has_value()) {
    if (flags.file.empty() && flags.ids.empty() && flags.ids_path.empty()) return absl::OkStatus();
    return UsageError("--filter is for --payload alone, without ids and --file");
  }
  if (!flags.file.empty() && (!flags.ids.empty() || !flags.ids_path.empty())) {
    return UsageError("the lines of --file name their points, so no ids are given beside it");
  }
  if (flags.file.empty() && flags.ids.empty() == flags.ids_path.empty()) {
    return UsageError(
        "--payload is for the points whose ids are given, for those of --ids, or for those "
        "that pass --filter");
  }
  return absl::OkStatus();
}

absl::StatusOr<base::Value> ParsePayload(const std::string& text) {
  absl::StatusOr<base::Value> payload = base::ParseJson(text);
  if (!payload.ok()) {
    return UsageError(base::StdSv(absl::StrCat("--payload: ", payload.status().message())));
  }
  if (payload->object() == nullptr) return UsageError("--payload is no JSON object");
  return payload;
}

// One call, or several where one would write too much: the merged payloads may be large each.
absl::Status SetBatch(Client& client, const std::string& name, std::span<const base::PointId> ids,
                      const base::Value& payload, uint64_t* updated) {
  const absl::StatusOr<uint64_t> count = client.SetPayload(name, ids, payload);
  if (absl::IsResourceExhausted(count.status()) && ids.size() > 1) {
    const size_t half = ids.size() / 2;
    TESSERA_RETURN_IF_ERROR(SetBatch(client, name, ids.first(half), payload, updated));
    return SetBatch(client, name, ids.subspan(half), payload, updated);
  }
  if (count.ok()) *updated += *count;
  return count.status();
}

// The same payload for every id; `*updated` grows with each call that is done.
absl::Status SetOne(Client& client, const PayloadFlags& flags,
                    const std::vector<base::PointId>& ids, const base::Value& payload,
                    uint64_t* updated) {
  if (flags.ids_path.empty()) {
    TESSERA_ASSIGN_OR_RETURN(*updated, client.SetPayload(flags.name, ids, payload));
    return absl::OkStatus();
  }
  TESSERA_ASSIGN_OR_RETURN(IdLines lines, IdLines::Open(flags.ids_path));
  std::vector<base::PointId> batch;
  for (;;) {
    TESSERA_RETURN_IF_ERROR(lines.NextBatch(kIdsPerCall, &batch));
    if (batch.empty()) return absl::OkStatus();
    TESSERA_RETURN_IF_ERROR(SetBatch(client, flags.name, batch, payload, updated));
  }
}

struct Update {
  base::PointId id;
  base::Value payload;
};

// {"id":..,"payload":{..}}
absl::StatusOr<Update> ParseUpdate(const std::string& line) {
  TESSERA_RETURN_IF_ERROR(CheckJsonLine(line));
  std::set<std::string, std::less<>> large;
  TESSERA_ASSIGN_OR_RETURN(base::Value value, base::ParseJsonKeepingLarge(line, &large));
  base::Value::Object* object = value.object();
  const bool complete = object != nullptr && object->size() == 2 && object->contains("id") &&
                        object->contains("payload");
  if (!complete) {
    return absl::InvalidArgumentError(R"(must be an object of "id" and "payload")");
  }
  Update update;
  TESSERA_ASSIGN_OR_RETURN(update.id, IdOfJson("id", object->at("id"), large.contains("id")));
  update.payload = std::move(object->at("payload"));
  if (update.payload.object() == nullptr) {
    return absl::InvalidArgumentError("its \"payload\" is no JSON object");
  }
  return update;
}

absl::Status SetEach(Client& client, const PayloadFlags& flags, uint64_t* updated) {
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, OpenByteSource(flags.file));
  TESSERA_RETURN_IF_ERROR(RefuseForeignKind(*source));
  LineReader lines(std::move(source));
  std::string line;
  for (;;) {
    TESSERA_ASSIGN_OR_RETURN(const bool more, lines.Next(&line));
    if (!more) return absl::OkStatus();
    absl::StatusOr<Update> update = ParseUpdate(line);
    absl::Status status = update.status();
    if (status.ok()) {
      const absl::StatusOr<uint64_t> count =
          client.SetPayload(flags.name, {&update->id, 1}, update->payload);
      status = count.status();
      if (count.ok()) *updated += *count;
    }
    if (!status.ok()) {
      return absl::Status(status.code(), absl::StrCat(lines.name(), ": line ", lines.line_number(),
                                                      ": ", status.message()));
    }
  }
}

absl::Status SetWhere(Client& client, const PayloadFlags& flags, const db::FilterText& filter,
                      const base::Value& payload, const CliEnvironment& environment,
                      uint64_t* updated) {
  TESSERA_ASSIGN_OR_RETURN(const db::ChangeResult result,
                           client.SetPayloadWhere(flags.name, filter, payload));
  PrintWarnings(result.warnings, environment.err);
  *updated = result.points;
  return absl::OkStatus();
}

absl::Status SetPayload(const PayloadFlags& flags, const CliEnvironment& environment) {
  TESSERA_RETURN_IF_ERROR(CheckFlags(flags));
  TESSERA_ASSIGN_OR_RETURN(const std::optional<db::FilterText> filter, MakeFilter(flags.filter));
  base::Value payload;
  if (!flags.payload.empty()) {
    TESSERA_ASSIGN_OR_RETURN(payload, ParsePayload(flags.payload));
  }
  std::vector<base::PointId> ids;
  for (const std::string& text : flags.ids) {
    TESSERA_ASSIGN_OR_RETURN(ids.emplace_back(), UsageErrorIfInvalid(base::PointId::Parse(text)));
  }
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           Connect(flags.target, environment, {}));
  uint64_t updated = 0;
  absl::Status status = filter.has_value()
                            ? SetWhere(*client, flags, *filter, payload, environment, &updated)
                        : flags.file.empty() ? SetOne(*client, flags, ids, payload, &updated)
                                             : SetEach(*client, flags, &updated);
  // A change by filter that fails does not tell how far it came.
  if (!status.ok() && !filter.has_value()) {
    status = absl::Status(status.code(),
                          absl::StrCat(status.message(), " (", updated, " points updated)"));
  }
  TESSERA_RETURN_IF_ERROR(Finish(*client, status));
  environment.out << JsonLine().Text("collection", flags.name).Number("updated", updated).ToString()
                  << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddSetPayload(CLI::App& app, Invocation* invocation) {
  CLI::App* command = app.add_subcommand(
      "set-payload",
      "merge a payload into that of points, key by key; a null removes the key. Fails at the first "
      "point that is absent; what was updated before stays");
  const auto flags = std::make_shared<PayloadFlags>();
  AddTargetFlags(*command, &flags->target);
  command->add_option("name", flags->name, "name of the collection")->type_name("NAME")->required();
  command->add_option("ids", flags->ids, "ids: numbers, UUIDs or strings")->type_name("ID");
  command->add_option("--ids", flags->ids_path, "instead: file of ids, one a line; - is stdin")
      ->type_name("FILE");
  command->add_option("--payload", flags->payload, "what to merge: a JSON object")
      ->type_name("JSON");
  command
      ->add_option("--file", flags->file,
                   "instead: JSON lines {\"id\":..,\"payload\":{..}}, one point each; - is stdin")
      ->type_name("FILE");
  AddFilterFlags(*command, &flags->filter);
  command->callback([flags, invocation] {
    invocation->run = [flags, invocation] { return SetPayload(*flags, invocation->environment); };
  });
}

}  // namespace tessera::api
