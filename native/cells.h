// SPDX-License-Identifier: Apache-2.0
//
// The cells: what a step does with its sums once the products are done, forward and backward. A cell is one struct; the
// time loop knows nothing else about it.
//
// The sums of one row are kGates + kSeparateProducts blocks of H columns. x W fills blocks [0, kGates), and h U fills
// blocks [kSeparateProducts, kSeparateProducts + kGates); where both meet they are added.
//
//   kSeparateProducts = 0: one block per gate                 LSTM        block      0       1       2       3
//                                                                     x W + b    [ i     | f     | g     | o     ]
//                                                                   + h U        [ i     | f     | g     | o     ]
//
//   kSeparateProducts = 1: the last gate's products are not added, since the reset gate acts on one of them. Its x W
//   is the first block, its h U is the last one.
//                                         GRU with reset_after        block      0       1       2       3
//                                                                     x W + b    [ n     | z     | r     ]
//                                                                   + h U + b'           [ z     | r     | n     ]
#ifndef ELMAN_CELLS_H_
#define ELMAN_CELLS_H_

#include "activations.h"

namespace elman {
namespace ELMAN_LEVEL {
namespace {

// What the time loop must know about a cell. A cell sets kGates, and what differs from the values here.
struct CellTraits {
  static constexpr int kStates = 1;

  // 1: the last gate's two products are kept apart (see the drawing). Where y holds the states, the tape's column
  // kStateColumn then holds the last gate's h U + b'; where it does not, the backward computes that product again.
  static constexpr int kSeparateProducts = 0;

  // 1: the last gate's h U reads Row::reset, which depends on the other gates' sums, so a step has two phases.
  static constexpr int kResetPhase = 0;

  static constexpr bool kUsesGateActivation = true;  // false: the recurrent activation plays no part
  static constexpr bool kReadsState = true;          // step() reads and replaces Row::state
  static constexpr bool kReadsTape = true;           // step_back() reads RowBack::tape

  // Part of dh reaches the state before by another way than h U. step_back() leaves that part in RowBack::dh.
  static constexpr bool kPassesGradient = false;

  // Columns of the tape, counted in units. h, where y does not hold every state; -1: output() computes it from the
  // tape. And the second state; -1: there is none.
  static constexpr int kStateColumn = -1, kCarryColumn = -1;
};

// One row of a forward step, from the first unit of a panel. `keep` and `put` end at the row's last unit.
template <class T>
struct Row {
  const T* z;         // the sums, block k at z + k * block
  int64_t block;      // columns of the panel
  T* state;           // the last of the cell's states, without dropout: c for an LSTM, h for a GRU; whole vectors
  T* reset;           // where the second phase's product reads the state that the reset gate let through
  const T* dropout;   // of `reset`; null: none
  T* next;            // where the next step's products read h: `copies` of it, `stride` apart,
  const T* dropouts;  // each times its dropout; null: none
  int copies;
  int64_t stride;
  T* out;          // h
  T* tape;         // columns for the backward, `units` of each kind; null: not kept
  int64_t units;   // H
  bool sequences;  // whether y holds every state, and `out` is part of it

  ELMAN_INLINE void put(int64_t j, Vector<T> h, int64_t n) const {
    store_some(out + j, h, n);
    if (!dropouts) return store(next + j, h);
    for (int c = 0; c < copies; ++c) store(next + c * stride + j, h * load(dropouts + c * stride + j));
  }
  ELMAN_INLINE void keep(int kind, int64_t j, Vector<T> v, int64_t n) const {
    if (tape) store_some(tape + kind * units + j, v, n);
  }
};

// One row of a backward step. What is null stands for zeros.
template <class T>
struct RowBack {
  const T* tape;          // of the step
  const T* h;             // the state after it,
  const T* before;        // and before it
  const T* carry_before;  // the second state before it
  const T* product;       // that of a gate's state apart, where the tape has none
  T* dh;                  // in: gradient of the state after the step; out: what of it goes past the products
  T* dcarry;              // likewise of the second state, whole
  T* dz;                  // out: gradients of the sums, `block` apart
  int64_t block, units;

  ELMAN_INLINE Vector<T> kept(int kind, int64_t j, int64_t n) const { return load_some(tape + kind * units + j, n); }
  static ELMAN_INLINE Vector<T> or_zero(const T* p, int64_t j, int64_t n) {
    return p ? load_some(p + j, n) : Vector<T>{};
  }
};

// h_t = f(x_t W + h_{t-1} U + b)
struct SimpleRnn : CellTraits {
  static constexpr int kGates = 1, kStateColumn = 0;
  static constexpr bool kUsesGateActivation = false, kReadsState = false, kReadsTape = false;

  template <int kPhase, class F, class T>
  static ELMAN_INLINE void step(const F& f, const Row<T>& row, int64_t width) {
    for_vectors<T>(width, [&](int64_t j, auto n) { row.put(j, activate<T>(f.activation, load(row.z + j)), n); });
  }

  template <class F, class T>
  static ELMAN_INLINE void step_back(const F& f, const RowBack<T>& row) {
    for_vectors<T>(row.units, [&](int64_t j, auto n) {
      store(row.dz + j, times_slope<T>(f.activation, load(row.dh + j), load_some(row.h + j, n)));
    });
  }
};

// c_t = f c_{t-1} + i g,  h_t = o activation(c_t).  Blocks i f g o; tape i f g o c.
struct Lstm : CellTraits {
  static constexpr int kGates = 4, kStates = 2, kCarryColumn = 4;

  template <int kPhase, class F, class T>
  static ELMAN_INLINE void step(const F& f, const Row<T>& row, int64_t width) {
    for_vectors<T>(width, [&](int64_t j, auto n) {
      const Vector<T> i = activate<T>(f.gate, load(row.z + j));
      const Vector<T> forget = activate<T>(f.gate, load(row.z + row.block + j));
      const Vector<T> g = activate<T>(f.activation, load(row.z + 2 * row.block + j));
      const Vector<T> o = activate<T>(f.gate, load(row.z + 3 * row.block + j));
      const Vector<T> c = fma(forget, load(row.state + j), i * g);
      store(row.state + j, c);
      row.keep(0, j, i, n);
      row.keep(1, j, forget, n);
      row.keep(2, j, g, n);
      row.keep(3, j, o, n);
      row.keep(4, j, c, n);
      row.put(j, o * activate<T>(f.activation, c), n);
    });
  }

  template <class F, class T>
  static ELMAN_INLINE void step_back(const F& f, const RowBack<T>& row) {
    for_vectors<T>(row.units, [&](int64_t j, auto n) {
      const Vector<T> i = row.kept(0, j, n), forget = row.kept(1, j, n), g = row.kept(2, j, n), o = row.kept(3, j, n);
      const Vector<T> a = activate<T>(f.activation, row.kept(4, j, n)), dh = load(row.dh + j);
      const Vector<T> dc = load(row.dcarry + j) + times_slope<T>(f.activation, dh * o, a);
      store(row.dz + j, times_slope<T>(f.gate, dc * g, i));
      store(row.dz + row.block + j, times_slope<T>(f.gate, dc * row.or_zero(row.carry_before, j, n), forget));
      store(row.dz + 2 * row.block + j, times_slope<T>(f.activation, dc * i, g));
      store(row.dz + 3 * row.block + j, times_slope<T>(f.gate, dh * a, o));
      store(row.dcarry + j, dc * forget);
    });
  }

  // h once more from the tape.
  template <class F, class T>
  static ELMAN_INLINE void output(const F& f, const T* tape, T* to, int64_t units) {
    for_vectors<T>(units, [&](int64_t j, auto n) {
      store(to + j, load_some(tape + 3 * units + j, n) * activate<T>(f.activation, load_some(tape + 4 * units + j, n)));
    });
  }
};

// h_t = z h_{t-1} + (1 - z) n;  tape z r n, and h where y does not have it
struct Gru : CellTraits {
  static constexpr int kGates = 3, kStateColumn = 3;
  static constexpr bool kPassesGradient = true;

  template <class T>
  static ELMAN_INLINE void mix(const Row<T>& row, Vector<T> z, Vector<T> candidate, int64_t j, int64_t n) {
    row.keep(2, j, candidate, n);
    const Vector<T> h = fma(z, load(row.state + j), (T(1) - z) * candidate);
    store(row.state + j, h);
    row.put(j, h, n);
  }

  // Returns the gradient of the sums of n, and stores that of z.
  template <class F, class T>
  static ELMAN_INLINE Vector<T> mix_back(const F& f, const RowBack<T>& row, T* dz, int64_t j, int64_t n) {
    const Vector<T> z = row.kept(0, j, n), candidate = row.kept(2, j, n), dh = load(row.dh + j);
    store(dz + j, times_slope<T>(f.gate, dh * (row.or_zero(row.before, j, n) - candidate), z));
    store(row.dh + j, dh * z);
    return times_slope<T>(f.activation, dh * (T(1) - z), candidate);
  }
};

// n = f(x_t W + b + r q),  q = h_{t-1} U + b'.  Blocks (x_t W + b of n) z r q; on the tape q where y has h.
struct GruAfter : Gru {
  static constexpr int kSeparateProducts = 1;

  template <int kPhase, class F, class T>
  static ELMAN_INLINE void step(const F& f, const Row<T>& row, int64_t width) {
    for_vectors<T>(width, [&](int64_t j, auto n) {
      const Vector<T> z = activate<T>(f.gate, load(row.z + row.block + j));
      const Vector<T> r = activate<T>(f.gate, load(row.z + 2 * row.block + j));
      const Vector<T> q = load(row.z + 3 * row.block + j);
      row.keep(0, j, z, n);
      row.keep(1, j, r, n);
      if (row.sequences) row.keep(3, j, q, n);
      mix(row, z, activate<T>(f.activation, fma(r, q, load(row.z + j))), j, n);
    });
  }

  template <class F, class T>
  static ELMAN_INLINE void step_back(const F& f, const RowBack<T>& row) {
    for_vectors<T>(row.units, [&](int64_t j, auto n) {
      const Vector<T> dn = mix_back(f, row, row.dz + row.block, j, n), r = row.kept(1, j, n);
      const Vector<T> q = row.product ? load(row.product + j) : row.kept(3, j, n);
      store(row.dz + j, dn);
      store(row.dz + 2 * row.block + j, times_slope<T>(f.gate, dn * q, r));
      store(row.dz + 3 * row.block + j, dn * r);
    });
  }
};

// n = f(x_t W + (r h_{t-1}) U + b).  Blocks z r n
struct GruBefore : Gru {
  static constexpr int kResetPhase = 1;

  template <int kPhase, class F, class T>
  static ELMAN_INLINE void step(const F& f, const Row<T>& row, int64_t width) {
    for_vectors<T>(width, [&](int64_t j, auto n) {
      if (kPhase == 1) return mix(row, load(row.next + j), activate<T>(f.activation, load(row.z + j)), j, n);
      const Vector<T> z = activate<T>(f.gate, load(row.z + j)), r = activate<T>(f.gate, load(row.z + row.block + j));
      const Vector<T> h = load(row.state + j);
      row.keep(0, j, z, n);
      row.keep(1, j, r, n);
      store(row.reset + j, r * (row.dropout ? h * load(row.dropout + j) : h));
      store(row.next + j, z);  // until h goes there
    });
  }

  template <class F, class T>
  static ELMAN_INLINE void step_back(const F& f, const RowBack<T>& row) {
    for_vectors<T>(row.units, [&](int64_t j, auto n) {
      const Vector<T> dn = mix_back(f, row, row.dz, j, n);
      store(row.dz + 2 * row.block + j, dn);
    });
  }

  // h_{t-1}, times its dropout -> r times that.
  template <class T>
  static ELMAN_INLINE void reset(const T* tape, T* h, int64_t units) {
    for_vectors<T>(units, [&](int64_t j, auto n) { store(h + j, load(h + j) * load_some(tape + units + j, n)); });
  }

  // Gradient of r h_{t-1}, times its dropout -> that of the sums of r, and more of dh. `row` begins at the panel.
  template <class F, class T>
  static ELMAN_INLINE void reset_back(const F& f, const RowBack<T>& row, const T* d, const T* dropout, int64_t width) {
    for_vectors<T>(width, [&](int64_t j, auto n) {
      const Vector<T> r = row.kept(1, j, n);
      const Vector<T> dreset = first_lanes<T>(dropout ? load(d + j) * load(dropout + j) : load(d + j), n);
      store(row.dz + row.block + j, times_slope<T>(f.gate, dreset * row.or_zero(row.before, j, n), r));
      store(row.dh + j, fma(dreset, r, load(row.dh + j)));
    });
  }
};

}  // namespace
}  // namespace ELMAN_LEVEL
}  // namespace elman
#endif  // ELMAN_CELLS_H_
