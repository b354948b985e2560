// SPDX-License-Identifier: Apache-2.0
//
// Matrix products on register tiles (tiles.cc). The weights are packed once per call into panels of 1 to kMaxVectors
// vectors of columns; a tile of a few rows times one panel stays in registers over the whole inner dimension.
//
// Every element is one chain of multiply-adds in the order of the inner dimension, whatever the tile it falls into, so
// that results do not depend on how rows are divided among threads. Two exceptions depend on the shape alone. A batch
// of one row, where a single chain would be all latency, has several chains. And where the inner dimension is long,
// each slice of it is a chain of its own, and the chains are added: the error of a chain grows with its length.
#ifndef ELMAN_PRODUCT_H_
#define ELMAN_PRODUCT_H_

#include "simd.h"

namespace elman {
namespace ELMAN_LEVEL {

// Rows of the tallest tile by the vectors of its width: as many accumulators as the registers hold.
#if defined(__AVX512F__) || defined(__aarch64__)  // 32 registers
constexpr int kMaxVectors = 4;
constexpr int kMaxRows[] = {0, 12, 12, 8, 6};
constexpr int kWide = 4;  // vectors of a panel whose width is free
#else                     // 16 registers
constexpr int kMaxVectors = 4;
#ifdef __clang__  // which loads a number of the next row early, and in a taller tile then spills sums at each step
constexpr int kMaxRows[] = {0, 8, 6, 3, 2};
#else
constexpr int kMaxRows[] = {0, 8, 6, 4, 3};
#endif
constexpr int kWide = 3;
#endif
constexpr int kMostRows = 12;
constexpr int kMostSums = 48;  // vectors of sums that the tiles of one panel and a few rows leave

// Terms of the longest chain. The error of n terms of one sign is about 0.17 sqrt(n) ulp of their sum (root mean
// square): 4 ulp for 512, of the 32 that tests allow for the largest of all elements. A slice costs one load and one
// store per element, less than 1 % of its multiply-adds.
constexpr int64_t kLongestChain = 512;

// z (rows, vectors) = init + a (rows, inner) b (inner, vectors) + a2 (rows, inner2) b2 (inner2, vectors), in that
// order. With `init_last`, and always in a transposed tile, `init` is added at the end; a transposed tile fetches it
// meanwhile.
template <class T>
struct Tile {
  const T* a;  // element (row, k): a[row * lda + k], or a[row + k * lda] in a transposed tile
  int64_t inner;
  const T* a2;
  int64_t inner2;
  int64_t lda;
  const T* b;  // row k: b + k * ldb
  const T* b2;
  int64_t ldb;
  const T* init;  // row r: init + r * ld_init; null: zeros
  int64_t ld_init;
  T* z;  // row r: z + r * ldz
  int64_t ldz;
  bool init_last = false;
  bool sliced = false;  // see run_slices
};

template <class T>
using TileFunction = void (*)(const Tile<T>&);

// The tile of some rows of an operand's transpose, [vectors][rows].
template <class T>
TileFunction<T> transposed_tile(int vectors, int64_t rows);

// How `columns` columns are cut into panels: widths that differ by one vector at most.
struct Panels {
  int64_t columns = 0;
  int64_t vectors = 0;
  int64_t count = 0;
  int lanes = 1;
  int rows = 1;  // of the tallest tile

  int64_t first(int64_t panel) const { return panel * vectors / count; }  // vector
  int vectors_of(int64_t panel) const { return int(first(panel + 1) - first(panel)); }
  int64_t width(int64_t panel) const { return vectors_of(panel) * lanes; }
  int64_t column(int64_t panel) const { return first(panel) * lanes; }
  int64_t padded() const { return vectors * lanes; }
};

// What `rows` rows cost on panels of at most `width` vectors, each `times` over, in half cycles per step of the inner
// dimension: multiply-adds and loads go two a cycle, and a chain takes four cycles.
inline int64_t cost(int64_t rows, int64_t vectors, int width, int times) {
  const int64_t panels = (vectors + width - 1) / width, tallest = kMaxRows[width * times];
  const int64_t tiles = (rows + tallest - 1) / tallest;
  int64_t total = 0;
  for (int64_t p = 0; p < panels; ++p) {
    const int64_t v = ((p + 1) * vectors / panels - p * vectors / panels) * times;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t r = (t + 1) * rows / tiles - t * rows / tiles;
      const int64_t adds = r * v, loads = r + v;
      const int64_t slowest = adds > loads ? adds : loads;
      total += slowest > 8 ? slowest : 8;
    }
  }
  return total;
}

// The panels that suit tiles over `rows` rows: of at most `most` vectors, each `times` over in the widest tile.
template <class T>
Panels make_panels(int64_t columns, int64_t rows, int most = kWide, int times = 1) {
  Panels p;
  p.lanes = kLanes<T>;
  p.columns = columns;
  p.vectors = (columns + p.lanes - 1) / p.lanes;
  if (p.vectors == 0) return p;
  int best = most;
  if (rows > 1) {  // one row is waiting for its chains in any case: the widest has the most of them
    int64_t least = cost(rows, p.vectors, best, times);
    for (int width = most - 1; width >= 1; --width) {
      const int64_t here = cost(rows, p.vectors, width, times);
      if (here < least) best = width, least = here;
    }
  }
  p.count = (p.vectors + best - 1) / best;
  p.rows = kMaxRows[(p.vectors + p.count - 1) / p.count * times];
  return p;
}

// Packs rows [0, inner) of one panel of `from`, row k at from + k * ld, to rows that lie `ld_to` apart; columns past
// the end are 0.
template <class T>
void pack_rows(T* to, int64_t ld_to, const Panels& p, int64_t panel, const T* from, int64_t inner, int64_t ld) {
  const int64_t column = p.column(panel), width = p.width(panel);
  const int64_t there = p.columns - column < width ? p.columns - column : width;
  for (int64_t k = 0; k < inner; ++k, to += ld_to) {
    if (there < width) fill_zero(to, width);
    copy_row(to, from + k * ld + column, there);
  }
}

// The same for the transpose of `from`: element (k, j) is from[j * ld + k]; one row after the other, and zeros up to
// row `rows`.
template <class T>
void pack_transposed(T* to, const Panels& p, int64_t panel, const T* from, int64_t inner, int64_t rows, int64_t ld) {
  constexpr int64_t kBlock = 8;  // rows of `to` a time, so that a line of `from` is read whole
  const int64_t column = p.column(panel), width = p.width(panel);
  const int64_t there = p.columns - column < width ? p.columns - column : width;
  if (there < width || inner < rows) fill_zero(to, rows * width);
  for (int64_t k0 = 0; k0 < inner; k0 += kBlock) {
    const int64_t k1 = k0 + kBlock < inner ? k0 + kBlock : inner;
    for (int64_t j = 0; j < there; ++j) {
      for (int64_t k = k0; k < k1; ++k) to[k * width + j] = from[(column + j) * ld + k];
    }
  }
}

// One of the products that a panel's sums are made of: what its tiles have in common, with a and a2 of the first row.
template <class T>
struct Product {
  Tile<T> tile;
  int vectors;                   // of its columns
  int64_t column;                // of the first of them, among the panel's sums
  bool continues = false;        // its tiles begin with the sums that are there,
  const T* last_init = nullptr;  // but for the last vector's, which begin with these
};

// A function of the caller's for the length of a call. By a pointer, so that `multiply` is compiled once for all
// callers.
template <class Result, class... Args>
class Callback {
 public:
  template <class Body>
  Callback(const Body& body)
      : context_(&body),
        call_([](const void* context, Args... args) -> Result {
          return (*static_cast<const Body*>(context))(args...);
        }) {}
  Result operator()(Args... args) const { return call_(context_, args...); }

 private:
  const void* context_;
  Result (*call_)(const void*, Args...);
};

// Fills in what makes up the sums of a panel, and returns how many products that are.
template <class T>
using MakeProducts = Callback<int, int64_t /*panel*/, Product<T>*>;

// Gets the sums of a few rows, `blocks` times the panel's width.
template <class T>
using TakeSums = Callback<void, int64_t /*column*/, int64_t /*row*/, int64_t /*rows*/, const T* /*z*/, int64_t /*ldz*/>;

// Multiplies rows with the panels, tile by tile.
template <class T>
void multiply(const Panels& p, int blocks, bool one_row, int64_t rows, MakeProducts<T> products, TakeSums<T> done);

}  // namespace ELMAN_LEVEL
}  // namespace elman
#endif  // ELMAN_PRODUCT_H_
