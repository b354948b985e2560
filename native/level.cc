// SPDX-License-Identifier: Apache-2.0
//
// The kernels of one instruction set, and the table through which isa.cc finds them. Compiled once per instruction set,
// as are tiles.cc, forward.cc and backward.cc, which have the loops over time. Streams are in stream.h; dense.h and
// adam.h have the rest of a network's training step.
#include "level.h"

#include "adam.h"
#include "dense.h"
#include "stream.h"

namespace elman {
namespace ELMAN_LEVEL {
namespace {

// Multiply-adds on registers alone, for the ceiling that elman_peak_gflops reports.
template <class T>
double multiply_adds(int64_t rounds) {
  constexpr int kChains = kMaxRows[kMaxVectors] * kMaxVectors;
  Vector<T> sum[kChains];
  for (int c = 0; c < kChains; ++c) sum[c] = Vector<T>{} + T(c);
  Vector<T> factor = Vector<T>{} + T(0.999), term = Vector<T>{} + T(0.001);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 32
    for (int c = 0; c < kChains; ++c) sum[c] = fma(sum[c], factor, term);
  }
  Vector<T> total = {};
  for (int c = 0; c < kChains; ++c) total += sum[c];
  volatile T sink = total[0];  // keeps the loop
  (void)sink;
  return 2.0 * double(rounds) * kChains * kLanes<T>;
}

elman_status run_dense(const elman_dense_call& call) {
  return call.dtype == ELMAN_FLOAT64 ? dense_forward<double>(call) : dense_forward<float>(call);
}
elman_status run_dense_backward(const elman_dense_call& call) {
  return call.dtype == ELMAN_FLOAT64 ? dense_backward<double>(call) : dense_backward<float>(call);
}
void run_adam(const elman_adam_call& call) { call.dtype == ELMAN_FLOAT64 ? adam<double>(call) : adam<float>(call); }
elman_status create_stream(const elman_program& program, elman_stream** stream) {
  return program.dtype == ELMAN_FLOAT64 ? Stream<double>::create(program, stream)
                                        : Stream<float>::create(program, stream);
}
double run_multiply_adds(int dtype, int64_t rounds) {
  return dtype == ELMAN_FLOAT64 ? multiply_adds<double>(rounds) : multiply_adds<float>(rounds);
}

}  // namespace

#define ELMAN_TEXT(name) #name
#define ELMAN_NAME(name) ELMAN_TEXT(name)
const Level kLevel = {ELMAN_NAME(ELMAN_LEVEL), run_forward, run_backward,  run_dense,
                      run_dense_backward,      run_adam,    create_stream, run_multiply_adds};

}  // namespace ELMAN_LEVEL
}  // namespace elman
