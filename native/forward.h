// SPDX-License-Identifier: Apache-2.0
//
// The forward: Forward::run is the loop over time. A thread owns some batch rows for all steps, so no step waits for
// another thread. Weights are packed once per call. The states stay in scratch memory next to the inputs of their step,
// as rows [ h | x ] (recurrence.h), and each step
//
//   1. copies x_t of every row next to h_{t-1},
//   2. multiplies the rows with [ U, W ], panel by panel of columns, tile by tile of rows (product.h),
//   3. lets the cell turn each tile's sums into h_t, written to y, to the tape and into the next step's rows (cells.h).
//
// Part of forward.cc, and of streams in level.cc, which are compiled once per instruction set.
#ifndef ELMAN_FORWARD_H_
#define ELMAN_FORWARD_H_

#include "recurrence.h"

namespace elman {
namespace ELMAN_LEVEL {
namespace {

// Steps, over all rows, that repay packing the weights; for fewer, weights are read in place where whole vectors allow
// it. Packing reads and writes every weight once, and each step reads it once, from lines that then lie apart. An
// estimate, not a sweep.
constexpr int64_t kStepsWorthPacking = 16;

// Rows by threads: as even as can be; with masks in smaller portions, since rows differ in length.
inline int64_t forward_tasks(int64_t batch, int64_t threads, bool masked) {
  const int64_t even = masked && threads > 1 ? 4 * threads : threads;
  const int64_t wanted = batch < even ? batch : even;
  const int64_t least = ceil_divide(batch, kMostTaskRows);
  return least > wanted ? ceil_divide(least, threads) * threads : wanted;
}

template <class T, class Cell>
struct Forward : Recurrence<T, Cell> {
  using Base = Recurrence<T, Cell>;
  using Base::kBlocks;
  using Base::kOneBlock;
  using Base::kSharing;

  // What one worker carries through its rows.
  struct Work {
    int64_t first;     // rank of the first
    T* now;            // (rows, lda): what this step's products read,
    const T* dropout;  // (not next to each other, or Clang swaps them as a vector, for which each step waits)
    T* next;           // and the next one's
    T* state;          // (rows, state_width), see Row
    T* out[kMostTaskRows];
    T* tape[kMostTaskRows];
  };

  // Blocks of the sums that end in a phase.
  static constexpr int blocks_of(int phase) {
    return (phase == Cell::kResetPhase ? kBlocks : kSharing) - (phase == 0 ? 0 : kSharing);
  }

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
  Phase phases[1 + Cell::kResetPhase];
  T* bias = nullptr;  // (kBlocks, units), where some gate has two that are to be added
  T* scratch = nullptr;
  int64_t task_scratch = 0;

  // `lasting`: the weights are packed in any case, since the caller's arrays do not outlive this object
  // (stream_operations.h).
  Forward(const elman_forward_call& c, const Steps& s, int64_t threads, bool lasting = false)
      : Base{*c.spec, c.in, s},
        call(c),
        tasks(forward_tasks(this->batch, threads, s.list)),
        task_rows(ceil_divide(this->batch, tasks)) {
    const bool whole = this->units % kLanes<T> == 0;
    const bool few = !lasting && whole && this->batch * this->time <= kStepsWorthPacking;  // do not repay packing
    by_gate = kOneBlock || this->h_masks > 1 || this->x_copies > 1 || few;
    with_functions<Cell::kUsesGateActivation>(this->spec, [&](auto functions) {
      using Functions = typename decltype(functions)::type;
      phases[0].step = step_rows<Functions, 0>;
      if constexpr (Cell::kResetPhase) phases[1].step = step_rows<Functions, 1>;
    });
    for (int i = 0; i <= Cell::kResetPhase; ++i) {
      Phase& phase = phases[i];
      phase.first = i == 0 ? 0 : kSharing;
      phase.blocks = blocks_of(i);
      phase.products = phase.blocks - Cell::kSeparateProducts;
      phase.depth = phase.blocks + phase.products * (this->features + this->units);
      const int times = by_gate ? 1 : phase.products;
      const int most = kOneBlock ? kWide : by_gate || times > kWide ? 1 : kWide / times;
      phase.panels = make_panels<T>(this->units, task_rows, most, times);
      // Weights that fill one panel to its edge lie as a panel would.
      phase.in_place = !lasting && (few || (kOneBlock && whole && phase.panels.count == 1));
    }
  }

  // Takes everything out of one block of memory.
  void take(Arena<T>& arena, int64_t workers) {
    if (Cell::kSeparateProducts && this->in.bias) bias = arena.take(kBlocks * this->units);
    for (Phase& phase : phases) {
      phase.packed = phase.in_place ? nullptr : arena.take(phase.panels.padded() * phase.depth);
    }
    Arena<T> own;
    take_work(own, task_rows);
    task_scratch = own.used;
    scratch = arena.take(workers * task_scratch);
  }

  Work take_work(Arena<T>& arena, int64_t rows) const {
    Work w;
    w.now = arena.take(rows * this->lda);
    w.next = arena.take(rows * this->lda);
    w.state = Cell::kReadsState ? arena.take(rows * this->state_width) : nullptr;
    w.dropout = arena.take(rows * this->h_masks * this->state_width);
    w.out[0] = arena.take(rows * this->units);
    return w;
  }

  // Both biases of the blocks where the sums of the inputs and of the state meet; of the others the one they have.
  void add_biases() {
    const T* const b = static_cast<const T*>(this->in.bias);
    for (int block = 0; block < kBlocks; ++block) {
      const T* const input = b + Base::input_gate(block) * this->units;
      const T* const state = b + this->sums + (block - Cell::kSeparateProducts) * this->units;
      for (int64_t j = 0; j < this->units; ++j) {
        const T first = block < Cell::kGates ? input[j] : T(0);
        bias[block * this->units + j] = block < Cell::kSeparateProducts ? first : first + state[j];
      }
    }
  }

  // The weights of a block: its bias, and the columns of W and U that it has.
  const T* bias_of(int block) const {
    const T* const all = Cell::kSeparateProducts ? bias : static_cast<const T*>(this->in.bias);
    return all ? all + block * this->units : nullptr;
  }
  const T* kernel_of(int block) const {
    return static_cast<const T*>(this->in.kernel) + Base::input_gate(block) * this->units;
  }
  const T* recurrent_kernel_of(int block) const {
    return static_cast<const T*>(this->in.recurrent_kernel) + (block - Cell::kSeparateProducts) * this->units;
  }

  void pack(const Phase& phase, int64_t panel) const {
    const Panels& p = phase.panels;
    const int64_t width = p.width(panel), ld = phase.products * width;
    T* const biases = phase.packed + p.column(panel) * phase.depth;
    T* const x_rows = biases + phase.blocks * width;
    T* const h_rows = x_rows + this->features * ld;
    for (int k = 0; k < phase.blocks; ++k) {
      const int block = phase.first + k, state = k - Cell::kSeparateProducts;
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

  void pack_all(int64_t threads) const {
    for (const Phase& phase : phases) {
      if (phase.in_place) continue;
      const double elements = double(phase.panels.padded()) * double(phase.depth);
      parallel_for(phase.panels.count, threads_for_elements(elements, threads),
                   [&](int64_t panel, int) { pack(phase, panel); });
    }
  }

  // What is packed for a panel: rows of its biases, of W and of U, `ld` apart.
  struct Packed {
    const T *biases, *x_rows, *h_rows;
    int64_t ld;
  };
  Packed packed_panel(const Phase& phase, int64_t panel) const {
    const int64_t width = phase.panels.width(panel), ld = phase.products * width;
    const T* const biases = phase.packed + phase.panels.column(panel) * phase.depth;
    const T* const x_rows = biases + phase.blocks * width;
    return {biases, x_rows, x_rows + this->features * ld, ld};
  }

  // What makes up the sums of a panel.
  int products(const Phase& phase, const Work& w, int64_t panel, Product<T>* parts) const {
    return by_gate ? products_by_gate(phase, w, panel, parts) : products_together(phase, w, panel, parts);
  }

  // All gates in one tile; where the last gate's products are separate, x W in one tile and h U in another.
  int products_together(const Phase& phase, const Work& w, int64_t panel, Product<T>* parts) const {
    const int vectors = phase.products * phase.panels.vectors_of(panel);
    const int64_t width = phase.panels.width(panel);
    const Packed p = packed_panel(phase, panel);
    Tile<T> tile{};
    tile.a = tile.a2 = w.now + this->x_column;
    tile.b = tile.b2 = p.x_rows;
    tile.inner = this->features;
    tile.lda = this->lda;
    tile.ldb = p.ld;
    tile.init = p.biases;
    tile.sliced = this->long_sums;
    const T* const h = w.now + this->h_column_of(phase.first);
    if constexpr (Cell::kSeparateProducts) {
      parts[0] = {tile, vectors, 0};
      tile.a = tile.a2 = h;
      tile.b = tile.b2 = p.h_rows;
      tile.inner = this->units;
      parts[1] = {tile, vectors, width, true, p.biases + phase.products * width};
      return 2;
    }
    tile.a2 = h;
    tile.b2 = p.h_rows;
    tile.inner2 = this->units;
    parts[0] = {tile, vectors, 0};
    return 1;
  }

  // Each block in a tile of its own, from weights that are packed or read in place.
  int products_by_gate(const Phase& phase, const Work& w, int64_t panel, Product<T>* parts) const {
    const int64_t width = phase.panels.width(panel), column = phase.panels.column(panel);
    const int blocks = kOneBlock ? 1 : phase.blocks;
    const Packed p = phase.in_place ? Packed{} : packed_panel(phase, panel);
    for (int k = 0; k < blocks; ++k) {
      const int block = kOneBlock ? 0 : phase.first + k, state = block - Cell::kSeparateProducts;
      const bool has_x = block < Cell::kGates, has_h = state >= 0;
      Tile<T>& tile = parts[k].tile;
      tile.a = w.now + (has_x ? this->x_column_of(Base::input_gate(block)) : 0);
      tile.a2 = w.now + (has_h ? this->h_column_of(state) : 0);
      tile.inner = has_x ? this->features : 0;
      tile.inner2 = has_h ? this->units : 0;
      tile.lda = this->lda;
      tile.ld_init = 0;
      tile.init_last = false;
      tile.sliced = this->long_sums;
      if (phase.in_place) {
        const T* const b = bias_of(block);
        tile.init = b ? b + column : nullptr;
        tile.b = has_x ? kernel_of(block) + column : nullptr;
        tile.b2 = has_h ? recurrent_kernel_of(block) + column : nullptr;
        tile.ldb = this->sums;
      } else {
        tile.init = p.biases + k * width;
        tile.b = p.x_rows + (has_x ? k * width : 0);
        tile.b2 = p.h_rows + (has_h ? (k - Cell::kSeparateProducts) * width : 0);
        tile.ldb = p.ld;
      }
      parts[k].vectors = phase.panels.vectors_of(panel);
      parts[k].column = k * width;
      parts[k].continues = false;
      parts[k].last_init = nullptr;
    }
    return blocks;
  }

  // The cell's step on the sums of one panel and a few rows.
  template <class Functions, int kPhase>
  static void step_rows(const Forward& f, const Work& w, int64_t column, int64_t row, int64_t height, const T* z,
                        int64_t ldz) {
    const Functions functions(f.spec);
    Row<T> at;
    at.block = ldz / blocks_of(kPhase);
    at.copies = f.h_copies - Cell::kResetPhase;
    at.stride = f.state_width;
    at.units = f.units;
    at.sequences = f.sequences;
    const int64_t width = f.units - column < at.block ? f.units - column : at.block;
    for (int64_t r = row; r < row + height; ++r, z += ldz) {
      at.z = z;
      at.state = Cell::kReadsState ? w.state + r * f.state_width + column : nullptr;
      at.next = w.next + r * f.lda + column;
      at.dropouts = w.dropout ? f.dropout_of(w.dropout, r, 0) + column : nullptr;
      at.out = w.out[r] + column;
      at.tape = w.tape[r] ? w.tape[r] + column : nullptr;
      if (Cell::kResetPhase) {
        at.reset = w.now + r * f.lda + f.h_column_of(kSharing) + column;
        at.dropout = w.dropout ? f.dropout_of(w.dropout, r, kSharing) + column : nullptr;
      }
      Cell::template step<kPhase>(functions, at, width);
    }
  }

  // One step of the first `rows` rows, whose inputs lie next to their states.
  ELMAN_INLINE void advance(const Work& w, int64_t rows) const {
    for (const Phase& phase : phases) {
      multiply<T>(
          phase.panels, phase.blocks, this->batch == 1, rows,
          [&](int64_t panel, Product<T>* parts) { return products(phase, w, panel, parts); },
          [&](int64_t column, int64_t row, int64_t height, const T* z, int64_t ldz) {
            phase.step(*this, w, column, row, height, z, ldz);
          });
    }
  }

  // All steps of ranks [first, last), unless the call is to stop.
  void run(int64_t first, int64_t last, Arena<T> arena, Watch watch) const {
    const int64_t rows = last - first;
    Work w = take_work(arena, rows);
    T* const spare = w.out[0];
    w.first = first;
    w.dropout = this->copy_recurrent_dropout(const_cast<T*>(w.dropout), first, last);
    for (int64_t r = 0; r < rows; ++r) begin_row(w, r);
    int64_t running = rows;
    for (int64_t i = 0;; ++i) {
      while (running > 0 && this->count(first + running - 1) <= i) --running;
      if (running == 0) break;
      if (watch.stopped()) return;
      for (int64_t r = 0; r < running; ++r) {
        const int64_t b = this->row(first + r), s = this->step(first + r, i);
        if (this->resets(b, s)) place_initial(w, r, b);
        this->copy_input(w.now + r * this->lda + this->x_column, b, s);
        if (i + kAhead < this->count(first + r)) fetch(b, this->step(first + r, i + kAhead));
        T* const tape = static_cast<T*>(call.tape);
        T* const at = this->state_at(static_cast<T*>(call.y), tape, b, s);
        w.out[r] = at ? at : spare + r * this->units;
        w.tape[r] = tape ? tape + this->tape_index(b, s) : nullptr;
      }
      advance(w, running);
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
    place_initial(w, r, b);
    if (this->count(w.first + r) == 0) write_row(w, r, this->initial_state(0, b), nullptr);
  }

  // The initial states of row b, where its next step reads them.
  void place_initial(const Work& w, int64_t r, int64_t b) const {
    this->copy_states(w.now + r * this->lda, this->initial_state(0, b), this->dropout_of(w.dropout, r, 0));
    if (Cell::kReadsState) {
      this->copy_state(w.state + r * this->state_width, this->initial_state(Cell::kStates - 1, b), nullptr);
    }
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
    if (Cell::kStates > 1 && call.final_states[1]) write(call.final_states[1], w.state + r * this->state_width);
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

template <class T, class Cell>
elman_status forward(const elman_forward_call& call, const Steps& steps, Interrupt& interrupt) {
  const elman_spec& spec = *call.spec;
  if (spec.batch == 0) return ELMAN_OK;
  const double step_size = double(Cell::kGates * spec.units) * double(spec.features + spec.units);
  const int64_t threads = threads_for(total_steps(spec, steps) * step_size);
  Forward<T, Cell> f(call, steps, threads);
  const int64_t workers = threads < f.tasks ? threads : f.tasks;
  Scratch<T> scratch;
  if (!scratch.take(f, workers)) return ELMAN_OUT_OF_MEMORY;
  if (f.bias) f.add_biases();
  f.pack_all(threads);
  const auto task = [&](int64_t task, int worker) {
    const int64_t first = task * f.batch / f.tasks, last = (task + 1) * f.batch / f.tasks;
    f.run(first, last, {f.scratch + worker * f.task_scratch, 0},
          Watch(interrupt, worker, double(last - first) * step_size));
  };
  parallel_for(f.tasks, workers, task, &interrupt);
  return ELMAN_OK;
}

}  // namespace
}  // namespace ELMAN_LEVEL
}  // namespace elman
#endif  // ELMAN_FORWARD_H_
