// SPDX-License-Identifier: Apache-2.0
//
// Matrix products on register tiles. The weights are packed once per call into panels of 1 to kMaxVectors
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
constexpr int kMaxRows[] = {0, 8, 6, 4, 3};
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

template <class T, int kRows, int kVectors, bool kTransposed>
struct TileKernel {
  static void run(const Tile<T>& t) {
    const T* const before = kTransposed || t.init_last ? nullptr : t.init;
    const T* const after = kTransposed || t.init_last ? t.init : nullptr;
    Vector<T> sum[kRows][kVectors];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        sum[r][v] = before ? load(before + r * t.ld_init + v * kLanes<T>) : Vector<T>{};
        if (kTransposed && after) __builtin_prefetch(after + r * t.ld_init + v * kLanes<T>, 1);
      }
    }
    accumulate(sum, t.a, t.inner, t.lda, t.b, t.ldb);
    accumulate(sum, t.a2, t.inner2, t.lda, t.b2, t.ldb);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        if (after) sum[r][v] += load(after + r * t.ld_init + v * kLanes<T>);
        store(t.z + r * t.ldz + v * kLanes<T>, sum[r][v]);
      }
    }
  }

 private:
  static ELMAN_INLINE void accumulate(Vector<T> (&sum)[kRows][kVectors], const T* a, int64_t inner, int64_t lda,
                                      const T* b, int64_t ldb) {
    for (int64_t k = 0; k < inner; ++k, b += ldb) {
      Vector<T> row[kVectors];
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) row[v] = load(b + v * kLanes<T>);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Vector<T> scalar = broadcast<T>(kTransposed ? a[k * lda + r] : a[r * lda + k]);
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) sum[r][v] = fma(scalar, row[v], sum[r][v]);
      }
    }
  }
};

// One row in several chains: term k of each part goes to chain k modulo kChains; the chains are added in pairs.
template <class T, int kVectors>
struct RowKernel {
  static constexpr int kChains = kVectors == 1 ? 8 : kVectors == 2 ? 4 : 2;

  static void run(const Tile<T>& t) {
    const T* const before = t.init_last ? nullptr : t.init;
    const T* const after = t.init_last ? t.init : nullptr;
    Vector<T> sum[kChains][kVectors];
#pragma GCC unroll 16
    for (int c = 0; c < kChains; ++c) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        sum[c][v] = c == 0 && before ? load(before + v * kLanes<T>) : Vector<T>{};
      }
    }
    accumulate(sum, t.a, t.inner, t.b, t.ldb);
    accumulate(sum, t.a2, t.inner2, t.b2, t.ldb);
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 16
      for (int step = kChains / 2; step >= 1; step /= 2) {
#pragma GCC unroll 16
        for (int c = 0; c < step; ++c) sum[c][v] += sum[c + step][v];
      }
      if (after) sum[0][v] += load(after + v * kLanes<T>);
      store(t.z + v * kLanes<T>, sum[0][v]);
    }
  }

 private:
  static ELMAN_INLINE void accumulate(Vector<T> (&sum)[kChains][kVectors], const T* a, int64_t inner, const T* b,
                                      int64_t ldb) {
    int64_t k = 0;
    for (; k + kChains <= inner; k += kChains) {
#pragma GCC unroll 16
      for (int c = 0; c < kChains; ++c, b += ldb) {
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) {
          sum[c][v] = fma(broadcast<T>(a[k + c]), load(b + v * kLanes<T>), sum[c][v]);
        }
      }
    }
#pragma GCC unroll 16
    for (int c = 0; c < kChains - 1; ++c) {
      if (k + c >= inner) break;
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        sum[c][v] = fma(broadcast<T>(a[k + c]), load(b + v * kLanes<T>), sum[c][v]);
      }
      b += ldb;
    }
  }
};

template <class T>
using TileFunction = void (*)(const Tile<T>&);

// kernel[vectors][rows]
template <class T, bool kTransposed>
struct TileTable {
  TileFunction<T> at[kMaxVectors + 1][kMostRows + 1] = {};

  constexpr TileTable() { widths<kMaxVectors>(); }

 private:
  template <int kVectors>
  constexpr void widths() {
    if constexpr (kVectors > 0) {
      heights<kVectors, kMaxRows[kVectors]>();
      widths<kVectors - 1>();
    }
  }
  template <int kVectors, int kRows>
  constexpr void heights() {
    if constexpr (kRows > 0) {
      at[kVectors][kRows] = TileKernel<T, kRows, kVectors, kTransposed>::run;
      heights<kVectors, kRows - 1>();
    }
  }
};
template <class T, bool kTransposed>
constexpr TileTable<T, kTransposed> kTiles;

template <class T>
struct RowTable {
  TileFunction<T> at[kMaxVectors + 1] = {};
  constexpr RowTable() { widths<kMaxVectors>(); }

 private:
  template <int kVectors>
  constexpr void widths() {
    if constexpr (kVectors > 0) {
      at[kVectors] = RowKernel<T, kVectors>::run;
      widths<kVectors - 1>();
    }
  }
};
template <class T>
constexpr RowTable<T> kRowTiles;

// Runs a sliced tile: it sums each of its parts in slices that are as even as can be, and adds one slice after the
// other to what `init` holds.
template <class T>
__attribute__((noinline)) void run_slices(TileFunction<T> kernel, const Tile<T>& tile) {
  Tile<T> slice = tile;
  slice.inner2 = 0;
  slice.init_last = true;
  const auto run = [&](const T* a, const T* b, int64_t from, int64_t to) {
    slice.a = a + from;
    slice.b = b + from * tile.ldb;
    slice.inner = to - from;
    kernel(slice);
    slice.init = tile.z;
    slice.ld_init = tile.ldz;
  };
  const auto run_part = [&](const T* a, const T* b, int64_t inner) {
    const int64_t slices = (inner + kLongestChain - 1) / kLongestChain;
    for (int64_t i = 0; i < slices; ++i) run(a, b, i * inner / slices, (i + 1) * inner / slices);
  };
  if (tile.inner + tile.inner2 == 0) return run(tile.a, tile.b, 0, 0);
  run_part(tile.a, tile.b, tile.inner);
  run_part(tile.a2, tile.b2, tile.inner2);
}

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

// Multiplies rows with the panels, tile by tile: products(panel, parts) fills in what makes up the sums of a panel and
// returns how many parts; done(column, row, rows, z, ldz) gets the sums of a few rows, `blocks` times the panel's
// width.
template <class T, class Products, class Done>
void multiply(const Panels& p, int blocks, bool one_row, int64_t rows, Products products, Done done) {
  if (p.count == 0) return;
  alignas(64) T z[kMostSums * kLanes<T>];
  Product<T> parts[4];
  const int64_t tiles = (rows + p.rows - 1) / p.rows;
  for (int64_t panel = 0; panel < p.count; ++panel) {
    const int count = products(panel, parts);
    const int64_t ldz = blocks * p.width(panel), column = p.column(panel);
    for (int k = 0; k < count; ++k) {
      Tile<T>& tile = parts[k].tile;
      tile.z = z + parts[k].column;
      tile.ldz = ldz;
      if (parts[k].continues) tile.init = tile.z, tile.ld_init = ldz;
    }
    for (int64_t i = 0, first = 0, end; i < tiles; ++i, first = end) {
      end = (i + 1) * rows / tiles;
      for (int k = 0; k < count; ++k) {
        Product<T>& part = parts[k];
        if (part.last_init) {
          T* const last = part.tile.z + (part.vectors - 1) * kLanes<T>;
          for (int64_t r = 0; r < end - first; ++r) store(last + r * ldz, load(part.last_init));
        }
        const TileFunction<T> kernel =
            one_row ? kRowTiles<T>.at[part.vectors] : kTiles<T, false>.at[part.vectors][end - first];
        part.tile.sliced ? run_slices<T>(kernel, part.tile) : kernel(part.tile);
        part.tile.a += (end - first) * part.tile.lda;
        part.tile.a2 += (end - first) * part.tile.lda;
      }
      done(column, first, end - first, z, ldz);
    }
  }
}

}  // namespace ELMAN_LEVEL
}  // namespace elman
#endif  // ELMAN_PRODUCT_H_
