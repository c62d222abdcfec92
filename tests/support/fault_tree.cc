#include "tests/support/fault_tree.h"

#include <algorithm>
#include <set>
#include <utility>

namespace tessera::inline test {
namespace {

// 0 .. size; both ends are as likely as all that is between them.
size_t RandomPrefix(size_t size, std::mt19937_64& rng) {
  switch (rng() % 3) {
    case 0:
      return 0;
    case 1:
      return size;
    default:
      return static_cast<size_t>(rng() % (size + 1));
  }
}

// Every node that has a name, once, in an order that does not change from run to run.
std::vector<FaultNodePtr> NamedNodes(const FaultNodePtr& root) {
  std::set<FaultNodePtr> seen = {root};
  std::vector<FaultNodePtr> nodes = {root};
  for (size_t i = 0; i < nodes.size(); ++i) {
    const FaultNodePtr node = nodes[i];  // a copy: the vector grows
    for (const auto& [name, child] : node->entries) {
      if (seen.insert(child).second) nodes.push_back(child);
    }
  }
  return nodes;
}

// Makes names mean what the disk says. Those that come back may lead to nodes without a name now.
void RestoreNames(FaultNode& directory) {
  directory.entries = directory.durable_entries;
  for (const auto& [name, child] : directory.entries) {
    if (child->is_directory) RestoreNames(*child);
  }
}

void CollectFiles(const FaultNode& directory, const std::string& path,
                  std::vector<std::string>* out) {
  for (const auto& [name, child] : directory.entries) {
    const std::string child_path = path + "/" + name;
    if (child->is_directory) {
      CollectFiles(*child, child_path, out);
    } else {
      out->push_back(child_path);
    }
  }
}

void TearFile(FaultNode& file, FaultSurvival survival, bool appended_last, std::mt19937_64& rng) {
  const bool truncation_survives = survival == FaultSurvival::kHalfOfLastAppend ||
                                   (survival == FaultSurvival::kRandomPrefix && rng() % 2 == 0);
  if (file.before_truncate.has_value() && !truncation_survives) {
    file.data = *std::move(file.before_truncate);
  } else if (survival == FaultSurvival::kNothing) {
    file.data.resize(file.durable_bytes);
  } else if (survival == FaultSurvival::kRandomPrefix) {
    const size_t tail = file.data.size() - file.durable_bytes;
    file.data.resize(file.durable_bytes + RandomPrefix(tail, rng));
  } else if (appended_last) {
    const size_t begin = std::max(file.last_append_at, file.durable_bytes);
    if (begin < file.data.size()) file.data.resize(begin + (file.data.size() - begin) / 2);
  }
  file.Sync();
}

}  // namespace

void FaultNode::Append(std::span<const std::byte> bytes) {
  last_append_at = data.size();
  data.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void FaultNode::Truncate(size_t size) {
  if (size < durable_bytes) {
    if (!before_truncate.has_value()) before_truncate = data.substr(0, durable_bytes);
    durable_bytes = size;
  }
  data.resize(size);
  flushed_bytes = size;
  last_append_at = size;
}

void FaultNode::Sync() {
  flushed_bytes = data.size();
  durable_bytes = data.size();
  last_append_at = data.size();
  before_truncate.reset();
}

FaultTree::FaultTree() : root_(std::make_shared<FaultNode>()) {
  root_->is_directory = true;
}

std::vector<std::string> FaultTree::Files() const {
  std::vector<std::string> files;
  CollectFiles(*root_, "", &files);
  std::sort(files.begin(), files.end());
  return files;
}

void FaultTree::Apply(FaultNameChange change) {
  for (const FaultNameChange::Item& item : change.items) {
    if (item.node == nullptr) {
      item.directory->entries.erase(item.name);
    } else {
      item.directory->entries[item.name] = item.node;
    }
  }
  pending_.push_back(std::move(change));
}

void FaultTree::ApplyDurably(const FaultNameChange& change) {
  for (const FaultNameChange::Item& item : change.items) {
    if (item.node == nullptr) {
      item.directory->durable_entries.erase(item.name);
    } else {
      item.directory->durable_entries[item.name] = item.node;
    }
  }
}

void FaultTree::SyncDirectory(const FaultNodePtr& directory) {
  // A change of two directories takes along whatever came before it in the other one.
  std::set<FaultNodePtr> directories = {directory};
  std::vector<bool> taken(pending_.size());
  for (size_t i = pending_.size(); i-- > 0;) {
    const auto& items = pending_[i].items;
    taken[i] = std::any_of(items.begin(), items.end(), [&](const FaultNameChange::Item& item) {
      return directories.contains(item.directory);
    });
    if (!taken[i]) continue;
    for (const FaultNameChange::Item& item : items) directories.insert(item.directory);
  }
  std::vector<FaultNameChange> rest;
  for (size_t i = 0; i < pending_.size(); ++i) {
    if (taken[i]) {
      ApplyDurably(pending_[i]);
    } else {
      rest.push_back(std::move(pending_[i]));
    }
  }
  pending_ = std::move(rest);
}

void FaultTree::CutPower(FaultSurvival survival, std::mt19937_64& rng) {
  if (under_way_.has_value()) pending_.push_back(*std::move(under_way_));
  under_way_.reset();
  size_t surviving = 0;
  if (survival == FaultSurvival::kRandomPrefix) surviving = RandomPrefix(pending_.size(), rng);
  if (survival == FaultSurvival::kHalfOfLastAppend) surviving = pending_.size();
  for (size_t i = 0; i < surviving; ++i) ApplyDurably(pending_[i]);

  RestoreNames(*root_);
  for (const FaultNodePtr& node : NamedNodes(root_)) {
    if (!node->is_directory) TearFile(*node, survival, node == last_append_, rng);
  }
  pending_.clear();
  last_append_.reset();
}

void FaultTree::KillProcess(std::mt19937_64& rng) {
  under_way_.reset();
  last_append_.reset();
  for (const FaultNodePtr& node : NamedNodes(root_)) {
    const size_t tail = node->data.size() - node->flushed_bytes;
    node->data.resize(node->flushed_bytes + RandomPrefix(tail, rng));
    node->flushed_bytes = node->data.size();
    node->last_append_at = node->data.size();
  }
}

}  // namespace tessera::inline test
