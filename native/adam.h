// SPDX-License-Identifier: Apache-2.0
//
// One step of Adam on a vector of parameters, with the gradient clipped by its norm first. The formula stands at
// elman_adam_call in elman.h. Part of level.cc, which is compiled once per instruction set.
#ifndef ELMAN_ADAM_H_
#define ELMAN_ADAM_H_

#include "recurrence.h"

namespace elman {
namespace ELMAN_LEVEL {
namespace {

// L2 norm, in double, in eight fixed chains. No square of a float32 overflows. That of a float64 above 1.3e154 does:
// the norm is infinite then, and the gradient is scaled to zeros.
template <class T>
double norm_of(const T* values, int64_t size) {
  double sum[8] = {};
  int64_t j = 0;
  for (; j + 8 <= size; j += 8) {
    for (int c = 0; c < 8; ++c) sum[c] += double(values[j + c]) * double(values[j + c]);
  }
  for (; j < size; ++j) sum[j % 8] += double(values[j]) * double(values[j]);
  return __builtin_sqrt(((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7])));
}

template <class T>
struct AdamFactors {
  T clip, first, second, rate, epsilon, keep;
};

inline float root(float x) { return __builtin_sqrtf(x); }
inline double root(double x) { return __builtin_sqrt(x); }

// Elements do not depend on each other, so the compiler may choose the vectors.
template <class T>
void adam_elements(T* __restrict weights, const T* __restrict gradient, T* __restrict m, T* __restrict v, int64_t n,
                   const AdamFactors<T>& factors) {
  const AdamFactors<T> f = factors;
  for (int64_t i = 0; i < n; ++i) {
    const T g = gradient[i] * f.clip;
    m[i] += (g - m[i]) * f.first;
    v[i] += (g * g - v[i]) * f.second;
    weights[i] = weights[i] * f.keep - m[i] / (root(v[i]) + f.epsilon) * f.rate;
  }
}

template <class T>
void adam(const elman_adam_call& c) {
  constexpr int64_t kPiece = int64_t(1) << 16;  // elements a thread takes at a time
  T* const weights = static_cast<T*>(c.weights);
  const T* const gradient = static_cast<const T*>(c.gradient);
  T *const m = static_cast<T*>(c.m), *const v = static_cast<T*>(c.v);
  double clip = 1;
  if (c.clip_norm > 0) {
    const double norm = norm_of(gradient, c.size);
    if (norm > c.clip_norm) clip = c.clip_norm / norm;
  }
  const AdamFactors<T> factors = {T(clip), T(1 - c.beta_1), T(1 - c.beta_2), T(c.rate), T(c.epsilon), T(c.keep)};
  const int64_t pieces = ceil_divide(c.size, kPiece);
  parallel_for(pieces, threads_for_elements(double(c.size), num_threads()), [&](int64_t piece, int) {
    const int64_t at = piece * kPiece, n = c.size - at < kPiece ? c.size - at : kPiece;
    adam_elements(weights + at, gradient + at, m + at, v + at, n, factors);
  });
}

}  // namespace
}  // namespace ELMAN_LEVEL
}  // namespace elman
#endif  // ELMAN_ADAM_H_
