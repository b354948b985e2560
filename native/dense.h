// SPDX-License-Identifier: Apache-2.0
//
// A dense layer on rows, y = activation(x W + b), and its gradient, on the register tiles of product.h. Every sum is a
// chain in the order of its terms, cut every kLongestChain terms: it depends on the shape alone. Part of level.cc,
// which is compiled once per instruction set.
#ifndef ELMAN_DENSE_H_
#define ELMAN_DENSE_H_

#include "activations.h"
#include "recurrence.h"

namespace elman {
namespace ELMAN_LEVEL {
namespace {

// Threads worth waking for a pass over a dense layer with this many products of its size.
inline int64_t dense_threads(const elman_dense_call& call, double products) {
  return threads_for(products * double(call.rows) * double(call.features) * double(call.units));
}

// Calls body(first, last) for [0, n) in as many pieces as there are threads.
template <class Body>
void in_pieces(int64_t n, int64_t threads, const Body& body) {
  const int64_t pieces = threads < n ? threads : n;
  parallel_for(pieces, pieces, [&](int64_t piece, int) { body(piece * n / pieces, (piece + 1) * n / pieces); });
}

// Weights are read in place where whole vectors allow it, else packed by panel as rows of [ b | W ].
template <class T>
struct DenseForward {
  const elman_dense_call& call;
  const int64_t features = call.features, units = call.units;
  const Panels panels = make_panels<T>(units, call.rows);
  const bool in_place = units % kLanes<T> == 0;
  const T* const kernel = static_cast<const T*>(call.kernel);
  const T* const bias = static_cast<const T*>(call.bias);
  T* packed = nullptr;

  void take(Arena<T>& arena, int64_t) { packed = in_place ? nullptr : arena.take(panels.padded() * (1 + features)); }

  void pack(int64_t panel) const {
    const int64_t width = panels.width(panel);
    T* const to = packed + panels.column(panel) * (1 + features);
    if (bias) {
      pack_rows(to, 0, panels, panel, bias, 1, 0);
    } else {
      fill_zero(to, width);
    }
    pack_rows(to + width, width, panels, panel, kernel, features, units);
  }

  void run(int64_t first, int64_t last) const {
    const T* const x = static_cast<const T*>(call.x) + first * features;
    T* const y = static_cast<T*>(call.y) + first * units;
    const auto product = [&](int64_t panel, Product<T>* parts) {
      const int64_t width = panels.width(panel), column = panels.column(panel);
      const T* const own = in_place ? nullptr : packed + column * (1 + features);
      Tile<T> tile{};
      tile.a = tile.a2 = x;
      tile.inner = tile.lda = features;
      tile.b = tile.b2 = own ? own + width : kernel + column;
      tile.ldb = own ? width : units;
      tile.init = own ? own : bias ? bias + column : nullptr;
      tile.sliced = features > kLongestChain;
      parts[0] = {tile, panels.vectors_of(panel), 0};
      return 1;
    };
    multiply<T>(panels, 1, call.rows == 1, last - first, product,
                [&](int64_t column, int64_t row, int64_t height, const T* z, int64_t ldz) {
                  const int64_t width = units - column < ldz ? units - column : ldz;
                  for (int64_t r = row; r < row + height; ++r, z += ldz) {
                    T* const to = y + r * units + column;
                    for_vectors<T>(width, [&](int64_t j, int64_t n) {
                      store_some(to + j, activate<T>(call.activation, load(z + j)), n);
                    });
                  }
                });
  }
};

template <class T>
elman_status dense_forward(const elman_dense_call& call) {
  DenseForward<T> f{call};
  Scratch<T> scratch;
  if (!scratch.take(f, 1)) return ELMAN_OUT_OF_MEMORY;
  if (!f.in_place) {
    for (int64_t panel = 0; panel < f.panels.count; ++panel) f.pack(panel);
  }
  in_pieces(call.rows, dense_threads(call, 1), [&](int64_t first, int64_t last) { f.run(first, last); });
  return ELMAN_OK;
}

// dz = dy f'(z);   dW = x^T dz,   db = the sum of dz over the rows,   dx = dz W^T
template <class T>
struct DenseBackward {
  const elman_dense_call& call;
  const int64_t rows = call.rows, features = call.features, units = call.units;
  const int64_t ld = stride<T>(units);
  const Panels weights = make_panels<T>(units, features);
  const Panels inputs = make_panels<T>(call.dx ? features : 0, rows);
  T* dz = nullptr;        // (rows, ld), zeros past `units`
  T* gradient = nullptr;  // (features + 1, ld): dW, and db in the last row
  T* packed = nullptr;    // W^T by panel

  void take(Arena<T>& arena, int64_t) {
    dz = arena.take(rows * ld);
    gradient = arena.take((features + 1) * ld);
    packed = arena.take(inputs.padded() * units);
  }

  void pack(int64_t panel) const {
    T* const to = packed + inputs.column(panel) * units;
    pack_transposed(to, inputs, panel, static_cast<const T*>(call.kernel), units, units, units);
  }

  void slopes(int64_t first, int64_t last) const {
    for (int64_t r = first; r < last; ++r) {
      const T* const y = static_cast<const T*>(call.y) + r * units;
      const T* const dy = static_cast<const T*>(call.dy) + r * units;
      T* const to = dz + r * ld;
      for_vectors<T>(units, [&](int64_t j, int64_t n) {
        const Vector<T> d = times_slope<T>(call.activation, load_some(dy + j, n), load_some(y + j, n));
        store(to + j, first_lanes<T>(d, n));
      });
    }
  }

  // Rows [first, last) of dW; chunks of the batch's rows, so that both operands stay in the cache.
  void weight_rows(int64_t first, int64_t last) const {
    for (int64_t from = 0; from < rows; from += kLongestChain) {
      const int64_t terms = rows - from < kLongestChain ? rows - from : kLongestChain;
      for (int64_t panel = 0; panel < weights.count; ++panel) {
        const int vectors = weights.vectors_of(panel);
        const int64_t column = weights.column(panel), tiles = ceil_divide(last - first, kMaxRows[vectors]);
        for (int64_t i = 0; i < tiles; ++i) {
          const int64_t at = first + i * (last - first) / tiles;
          const int64_t height = first + (i + 1) * (last - first) / tiles - at;
          T* const sum = gradient + at * ld + column;
          const T* const a = static_cast<const T*>(call.x) + from * features + at;
          const T* const b = dz + from * ld + column;
          transposed_tile<T>(vectors, height)({a, terms, a, 0, features, b, b, ld, from ? sum : nullptr, ld, sum, ld});
        }
      }
    }
    for (int64_t m = first; m < last; ++m)
      copy_row(static_cast<T*>(call.dkernel) + m * units, gradient + m * ld, units);
  }

  void bias_row() const {
    T* const sum = gradient + features * ld;
    for (int64_t j = 0; j < round_up<T>(units); j += kLanes<T>) {
      Vector<T> total = {};
      for (int64_t from = 0; from < rows; from += kLongestChain) {
        const int64_t end = from + kLongestChain < rows ? from + kLongestChain : rows;
        Vector<T> chunk = {};
        for (int64_t r = from; r < end; ++r) chunk += load(dz + r * ld + j);
        total += chunk;
      }
      store(sum + j, total);
    }
    copy_row(static_cast<T*>(call.dbias), sum, units);
  }

  void input_rows(int64_t first, int64_t last) const {
    const auto product = [&](int64_t panel, Product<T>* parts) {
      Tile<T> tile{};
      tile.a = tile.a2 = dz + first * ld;
      tile.inner = units;
      tile.lda = ld;
      tile.b = tile.b2 = packed + inputs.column(panel) * units;
      tile.ldb = inputs.width(panel);
      tile.sliced = units > kLongestChain;
      parts[0] = {tile, inputs.vectors_of(panel), 0};
      return 1;
    };
    multiply<T>(inputs, 1, rows == 1, last - first, product,
                [&](int64_t column, int64_t row, int64_t height, const T* z, int64_t ldz) {
                  const int64_t width = features - column < ldz ? features - column : ldz;
                  T* const dx = static_cast<T*>(call.dx) + first * features + column;
                  for (int64_t r = row; r < row + height; ++r, z += ldz) copy_row(dx + r * features, z, width);
                });
  }
};

template <class T>
elman_status dense_backward(const elman_dense_call& call) {
  DenseBackward<T> f{call};
  Scratch<T> scratch;
  if (!scratch.take(f, 1)) return ELMAN_OUT_OF_MEMORY;
  const int64_t threads = dense_threads(call, call.dx ? 2 : 1);
  in_pieces(f.rows, threads, [&](int64_t first, int64_t last) { f.slopes(first, last); });
  if (call.dbias) f.bias_row();
  if (f.rows == 0) {
    fill_zero(static_cast<T*>(call.dkernel), f.features * f.units);
    return ELMAN_OK;
  }
  in_pieces(f.features, threads, [&](int64_t first, int64_t last) { f.weight_rows(first, last); });
  if (call.dx) {
    for (int64_t panel = 0; panel < f.inputs.count; ++panel) f.pack(panel);
    in_pieces(f.rows, threads, [&](int64_t first, int64_t last) { f.input_rows(first, last); });
  }
  return ELMAN_OK;
}

}  // namespace
}  // namespace ELMAN_LEVEL
}  // namespace elman
#endif  // ELMAN_DENSE_H_
