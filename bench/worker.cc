#include "bench/worker.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <fstream>
#include <utility>

#include <malloc.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "bench/measure.h"
#include "bench/memory_sampler.h"

namespace tessera::bench {
namespace {

using Json = nlohmann::json;

// A message is u64 length, then as many bytes.
bool WriteAll(int socket, const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t done = send(socket, at, size, MSG_NOSIGNAL);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    at += done;
    size -= static_cast<size_t>(done);
  }
  return true;
}

bool ReadAll(int socket, void* data, size_t size) {
  char* at = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t done = recv(socket, at, size, 0);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    at += done;
    size -= static_cast<size_t>(done);
  }
  return true;
}

bool SendMessage(int socket, const std::string& message) {
  const uint64_t size = message.size();
  return WriteAll(socket, &size, sizeof(size)) && WriteAll(socket, message.data(), message.size());
}

bool ReceiveMessage(int socket, std::string* message) {
  uint64_t size = 0;
  if (!ReadAll(socket, &size, sizeof(size))) return false;
  message->resize(size);
  return ReadAll(socket, message->data(), size);
}

// The child's side: answers requests until the parent hangs up.
class Service {
 public:
  Service(std::unique_ptr<Engine> engine, const VectorFile& base, const std::vector<float>& queries)
      : engine_(std::move(engine)), base_(base), queries_(queries) {}

  absl::StatusOr<Json> Answer(const Json& request) {
    const std::string call = request.at("call");
    if (call == "build") return Build();
    if (call == "answers") {
      TESSERA_RETURN_IF_ERROR(engine_->Configure(request.at("point").get<SearchPoint>()));
      TESSERA_ASSIGN_OR_RETURN(auto answers, AnswerAll(*engine_, queries_, base_.dim()));
      return Json(std::move(answers));
    }
    if (call == "measure") {
      TESSERA_ASSIGN_OR_RETURN(const PassReport pass,
                               MeasurePass(*engine_, queries_, base_.dim(),
                                           {.point = request.at("point").get<SearchPoint>(),
                                            .threads = request.at("threads"),
                                            .seconds_min = request.at("seconds_min"),
                                            .warmup_seconds = request.at("warmup_seconds")}));
      return Json{
          {"qps", pass.qps}, {"p50", pass.p50_us}, {"p95", pass.p95_us}, {"p99", pass.p99_us}};
    }
    if (call == "cold") {
      TESSERA_ASSIGN_OR_RETURN(const double seconds, engine_->MakeCold());
      return Json(seconds);
    }
    return Json{{"resident", ResidentBytes()},
                {"peak", BeyondStart(sampler_->peak())},
                {"accounted", engine_->accounted_bytes()}};
  }

 private:
  absl::StatusOr<Json> Build() {
    malloc_trim(0);  // what the parent freed is not a start to be measured from
    before_bytes_ = ProcessMemory("RssAnon", 0);
    sampler_ = std::make_unique<MemorySampler>(
        [engine = engine_.get()] { return ProcessMemory("RssAnon", engine->process_id()); });
    const auto begin = std::chrono::steady_clock::now();
    TESSERA_RETURN_IF_ERROR(engine_->Build(base_));
    const auto end = std::chrono::steady_clock::now();
    malloc_trim(0);  // what is only kept by the allocator is not the index
    return Json{{"name", engine_->name()},
                {"description", engine_->description()},
                {"sweep", engine_->DefaultSweep()},
                {"seconds", std::chrono::duration<double>(end - begin).count()},
                {"resident", ResidentBytes()},
                {"disk", engine_->disk_bytes()}};
  }

  uint64_t ResidentBytes() const {
    return BeyondStart(ProcessMemory("RssAnon", engine_->process_id()));
  }

  // Without what this process had before the build, if it is the one that holds the index.
  uint64_t BeyondStart(uint64_t bytes) const {
    return engine_->process_id() != 0 ? bytes : bytes - std::min(bytes, before_bytes_);
  }

  const std::unique_ptr<Engine> engine_;
  const VectorFile& base_;
  const std::vector<float>& queries_;
  uint64_t before_bytes_ = 0;
  std::unique_ptr<MemorySampler> sampler_;  // since the build
};

void Serve(int socket, Service service) {
  std::string message;
  while (ReceiveMessage(socket, &message)) {
    Json reply;
    try {
      absl::StatusOr<Json> answer = service.Answer(Json::parse(message));
      if (answer.ok()) {
        reply["ok"] = *std::move(answer);
      } else {
        reply["code"] = answer.status().raw_code();
        reply["message"] = std::string(answer.status().message());
      }
    } catch (const std::exception& error) {
      reply =
          Json{{"code", static_cast<int>(absl::StatusCode::kInternal)}, {"message", error.what()}};
    }
    if (!SendMessage(socket, reply.dump(-1, ' ', false, Json::error_handler_t::replace))) return;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Worker>> Worker::Start(const Factory& factory,
                                                      const VectorFile& base,
                                                      const std::vector<float>& queries) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
    return absl::InternalError(absl::StrCat("socketpair: ", std::strerror(errno)));
  }
  const pid_t pid = fork();
  if (pid < 0) {
    close(sockets[0]);
    close(sockets[1]);
    return absl::ResourceExhaustedError(absl::StrCat("fork: ", std::strerror(errno)));
  }
  if (pid == 0) {
    close(sockets[0]);
    Serve(sockets[1], Service(factory(), base, queries));
    _exit(0);  // the parent's exit handlers are not ours to run
  }
  close(sockets[1]);
  return std::unique_ptr<Worker>(new Worker(sockets[0], pid));
}

Worker::Worker(int socket, pid_t pid) : socket_(socket), pid_(pid) {}

Worker::~Worker() {
  // A later worker holds a copy of our end of the socket, so closing alone would not reach it.
  shutdown(socket_, SHUT_RDWR);
  close(socket_);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

absl::StatusOr<std::string> Worker::Call(const std::string& request) const {
  std::string message;
  if (!SendMessage(socket_, request) || !ReceiveMessage(socket_, &message)) {
    return absl::InternalError("the engine's process is gone");
  }
  Json reply = Json::parse(message);
  if (reply.contains("ok")) return reply["ok"].dump();
  return absl::Status(static_cast<absl::StatusCode>(reply["code"].get<int>()),
                      reply["message"].get<std::string>());
}

absl::StatusOr<BuildReport> Worker::Build() {
  TESSERA_ASSIGN_OR_RETURN(const std::string text, Call(Json{{"call", "build"}}.dump()));
  const Json reply = Json::parse(text);
  return BuildReport{.name = reply["name"],
                     .description = reply["description"],
                     .default_sweep = reply["sweep"],
                     .seconds = reply["seconds"],
                     .resident_bytes = reply["resident"],
                     .disk_bytes = reply["disk"]};
}

absl::StatusOr<std::vector<std::vector<uint64_t>>> Worker::Answers(const SearchPoint& point) {
  TESSERA_ASSIGN_OR_RETURN(const std::string text,
                           Call(Json{{"call", "answers"}, {"point", point}}.dump()));
  return Json::parse(text).get<std::vector<std::vector<uint64_t>>>();
}

absl::StatusOr<PassReport> Worker::Measure(const PassRequest& request) {
  TESSERA_ASSIGN_OR_RETURN(const std::string text,
                           Call(Json{{"call", "measure"},
                                     {"point", request.point},
                                     {"threads", request.threads},
                                     {"seconds_min", request.seconds_min},
                                     {"warmup_seconds", request.warmup_seconds}}
                                    .dump()));
  const Json reply = Json::parse(text);
  return PassReport{
      .qps = reply["qps"], .p50_us = reply["p50"], .p95_us = reply["p95"], .p99_us = reply["p99"]};
}

absl::StatusOr<double> Worker::MakeCold() {
  TESSERA_ASSIGN_OR_RETURN(const std::string text, Call(Json{{"call", "cold"}}.dump()));
  return Json::parse(text).get<double>();
}

absl::StatusOr<MemoryReport> Worker::Memory() {
  TESSERA_ASSIGN_OR_RETURN(const std::string text, Call(Json{{"call", "memory"}}.dump()));
  const Json reply = Json::parse(text);
  return MemoryReport{.resident_bytes = reply["resident"],
                      .peak_bytes = reply["peak"],
                      .accounted_bytes = reply["accounted"]};
}

uint64_t ProcessMemory(const char* field, int pid) {
  std::ifstream status(pid == 0 ? "/proc/self/status" : absl::StrCat("/proc/", pid, "/status"));
  const std::string key = absl::StrCat(field, ":");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with(key)) return std::strtoull(line.c_str() + key.size(), nullptr, 10) * 1024;
  }
  return 0;
}

}  // namespace tessera::bench
