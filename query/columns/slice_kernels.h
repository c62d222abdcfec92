// The loops over slices and blocks, one table per instruction set.
//
// Threads: constant tables of functions without shared state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/cpu.h"

namespace tessera::query {

// A bit-sliced column, slices of `words` words, most significant first, at any alignment.
struct SliceColumn {
  const char* presence = nullptr;  // null: every row has a key
  const char* slices = nullptr;
  uint32_t words = 0;
  unsigned width = 0;

  const char* Slice(unsigned bit) const {
    return slices + size_t{width - 1 - bit} * words * sizeof(uint64_t);
  }
};

// Inclusive ranges of keys as a tree of their bits, most significant first, so that what keys have
// in common is compared once.
struct BitTree {
  static constexpr uint32_t kNone = ~uint32_t{0};     // no key below is in a range
  static constexpr uint32_t kAll = ~uint32_t{0} - 1;  // every one is

  struct Node {
    unsigned bit = 0;
    uint32_t child[2] = {kNone, kNone};  // of keys with the bit clear; set
  };
  std::vector<Node> nodes;
  uint32_t root = kNone;
};

struct SliceKernels {
  // Sets in `out` the candidates whose key is in [low, high]. Pre: both below 2^width.
  void (*mark_range)(const SliceColumn& column, uint64_t low, uint64_t high,
                     const uint64_t* candidates, uint64_t* out);
  // The same of the keys of a tree. Pre: made for this width.
  void (*mark_tree)(const SliceColumn& column, const BitTree& tree, const uint64_t* candidates,
                    uint64_t* out);
  // Rows, dense, to the positions of blocks that have a row; `blocks`: a word for each of them.
  // Blocks that ask for more than `rows` rows in all get none.
  void (*spread)(const char* blocks, uint32_t count, const uint64_t* dense, uint32_t rows,
                 uint64_t* words);
};

extern const SliceKernels kSliceKernelsScalar;
extern const SliceKernels kSliceKernelsAvx2;
extern const SliceKernels kSliceKernelsAvx512;

// Pre: the CPU supports it.
const SliceKernels& SliceKernelsFor(base::CpuLevel level);
// Of base::ActiveCpuLevel.
const SliceKernels& ActiveSliceKernels();

}  // namespace tessera::query
