// Searchers to borrow, so that their scratch is reused from query to query on any thread.
//
// Threads: every call from any thread.
#pragma once

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"

#include "base/mutex.h"
#include "query/searcher.h"

namespace tessera::db {

class SearcherPool {
 public:
  // Gives the searcher back when it goes.
  class Loan {
   public:
    Loan(SearcherPool& pool, std::unique_ptr<query::Searcher> searcher)
        : pool_(pool), searcher_(std::move(searcher)) {}
    ~Loan() { pool_.Return(std::move(searcher_)); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    query::Searcher* operator->() const { return searcher_.get(); }

   private:
    SearcherPool& pool_;
    std::unique_ptr<query::Searcher> searcher_;
  };

  Loan Borrow() {
    {
      base::MutexLock lock(&mu_);
      if (!idle_.empty()) {
        std::unique_ptr<query::Searcher> searcher = std::move(idle_.back());
        idle_.pop_back();
        return Loan(*this, std::move(searcher));
      }
    }
    return Loan(*this, std::make_unique<query::Searcher>());
  }

 private:
  // A searcher's scratch is some 100 KB: after a burst no more than these are kept.
  static constexpr size_t kIdleMax = 64;

  void Return(std::unique_ptr<query::Searcher> searcher) {
    base::MutexLock lock(&mu_);
    if (idle_.size() < kIdleMax) idle_.push_back(std::move(searcher));
  }

  base::Mutex mu_;
  std::vector<std::unique_ptr<query::Searcher>> idle_ ABSL_GUARDED_BY(mu_);
};

}  // namespace tessera::db
