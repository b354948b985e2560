// SPDX-License-Identifier: Apache-2.0
//
// What the forward (forward.h) and the backward (backward.h) share: sizes, the row that products read, and the scratch
// memory. Part of files that are compiled once per instruction set.
#ifndef ELMAN_RECURRENCE_H_
#define ELMAN_RECURRENCE_H_

#include "cell_table.h"
#include "cells.h"
#include "level.h"
#include "product.h"
#include "scratch.h"
#include "threads.h"

namespace elman {
namespace ELMAN_LEVEL {
namespace {

// Batch rows that a thread carries together through all steps: several of the tallest tiles, and few enough that the
// rows of two steps stay in the second-level cache (64 rows of 1,000 floats are 256 kB). An estimate from cache sizes,
// not a sweep.
constexpr int64_t kMostTaskRows = 64;

// Steps between asking for a row of memory and using it: at 32 rows of 64 units a step takes 15 us, far above the 0.1
// us of a cache miss, so that two are enough also for one row of few units. An estimate, not a sweep.
constexpr int64_t kAhead = 2;

template <class T>
int64_t round_up(int64_t n) {
  return (n + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

// A row stride of at least n: whole vectors, and not a multiple of 512 bytes, by which neighbouring rows would
// share the sets of the first-level cache.
template <class T>
int64_t stride(int64_t n) {
  n = round_up<T>(n);
  return n * int64_t(sizeof(T)) % 512 == 0 ? n + kLanes<T> : n;
}

inline int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Gives out consecutive pieces of one block of scratch memory. A first pass without memory counts what is needed.
template <class T>
struct Arena {
  T* memory = nullptr;
  int64_t used = 0;

  T* take(int64_t n) {
    T* const piece = memory ? memory + used : nullptr;
    used += (n + 63) / 64 * 64;
    return piece;
  }
};

// The scratch memory of one call, which job.take(arena, workers) divides.
template <class T>
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { scratch_give(memory_); }

  // False where there is not enough memory.
  template <class Job>
  bool take(Job& job, int64_t workers) {
    Arena<T> counted;
    job.take(counted, workers);
    memory_ = scratch_take(size_t(counted.used) * sizeof(T));
    if (!memory_) return false;
    Arena<T> arena{static_cast<T*>(memory_), 0};
    job.take(arena, workers);
    return true;
  }

 private:
  void* memory_ = nullptr;
};

// Runs body(task, worker) for every task, as parallel() does.
template <class Body>
void parallel_for(int64_t tasks, int64_t workers, const Body& body, Interrupt* interrupt = nullptr) {
  parallel(
      tasks, int(workers),
      [](const void* context, int64_t task, int worker) { (*static_cast<const Body*>(context))(task, worker); }, &body,
      interrupt);
}

// Tells a loop over time whether the call is to stop. The thread that made the call asks, about every million
// multiply-adds: reading the clock is then less than a thousandth of the work.
class Watch {
 public:
  Watch(Interrupt& interrupt, int worker, double step_size)
      : interrupt_(interrupt),
        asks_(worker == 0 && interrupt.has_hook()),
        pause_(step_size < 1e6 ? int64_t(1e6 / step_size) + 1 : 1),
        left_(pause_) {}

  ELMAN_INLINE bool stopped() {
    if (asks_ && --left_ == 0) {
      left_ = pause_;
      interrupt_.ask();
    }
    return __atomic_load_n(&interrupt_.stopped, __ATOMIC_RELAXED);
  }

 private:
  Interrupt& interrupt_;
  const bool asks_;
  const int64_t pause_;
  int64_t left_;
};

// Sizes, and what both directions share.
//
// The products of a step read one row per batch row, h_{t-1} next to x_t. Where gates have dropout masks of their own,
// each gate has its own copy of h or x, and a cell with a reset phase has one more copy of h:
//
//     | h, padded | h, padded | ... | x        | x        | ... | unused
//     0           state_width       x_column   + features         lda
//
// Padding is zero or multiplied by nothing: `units` columns of h are read.
template <class T, class Cell>
struct Recurrence {
  static constexpr int kBlocks = Cell::kGates + Cell::kSeparateProducts;
  static constexpr bool kOneBlock = kBlocks == 1;  // then most counts of blocks are known to the compiler
  static constexpr int kSharing = Cell::kGates - Cell::kResetPhase;  // gates that read the state before it is reset

  const elman_spec& spec;
  const elman_operands& in;
  const Steps& steps;
  const int64_t batch = spec.batch, time = spec.time, features = spec.features, units = spec.units;
  const int64_t sums = Cell::kGates * units;
  const int64_t state_width = round_up<T>(units);
  const int h_masks = in.recurrent_dropout ? spec.recurrent_dropout_masks : 0;
  const int h_copies = h_masks > 1 ? Cell::kGates : 1 + Cell::kResetPhase;
  const int x_copies = in.input_dropout && spec.input_dropout_masks > 1 ? Cell::kGates : 1;
  const int64_t x_column = h_copies * state_width;
  const int64_t lda = stride<T>(x_column + x_copies * features);
  const int64_t columns = elman_tape_columns(&spec);
  const bool sequences = spec.flags & ELMAN_RETURN_SEQUENCES;
  const bool long_sums = features > kLongestChain || units > kLongestChain;
  const bool zero_output = spec.flags & ELMAN_ZERO_OUTPUT_FOR_MASK;

  // Of the batch row with this rank (see Steps): its number, its valid steps, and the i-th of them.
  int64_t row(int64_t rank) const { return steps.rows ? steps.rows[rank] : rank; }
  int64_t count(int64_t rank) const { return steps.counts ? steps.counts[rank] : time; }
  int64_t step(int64_t rank, int64_t i) const { return steps.list ? steps.list[rank * time + i] : i; }

  // Whether the state returns to the initial one before step s.
  ELMAN_INLINE bool resets(int64_t b, int64_t s) const {
    return steps.resets && steps.resets[b * time + (spec.flags & ELMAN_GO_BACKWARDS ? time - 1 - s : s)] & 2;
  }
  int64_t x_index(int64_t b, int64_t s) const {
    return (b * time + (spec.flags & ELMAN_GO_BACKWARDS ? time - 1 - s : s)) * features;
  }
  int64_t sequence_index(int64_t b, int64_t s) const { return (b * time + s) * units; }
  int64_t tape_index(int64_t b, int64_t s) const { return (b * time + s) * columns; }

  // Where y, or else the tape, holds the state after step s; null where neither does.
  template <class Y>
  ELMAN_INLINE Y* state_at(Y* y, Y* tape, int64_t b, int64_t s) const {
    if (sequences) return y + sequence_index(b, s);
    return tape && Cell::kStateColumn >= 0 ? tape + tape_index(b, s) + Cell::kStateColumn * units : nullptr;
  }

  // The columns of a row from which the product of a gate reads h and x.
  int64_t h_column_of(int gate) const { return (h_masks > 1 ? gate : gate >= kSharing) * state_width; }
  int64_t x_column_of(int gate) const { return x_column + (x_copies > 1 ? gate : 0) * features; }
  static int input_gate(int block) { return (block + Cell::kGates - Cell::kSeparateProducts) % Cell::kGates; }

  // x of row b at step s, times its dropout, into `to`.
  void copy_input(T* to, int64_t b, int64_t s) const {
    const T* const x = static_cast<const T*>(in.x) + x_index(b, s);
    if (!in.input_dropout) return copy_row(to, x, features);
    for (int copy = 0; copy < x_copies; ++copy, to += features) {
      const T* const dropout = static_cast<const T*>(in.input_dropout) + (copy * batch + b) * features;
      multiply_row(to, x, dropout, features, false);
    }
  }

  // `from` (units), or zeros for null, times `dropout` (padded) where given, into `to`, padded with zeros.
  void copy_state(T* to, const T* from, const T* dropout) const {
    if (!from) return fill_zero(to, state_width);
    for_vectors<T>(units, [&](int64_t j, int64_t n) {
      const Vector<T> h = load_some(from + j, n);
      store(to + j, dropout ? h * load(dropout + j) : h);
    });
  }

  // The copies of h that the next step reads.
  ELMAN_INLINE void copy_states(T* to, const T* from, const T* dropout) const {
    const int copies = kOneBlock ? 1 : h_copies - Cell::kResetPhase;
    for (int copy = 0; copy < copies; ++copy, to += state_width) {
      copy_state(to, from, dropout ? dropout + copy * state_width : nullptr);
    }
  }

  const T* initial_state(int which, int64_t b) const {
    return in.initial_states[which] ? static_cast<const T*>(in.initial_states[which]) + b * units : nullptr;
  }

  // Rows of the recurrent dropout of ranks [first, last), one mask after the other, padded, into `to`; null where there
  // is none.
  const T* copy_recurrent_dropout(T* to, int64_t first, int64_t last) const {
    if (!in.recurrent_dropout) return nullptr;
    for (int64_t r = first; r < last; ++r) {
      for (int mask = 0; mask < h_masks; ++mask) {
        copy_state(to + ((r - first) * h_masks + mask) * state_width,
                   static_cast<const T*>(in.recurrent_dropout) + (mask * batch + row(r)) * units, nullptr);
      }
    }
    return to;
  }
  const T* dropout_of(const T* dropout, int64_t r, int gate) const {
    return dropout ? dropout + (r * h_masks + (h_masks > 1 ? gate : 0)) * state_width : nullptr;
  }
};

// Runs body(type of the cell).
template <class Body>
elman_status with_cell(const elman_spec& spec, Body body) {
#define ELMAN_TRY(Struct, name, number, flag, gates, states, ...)                               \
  static_assert(Struct::kGates == gates && Struct::kStates == states, "row and struct differ"); \
  if (spec.cell == number && (spec.flags & flag) == flag) return body(Type<Struct>());
  ELMAN_CELLS(ELMAN_TRY)
#undef ELMAN_TRY
  return ELMAN_INVALID;  // the entry points have refused it before
}

// Threads worth waking for this many multiply-adds.
inline int64_t threads_for(double multiply_adds) {
  // At 50 to 100 GFLOP/s a core these take 8 to 16 us, about as long as a sleeping thread may take to wake
  // (threads.cc). An estimate from those two figures, not a sweep.
  constexpr double kWorthOneThread = 4e5;
  const double most = multiply_adds / kWorthOneThread;
  const int64_t threads = num_threads();
  return most < 2 ? 1 : most < double(threads) ? int64_t(most) : threads;
}

// Threads worth waking to pack or to sum this many elements.
inline int64_t threads_for_elements(double elements, int64_t threads) {
  // 400 kB of float32 take about 20 us to copy, as long as a sleeping thread may take to wake. An estimate, not a
  // sweep.
  constexpr double kWorthSharing = 1e5;
  return elements < kWorthSharing ? 1 : threads;
}

inline double total_steps(const elman_spec& spec, const Steps& steps) {
  if (!steps.counts) return double(spec.batch) * double(spec.time);
  double sum = 0;
  for (int64_t b = 0; b < spec.batch; ++b) sum += steps.counts[b];
  return sum;
}

}  // namespace
}  // namespace ELMAN_LEVEL
}  // namespace elman
#endif  // ELMAN_RECURRENCE_H_
