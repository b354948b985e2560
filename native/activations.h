// SPDX-License-Identifier: Apache-2.0
//
// Activations on vectors, and their slopes, computed from the output alone. tanh and sigmoid are within 3 ulp and never
// above 1 in magnitude, tanh is odd to the last bit, and NaN gives NaN.
//
//   expm1(x) = 2^n (e^r - 1) + (2^n - 1)     with x = n ln 2 + r, |r| <= ln(2)/2     (Cody and Waite 1980)
//   e^r - 1  = r + r^2 q(r)                  q: minimax fit of the relative error, by Remez exchange
//   tanh(x)  = e / (e + 2),  e = expm1(2|x|), with the sign of x;      sigmoid(x) = 1 / (1 + e^-x)
#ifndef ELMAN_ACTIVATIONS_H_
#define ELMAN_ACTIVATIONS_H_

#include "elman.h"
#include "simd.h"

namespace elman {
namespace ELMAN_LEVEL {

template <class T>
struct Exp;

template <>
struct Exp<float> {
  static constexpr float kLn2High = 0x1.62e4p-1f, kLn2Low = 1.4286068203094173e-06f;
  static constexpr float kRound = 0x1.8p23f;  // adding it leaves the nearest integer in the low bits
  static constexpr int kMantissa = 23;
  static constexpr int32_t kOne = 0x3f800000, kSign = INT32_MIN;
  static constexpr float kTanhEnd = 20.0f;                            // beyond it (of 2|x|) tanh is 1
  static constexpr float kSigmoidLow = -88.0f, kSigmoidHigh = 88.0f;  // beyond them e^-x leaves the range
  static constexpr float kQ[] = {0.5000000061865736f, 0.16666543037684944f, 0.04166628218813228f, 0.008366579574316073f,
                                 0.0013946441498114176f};
};

template <>
struct Exp<double> {
  static constexpr double kLn2High = 0x1.62e42feep-1, kLn2Low = 1.9082149292705877e-10;
  static constexpr double kRound = 0x1.8p52;
  static constexpr int kMantissa = 52;
  static constexpr int64_t kOne = 0x3ff0000000000000, kSign = INT64_MIN;
  static constexpr double kTanhEnd = 42.0;
  static constexpr double kSigmoidLow = -709.0, kSigmoidHigh = 709.0;
  static constexpr double kQ[] = {0.5,
                                  0.16666666666666677,
                                  0.0416666666666667,
                                  0.008333333333321627,
                                  0.001388888888886687,
                                  0.0001984126988613296,
                                  2.480158736049751e-05,
                                  2.755724420565152e-06,
                                  2.7557242808123866e-07,
                                  2.5109037169258814e-08,
                                  2.092442862947857e-09};
};

// x = n ln 2 + r  ->  e^r - 1, and 2^n in `scale`.
template <class T>
ELMAN_INLINE Vector<T> expm1_reduced(Vector<T> x, Vector<T>& scale) {
  using E = Exp<T>;
  using Bits = typename Simd<T>::Bits;
  constexpr int kDegree = int(sizeof(E::kQ) / sizeof(T)) - 1;
  const Vector<T> rounded = fma(x, broadcast<T>(T(1.4426950408889634)), broadcast<T>(E::kRound));
  const Vector<T> n = rounded - E::kRound;
  const Vector<T> r = fnma(n, broadcast<T>(E::kLn2Low), fnma(n, broadcast<T>(E::kLn2High), x));
  scale = (Vector<T>)(((Bits)rounded << E::kMantissa) + E::kOne);
  Vector<T> q = fma(r, broadcast<T>(E::kQ[kDegree]), broadcast<T>(E::kQ[kDegree - 1]));
#pragma GCC unroll 16
  for (int i = kDegree - 2; i >= 0; --i) q = fma(q, r, broadcast<T>(E::kQ[i]));
  return fma(r * r, q, r);
}

template <class T>
ELMAN_INLINE Vector<T> tanh(Vector<T> x) {
  using Bits = typename Simd<T>::Bits;
  const Bits sign = (Bits)x & Exp<T>::kSign;
  Vector<T> a = (Vector<T>)((Bits)x & ~sign);
  a = a + a;
  a = a > Exp<T>::kTanhEnd ? Vector<T>{} + Exp<T>::kTanhEnd : a;  // false for NaN, which stays
  Vector<T> scale;
  const Vector<T> p = expm1_reduced<T>(a, scale);
  const Vector<T> e = fma(scale, p, scale - T(1));
  return (Vector<T>)((Bits)(e / (e + T(2))) | sign);
}

// At kSigmoidLow the result is below the normal numbers and flushed to zero, so that it is zero at minus infinity.
template <class T>
ELMAN_INLINE Vector<T> sigmoid(Vector<T> x) {
  Vector<T> a = x > Exp<T>::kSigmoidHigh ? Vector<T>{} + Exp<T>::kSigmoidHigh : x;
  a = a < Exp<T>::kSigmoidLow ? Vector<T>{} + Exp<T>::kSigmoidLow : a;
  Vector<T> scale;
  const Vector<T> p = expm1_reduced<T>(-a, scale);
  return T(1) / (fma(scale, p, scale) + T(1));
}

template <class T>
ELMAN_INLINE Vector<T> hard_sigmoid(Vector<T> x) {
  const Vector<T> y = fma(x, broadcast<T>(T(1.0 / 6)), broadcast<T>(T(0.5)));
  return y <= T(0) ? Vector<T>{} : y >= T(1) ? Vector<T>{} + T(1) : y;  // both false for NaN, which stays
}

template <class T>
ELMAN_INLINE Vector<T> activate(int activation, Vector<T> z) {
  switch (activation) {
    case ELMAN_TANH: return tanh<T>(z);
    case ELMAN_RELU: return z <= T(0) ? Vector<T>{} : z;  // false for NaN, which stays
    case ELMAN_SIGMOID: return sigmoid<T>(z);
    case ELMAN_HARD_SIGMOID: return hard_sigmoid<T>(z);
    default: return z;
  }
}

// d * f'(z), with f' computed from y = f(z).
template <class T>
ELMAN_INLINE Vector<T> times_slope(int activation, Vector<T> d, Vector<T> y) {
  switch (activation) {
    case ELMAN_TANH: return d * fnma(y, y, broadcast<T>(T(1)));
    case ELMAN_RELU: return y > T(0) ? d : d * T(0);
    case ELMAN_SIGMOID: return d * (y * (T(1) - y));
    case ELMAN_HARD_SIGMOID: return y > T(0) ? (y < T(1) ? d * T(1.0 / 6) : d * T(0)) : d * T(0);
    default: return d;
  }
}

// The activation of the new state and that of the gates: known to the compiler, or looked up for every vector.
template <int kActivation, int kGate>
struct Known {
  static constexpr int activation = kActivation, gate = kGate;
  explicit Known(const elman_spec&) {}
};
struct LookedUp {
  const int activation, gate;
  explicit LookedUp(const elman_spec& spec) : activation(spec.activation), gate(spec.recurrent_activation) {}
};
template <class Functions>
struct Type {
  using type = Functions;
};

// Runs body(type of the functions). A cell without gates has few enough to know them all; of the others only Keras's
// defaults are.
template <bool kHasGates, class Body>
void with_functions(const elman_spec& spec, Body body) {
  if constexpr (kHasGates) {
    const bool usual = spec.activation == ELMAN_TANH && spec.recurrent_activation == ELMAN_SIGMOID;
    usual ? body(Type<Known<ELMAN_TANH, ELMAN_SIGMOID>>()) : body(Type<LookedUp>());
  } else {
    switch (spec.activation) {
      case ELMAN_TANH: return body(Type<Known<ELMAN_TANH, 0>>());
      case ELMAN_RELU: return body(Type<Known<ELMAN_RELU, 0>>());
      case ELMAN_SIGMOID: return body(Type<Known<ELMAN_SIGMOID, 0>>());
      case ELMAN_HARD_SIGMOID: return body(Type<Known<ELMAN_HARD_SIGMOID, 0>>());
      default: return body(Type<Known<ELMAN_LINEAR, 0>>());
    }
  }
}

}  // namespace ELMAN_LEVEL
}  // namespace elman
#endif  // ELMAN_ACTIVATIONS_H_
