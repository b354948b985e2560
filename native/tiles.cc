// SPDX-License-Identifier: Apache-2.0
//
// The tiles of product.h, one function for each height and width, and the loop over them. Compiled once per instruction
// set.
#include "product.h"

namespace elman {
namespace ELMAN_LEVEL {
namespace {

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

}  // namespace

template <class T>
TileFunction<T> transposed_tile(int vectors, int64_t rows) {
  return kTiles<T, true>.at[vectors][rows];
}

template <class T>
void multiply(const Panels& p, int blocks, bool one_row, int64_t rows, MakeProducts<T> products, TakeSums<T> done) {
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

template TileFunction<float> transposed_tile<float>(int, int64_t);
template TileFunction<double> transposed_tile<double>(int, int64_t);
template void multiply<float>(const Panels&, int, bool, int64_t, MakeProducts<float>, TakeSums<float>);
template void multiply<double>(const Panels&, int, bool, int64_t, MakeProducts<double>, TakeSums<double>);

}  // namespace ELMAN_LEVEL
}  // namespace elman
