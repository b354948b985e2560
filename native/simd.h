// SPDX-License-Identifier: Apache-2.0
//
// Vectors of the instruction set that this file is compiled for, by the compiler's vector extensions. Of intrinsics
// only the fused multiply-add is used: the headers that define it inline every call, so no copy that was made for
// AVX-512 can win at link time and run everywhere.
#ifndef ELMAN_SIMD_H_
#define ELMAN_SIMD_H_

#include <stddef.h>
#include <stdint.h>

#if defined(__AVX512F__)
#define ELMAN_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define ELMAN_VECTOR_BYTES 32
#else
#define ELMAN_VECTOR_BYTES 16
#endif

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define ELMAN_INLINE inline __attribute__((always_inline))

namespace elman {
namespace ELMAN_LEVEL {

template <class T>
struct Simd;
template <>
struct Simd<float> {
  typedef float Vector __attribute__((vector_size(ELMAN_VECTOR_BYTES)));
  typedef int32_t Bits __attribute__((vector_size(ELMAN_VECTOR_BYTES)));
  typedef int32_t Int;
};
template <>
struct Simd<double> {
  typedef double Vector __attribute__((vector_size(ELMAN_VECTOR_BYTES)));
  typedef int64_t Bits __attribute__((vector_size(ELMAN_VECTOR_BYTES)));
  typedef int64_t Int;
};

template <class T>
using Vector = typename Simd<T>::Vector;
template <class T>
constexpr int kLanes = ELMAN_VECTOR_BYTES / int(sizeof(T));

// a * b + c in one rounding where the instruction set can, else in two; and c - a * b likewise. Written down at each
// place, and never left to the compiler (-ffp-contract=off): it would fuse in some tiles and not in others, and the
// bits of a result would depend on the tile that its row falls into.
#if defined(__AVX512F__)
ELMAN_INLINE Vector<float> fma(Vector<float> a, Vector<float> b, Vector<float> c) { return _mm512_fmadd_ps(a, b, c); }
ELMAN_INLINE Vector<double> fma(Vector<double> a, Vector<double> b, Vector<double> c) {
  return _mm512_fmadd_pd(a, b, c);
}
ELMAN_INLINE Vector<float> fnma(Vector<float> a, Vector<float> b, Vector<float> c) { return _mm512_fnmadd_ps(a, b, c); }
ELMAN_INLINE Vector<double> fnma(Vector<double> a, Vector<double> b, Vector<double> c) {
  return _mm512_fnmadd_pd(a, b, c);
}
#elif defined(__AVX2__) && defined(__FMA__)
ELMAN_INLINE Vector<float> fma(Vector<float> a, Vector<float> b, Vector<float> c) { return _mm256_fmadd_ps(a, b, c); }
ELMAN_INLINE Vector<double> fma(Vector<double> a, Vector<double> b, Vector<double> c) {
  return _mm256_fmadd_pd(a, b, c);
}
ELMAN_INLINE Vector<float> fnma(Vector<float> a, Vector<float> b, Vector<float> c) { return _mm256_fnmadd_ps(a, b, c); }
ELMAN_INLINE Vector<double> fnma(Vector<double> a, Vector<double> b, Vector<double> c) {
  return _mm256_fnmadd_pd(a, b, c);
}
#elif defined(__aarch64__)
ELMAN_INLINE Vector<float> fma(Vector<float> a, Vector<float> b, Vector<float> c) {
  return (Vector<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
ELMAN_INLINE Vector<double> fma(Vector<double> a, Vector<double> b, Vector<double> c) {
  return (Vector<double>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
ELMAN_INLINE Vector<float> fnma(Vector<float> a, Vector<float> b, Vector<float> c) {
  return (Vector<float>)vfmsq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
ELMAN_INLINE Vector<double> fnma(Vector<double> a, Vector<double> b, Vector<double> c) {
  return (Vector<double>)vfmsq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
#else
ELMAN_INLINE Vector<float> fma(Vector<float> a, Vector<float> b, Vector<float> c) { return a * b + c; }
ELMAN_INLINE Vector<double> fma(Vector<double> a, Vector<double> b, Vector<double> c) { return a * b + c; }
ELMAN_INLINE Vector<float> fnma(Vector<float> a, Vector<float> b, Vector<float> c) { return c - a * b; }
ELMAN_INLINE Vector<double> fnma(Vector<double> a, Vector<double> b, Vector<double> c) { return c - a * b; }
#endif

// The number on every lane. Subtracting zero changes no number, not even -0.
template <class T>
ELMAN_INLINE Vector<T> broadcast(T x) {
  return x - Vector<T>{};
}

// kCount elements that lie anywhere. By value: Clang before 18 takes a reference to a vector for an aligned one.
template <class T, int kCount>
struct Block {
  typedef T Elements __attribute__((vector_size(kCount * sizeof(T))));

  static ELMAN_INLINE Elements load(const T* p) {
    Elements v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  static ELMAN_INLINE void store(T* p, Elements v) { __builtin_memcpy(p, &v, sizeof v); }
};

template <class T>
ELMAN_INLINE Vector<T> load(const T* p) {
  return Block<T, kLanes<T>>::load(p);
}
template <class T>
ELMAN_INLINE void store(T* p, Vector<T> v) {
  Block<T, kLanes<T>>::store(p, v);
}

// Calls step(j, block) for n modulo 2 * kCount elements from j on, by ever smaller blocks: a row's end costs no call,
// no loop over elements, and no wide load that waits for the narrow stores before it.
template <class T, int kCount, class Step>
ELMAN_INLINE void for_end(int64_t j, int64_t n, Step step) {
  if (n & kCount) step(j, Block<T, kCount>());
  if constexpr (kCount > 1) for_end<T, kCount / 2>(j + (n & kCount), n, step);
}

// The same for a row of any n.
template <class T, class Step>
ELMAN_INLINE void for_blocks(int64_t n, Step step) {
  int64_t j = 0;
  for (; j + kLanes<T> <= n; j += kLanes<T>) step(j, Block<T, kLanes<T>>());
  for_end<T, kLanes<T> / 2>(j, n, step);
}

template <class T>
ELMAN_INLINE void copy_row(T* to, const T* from, int64_t n) {
  for_blocks<T>(n, [&](int64_t j, auto block) { block.store(to + j, block.load(from + j)); });
}

// to = a b, or to += a b, element by element; always in two roundings, since blocks of every size must agree.
template <class T>
ELMAN_INLINE void multiply_row(T* to, const T* a, const T* b, int64_t n, bool add) {
  for_blocks<T>(n, [&](int64_t j, auto block) {
    const auto product = block.load(a + j) * block.load(b + j);
    block.store(to + j, add ? block.load(to + j) + product : product);
  });
}

// Asks for the cache lines of a row before they are needed. Rows of a batch lie far apart, and time may run
// backwards: the hardware guesses neither.
template <class T>
ELMAN_INLINE void fetch_row(const T* p, int64_t n) {
  for (int64_t j = 0; j < n; j += 64 / int64_t(sizeof(T))) __builtin_prefetch(p + j);
}

template <class T>
ELMAN_INLINE Vector<T> load_end(const T* p, int64_t n) {
  alignas(ELMAN_VECTOR_BYTES) T whole[kLanes<T>] = {};
  copy_row(whole, p, n & (kLanes<T> - 1));  // what it is in any case; the compiler does not know it
  return load(whole);
}

template <class T>
ELMAN_INLINE void store_end(T* p, Vector<T> v, int64_t n) {
  alignas(ELMAN_VECTOR_BYTES) T whole[kLanes<T>];
  store(whole, v);
  copy_row(p, whole, n & (kLanes<T> - 1));
}

template <class T>
ELMAN_INLINE void fill_zero(T* p, int64_t n) {
  __builtin_memset(p, 0, size_t(n) * sizeof(T));
}

// The width of a whole vector, which the compiler knows.
template <class T>
struct Whole {
  ELMAN_INLINE constexpr operator int64_t() const { return kLanes<T>; }
};

// Calls step(j, width) for every vector of a row of n: Whole, and a number below kLanes for the row's end.
template <class T, class Step>
ELMAN_INLINE void for_vectors(int64_t n, Step step) {
  int64_t j = 0;
  for (; j + kLanes<T> <= n; j += kLanes<T>) step(j, Whole<T>());
  if (j < n) step(j, n - j);
}

// The first n lanes; zeros on the others, whatever was there.
template <class T>
ELMAN_INLINE Vector<T> first_lanes(Vector<T> v, int64_t n) {
  using Bits = typename Simd<T>::Bits;
  using Int = typename Simd<T>::Int;
  static constexpr Int kNumbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  Bits lane;
  __builtin_memcpy(&lane, kNumbers, sizeof lane);
  return lane < Int(n) ? v : Vector<T>{};
}

template <class T>
ELMAN_INLINE Vector<T> load_some(const T* p, int64_t width) {
  return width == kLanes<T> ? load(p) : load_end(p, width);
}
template <class T>
ELMAN_INLINE void store_some(T* p, Vector<T> v, int64_t width) {
  if (width == kLanes<T>) {
    store(p, v);
  } else {
    store_end(p, v, width);
  }
}

}  // namespace ELMAN_LEVEL
}  // namespace elman
#endif  // ELMAN_SIMD_H_
