// tessera: the server and the command line.
#include <atomic>
#include <functional>
#include <iostream>
#include <memory>

#include <unistd.h>

#include "api/cli/cli.h"
#include "api/cli/stop_signal.h"
#include "db/database.h"

int main(int argc, char** argv) {
  using tessera::api::StopFlag;
  using tessera::api::StopSignal;
  return tessera::api::RunCli(argc, argv,
                              {.open_database = tessera::db::Database::Open,
                               .out = std::cout,
                               .err = std::cerr,
                               .err_is_terminal = ::isatty(STDERR_FILENO) != 0,
                               .watch_for_stop = []() -> std::function<void()> {
                                 return [stop = std::make_shared<StopSignal>()] { stop->Wait(); };
                               },
                               .watch_for_interrupt = []() -> std::shared_ptr<std::atomic<bool>> {
                                 auto stop = std::make_shared<StopFlag>();
                                 return {stop, &stop->flag()};
                               }});
}
