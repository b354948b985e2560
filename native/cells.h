// SPDX-License-Identifier: Apache-2.0
//
// The cells: what happens to the sums of a step once the products are done, forward and, beside it, backward.
// A cell is one struct; the time loop knows nothing else of it.
#ifndef ELMAN_CELLS_H_
#define ELMAN_CELLS_H_

#include "activations.h"

namespace elman {
namespace ELMAN_LEVEL {

// h_t = f(x_t W + h_{t-1} U + b)
struct SimpleRnn {
  static constexpr int kGates = 1;

  // Sums z of `width` units -> their new state in `out` (width units) and in `carried` (whole vectors, times the
  // recurrent dropout where there is one), from where the next step's product reads it.
  template <int kActivation, class T>
  static ELMAN_INLINE void step(const T* z, const T* dropout, T* carried, T* out, int64_t width) {
    for_vectors<T>(width, [&](int64_t j, int64_t n) {
      const Vector<T> h = activate<kActivation, T>(load(z + j));
      store(carried + j, dropout ? h * load(dropout + j) : h);
      store_some(out + j, h, n);
    });
  }

  // Gradient dh of the state after the step -> gradient dz of its sums, over `units` units.
  template <int kActivation, class T>
  static ELMAN_INLINE void step_back(const T* dh, const T* h, T* dz, int64_t units) {
    for_vectors<T>(units, [&](int64_t j, int64_t n) {
      store(dz + j, times_slope<kActivation, T>(load(dh + j), load_some(h + j, n)));
    });
  }
};

}  // namespace ELMAN_LEVEL
}  // namespace elman
#endif  // ELMAN_CELLS_H_
