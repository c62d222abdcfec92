// What a call did, and why: as a tree for people and as JSON.
//
// Threads: free functions without shared state.
#pragma once

#include <ostream>
#include <string>

#include "db/database.h"

namespace CLI {
class App;
}

namespace tessera::api {

// "auto", "exact" or "probe".
const char* PlanName(db::SearchPlan plan);

// Lines, each with its end. `title` says of what.
std::string ExplainTree(const db::Explain& explain, const std::string& title);

std::string ExplainJson(const db::Explain& explain);

// --explain, --explain=json: "" where it is not given, else "text" or "json".
void AddExplainFlag(CLI::App& command, std::string* format);

// By that format: the tree, or {"explain":{..}} on a line.
void PrintExplain(const db::Explain& explain, const std::string& title, const std::string& format,
                  std::ostream& out);

}  // namespace tessera::api
