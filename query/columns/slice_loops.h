// The loops of slice_kernels.h over vectors of `kLanes` words. Part of slice_kernels_*.cc alone,
// which define Vec, kLanes, AnyBit, CountBits and DepositBits and include this within their target
// region, so that each is compiled for its own instruction set.
#pragma once

inline constexpr unsigned kLookEvery = 4;  // slices, between looks whether a row is undecided

struct Loader {
  uint32_t words = 0;  // fewer than kLanes at the end

  __attribute__((always_inline)) void Load(const void* from, Vec* to) const {
    if (words >= kLanes) {
      std::memcpy(to, from, sizeof(Vec));
    } else {
      *to = Vec{};
      std::memcpy(to, from, size_t{8} * words);
    }
  }
};

// The candidates of a group that have a key; false if there are none.
__attribute__((always_inline)) inline bool Begin(const SliceColumn& column, uint32_t word,
                                                 const uint64_t* candidates, const Loader& loader,
                                                 Vec* rows) {
  loader.Load(candidates + word, rows);
  if (column.presence != nullptr) {
    Vec there;
    loader.Load(column.presence + size_t{8} * word, &there);
    *rows &= there;
  }
  return AnyBit(*rows);
}

__attribute__((always_inline)) inline void Or(const Vec& marked, const Loader& loader,
                                              uint64_t* out) {
  Vec all;
  loader.Load(out, &all);
  all |= marked;
  std::memcpy(out, &all, size_t{8} * std::min<uint32_t>(loader.words, kLanes));
}

// Both bounds are one path of bits down to `split`; there rows part into those that only the low
// bound can still refuse and those that only the high one can. Low bounds need no slice below their
// lowest bit, high ones none below their lowest clear one: all rows still equal there are within.
void MarkRange(const SliceColumn& column, uint64_t low, uint64_t high, const uint64_t* candidates,
               uint64_t* out) {
  const auto split = static_cast<unsigned>(std::bit_width(low ^ high));  // 1 + that bit
  const unsigned low_end = std::min(static_cast<unsigned>(std::countr_zero(low)), split);
  const unsigned high_end = std::min(static_cast<unsigned>(std::countr_one(high)), split);
  for (uint32_t word = 0; word < column.words; word += kLanes) {
    const Loader loader{column.words - word};
    const size_t at = size_t{8} * word;
    Vec same;
    if (!Begin(column, word, candidates, loader, &same)) continue;
    unsigned looked = 0;
    unsigned bit = column.width;
    // Equal to both so far.
    while (bit > split && !(++looked % kLookEvery == 0 && !AnyBit(same))) {
      --bit;
      Vec slice;
      loader.Load(column.Slice(bit) + at, &slice);
      same &= (low >> bit & 1) != 0 ? slice : ~slice;
    }
    if (bit > split) continue;
    if (low_end == split && high_end == split) {  // or both are one key
      Or(same, loader, out + word);
      continue;
    }
    Vec slice;
    loader.Load(column.Slice(--bit) + at, &slice);
    Vec as_low = same & ~slice;
    Vec as_high = same & slice;
    Vec marked{};
    if (low_end >= bit) {
      marked |= as_low;
      as_low = Vec{};
    }
    if (high_end >= bit) {
      marked |= as_high;
      as_high = Vec{};
    }
    while (bit > low_end || bit > high_end) {
      if (++looked % kLookEvery == 0 && !AnyBit(as_low | as_high)) break;
      const unsigned above = bit--;
      loader.Load(column.Slice(bit) + at, &slice);
      if (above > low_end) {
        if ((low >> bit & 1) != 0) {
          as_low &= slice;
        } else {
          marked |= as_low & slice;
          as_low &= ~slice;
        }
        if (bit == low_end) {
          marked |= as_low;
          as_low = Vec{};
        }
      }
      if (above > high_end) {
        if ((high >> bit & 1) == 0) {
          as_high &= ~slice;
        } else {
          marked |= as_high & ~slice;
          as_high &= slice;
        }
        if (bit == high_end) {
          marked |= as_high;
          as_high = Vec{};
        }
      }
    }
    marked |= as_low | as_high;
    Or(marked, loader, out + word);
  }
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as a key has bits
void Descend(const SliceColumn& column, const BitTree& tree, uint32_t node, uint32_t word,
             const Loader& loader, const Vec& rows, Vec* marked) {
  const BitTree::Node& at = tree.nodes[node];
  Vec slice;
  loader.Load(column.Slice(at.bit) + size_t{8} * word, &slice);
  for (unsigned side = 0; side < 2; ++side) {
    const uint32_t child = at.child[side];
    if (child == BitTree::kNone) continue;
    const Vec there = rows & (side != 0 ? slice : ~slice);
    if (child == BitTree::kAll) {
      *marked |= there;
    } else if (AnyBit(there)) {
      Descend(column, tree, child, word, loader, there, marked);
    }
  }
}

void MarkTree(const SliceColumn& column, const BitTree& tree, const uint64_t* candidates,
              uint64_t* out) {
  if (tree.root == BitTree::kNone) return;
  for (uint32_t word = 0; word < column.words; word += kLanes) {
    const Loader loader{column.words - word};
    Vec rows;
    if (!Begin(column, word, candidates, loader, &rows)) continue;
    Vec marked{};
    if (tree.root == BitTree::kAll) {
      marked = rows;
    } else {
      Descend(column, tree, tree.root, word, loader, rows, &marked);
    }
    Or(marked, loader, out + word);
  }
}

// Without a branch on where a block's rows begin: what follows in the next word is shifted in, and
// what is more than the block's rows falls away in DepositBits.
void Spread(const char* blocks, uint32_t count, const uint64_t* dense, uint32_t rows,
            uint64_t* words) {
  const uint32_t last = (rows - 1) / 64;
  uint32_t row = 0;
  for (uint32_t block = 0; block < count; ++block) {
    uint64_t there;
    std::memcpy(&there, blocks + size_t{8} * block, sizeof(there));
    const uint32_t filled = CountBits(there);
    words[block] = 0;
    if (filled == 0 || filled > rows - row) continue;
    const uint32_t at = row / 64;
    const uint64_t next = dense[std::min(at + 1, last)];
    words[block] = DepositBits(dense[at] >> (row % 64) | next << 1 << (63 - row % 64), there);
    row += filled;
  }
}
