// SPDX-License-Identifier: Apache-2.0
//
// The time loop, forward and backward. A thread owns some batch rows for all steps, so no step waits for another
// thread. Weights are packed once per call; the states live in scratch memory beside the inputs of their step,
// as rows [ h_{t-1} | x_t ] that one product consumes. Compiled once per instruction set.
#include "level.h"
#include "cells.h"
#include "product.h"
#include "threads.h"

namespace elman {
namespace ELMAN_LEVEL {
namespace {

constexpr int64_t kMostTaskRows = 64;    // batch rows that a thread carries together
constexpr int64_t kRowsWorthPacking = 16;
constexpr int64_t kAhead = 2;            // steps between asking for a row of memory and using it
constexpr int64_t kMostChunkRows = 256;  // rows of dz kept until they are multiplied into the weight gradients

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

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Hands out consecutive pieces of one block of scratch memory; the first pass, without memory, counts.
template <class T>
struct Carve {
  T* memory = nullptr;
  int64_t used = 0;

  T* take(int64_t n) {
    T* const piece = memory ? memory + used : nullptr;
    used += (n + 63) / 64 * 64;
    return piece;
  }
};

// Sizes and the parts that both directions share.
template <class T, class Cell>
struct Recurrence {
  const elman_spec& spec;
  const elman_operands& in;
  const Steps& steps;
  const int64_t batch = spec.batch, time = spec.time, features = spec.features, units = spec.units;
  const int64_t sums = Cell::kGates * units;
  const int64_t state_width = round_up<T>(units);
  const int64_t lda = stride<T>(state_width + features);  // of the rows [ h | x ]
  const bool sequences = spec.flags & ELMAN_RETURN_SEQUENCES;
  const bool zero_output = spec.flags & ELMAN_ZERO_OUTPUT_FOR_MASK;

  int64_t row(int64_t rank) const { return steps.rows ? steps.rows[rank] : rank; }
  int64_t count(int64_t rank) const { return steps.counts ? steps.counts[rank] : time; }
  int64_t step(int64_t rank, int64_t i) const { return steps.list ? steps.list[rank * time + i] : i; }
  int64_t x_index(int64_t b, int64_t s) const {
    return (b * time + (spec.flags & ELMAN_GO_BACKWARDS ? time - 1 - s : s)) * features;
  }
  int64_t sequence_index(int64_t b, int64_t s) const { return (b * time + s) * units; }

  // x of row b at step s, times its dropout, into `to`.
  void copy_input(T* to, int64_t b, int64_t s) const {
    const T* const x = static_cast<const T*>(in.x) + x_index(b, s);
    if (!in.input_dropout) return copy_row(to, x, features);
    const T* const dropout = static_cast<const T*>(in.input_dropout) + b * features;
    for_vectors<T>(features, [&](int64_t j, int64_t n) {
      store_some(to + j, load_some(x + j, n) * load_some(dropout + j, n), n);
    });
  }

  // `from` (units), or zeros for null, times `dropout` (padded) where given, into `to`, padded with zeros.
  void copy_state(T* to, const T* from, const T* dropout) const {
    if (!from) return fill_zero(to, state_width);
    for_vectors<T>(units, [&](int64_t j, int64_t n) {
      const Vector<T> h = load_some(from + j, n);
      store(to + j, dropout ? h * load(dropout + j) : h);
    });
  }

  const T* initial_state(int64_t b) const {
    return in.initial_states[0] ? static_cast<const T*>(in.initial_states[0]) + b * units : nullptr;
  }

  // Rows of the recurrent dropout of ranks [first, last), padded, into `to`; null where there is none.
  const T* copy_recurrent_dropout(T* to, int64_t first, int64_t last) const {
    if (!in.recurrent_dropout) return nullptr;
    for (int64_t r = first; r < last; ++r) {
      copy_state(to + (r - first) * state_width, static_cast<const T*>(in.recurrent_dropout) + row(r) * units, nullptr);
    }
    return to;
  }
};

// Multiplies rows of tile.a and tile.a2 with the panels, tile by tile. panel_at(panel, tile) says where a panel's init,
// b, b2 and ldb are; done(column, row, rows, z, ldz) gets each tile's sums.
template <class T, class PanelAt, class Done>
void multiply(const Panels& p, bool one_row, Tile<T> tile, int64_t rows, PanelAt panel_at, Done done) {
  if (p.count == 0) return;
  alignas(64) T z[kMostTile * kLanes<T>];
  const int64_t tiles = ceil_divide(rows, most_rows(p));
  const T* const a = tile.a;
  const T* const a2 = tile.a2;
  tile.z = z;
  tile.ld_init = 0;
  for (int64_t panel = 0; panel < p.count; ++panel) {
    const int vectors = p.width(panel);
    tile.ldz = vectors * kLanes<T>;
    panel_at(panel, tile);
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t first = i * rows / tiles, height = (i + 1) * rows / tiles - first;
      tile.a = a + first * tile.lda;
      tile.a2 = a2 + first * tile.lda;
      (one_row ? kRowTiles<T>.at[vectors] : kTiles<T, false>.at[vectors][height])(tile);
      done(p.column(panel), first, height, z, tile.ldz);
    }
  }
}

// The tile's place in a panel packed by itself: no init, and b alone.
template <class T>
auto packed_panels(const Panels& p, const T* packed) {
  return [&p, packed](int64_t panel, Tile<T>& tile) {
    tile.ldb = tile.ldz;
    tile.b = tile.b2 = packed + p.column(panel) * tile.inner;
  };
}

// --- forward -----------------------------------------------------------------------------------------------

template <class T, class Cell>
struct Forward : Recurrence<T, Cell> {
  using Base = Recurrence<T, Cell>;
  const elman_forward_call& call;
  int64_t tasks = 0, task_rows = 0, task_scratch = 0;
  Panels panels;
  T* packed = nullptr;  // null: the weights are read where they are
  T* scratch = nullptr;

  Forward(const elman_forward_call& c, const Steps& s) : Base{*c.spec, c.in, s}, call(c) {}

  void pack(int64_t panel) const {
    const int64_t depth = 1 + this->features + this->units;
    T* to = packed + panels.column(panel) * depth;
    const int64_t width = panels.width(panel) * kLanes<T>;
    if (this->in.bias) {
      pack_rows(to, panels, panel, static_cast<const T*>(this->in.bias), 1, 0);
    } else {
      fill_zero(to, width);
    }
    to += width;
    pack_rows(to, panels, panel, static_cast<const T*>(this->in.kernel), this->features, this->sums);
    to += this->features * width;
    pack_rows(to, panels, panel, static_cast<const T*>(this->in.recurrent_kernel), this->units, this->sums);
  }

  // Where the weights of a panel are: packed as [ b | W | U ], or in their own rows.
  void panel_at(int64_t panel, Tile<T>& tile) const {
    const int64_t column = panels.column(panel);
    if (packed) {
      tile.ldb = tile.ldz;
      tile.init = packed + column * (1 + this->features + this->units);
      tile.b = tile.init + tile.ldb;
      tile.b2 = tile.b + this->features * tile.ldb;
    } else {
      tile.ldb = this->sums;
      tile.init = this->in.bias ? static_cast<const T*>(this->in.bias) + column : nullptr;
      tile.b = static_cast<const T*>(this->in.kernel) + column;
      tile.b2 = static_cast<const T*>(this->in.recurrent_kernel) + column;
    }
  }

  // All steps of ranks [first, last).
  template <int kActivation>
  void run(int64_t first, int64_t last, Carve<T> carve) const {
    const int64_t rows = last - first, lda = this->lda;
    T* now = carve.take(rows * lda);
    T* next = carve.take(rows * lda);
    const T* const dropout = this->copy_recurrent_dropout(carve.take(rows * this->state_width), first, last);
    T* const spare = carve.take(rows * this->units);
    T* out[kMostTaskRows];
    for (int64_t r = 0; r < rows; ++r) {
      const T* const h = this->initial_state(this->row(first + r));
      this->copy_state(now + r * lda, h, dropout ? dropout + r * this->state_width : nullptr);
      if (this->count(first + r) == 0) finish_row(this->row(first + r), h, nullptr);
    }
    int64_t running = rows;
    for (int64_t i = 0;; ++i) {
      while (running > 0 && this->count(first + running - 1) <= i) --running;
      if (running == 0) break;
      for (int64_t r = 0; r < running; ++r) {
        const int64_t b = this->row(first + r), s = this->step(first + r, i);
        this->copy_input(now + r * lda + this->state_width, b, s);
        if (i + kAhead < this->count(first + r)) {
          const int64_t ahead = this->step(first + r, i + kAhead);
          fetch_row(static_cast<const T*>(this->in.x) + this->x_index(b, ahead), this->features);
          if (T* const every = output(b, ahead, nullptr)) fetch_row(every, this->units);
        }
        out[r] = output(b, s, spare + r * this->units);
      }
      Tile<T> tile{};
      tile.a = now + this->state_width;
      tile.inner = this->features;
      tile.a2 = now;
      tile.inner2 = this->units;
      tile.lda = lda;
      multiply(panels, this->batch == 1, tile, running, [&](int64_t panel, Tile<T>& t) { panel_at(panel, t); },
               [&](int64_t column, int64_t row, int64_t height, const T* z, int64_t ldz) {
                 const int64_t width = panels.columns - column < ldz ? panels.columns - column : ldz;
                 for (int64_t r = row; r < row + height; ++r, z += ldz) {
                   Cell::template step<kActivation>(z, dropout ? dropout + r * this->state_width + column : nullptr,
                                                    next + r * lda + column, out[r] + column, width);
                 }
               });
      for (int64_t r = running - 1; r >= 0 && this->count(first + r) == i + 1; --r) {
        const bool masked_end = this->step(first + r, i) != this->time - 1;
        finish_row(this->row(first + r), out[r], masked_end && this->zero_output ? nullptr : out[r]);
      }
      T* const swap = now;
      now = next;
      next = swap;
    }
    if (this->steps.list && (this->sequences || call.tape)) {
      for (int64_t r = first; r < last; ++r) fill_masked(r);
    }
  }

  // Where the state after step s goes: into y, else the tape, else `spare`.
  T* output(int64_t b, int64_t s, T* spare) const {
    T* const every = static_cast<T*>(this->sequences ? call.y : call.tape);
    return every ? every + this->sequence_index(b, s) : spare;
  }

  // The last state and output of row b; null: zeros.
  void finish_row(int64_t b, const T* state, const T* output) const {
    const auto write = [&](void* to, const T* from) {
      T* const row = static_cast<T*>(to) + b * this->units;
      if (from) {
        copy_row(row, from, this->units);
      } else {
        fill_zero(row, this->units);
      }
    };
    if (call.final_states[0]) write(call.final_states[0], state);
    if (!this->sequences) write(call.y, output);
  }

  // Outputs of masked steps, or what the tape has for them: the one before them, or zeros.
  void fill_masked(int64_t rank) const {
    T* const y = static_cast<T*>(this->sequences ? call.y : call.tape) + this->sequence_index(this->row(rank), 0);
    const T* before = nullptr;
    for (int64_t s = 0, i = 0; s < this->time; ++s) {
      T* const here = y + s * this->units;
      if (i < this->count(rank) && this->step(rank, i) == s) {
        before = here;
        ++i;
      } else if (before && !this->zero_output) {
        copy_row(here, before, this->units);
      } else {
        fill_zero(here, this->units);
      }
    }
  }
};

// Rows by threads: as even as can be; with masks in smaller portions, since rows differ in length.
int64_t forward_tasks(int64_t batch, int64_t threads, bool masked) {
  const int64_t even = masked && threads > 1 ? 4 * threads : threads;
  const int64_t wanted = batch < even ? batch : even;
  const int64_t least = ceil_divide(batch, kMostTaskRows);
  return least > wanted ? ceil_divide(least, threads) * threads : wanted;
}

// Threads worth waking for this many multiply-adds.
int64_t threads_for(double multiply_adds) {
  constexpr double kWorthOneThread = 4e5;
  const double most = multiply_adds / kWorthOneThread;
  const int64_t threads = num_threads();
  return most < 2 ? 1 : most < double(threads) ? int64_t(most) : threads;
}

double total_steps(const elman_spec& spec, const Steps& steps) {
  if (!steps.counts) return double(spec.batch) * double(spec.time);
  double sum = 0;
  for (int64_t b = 0; b < spec.batch; ++b) sum += steps.counts[b];
  return sum;
}

template <class T, class Cell>
elman_status forward(const elman_forward_call& call, const Steps& steps) {
  Forward<T, Cell> f(call, steps);
  if (f.batch == 0) return ELMAN_OK;
  const int64_t threads = threads_for(total_steps(f.spec, steps) * double(f.sums) * double(f.features + f.units));
  f.tasks = forward_tasks(f.batch, threads, steps.list);
  f.task_rows = ceil_divide(f.batch, f.tasks);
  f.panels = make_panels<T>(f.sums, f.task_rows);
  const int64_t workers = threads < f.tasks ? threads : f.tasks;
  // Weights that fill one panel to its edge lie as a panel would; and a few steps do not repay packing any.
  const bool whole = f.sums % kLanes<T> == 0;
  const bool in_place = whole && (f.panels.count == 1 || f.batch * f.time <= kRowsWorthPacking);
  const int64_t packed_size = in_place ? 0 : f.panels.padded() * (1 + f.features + f.units);
  f.task_scratch = 2 * f.task_rows * f.lda + f.task_rows * (f.state_width + f.units) + 4 * 64;
  Carve<T> carve;
  carve.take(packed_size);
  carve.take(workers * f.task_scratch);
  void* const memory = scratch_take(size_t(carve.used) * sizeof(T));
  if (!memory) return ELMAN_OUT_OF_MEMORY;
  carve = {static_cast<T*>(memory), 0};
  f.packed = in_place ? nullptr : carve.take(packed_size);
  f.scratch = carve.take(workers * f.task_scratch);
  parallel(in_place ? 0 : int(f.panels.count), double(packed_size) < 1e5 ? 1 : int(threads),
           [](void* context, int panel, int) { static_cast<Forward<T, Cell>*>(context)->pack(panel); }, &f);
  parallel(int(f.tasks), int(workers),
           [](void* context, int task, int worker) {
             const auto& job = *static_cast<Forward<T, Cell>*>(context);
             const int64_t first = task * job.batch / job.tasks, last = (task + 1) * job.batch / job.tasks;
             const Carve<T> own{job.scratch + worker * job.task_scratch, 0};
             with_activation(job.spec.activation,
                             [&](auto activation) { job.template run<decltype(activation)::value>(first, last, own); });
           },
           &f);
  scratch_give(memory);
  return ELMAN_OK;
}

// --- backward ----------------------------------------------------------------------------------------------

template <class T, class Cell>
struct Backward : Recurrence<T, Cell> {
  using Base = Recurrence<T, Cell>;
  const elman_backward_call& call;
  const T* const states;  // (B, T, H): every state that a step reached
  const bool want_weights;
  const int64_t ld_dz = stride<T>(this->sums);
  const int64_t gradient_rows = this->state_width + this->features;  // of dU over dW, laid out as [ h | x ]
  int64_t slots = 0, group_rows = 0, chunk_rows = 0, slot_gradients = 0, worker_scratch = 0;
  Panels back;     // dz U^T
  Panels inputs;   // dz W^T
  Panels weights;  // [ h | x ]^T dz
  T* packed_back = nullptr;
  T* packed_inputs = nullptr;
  T* gradients = nullptr;  // (slots, gradient_rows + 1, ld_dz): dU, dW, and db in the last row
  T* scratch = nullptr;

  Backward(const elman_backward_call& c, const Steps& s)
      : Base{*c.spec, c.in, s},
        call(c),
        states(static_cast<const T*>(this->sequences ? c.y : c.tape)),
        want_weights(c.dkernel || c.drecurrent_kernel || c.dbias) {}

  // What one worker carries through its rows.
  struct Work {
    T* dh;  // (rows, state_width): gradient of the state, from the steps behind
    const T* dropout;
    T* dz;                                // (chunk, ld_dz)
    T* operand;                           // (chunk, lda): [ h | x ] of the same steps
    int64_t inputs[kMostChunkRows];       // where dx of a chunk row goes
    int64_t input_rows[kMostChunkRows];   // and its batch row
    int64_t used;                         // rows of the chunk in use
    T* gradient;                          // this slot's sums
    bool fresh;                           // nothing is in them yet
  };

  // All rows of a slot, some at a time, into its sums.
  void run_slot(int64_t slot, T* own) const {
    const int64_t begin = slot * this->batch / slots, end = (slot + 1) * this->batch / slots;
    T* const gradient = gradients + slot * slot_gradients;
    if (want_weights && this->count(begin) == 0) fill_zero(gradient, slot_gradients);
    for (int64_t first = begin; first < end; first += group_rows) {
      const int64_t last = first + group_rows < end ? first + group_rows : end;
      with_activation(this->spec.activation, [&](auto activation) {
        run<decltype(activation)::value>(first, last, gradient, first == begin, {own, 0});
      });
    }
  }

  // All steps, from the last to the first, of ranks [first, last); `fresh`: nothing is in `gradient` yet.
  template <int kActivation>
  void run(int64_t first, int64_t last, T* gradient, bool fresh, Carve<T> carve) const {
    const int64_t rows = last - first;
    Work w;
    w.dh = carve.take(rows * this->state_width);
    w.dropout = this->copy_recurrent_dropout(carve.take(rows * this->state_width), first, last);
    w.dz = carve.take(chunk_rows * ld_dz);
    w.operand = carve.take(chunk_rows * this->lda);
    w.used = 0;
    w.gradient = gradient;
    w.fresh = fresh;
    const T* const dfinal = static_cast<const T*>(call.dfinal_states[0]);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t rank = first + r, count = this->count(rank);
      T* const dh = w.dh + r * this->state_width;
      this->copy_state(dh, dfinal ? dfinal + this->row(rank) * this->units : nullptr, nullptr);
      hand_back(rank, dh, this->time, count > 0 ? this->step(rank, count - 1) : -1);
    }
    int64_t running = 0;
    for (int64_t i = this->count(first) - 1; i >= 0; --i) {
      while (running < rows && this->count(first + running) > i) ++running;
      if (w.used + running > chunk_rows) flush(w);
      for (int64_t r = 0; r < running; ++r) step_back<kActivation>(w, first + r, r, i);
      if (i > 0 || call.dinitial_states[0] || call.norms) multiply_back(w, first, running, i);
      w.used += running;
    }
    flush(w);
    for (int64_t r = 0; r < rows; ++r) finish_row(first + r, w.dh + r * this->state_width);
  }

  // Adds the outputs' gradient to dh of one row at its i-th valid step, and fills the chunk's next row.
  template <int kActivation>
  ELMAN_INLINE void step_back(Work& w, int64_t rank, int64_t r, int64_t i) const {
    const int64_t b = this->row(rank), s = this->step(rank, i), at = w.used + r;
    T* const dh = w.dh + r * this->state_width;
    if (i >= kAhead) fetch(rank, b, i - kAhead);
    add_outputs(dh, rank, b, s, i);
    if (call.norms) static_cast<T*>(call.norms)[b * this->time + s] = T(norm(dh));
    Cell::template step_back<kActivation>(dh, states + this->sequence_index(b, s), w.dz + at * ld_dz, this->units);
    if (call.dx) {
      w.inputs[at] = this->x_index(b, s);
      w.input_rows[at] = b;
    }
    if (!want_weights) return;
    T* const operand = w.operand + at * this->lda;
    const T* const before = i > 0 ? states + this->sequence_index(b, this->step(rank, i - 1)) : this->initial_state(b);
    this->copy_state(operand, before, w.dropout ? w.dropout + r * this->state_width : nullptr);
    this->copy_input(operand + this->state_width, b, s);
  }

  // What the i-th valid step will read.
  ELMAN_INLINE void fetch(int64_t rank, int64_t b, int64_t i) const {
    const int64_t s = this->step(rank, i);
    if (i > 0) fetch_row(states + this->sequence_index(b, this->step(rank, i - 1)), this->units);
    if (this->sequences && call.dy) fetch_row(static_cast<const T*>(call.dy) + this->sequence_index(b, s), this->units);
    if (want_weights) fetch_row(static_cast<const T*>(this->in.x) + this->x_index(b, s), this->features);
  }

  // dy of the i-th valid step s, and of the masked steps behind it that repeat its output.
  ELMAN_INLINE void add_outputs(T* dh, int64_t rank, int64_t b, int64_t s, int64_t i) const {
    const T* const dy = static_cast<const T*>(call.dy);
    if (!dy) return;
    const bool last = i + 1 == this->count(rank);
    const int64_t next = last ? this->time : this->step(rank, i + 1);
    const bool repeated = next > s + 1 && !this->zero_output;
    if (!this->sequences) {
      if (last && (s == this->time - 1 || repeated)) add(dh, dy + b * this->units);
      return;
    }
    if (repeated) {
      for (int64_t t = next - 1; t > s; --t) add(dh, dy + this->sequence_index(b, t));
    }
    add(dh, dy + this->sequence_index(b, s));
  }

  ELMAN_INLINE void add(T* dh, const T* dy) const {
    for_vectors<T>(this->units, [&](int64_t j, int64_t n) { store(dh + j, load(dh + j) + load_some(dy + j, n)); });
  }

  Tile<T> product_of(const T* dz) const {
    Tile<T> tile{};
    tile.a = tile.a2 = dz;
    tile.inner = this->sums;
    tile.lda = ld_dz;
    return tile;
  }

  // dh = dz U^T of the rows just stepped back through; then what the step before them may have of it.
  void multiply_back(Work& w, int64_t first, int64_t running, int64_t i) const {
    const T* const dz = w.dz + w.used * ld_dz;
    multiply(back, this->batch == 1, product_of(dz), running, packed_panels(back, packed_back),
             [&](int64_t column, int64_t row, int64_t height, const T* z, int64_t ldz) {
               for (int64_t r = row; r < row + height; ++r, z += ldz) {
                 T* const dh = w.dh + r * this->state_width + column;
                 const T* const dropout = w.dropout ? w.dropout + r * this->state_width + column : nullptr;
                 for (int64_t j = 0; j < ldz; j += kLanes<T>) {
                   store(dh + j, dropout ? load(z + j) * load(dropout + j) : load(z + j));
                 }
               }
             });
    for (int64_t r = 0; r < running; ++r) {
      const int64_t before = i > 0 ? this->step(first + r, i - 1) : -1;
      hand_back(first + r, w.dh + r * this->state_width, this->step(first + r, i), before);
    }
  }

  // Hands the state's gradient of a row from step `from` (T: from behind the last step) to step `to`, through the
  // masked steps between: each may cut it; clipping it once is clipping it at all of them.
  void hand_back(int64_t rank, T* dh, int64_t from, int64_t to) const {
    const int64_t k = this->spec.truncate_gradient;
    const double c = this->spec.clip_state_gradient;
    if (k <= 0 && !(c > 0) && !(call.norms && this->steps.list)) return;
    bool clipped = false;
    for (int64_t t = from; t > to; --t) {
      if (t < this->time) {  // step t hands on to t - 1
        if (k > 0 && t > 0 && (this->time - t) % k == 0) {
          fill_zero(dh, this->state_width);
        } else if (c > 0 && !clipped) {
          clip(dh, c);
          clipped = true;
        }
      }
      if (t - 1 > to && call.norms) {  // t - 1 is masked
        static_cast<T*>(call.norms)[this->row(rank) * this->time + t - 1] = T(norm(dh));
      }
    }
  }

  void clip(T* dh, double c) const {
    const double n = norm(dh);
    if (!(n > c)) return;
    // In two factors, since c / n may lie below the range of T.
    const T scale = T(__builtin_sqrt(c / n)), rest = T(c / n / double(scale));
    for (int64_t j = 0; j < this->state_width; j += kLanes<T>) store(dh + j, load(dh + j) * scale * rest);
  }

  // L2 norm of one row, summed in double in eight fixed chains; once more in another unit where squares leave the range.
  double norm(const T* dh) const {
    const double plain = norm_times(dh, 1);
    if (plain > 1e-150 && plain < 1e150) return plain;
    const double unit = plain > 1 ? 0x1p-600 : 0x1p600;
    return norm_times(dh, unit) / unit;
  }

  double norm_times(const T* dh, double unit) const {
    const auto square = [&](int64_t j) { return (double(dh[j]) * unit) * (double(dh[j]) * unit); };
    double sum[8] = {};
    int64_t j = 0;
    for (; j + 8 <= this->units; j += 8) {
      for (int c = 0; c < 8; ++c) sum[c] += square(j + c);
    }
    for (; j < this->units; ++j) sum[j % 8] += square(j);
    return __builtin_sqrt(((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7])));
  }

  // Multiplies the chunk into the weight gradients and dx, and empties it.
  void flush(Work& w) const {
    if (w.used == 0) return;
    if (want_weights) {
      add_weights(w, 0, this->units);
      add_weights(w, this->state_width, this->features);
      add_bias(w);
      w.fresh = false;
    }
    if (call.dx) write_inputs(w);
    w.used = 0;
  }

  // Rows [from, from + n) of the weight gradients += the same columns of the operand, transposed, times dz.
  void add_weights(const Work& w, int64_t from, int64_t n) const {
    for (int64_t panel = 0; panel < weights.count; ++panel) {
      const int vectors = weights.width(panel);
      const int64_t column = weights.column(panel), tiles = ceil_divide(n, kMaxRows[vectors]);
      for (int64_t i = 0; i < tiles; ++i) {
        const int64_t row = from + i * n / tiles, height = (i + 1) * n / tiles - i * n / tiles;
        T* const sum = w.gradient + row * ld_dz + column;
        const T* const a = w.operand + row;
        kTiles<T, true>.at[vectors][height](
            {a, w.used, a, 0, this->lda, w.dz + column, w.dz, ld_dz, w.fresh ? nullptr : sum, ld_dz, sum, ld_dz});
      }
    }
  }

  void add_bias(const Work& w) const {
    T* const sum = w.gradient + gradient_rows * ld_dz;
    for (int64_t j = 0; j < weights.padded(); j += kLanes<T>) {
      Vector<T> total = w.fresh ? Vector<T>{} : load(sum + j);
      for (int64_t r = 0; r < w.used; ++r) total += load(w.dz + r * ld_dz + j);
      store(sum + j, total);
    }
  }

  // dx = dz W^T, times the input dropout.
  void write_inputs(const Work& w) const {
    multiply(inputs, false, product_of(w.dz), w.used, packed_panels(inputs, packed_inputs),
             [&](int64_t column, int64_t row, int64_t height, const T* z, int64_t ldz) {
               const int64_t width = inputs.columns - column < ldz ? inputs.columns - column : ldz;
               for (int64_t r = row; r < row + height; ++r, z += ldz) {
                 T* const dx = static_cast<T*>(call.dx) + w.inputs[r] + column;
                 if (!this->in.input_dropout) {
                   copy_row(dx, z, width);
                   continue;
                 }
                 const T* const dropout =
                     static_cast<const T*>(this->in.input_dropout) + w.input_rows[r] * this->features + column;
                 for_vectors<T>(width, [&](int64_t j, int64_t n) {
                   store_some(dx + j, load(z + j) * load_some(dropout + j, n), n);
                 });
               }
             });
  }

  // The gradient of the initial state, and zeros where no step was taken.
  void finish_row(int64_t rank, const T* dh) const {
    const int64_t b = this->row(rank);
    if (call.dinitial_states[0]) {
      copy_row(static_cast<T*>(call.dinitial_states[0]) + b * this->units, dh, this->units);
    }
    if (!call.dx || !this->steps.list) return;
    for (int64_t s = 0, i = 0; s < this->time; ++s) {
      if (i < this->count(rank) && this->step(rank, i) == s) {
        ++i;
      } else {
        fill_zero(static_cast<T*>(call.dx) + this->x_index(b, s), this->features);
      }
    }
  }

  // Row m of the weight gradients: the slots' sums, in their order.
  void reduce(int64_t m) const {
    const bool recurrent = m < this->units, bias = m == this->units + this->features;
    T* to = static_cast<T*>(bias ? call.dbias : recurrent ? call.drecurrent_kernel : call.dkernel);
    if (!to) return;
    if (!bias) to += (recurrent ? m : m - this->units) * this->sums;
    const int64_t at = (recurrent ? m : m - this->units + this->state_width) * ld_dz;
    for_vectors<T>(this->sums, [&](int64_t j, int64_t n) {
      Vector<T> total = {};
      for (int64_t slot = 0; slot < slots; ++slot) total += load(gradients + slot * slot_gradients + at + j);
      store_some(to + j, total, n);
    });
  }

  void pack(int64_t panel) const {
    if (panel < back.count) {
      pack_transposed(packed_back + back.column(panel) * this->sums, back, panel,
                      static_cast<const T*>(this->in.recurrent_kernel), this->sums, this->sums);
    } else {
      panel -= back.count;
      pack_transposed(packed_inputs + inputs.column(panel) * this->sums, inputs, panel,
                      static_cast<const T*>(this->in.kernel), this->sums, this->sums);
    }
  }
};

// Slots are portions of the rows, each with its own sums of the weight gradients: set by the shape alone, so that
// the sums do not depend on the number of threads. Few where the weights are large and their sums costly.
int64_t backward_slots(int64_t batch, int64_t gradient_bytes) {
  constexpr int64_t kMost = 16, kLarge = int64_t(1) << 19, kAll = int64_t(64) << 20;
  const int64_t wanted = ceil_divide(batch, gradient_bytes > kLarge ? 32 : 8);
  const int64_t most = gradient_bytes * kMost > kAll ? kMost / 4 : kMost;
  return wanted < most ? wanted : most;
}

template <class T, class Cell>
elman_status backward(const elman_backward_call& call, const Steps& steps) {
  Backward<T, Cell> f(call, steps);
  const double products = 1 + (f.want_weights ? 1 : 0) + (call.dx ? 0.5 : 0);
  const int64_t threads =
      threads_for(products * total_steps(f.spec, steps) * double(f.sums) * double(f.features + f.units));
  f.slots = backward_slots(f.batch, f.gradient_rows * f.ld_dz * int64_t(sizeof(T)));
  const int64_t slot_rows = f.slots ? ceil_divide(f.batch, f.slots) : 0;
  f.group_rows = slot_rows ? ceil_divide(slot_rows, ceil_divide(slot_rows, kMostTaskRows)) : 0;
  f.back = make_panels<T>(f.units, f.group_rows);
  f.weights = make_panels<T>(f.sums, f.units);
  f.chunk_rows = (int64_t(32) << 10) / (kMaxVectors * ELMAN_VECTOR_BYTES);
  if (f.chunk_rows > kMostChunkRows) f.chunk_rows = kMostChunkRows;
  if (call.dx) f.inputs = make_panels<T>(f.features, f.chunk_rows);
  const int64_t workers = threads < f.slots ? threads : f.slots;
  f.slot_gradients = f.want_weights ? (f.gradient_rows + 1) * f.ld_dz : 0;
  f.worker_scratch = 2 * f.group_rows * f.state_width + f.chunk_rows * (f.ld_dz + f.lda) + 4 * 64;
  Carve<T> carve;
  void* memory = nullptr;
  for (int pass = 0; pass < 2; ++pass) {
    f.packed_back = carve.take(f.back.padded() * f.sums);
    f.packed_inputs = carve.take(f.inputs.padded() * f.sums);
    f.gradients = carve.take(f.slots * f.slot_gradients);
    f.scratch = carve.take(workers * f.worker_scratch);
    if (pass == 1) break;
    memory = scratch_take(size_t(carve.used) * sizeof(T));
    if (!memory) return ELMAN_OUT_OF_MEMORY;
    carve = {static_cast<T*>(memory), 0};
  }
  const double packing = double(f.back.padded() + f.inputs.padded()) * double(f.sums);
  parallel(int(f.back.count + f.inputs.count), packing < 1e5 ? 1 : int(threads),
           [](void* context, int panel, int) { static_cast<Backward<T, Cell>*>(context)->pack(panel); }, &f);
  parallel(int(f.slots), int(workers),
           [](void* context, int slot, int worker) {
             const auto& job = *static_cast<Backward<T, Cell>*>(context);
             job.run_slot(slot, job.scratch + worker * job.worker_scratch);
           },
           &f);
  if (f.want_weights) {
    const int64_t rows = f.units + f.features + 1;
    parallel(int(rows), double(rows) * double(f.sums) * double(f.slots) < 1e5 ? 1 : int(threads),
             [](void* context, int row, int) { static_cast<Backward<T, Cell>*>(context)->reduce(row); }, &f);
  }
  scratch_give(memory);
  return ELMAN_OK;
}

// --- the level ---------------------------------------------------------------------------------------------

template <class T>
double multiply_adds(int64_t rounds) {
  constexpr int kChains = kMaxRows[kMaxVectors] * kMaxVectors;
  Vector<T> sum[kChains];
  for (int c = 0; c < kChains; ++c) sum[c] = Vector<T>{} + T(c);
  Vector<T> factor = Vector<T>{} + T(0.999), term = Vector<T>{} + T(0.001);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 32
    for (int c = 0; c < kChains; ++c) sum[c] = sum[c] * factor + term;
  }
  Vector<T> total = {};
  for (int c = 0; c < kChains; ++c) total += sum[c];
  volatile T sink = total[0];  // keeps the loop
  (void)sink;
  return 2.0 * double(rounds) * kChains * kLanes<T>;
}

elman_status run_forward(const elman_forward_call& call, const Steps& steps) {
  return call.spec->dtype == ELMAN_FLOAT64 ? forward<double, SimpleRnn>(call, steps)
                                           : forward<float, SimpleRnn>(call, steps);
}
elman_status run_backward(const elman_backward_call& call, const Steps& steps) {
  return call.spec->dtype == ELMAN_FLOAT64 ? backward<double, SimpleRnn>(call, steps)
                                           : backward<float, SimpleRnn>(call, steps);
}
double run_multiply_adds(int dtype, int64_t rounds) {
  return dtype == ELMAN_FLOAT64 ? multiply_adds<double>(rounds) : multiply_adds<float>(rounds);
}

}  // namespace

#define ELMAN_TEXT(name) #name
#define ELMAN_NAME(name) ELMAN_TEXT(name)
const Level kLevel = {ELMAN_NAME(ELMAN_LEVEL), run_forward, run_backward, run_multiply_adds};

}  // namespace ELMAN_LEVEL
}  // namespace elman
