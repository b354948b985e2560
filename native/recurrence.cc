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

constexpr int64_t kMostTaskRows = 64;  // batch rows that a thread carries together
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
  static constexpr int kBlocks = Cell::kGates + Cell::kApart;
  static constexpr int kSharing =
      Cell::kGates - Cell::kResets;  // gates whose products read the state as it was handed on

  const elman_spec& spec;
  const elman_operands& in;
  const Steps& steps;
  const int64_t batch = spec.batch, time = spec.time, features = spec.features, units = spec.units;
  const int64_t sums = Cell::kGates * units;
  const int64_t state_width = round_up<T>(units);
  // A row that products read: [ h | x ], of each one copy for all gates, or one for each where their dropouts differ;
  // and of h one more for the gate that reads it reset.
  const int h_masks = in.recurrent_dropout ? spec.recurrent_dropout_masks : 0;
  const int h_copies = h_masks > 1 ? Cell::kGates : 1 + Cell::kResets;
  const int x_copies = in.input_dropout && spec.input_dropout_masks > 1 ? Cell::kGates : 1;
  const int64_t x_column = h_copies * state_width;
  const int64_t lda = stride<T>(x_column + x_copies * features);
  const int64_t columns = elman_tape_columns(&spec);
  const bool sequences = spec.flags & ELMAN_RETURN_SEQUENCES;
  const bool zero_output = spec.flags & ELMAN_ZERO_OUTPUT_FOR_MASK;

  int64_t row(int64_t rank) const { return steps.rows ? steps.rows[rank] : rank; }
  int64_t count(int64_t rank) const { return steps.counts ? steps.counts[rank] : time; }
  int64_t step(int64_t rank, int64_t i) const { return steps.list ? steps.list[rank * time + i] : i; }
  int64_t x_index(int64_t b, int64_t s) const {
    return (b * time + (spec.flags & ELMAN_GO_BACKWARDS ? time - 1 - s : s)) * features;
  }
  int64_t sequence_index(int64_t b, int64_t s) const { return (b * time + s) * units; }
  int64_t tape_index(int64_t b, int64_t s) const { return (b * time + s) * columns; }

  // Where y, or else the tape, holds the state after step s; null where neither does.
  template <class Y>
  ELMAN_INLINE Y* state_at(Y* y, Y* tape, int64_t b, int64_t s) const {
    constexpr int kKind =
        Cell::kGates;  // a GRU's tape begins with one column of each gate; a simple RNN's is its states
    if (sequences) return y + sequence_index(b, s);
    return tape && Cell::kStates == 1 ? tape + tape_index(b, s) + (Cell::kHolds ? kKind * units : 0) : nullptr;
  }

  // The columns of a row where the product of a gate reads h and x.
  int64_t h_column_of(int gate) const { return (h_masks > 1 ? gate : gate >= kSharing) * state_width; }
  int64_t x_column_of(int gate) const { return x_column + (x_copies > 1 ? gate : 0) * features; }
  static int input_gate(int block) { return (block + Cell::kGates - Cell::kApart) % Cell::kGates; }

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

  // The copies of h that a step hands on.
  ELMAN_INLINE void copy_states(T* to, const T* from, const T* dropout) const {
    const int copies = Cell::kGates == 1 ? 1 : h_copies - Cell::kResets;
    for (int copy = 0; copy < copies; ++copy, to += state_width) {
      copy_state(to, from, dropout ? dropout + copy * state_width : nullptr);
    }
  }

  const T* initial_state(int which, int64_t b) const {
    return in.initial_states[which] ? static_cast<const T*>(in.initial_states[which]) + b * units : nullptr;
  }

  // Rows of the recurrent dropout of ranks [first, last), a mask behind the other, padded, into `to`; null where there
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

// --- forward -----------------------------------------------------------------------------------------------

// Rows by threads: as even as can be; with masks in smaller portions, since rows differ in length.
int64_t forward_tasks(int64_t batch, int64_t threads, bool masked) {
  const int64_t even = masked && threads > 1 ? 4 * threads : threads;
  const int64_t wanted = batch < even ? batch : even;
  const int64_t least = ceil_divide(batch, kMostTaskRows);
  return least > wanted ? ceil_divide(least, threads) * threads : wanted;
}

template <class T, class Cell>
struct Forward : Recurrence<T, Cell> {
  using Base = Recurrence<T, Cell>;
  using Base::kBlocks;
  using Base::kSharing;

  // What one worker carries through its rows.
  struct Work {
    int64_t first;  // rank of the first
    T* now;         // (rows, lda): what this step's products read,
    T* next;        // and the next one's
    T* held;        // (rows, state_width), see Row
    const T* dropout;
    T* out[kMostTaskRows];
    T* tape[kMostTaskRows];
  };

  // Blocks of the sums that end together, in a step of the cell.
  struct Phase {
    int first, blocks;
    int products;  // blocks of the inputs' product, and of the state's
    Panels panels;
    bool in_place;  // the weights are read where they are, else
    T* packed;      // by panel as rows of [ b | W | U ], `depth` of them a column
    int64_t depth;
    void (*step)(const Forward&, const Work&, int64_t column, int64_t row, int64_t height, const T* z, int64_t ldz);
  };

  const elman_forward_call& call;
  const int64_t tasks, task_rows;
  bool by_gate;  // each gate's products by themselves
  Phase phases[1 + Cell::kResets];
  T* bias = nullptr;  // (kBlocks, units), where some gate has two that are to be added
  T* scratch = nullptr;
  int64_t task_scratch = 0;

  Forward(const elman_forward_call& c, const Steps& s, int64_t threads)
      : Base{*c.spec, c.in, s},
        call(c),
        tasks(forward_tasks(this->batch, threads, s.list)),
        task_rows(ceil_divide(this->batch, tasks)) {
    const bool whole = this->units % kLanes<T> == 0;
    const bool few = whole && this->batch * this->time <= kRowsWorthPacking;  // steps do not repay packing
    by_gate = Cell::kGates == 1 || this->h_masks > 1 || this->x_copies > 1 || few;
    with_functions<(Cell::kGates > 1)>(this->spec, [&](auto functions) {
      using Functions = typename decltype(functions)::type;
      phases[0].step = step_rows<Functions, 0>;
      if constexpr (Cell::kResets) phases[1].step = step_rows<Functions, 1>;
    });
    for (int i = 0; i <= Cell::kResets; ++i) {
      Phase& phase = phases[i];
      phase.first = i == 0 ? 0 : kSharing;
      phase.blocks = (i == Cell::kResets ? kBlocks : kSharing) - phase.first;
      phase.products = phase.blocks - Cell::kApart;
      phase.depth = phase.blocks + phase.products * (this->features + this->units);
      const int times = by_gate ? 1 : phase.products;
      const int most = Cell::kGates == 1 ? kWide : by_gate || times > kWide ? 1 : kWide / times;
      phase.panels = make_panels<T>(this->units, task_rows, most, times);
      // Weights that fill one panel to its edge lie as a panel would.
      phase.in_place = few || (Cell::kGates == 1 && whole && phase.panels.count == 1);
    }
  }

  // Takes everything out of one block of memory.
  void take(Carve<T>& carve, int64_t workers) {
    if (Cell::kApart && this->in.bias) bias = carve.take(kBlocks * this->units);
    for (Phase& phase : phases) {
      phase.packed = phase.in_place ? nullptr : carve.take(phase.panels.padded() * phase.depth);
    }
    Carve<T> own;
    take_work(own, task_rows);
    task_scratch = own.used;
    scratch = carve.take(workers * task_scratch);
  }

  Work take_work(Carve<T>& carve, int64_t rows) const {
    Work w;
    w.now = carve.take(rows * this->lda);
    w.next = carve.take(rows * this->lda);
    w.held = Cell::kHolds ? carve.take(rows * this->state_width) : nullptr;
    w.dropout = carve.take(rows * this->h_masks * this->state_width);
    w.out[0] = carve.take(rows * this->units);
    return w;
  }

  // Both biases of the blocks where the sums of the inputs and of the state meet; of the others the one they have.
  void add_biases() {
    const T* const b = static_cast<const T*>(this->in.bias);
    for (int block = 0; block < kBlocks; ++block) {
      const T* const input = b + Base::input_gate(block) * this->units;
      const T* const state = b + this->sums + (block - Cell::kApart) * this->units;
      for (int64_t j = 0; j < this->units; ++j) {
        const T first = block < Cell::kGates ? input[j] : T(0);
        bias[block * this->units + j] = block < Cell::kApart ? first : first + state[j];
      }
    }
  }

  // The weights of a block: its bias, and the columns of W and U that it has.
  const T* bias_of(int block) const {
    const T* const all = Cell::kApart ? bias : static_cast<const T*>(this->in.bias);
    return all ? all + block * this->units : nullptr;
  }
  const T* kernel_of(int block) const {
    return static_cast<const T*>(this->in.kernel) + Base::input_gate(block) * this->units;
  }
  const T* recurrent_kernel_of(int block) const {
    return static_cast<const T*>(this->in.recurrent_kernel) + (block - Cell::kApart) * this->units;
  }

  void pack(Phase& phase, int64_t panel) const {
    const Panels& p = phase.panels;
    const int64_t width = p.width(panel), ld = phase.products * width;
    T* const biases = phase.packed + p.column(panel) * phase.depth;
    T* const x_rows = biases + phase.blocks * width;
    T* const h_rows = x_rows + this->features * ld;
    for (int k = 0; k < phase.blocks; ++k) {
      const int block = phase.first + k, state = k - Cell::kApart;
      if (const T* const b = bias_of(block)) {
        pack_rows(biases + k * width, 0, p, panel, b, 1, 0);
      } else {
        fill_zero(biases + k * width, width);
      }
      if (k < phase.products) pack_rows(x_rows + k * width, ld, p, panel, kernel_of(block), this->features, this->sums);
      if (state < 0) continue;
      pack_rows(h_rows + state * width, ld, p, panel, recurrent_kernel_of(block), this->units, this->sums);
    }
  }

  // What makes up the sums of a panel.
  int products(const Phase& phase, const Work& w, int64_t panel, Product<T>* parts) const {
    const Panels& p = phase.panels;
    const int vectors = p.vectors_of(panel);
    const int64_t column = p.column(panel), width = p.width(panel), ld = phase.products * width;
    const T* const biases = phase.packed + column * phase.depth;
    const T* const x_rows = biases + phase.blocks * width;
    const T* const h_rows = x_rows + this->features * ld;
    const T* const x = w.now + this->x_column;
    const T* const h = w.now + this->h_column_of(phase.first);
    const int64_t lda = this->lda;
    if (!by_gate && Cell::kApart) {
      parts[0] = {
          {x, this->features, x, 0, lda, x_rows, x_rows, ld, biases, 0, nullptr, 0}, phase.products * vectors, 0};
      parts[1] = {{h, this->units, h, 0, lda, h_rows, h_rows, ld, nullptr, 0, nullptr, 0},
                  phase.products * vectors,
                  width,
                  true,
                  biases + phase.products * width};
      return 2;
    }
    if (!by_gate) {
      parts[0] = {{x, this->features, h, this->units, lda, x_rows, h_rows, ld, biases, 0, nullptr, 0},
                  phase.products * vectors,
                  0};
      return 1;
    }
    const int blocks = Cell::kGates == 1 ? 1 : phase.blocks;
    for (int k = 0; k < blocks; ++k) {
      const int block = Cell::kGates == 1 ? 0 : phase.first + k, state = block - Cell::kApart;
      const bool has_x = block < Cell::kGates, has_h = state >= 0;
      Tile<T> tile{};
      tile.a = w.now + (has_x ? this->x_column_of(Base::input_gate(block)) : 0);
      tile.a2 = w.now + (has_h ? this->h_column_of(state) : 0);
      tile.inner = has_x ? this->features : 0;
      tile.inner2 = has_h ? this->units : 0;
      tile.lda = lda;
      if (phase.in_place) {
        const T* const b = bias_of(block);
        tile.init = b ? b + column : nullptr;
        tile.b = has_x ? kernel_of(block) + column : nullptr;
        tile.b2 = has_h ? recurrent_kernel_of(block) + column : nullptr;
        tile.ldb = this->sums;
      } else {
        tile.init = biases + k * width;
        tile.b = x_rows + k * width;
        tile.b2 = h_rows + (k - Cell::kApart) * width;
        tile.ldb = ld;
      }
      parts[k] = {tile, vectors, k * width};
    }
    return blocks;
  }

  // The cell's step on the sums of one panel and a few rows.
  template <class Functions, int kPhase>
  static void step_rows(const Forward& f, const Work& w, int64_t column, int64_t row, int64_t height, const T* z,
                        int64_t ldz) {
    const Functions functions(f.spec);
    Row<T> at;
    at.block = ldz / f.phases[kPhase].blocks;
    at.copies = f.h_copies - Cell::kResets;
    at.stride = f.state_width;
    at.units = f.units;
    at.sequences = f.sequences;
    const int64_t width = f.units - column < at.block ? f.units - column : at.block;
    for (int64_t r = row; r < row + height; ++r, z += ldz) {
      at.z = z;
      at.held = Cell::kHolds ? w.held + r * f.state_width + column : nullptr;
      at.next = w.next + r * f.lda + column;
      at.dropouts = w.dropout ? f.dropout_of(w.dropout, r, 0) + column : nullptr;
      at.out = w.out[r] + column;
      at.tape = w.tape[r] ? w.tape[r] + column : nullptr;
      if (Cell::kResets) {
        at.reset = w.now + r * f.lda + f.h_column_of(kSharing) + column;
        at.dropout = w.dropout ? f.dropout_of(w.dropout, r, kSharing) + column : nullptr;
      }
      Cell::template step<kPhase>(functions, at, width);
    }
  }

  // All steps of ranks [first, last).
  void run(int64_t first, int64_t last, Carve<T> carve) const {
    const int64_t rows = last - first;
    Work w = take_work(carve, rows);
    T* const spare = w.out[0];
    w.first = first;
    w.dropout = this->copy_recurrent_dropout(const_cast<T*>(w.dropout), first, last);
    for (int64_t r = 0; r < rows; ++r) begin_row(w, r);
    int64_t running = rows;
    for (int64_t i = 0;; ++i) {
      while (running > 0 && this->count(first + running - 1) <= i) --running;
      if (running == 0) break;
      for (int64_t r = 0; r < running; ++r) {
        const int64_t b = this->row(first + r), s = this->step(first + r, i);
        this->copy_input(w.now + r * this->lda + this->x_column, b, s);
        if (i + kAhead < this->count(first + r)) fetch(b, this->step(first + r, i + kAhead));
        T* const tape = static_cast<T*>(call.tape);
        T* const at = this->state_at(static_cast<T*>(call.y), tape, b, s);
        w.out[r] = at ? at : spare + r * this->units;
        w.tape[r] = tape ? tape + this->tape_index(b, s) : nullptr;
      }
      for (const Phase& phase : phases) {
        multiply<T>(
            phase.panels, phase.blocks, this->batch == 1, running,
            [&](int64_t panel, Product<T>* parts) { return products(phase, w, panel, parts); },
            [&](int64_t column, int64_t row, int64_t height, const T* z, int64_t ldz) {
              phase.step(*this, w, column, row, height, z, ldz);
            });
      }
      for (int64_t r = running - 1; r >= 0 && this->count(first + r) == i + 1; --r) {
        const bool masked_end = this->step(first + r, i) != this->time - 1;
        finish_row(w, r, masked_end && this->zero_output ? nullptr : w.out[r]);
      }
      T* const swap = w.now;
      w.now = w.next;
      w.next = swap;
    }
    if (this->steps.list && (this->sequences || call.tape)) {
      for (int64_t r = first; r < last; ++r) fill_masked(r);
    }
  }

  // Puts the initial states in place; where no step follows they are the final ones.
  void begin_row(const Work& w, int64_t r) const {
    const int64_t b = this->row(w.first + r);
    const T* const h = this->initial_state(0, b);
    this->copy_states(w.now + r * this->lda, h, this->dropout_of(w.dropout, r, 0));
    if (Cell::kHolds) {
      this->copy_state(w.held + r * this->state_width, this->initial_state(Cell::kStates - 1, b), nullptr);
    }
    if (this->count(w.first + r) == 0) write_row(w, r, h, nullptr);
  }

  void fetch(int64_t b, int64_t s) const {
    fetch_row(static_cast<const T*>(this->in.x) + this->x_index(b, s), this->features);
    if (this->sequences) fetch_row(static_cast<T*>(call.y) + this->sequence_index(b, s), this->units);
    if (call.tape) fetch_row(static_cast<T*>(call.tape) + this->tape_index(b, s), this->columns);
  }

  void finish_row(const Work& w, int64_t r, const T* output) const { write_row(w, r, w.out[r], output); }

  // The last states and output of a row; null: zeros.
  void write_row(const Work& w, int64_t r, const T* state, const T* output) const {
    const int64_t b = this->row(w.first + r);
    const auto write = [&](void* to, const T* from) {
      T* const row = static_cast<T*>(to) + b * this->units;
      if (from) {
        copy_row(row, from, this->units);
      } else {
        fill_zero(row, this->units);
      }
    };
    if (call.final_states[0]) write(call.final_states[0], state);
    if (Cell::kStates > 1 && call.final_states[1]) write(call.final_states[1], w.held + r * this->state_width);
    if (!this->sequences) write(call.y, output);
  }

  // Outputs of masked steps: the one before them, or zeros. On the tape zeros.
  void fill_masked(int64_t rank) const {
    const int64_t b = this->row(rank);
    T* const y = this->sequences ? static_cast<T*>(call.y) + this->sequence_index(b, 0) : nullptr;
    const T* before = nullptr;
    for (int64_t s = 0, i = 0; s < this->time; ++s) {
      T* const here = y ? y + s * this->units : nullptr;
      if (i < this->count(rank) && this->step(rank, i) == s) {
        before = here;
        ++i;
        continue;
      }
      if (call.tape) fill_zero(static_cast<T*>(call.tape) + this->tape_index(b, s), this->columns);
      if (!y) continue;
      if (before && !this->zero_output) {
        copy_row(here, before, this->units);
      } else {
        fill_zero(here, this->units);
      }
    }
  }
};

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
  const elman_spec& spec = *call.spec;
  if (spec.batch == 0) return ELMAN_OK;
  const double step_size = double(Cell::kGates * spec.units) * double(spec.features + spec.units);
  const int64_t threads = threads_for(total_steps(spec, steps) * step_size);
  Forward<T, Cell> f(call, steps, threads);
  const int64_t workers = threads < f.tasks ? threads : f.tasks;
  Carve<T> carve;
  f.take(carve, workers);
  const size_t size = size_t(carve.used) * sizeof(T);
  void* const memory = scratch_take(size);
  if (!memory) return ELMAN_OUT_OF_MEMORY;
  carve = {static_cast<T*>(memory), 0};
  f.take(carve, workers);
  if (f.bias) f.add_biases();
  for (auto& phase : f.phases) {
    if (phase.in_place) continue;
    struct Packing {
      const Forward<T, Cell>& forward;
      decltype(phase) of;
    } packing{f, phase};
    const double packed_size = double(phase.panels.padded()) * double(phase.depth);
    parallel(
        int(phase.panels.count), packed_size < 1e5 ? 1 : int(threads),
        [](void* context, int panel, int) {
          const Packing& p = *static_cast<Packing*>(context);
          p.forward.pack(p.of, panel);
        },
        &packing);
  }
  parallel(
      int(f.tasks), int(workers),
      [](void* context, int task, int worker) {
        const auto& job = *static_cast<Forward<T, Cell>*>(context);
        const int64_t first = task * job.batch / job.tasks, last = (task + 1) * job.batch / job.tasks;
        job.run(first, last, {job.scratch + worker * job.task_scratch, 0});
      },
      &f);
  scratch_give(memory);
  return ELMAN_OK;
}

// --- backward ----------------------------------------------------------------------------------------------

template <class T, class Cell>
struct Backward : Recurrence<T, Cell> {
  using Base = Recurrence<T, Cell>;
  using Base::kBlocks;
  using Base::kSharing;
  const elman_backward_call& call;
  const T* const y;
  const T* const tape;
  const bool want_weights;
  const bool product_again = Cell::kApart && !this->sequences;  // its place on the tape is taken by h
  const int64_t dz_columns = (kBlocks - 1) * this->state_width + this->units;
  const int64_t ld_dz = stride<T>(dz_columns);
  const int64_t dh_width = Cell::kStates * this->state_width;
  const int64_t gradient_rows = this->state_width + this->features;  // of dU over dW, laid out as [ h | x ]
  int64_t slots = 0, group_rows = 0, chunk_rows = 0, slot_gradients = 0, worker_scratch = 0;
  Panels back;                       // dz U^T
  Panels inputs;                     // dz W^T
  Panels again;                      // h U of one gate
  Panels weights[Cell::kGates + 1];  // [ h | x ]^T dz, by the number of blocks of dz
  T* packed_back = nullptr;
  T* packed_inputs = nullptr;
  T* packed_again = nullptr;
  T* gradients = nullptr;  // (slots, gradient_rows + 1, ld_dz): dU, dW, and db in the last row
  T* scratch = nullptr;

  Backward(const elman_backward_call& c, const Steps& s)
      : Base{*c.spec, c.in, s},
        call(c),
        y(static_cast<const T*>(c.y)),
        tape(static_cast<const T*>(this->columns ? c.tape : nullptr)),
        want_weights(c.dkernel || c.drecurrent_kernel || c.dbias) {}

  // What one worker carries through its rows.
  struct Work {
    int64_t first;  // rank of the first
    T* dh;          // (rows, states, state_width): gradient of the states, from the steps behind
    const T* dropout;
    T* product;                          // (rows, state_width): that of a gate's state, where it is made again
    T* before;                           // (state_width): h before a step, where only its parts are on the tape
    T* dz;                               // (chunk, ld_dz)
    T* operand;                          // (chunk, lda): [ h | x ] of the same steps
    int64_t inputs[kMostChunkRows];      // where dx of a chunk row goes
    int64_t input_rows[kMostChunkRows];  // and its batch row
    int64_t used;                        // rows of the chunk in use
    T* gradient;                         // this slot's sums
    bool fresh;                          // nothing is in them yet
  };

  Work take_work(Carve<T>& carve) const {
    Work w;
    w.dh = carve.take(group_rows * dh_width);
    w.dropout = carve.take(group_rows * this->h_masks * this->state_width);
    w.product = carve.take(product_again ? group_rows * this->state_width : 0);
    w.before = carve.take(this->state_width);
    w.dz = carve.take(chunk_rows * ld_dz);
    w.operand = carve.take(chunk_rows * this->lda);
    return w;
  }

  // Takes everything out of one block of memory.
  void take(Carve<T>& carve, int64_t workers) {
    const int64_t inner = Cell::kGates * this->state_width;
    packed_back = carve.take(back.padded() * inner);
    packed_inputs = carve.take(inputs.padded() * inner);
    packed_again = carve.take(again.padded() * (1 + this->units));
    gradients = carve.take(slots * slot_gradients);
    Carve<T> own;
    take_work(own);
    worker_scratch = own.used;
    scratch = carve.take(workers * worker_scratch);
  }

  // All rows of a slot, some at a time, into its sums.
  void run_slot(int64_t slot, T* own) const {
    const int64_t begin = slot * this->batch / slots, end = (slot + 1) * this->batch / slots;
    T* const gradient = gradients + slot * slot_gradients;
    if (want_weights && this->count(begin) == 0) fill_zero(gradient, slot_gradients);
    for (int64_t first = begin; first < end; first += group_rows) {
      const int64_t last = first + group_rows < end ? first + group_rows : end;
      with_functions<(Cell::kGates > 1)>(this->spec, [&](auto functions) {
        run<typename decltype(functions)::type>(first, last, gradient, first == begin, {own, 0});
      });
    }
  }

  // All steps, from the last to the first, of ranks [first, last); `fresh`: nothing is in `gradient` yet.
  template <class Functions>
  void run(int64_t first, int64_t last, T* gradient, bool fresh, Carve<T> carve) const {
    const int64_t rows = last - first;
    Work w = take_work(carve);
    w.first = first;
    w.dropout = this->copy_recurrent_dropout(const_cast<T*>(w.dropout), first, last);
    w.used = 0;
    w.gradient = gradient;
    w.fresh = fresh;
    for (int64_t r = 0; r < rows; ++r) begin_row(first + r, w.dh + r * dh_width);
    int64_t running = 0;
    for (int64_t i = this->count(first) - 1; i >= 0; --i) {
      while (running < rows && i < this->count(first + running)) ++running;
      if (w.used + running > chunk_rows) flush(w);
      if (product_again) {
        for (int64_t r = 0; r < running; ++r) {
          const int64_t rank = first + r, b = this->row(rank), s = this->step(rank, i);
          copy_operand<Functions>(w, r, rank, b, s, i, state_before(rank, b, i));
        }
        multiply_again(w, running);
      }
      for (int64_t r = 0; r < running; ++r) step_back<Functions>(w, first + r, r, i);
      if constexpr (Cell::kResets) step_back_reset<Functions>(w, running, i);
      if (i > 0 || call.dinitial_states[0] || call.dinitial_states[1] || call.norms) multiply_back(w, running, i);
      w.used += running;
    }
    flush(w);
    for (int64_t r = 0; r < rows; ++r) finish_row(first + r, w.dh + r * dh_width);
  }

  void begin_row(int64_t rank, T* dh) const {
    const int64_t count = this->count(rank);
    for (int k = 0; k < Cell::kStates; ++k) {
      const T* const dfinal = static_cast<const T*>(call.dfinal_states[k]);
      this->copy_state(dh + k * this->state_width, dfinal ? dfinal + this->row(rank) * this->units : nullptr, nullptr);
    }
    hand_back(rank, dh, this->time, count > 0 ? this->step(rank, count - 1) : -1);
  }

  const T* tape_at(int64_t b, int64_t s) const { return tape + this->tape_index(b, s); }

  // The state before the i-th valid step, in y, on the tape or as it was given; null: zeros.
  ELMAN_INLINE const T* state_before(int64_t rank, int64_t b, int64_t i) const {
    return i > 0 ? this->state_at(y, tape, b, this->step(rank, i - 1)) : this->initial_state(0, b);
  }

  // Fills the chunk's next row with what the products of the i-th valid step read.
  template <class Functions>
  ELMAN_INLINE void copy_operand(Work& w, int64_t r, int64_t rank, int64_t b, int64_t s, int64_t i,
                                 const T* before) const {
    const int64_t at = w.used + r;
    if (call.dx) {
      w.inputs[at] = this->x_index(b, s);
      w.input_rows[at] = b;
    }
    if (!want_weights && !product_again) return;
    T* const operand = w.operand + at * this->lda;
    if constexpr (Cell::kStates > 1) {
      if (!before && i > 0) {
        Cell::output(Functions(this->spec), tape_at(b, this->step(rank, i - 1)), w.before, this->units);
        before = w.before;
      }
    }
    this->copy_states(operand, before, this->dropout_of(w.dropout, r, 0));
    if constexpr (Cell::kResets) {
      T* const reset = operand + this->h_column_of(kSharing);
      this->copy_state(reset, before, this->dropout_of(w.dropout, r, kSharing));
      Cell::reset(tape_at(b, s), reset, this->units);
    }
    this->copy_input(operand + this->x_column, b, s);
  }

  // Adds the outputs' gradient to that of one row's state after its i-th valid step, and steps back through it.
  template <class Functions>
  ELMAN_INLINE void step_back(Work& w, int64_t rank, int64_t r, int64_t i) const {
    const int64_t b = this->row(rank), s = this->step(rank, i);
    const RowBack<T> row = row_back(w, r, rank, b, s, i);  // first: past a store the compiler looks everything up again
    if (i >= kAhead) fetch(rank, b, i - kAhead);
    add_outputs(row.dh, rank, b, s, i);
    if (call.norms) static_cast<T*>(call.norms)[b * this->time + s] = T(norm(row.dh));
    Cell::step_back(Functions(this->spec), row);
    if (!product_again) copy_operand<Functions>(w, r, rank, b, s, i, row.before);
  }

  ELMAN_INLINE RowBack<T> row_back(const Work& w, int64_t r, int64_t rank, int64_t b, int64_t s, int64_t i) const {
    RowBack<T> row;
    row.tape = tape ? tape_at(b, s) : nullptr;
    row.h = this->state_at(y, tape, b, s);
    row.before = state_before(rank, b, i);
    if constexpr (Cell::kStates > 1) {
      constexpr int kCarry = 4;  // among the kinds of columns of the tape
      row.carry_before = i > 0 ? tape_at(b, this->step(rank, i - 1)) + kCarry * this->units : this->initial_state(1, b);
    }
    row.product = product_again ? w.product + r * this->state_width : nullptr;
    row.dh = w.dh + r * dh_width;
    row.dcarry = row.dh + this->state_width;
    row.dz = w.dz + (w.used + r) * ld_dz;
    row.block = this->state_width;
    row.units = this->units;
    return row;
  }

  // What the i-th valid step will read.
  ELMAN_INLINE void fetch(int64_t rank, int64_t b, int64_t i) const {
    const int64_t s = this->step(rank, i);
    if (const T* const before = i > 0 ? state_before(rank, b, i) : nullptr) fetch_row(before, this->units);
    if (tape && Cell::kGates > 1) fetch_row(tape_at(b, s), this->columns);
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

  // The product of rows of dz, `blocks` blocks from `first` on, with rows of what is packed for them.
  auto product_of(const Panels& p, const T* dz, int first, int blocks, const T* packed, int first_packed) const {
    return [this, &p, dz, first, blocks, packed, first_packed](int64_t panel, Product<T>* parts) {
      const int64_t width = p.width(panel), block = this->state_width;
      const T* const b = packed + p.column(panel) * Cell::kGates * block + first_packed * block * width;
      const T* const a = dz + first * block;
      parts[0] = {{a, (blocks - 1) * block + this->units, a, 0, ld_dz, b, b, width, nullptr, 0, nullptr, 0},
                  p.vectors_of(panel),
                  0};
      return 1;
    };
  }

  // The product of a gate's state, which the forward made last.
  void multiply_again(const Work& w, int64_t running) const {
    const T* const h = w.operand + w.used * this->lda + this->h_column_of(Cell::kGates - 1);
    multiply<T>(
        again, 1, this->batch == 1, running,
        [&](int64_t panel, Product<T>* parts) {
          const int64_t width = again.width(panel);
          const T* const b = packed_again + again.column(panel) * (1 + this->units);
          parts[0] = {
              {h, this->units, h, 0, this->lda, b + width, b, width, b, 0, nullptr, 0}, again.vectors_of(panel), 0};
          return 1;
        },
        [&](int64_t column, int64_t row, int64_t height, const T* z, int64_t ldz) {
          for (int64_t r = row; r < row + height; ++r, z += ldz) {
            copy_row(w.product + r * this->state_width + column, z, ldz);
          }
        });
  }

  // The product behind the reset gate, whose gradient is not known before it.
  template <class Functions>
  void step_back_reset(const Work& w, int64_t running, int64_t i) const {
    const T* const dz = w.dz + w.used * ld_dz;
    multiply<T>(back, 1, this->batch == 1, running, product_of(back, dz, kSharing, 1, packed_back, kSharing),
                [&](int64_t column, int64_t first, int64_t height, const T* z, int64_t ldz) {
                  const int64_t width = this->units - column < ldz ? this->units - column : ldz;
                  for (int64_t r = first; r < first + height; ++r, z += ldz) {
                    const int64_t rank = w.first + r, b = this->row(rank);
                    RowBack<T> row = row_back(w, r, rank, b, this->step(rank, i), i);
                    row.tape += column, row.dh += column, row.dz += column;
                    if (row.before) row.before += column;
                    const T* const dropout = w.dropout ? this->dropout_of(w.dropout, r, kSharing) + column : nullptr;
                    Cell::reset_back(Functions(this->spec), row, z, dropout, width);
                  }
                });
  }

  // dh = dz U^T of the rows just stepped back through; then what the step before them may have of it.
  void multiply_back(Work& w, int64_t running, int64_t i) const {
    const T* const dz = w.dz + w.used * ld_dz;
    const int each = this->h_masks > 1 ? 1 : kSharing;
    for (int gate = 0; gate < kSharing; gate += each) {
      const bool adds = Cell::kKeeps || (kSharing > 1 && gate > 0);
      multiply<T>(back, 1, this->batch == 1, running,
                  product_of(back, dz, Cell::kApart + gate, each, packed_back, gate),
                  [&](int64_t column, int64_t row, int64_t height, const T* z, int64_t ldz) {
                    for (int64_t r = row; r < row + height; ++r, z += ldz) {
                      T* const dh = w.dh + r * dh_width + column;
                      const T* const dropout = w.dropout ? this->dropout_of(w.dropout, r, gate) + column : nullptr;
                      for (int64_t j = 0; j < ldz; j += kLanes<T>) {
                        const Vector<T> d = dropout ? load(z + j) * load(dropout + j) : load(z + j);
                        store(dh + j, adds ? load(dh + j) + d : d);
                      }
                    }
                  });
    }
    for (int64_t r = 0; r < running; ++r) {
      const int64_t rank = w.first + r, before = i > 0 ? this->step(rank, i - 1) : -1;
      hand_back(rank, w.dh + r * dh_width, this->step(rank, i), before);
    }
  }

  // Hands the states' gradient of a row from step `from` (T: from behind the last step) to step `to`, through the
  // masked steps between: each may cut it; clipping it once is clipping it at all of them.
  void hand_back(int64_t rank, T* dh, int64_t from, int64_t to) const {
    const int64_t k = this->spec.truncate_gradient;
    const double c = this->spec.clip_state_gradient;
    if (k <= 0 && !(c > 0) && !(call.norms && this->steps.list)) return;
    bool clipped = false;
    for (int64_t t = from; t > to; --t) {
      if (t < this->time) {  // step t hands on to t - 1
        if (k > 0 && t > 0 && (this->time - t) % k == 0) {
          fill_zero(dh, dh_width);
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
    for (int64_t j = 0; j < dh_width; j += kLanes<T>) store(dh + j, load(dh + j) * scale * rest);
  }

  // L2 norm of one row of all states, summed in double in eight fixed chains; once more in another unit where squares
  // leave the range.
  double norm(const T* dh) const {
    const double plain = norm_times(dh, 1);
    if (plain > 1e-150 && plain < 1e150) return plain;
    const double unit = plain > 1 ? 0x1p-600 : 0x1p600;
    return norm_times(dh, unit) / unit;
  }

  double norm_times(const T* dh, double unit) const {
    double sum[8] = {};
    for (int k = 0; k < Cell::kStates; ++k, dh += this->state_width) {
      const auto square = [&](int64_t j) { return (double(dh[j]) * unit) * (double(dh[j]) * unit); };
      int64_t j = 0;
      for (; j + 8 <= this->units; j += 8) {
        for (int c = 0; c < 8; ++c) sum[c] += square(j + c);
      }
      for (; j < this->units; ++j) sum[j % 8] += square(j);
    }
    return __builtin_sqrt(((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7])));
  }

  // Multiplies the chunk into the weight gradients and dx, and empties it.
  void flush(Work& w) const {
    if (w.used == 0) return;
    if (want_weights) {
      const int each = this->h_masks > 1 ? 1 : kSharing;
      for (int gate = 0, n; gate < Cell::kGates; gate += n) {
        n = gate < kSharing ? each : 1;
        add_weights(w, this->h_column_of(gate), 0, this->units, Cell::kApart + gate, n);
      }
      const int blocks = this->x_copies > 1 ? 1 : Cell::kGates;
      for (int block = 0; block < Cell::kGates; block += blocks) {
        add_weights(w, this->x_column_of(Base::input_gate(block)), this->state_width, this->features, block, blocks);
      }
      add_bias(w);
      w.fresh = false;
    }
    if (call.dx) write_inputs(w);
    w.used = 0;
  }

  // Rows [row, row + n) of the weight gradients, some blocks of them, += columns of the operand from `from` on,
  // transposed, times dz.
  void add_weights(const Work& w, int64_t from, int64_t row, int64_t n, int first, int blocks) const {
    const Panels& p = weights[blocks];
    for (int64_t panel = 0; panel < p.count; ++panel) {
      const int vectors = p.vectors_of(panel);
      const int64_t column = first * this->state_width + p.column(panel), tiles = ceil_divide(n, kMaxRows[vectors]);
      for (int64_t i = 0; i < tiles; ++i) {
        const int64_t at = i * n / tiles, height = (i + 1) * n / tiles - at;
        T* const sum = w.gradient + (row + at) * ld_dz + column;
        const T* const a = w.operand + from + at;
        kTiles<T, true>.at[vectors][height](
            {a, w.used, a, 0, this->lda, w.dz + column, w.dz, ld_dz, w.fresh ? nullptr : sum, ld_dz, sum, ld_dz});
      }
    }
  }

  void add_bias(const Work& w) const {
    T* const sum = w.gradient + gradient_rows * ld_dz;
    for (int64_t j = 0; j < round_up<T>(dz_columns); j += kLanes<T>) {
      Vector<T> total = w.fresh ? Vector<T>{} : load(sum + j);
      for (int64_t r = 0; r < w.used; ++r) total += load(w.dz + r * ld_dz + j);
      store(sum + j, total);
    }
  }

  // dx = dz W^T, times the input dropout.
  void write_inputs(const Work& w) const {
    const int blocks = this->x_copies > 1 ? 1 : Cell::kGates;
    for (int block = 0; block < Cell::kGates; block += blocks) {
      const T* const dropouts = static_cast<const T*>(this->in.input_dropout);
      const int64_t mask = this->x_copies > 1 ? Base::input_gate(block) * this->batch : 0;
      multiply<T>(inputs, 1, false, w.used, product_of(inputs, w.dz, block, blocks, packed_inputs, block),
                  [&](int64_t column, int64_t row, int64_t height, const T* z, int64_t ldz) {
                    const int64_t width = inputs.columns - column < ldz ? inputs.columns - column : ldz;
                    for (int64_t r = row; r < row + height; ++r, z += ldz) {
                      T* const dx = static_cast<T*>(call.dx) + w.inputs[r] + column;
                      if (!dropouts) {
                        copy_row(dx, z, width);
                        continue;
                      }
                      const T* const dropout = dropouts + (mask + w.input_rows[r]) * this->features + column;
                      multiply_row(dx, z, dropout, width, block > 0);
                    }
                  });
    }
  }

  // The gradients of the initial states, and zeros where no step was taken.
  void finish_row(int64_t rank, const T* dh) const {
    const int64_t b = this->row(rank);
    for (int k = 0; k < Cell::kStates; ++k) {
      T* const dinitial = static_cast<T*>(call.dinitial_states[k]);
      if (dinitial) copy_row(dinitial + b * this->units, dh + k * this->state_width, this->units);
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

  // Row m of the weight gradients, counted through dU, dW and db: the slots' sums, in their order.
  void reduce(int64_t m) const {
    const bool recurrent = m < this->units, bias = m == this->units + this->features;
    const int64_t from = (recurrent ? m : m - this->units + this->state_width) * ld_dz;
    const int64_t to = (recurrent ? m : m - this->units) * this->sums;
    if (bias) {
      reduce_row(static_cast<T*>(call.dbias), from, false);
      if (Cell::kApart && call.dbias) reduce_row(static_cast<T*>(call.dbias) + this->sums, from, true);
    } else if (T* const gradient = static_cast<T*>(recurrent ? call.drecurrent_kernel : call.dkernel)) {
      reduce_row(gradient + to, from, recurrent);
    }
  }

  void reduce_row(T* to, int64_t from, bool recurrent) const {
    for (int k = 0; to && k < Cell::kGates; ++k) {
      const int gate = recurrent ? k : Base::input_gate(k), block = recurrent ? Cell::kApart + k : k;
      const T* const sums = gradients + from + block * this->state_width;
      for_vectors<T>(this->units, [&](int64_t j, int64_t n) {
        Vector<T> total = {};
        for (int64_t slot = 0; slot < slots; ++slot) total += load(sums + slot * slot_gradients + j);
        store_some(to + gate * this->units + j, total, n);
      });
    }
  }

  void pack(int64_t panel) const {
    if (panel < back.count) return pack_back(packed_back, back, panel, this->in.recurrent_kernel, 0);
    panel -= back.count;
    if (panel < inputs.count) return pack_back(packed_inputs, inputs, panel, this->in.kernel, Cell::kApart);
    panel -= inputs.count;
    T* const to = packed_again + again.column(panel) * (1 + this->units);
    const int64_t gate = (Cell::kGates - 1) * this->units, width = again.width(panel);
    if (const T* const b = static_cast<const T*>(this->in.bias)) {
      pack_rows(to, 0, again, panel, b + this->sums + gate, 1, 0);
    } else {
      fill_zero(to, width);
    }
    const T* const u = static_cast<const T*>(this->in.recurrent_kernel) + gate;
    pack_rows(to + width, width, again, panel, u, this->units, this->sums);
  }

  // The transpose of a panel of U or W, gate by gate as dz has them.
  void pack_back(T* packed, const Panels& p, int64_t panel, const void* matrix, int apart) const {
    const int64_t width = p.width(panel), inner = this->state_width;
    T* to = packed + p.column(panel) * Cell::kGates * inner;
    for (int k = 0; k < Cell::kGates; ++k, to += inner * width) {
      const int gate = apart ? Base::input_gate(k) : k;
      pack_transposed(to, p, panel, static_cast<const T*>(matrix) + gate * this->units, this->units, inner, this->sums);
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
  for (int blocks = 1; blocks <= Cell::kGates; ++blocks) {
    f.weights[blocks] = make_panels<T>((blocks - 1) * f.state_width + f.units, f.units);
  }
  f.chunk_rows = (int64_t(32) << 10) / (kMaxVectors * ELMAN_VECTOR_BYTES);
  if (f.chunk_rows > kMostChunkRows) f.chunk_rows = kMostChunkRows;
  if (call.dx) f.inputs = make_panels<T>(f.features, f.chunk_rows);
  if (f.product_again) f.again = make_panels<T>(f.units, f.group_rows);
  const int64_t workers = threads < f.slots ? threads : f.slots;
  f.slot_gradients = f.want_weights ? (f.gradient_rows + 1) * f.ld_dz : 0;
  Carve<T> carve;
  f.take(carve, workers);
  void* const memory = scratch_take(size_t(carve.used) * sizeof(T));
  if (!memory) return ELMAN_OUT_OF_MEMORY;
  carve = {static_cast<T*>(memory), 0};
  f.take(carve, workers);
  const double packing = double(f.back.padded() + f.inputs.padded()) * double(f.sums);
  parallel(
      int(f.back.count + f.inputs.count + f.again.count), packing < 1e5 ? 1 : int(threads),
      [](void* context, int panel, int) { static_cast<Backward<T, Cell>*>(context)->pack(panel); }, &f);
  parallel(
      int(f.slots), int(workers),
      [](void* context, int slot, int worker) {
        const auto& job = *static_cast<Backward<T, Cell>*>(context);
        job.run_slot(slot, job.scratch + worker * job.worker_scratch);
      },
      &f);
  if (f.want_weights) {
    const int64_t rows = f.units + f.features + 1;
    parallel(
        int(rows), double(rows) * double(f.sums) * double(f.slots) < 1e5 ? 1 : int(threads),
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

// Runs body(type of the cell).
template <class Body>
elman_status with_cell(const elman_spec& spec, Body body) {
  switch (spec.cell) {
    case ELMAN_LSTM: return body(Type<Lstm>());
    case ELMAN_GRU: return spec.flags & ELMAN_RESET_AFTER ? body(Type<GruAfter>()) : body(Type<GruBefore>());
    default: return body(Type<SimpleRnn>());
  }
}

elman_status run_forward(const elman_forward_call& call, const Steps& steps) {
  return with_cell(*call.spec, [&](auto type) {
    using Cell = typename decltype(type)::type;
    return call.spec->dtype == ELMAN_FLOAT64 ? forward<double, Cell>(call, steps) : forward<float, Cell>(call, steps);
  });
}
elman_status run_backward(const elman_backward_call& call, const Steps& steps) {
  return with_cell(*call.spec, [&](auto type) {
    using Cell = typename decltype(type)::type;
    return call.spec->dtype == ELMAN_FLOAT64 ? backward<double, Cell>(call, steps) : backward<float, Cell>(call, steps);
  });
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
