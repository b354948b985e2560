// SPDX-License-Identifier: Apache-2.0
//
// The backward: Backward::run is the loop over time, from the last step to the first. Each step
//
//   1. lets the cell turn the gradient dh of its state into the gradients dz of its sums (cells.h),
//   2. multiplies dz with U^T into the gradient of the state before it,
//   3. keeps dz and the row [ h | x ] that the forward multiplied, in a chunk of rows.
//
// A full chunk is multiplied into the gradients of the weights, [ h | x ]^T dz, and into those of the inputs, dz W^T.
//
//   dz of one row, in blocks as cells.h draws them:   | block 0 | padding | block 1 | padding | ... | last block |
//                                                     0                   state_width dz_columns
//
// The batch is cut into slots, each with its own sums for the weights, which are added at the end. Slots, chunks and so
// the order of every sum depend on the shape and the mask alone. Part of backward.cc, which is compiled once per
// instruction set.
#ifndef ELMAN_BACKWARD_H_
#define ELMAN_BACKWARD_H_

#include "recurrence.h"

namespace elman {
namespace ELMAN_LEVEL {
namespace {

// Rows of a chunk at most: as many as Work has places for.
constexpr int64_t kMostChunkRows = 256;

// Slots are portions of the rows, each with its own sums of the weight gradients: set by the shape alone, so that the
// sums do not depend on the number of threads. At most 16, so that 16 threads have work; fewer where the sums of a slot
// are larger than half a second-level cache (kLarge) or all of them than 64 MiB (kAll), since a sum that leaves the
// cache costs more than a thread gains. Estimates from cache sizes, not a sweep.
inline int64_t backward_slots(int64_t batch, int64_t gradient_bytes) {
  constexpr int64_t kMost = 16, kLarge = int64_t(1) << 19, kAll = int64_t(64) << 20;
  const int64_t wanted = ceil_divide(batch, gradient_bytes > kLarge ? 32 : 8);
  const int64_t most = gradient_bytes * kMost > kAll ? kMost / 4 : kMost;
  return wanted < most ? wanted : most;
}

template <class T, class Cell>
struct Backward : Recurrence<T, Cell> {
  using Base = Recurrence<T, Cell>;
  using Base::kBlocks;
  using Base::kSharing;

  const elman_backward_call& call;
  const T* const y;
  const T* const tape;
  const bool want_weights;
  const bool product_again = Cell::kSeparateProducts && !this->sequences;  // its place on the tape is taken by h
  const int64_t dz_columns = (kBlocks - 1) * this->state_width + this->units;
  const int64_t ld_dz = stride<T>(dz_columns);
  const int64_t dh_width = Cell::kStates * this->state_width;
  const int64_t gradient_rows = this->state_width + this->features;  // of dU over dW, laid out as [ h | x ]
  const int64_t slots;                                               // portions of the batch
  const int64_t group_rows;                                          // rows of a slot that step back together
  const int64_t chunk_rows;      // rows of dz kept until they are multiplied into the gradients
  const int64_t slot_gradients;  // elements of a slot's sums
  const bool long_slots;         // whether their sums are made in blocks
  int64_t worker_scratch = 0;
  // The cell with its activations, by pointers, so that the loop over time is compiled once for all of them: the step
  // back of a row, and where the cell has them, the one through its reset gate, and h once more.
  void (*cell_back)(const elman_spec&, const RowBack<T>&);
  void (*cell_reset_back)(const elman_spec&, const RowBack<T>&, const T* d, const T* dropout, int64_t width) = nullptr;
  void (*cell_output)(const elman_spec&, const T* tape, T* to, int64_t units) = nullptr;
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
        want_weights(c.dkernel || c.drecurrent_kernel || c.dbias),
        slots(backward_slots(this->batch, gradient_rows * ld_dz * int64_t(sizeof(T)))),
        group_rows(even_share(slots ? ceil_divide(this->batch, slots) : 0)),
        chunk_rows(most_chunk_rows()),
        slot_gradients(want_weights ? (gradient_rows + 1) * ld_dz : 0),
        long_slots(slots > 0 && this->time > kLongestChain * chunk_rows / ceil_divide(this->batch, slots)) {
    with_functions<Cell::kUsesGateActivation>(this->spec, [&](auto functions) {
      using Functions = typename decltype(functions)::type;
      cell_back = [](const elman_spec& spec, const RowBack<T>& row) { Cell::step_back(Functions(spec), row); };
      if constexpr (Cell::kResetPhase) {
        cell_reset_back = [](const elman_spec& spec, const RowBack<T>& row, const T* d, const T* dropout,
                             int64_t width) { Cell::reset_back(Functions(spec), row, d, dropout, width); };
      }
      if constexpr (Cell::kStateColumn < 0) {
        cell_output = [](const elman_spec& spec, const T* tape, T* to, int64_t units) {
          Cell::output(Functions(spec), tape, to, units);
        };
      }
    });
    back = make_panels<T>(this->units, group_rows);
    for (int blocks = 1; blocks <= Cell::kGates; ++blocks) {
      weights[blocks] = make_panels<T>((blocks - 1) * this->state_width + this->units, this->units);
    }
    if (c.dx) inputs = make_panels<T>(this->features, chunk_rows);
    if (product_again) again = make_panels<T>(this->units, group_rows);
  }

  // The largest of groups that are as even as can be and of at most kMostTaskRows rows.
  static int64_t even_share(int64_t rows) { return rows ? ceil_divide(rows, ceil_divide(rows, kMostTaskRows)) : 0; }

  static int64_t most_chunk_rows() {
    // So that the widest panel of a chunk of dz fills 32 KiB, the first-level cache of most machines, where it is read
    // once for every few rows of the gradient.
    constexpr int64_t kPanelBytes = int64_t(32) << 10, kRows = kPanelBytes / (kMaxVectors * ELMAN_VECTOR_BYTES);
    return kRows < kMostChunkRows ? kRows : kMostChunkRows;
  }

  // The sums of one slot, (gradient_rows + 1, ld_dz): dU, dW, and db in the last row. A long slot adds up blocks of
  // chunks: `sums` is the block so far, `total` the blocks before.
  struct SlotSums {
    T* sums;
    T* total;          // null: one block
    int64_t chunks;    // in the block so far
    bool fresh;        // nothing is in `sums` yet
    bool total_fresh;  // nor in `total`
  };

  // What one worker carries through its rows.
  struct Work {
    int64_t first;                       // rank of the first
    T* dh;                               // (rows, states, state_width): gradient of the states, from the later steps
    T* dropout_rows;                     // where copies of the recurrent dropout go,
    const T* dropout;                    // and where they are; null: none
    T* product;                          // (rows, state_width): that of a gate's state, where it is made again
    T* before;                           // (state_width): h before a step, where only its parts are on the tape
    T* dz;                               // (chunk, ld_dz)
    T* operand;                          // (chunk, lda): [ h | x ] of the same steps
    int64_t inputs[kMostChunkRows];      // where dx of a chunk row goes
    int64_t input_rows[kMostChunkRows];  // and its batch row
    int64_t used;                        // rows of the chunk in use
    T* block;                            // sums of some chunks, where slots are long
    SlotSums* slot;
  };

  Work take_work(Arena<T>& arena) const {
    Work w;
    w.dh = arena.take(group_rows * dh_width);
    w.dropout_rows = arena.take(group_rows * this->h_masks * this->state_width);
    w.product = arena.take(product_again ? group_rows * this->state_width : 0);
    w.before = arena.take(this->state_width);
    w.dz = arena.take(chunk_rows * ld_dz);
    w.operand = arena.take(chunk_rows * this->lda);
    w.block = arena.take(long_slots ? slot_gradients : 0);
    return w;
  }

  // Takes everything out of one block of memory.
  void take(Arena<T>& arena, int64_t workers) {
    const int64_t inner = Cell::kGates * this->state_width;
    packed_back = arena.take(back.padded() * inner);
    packed_inputs = arena.take(inputs.padded() * inner);
    packed_again = arena.take(again.padded() * (1 + this->units));
    gradients = arena.take(slots * slot_gradients);
    Arena<T> own;
    take_work(own);
    worker_scratch = own.used;
    scratch = arena.take(workers * worker_scratch);
  }

  // All rows of a slot, some at a time, into its sums.
  void run_slot(int64_t slot, T* own, Watch watch) const {
    const int64_t begin = slot * this->batch / slots, end = (slot + 1) * this->batch / slots;
    T* const gradient = gradients + slot * slot_gradients;
    if (want_weights && this->count(begin) == 0) fill_zero(gradient, slot_gradients);
    Arena<T> arena{own, 0};
    Work w = take_work(arena);
    SlotSums sums = {long_slots ? w.block : gradient, long_slots ? gradient : nullptr, 0, true, true};
    w.slot = &sums;
    for (int64_t first = begin; first < end; first += group_rows) {
      const int64_t last = first + group_rows < end ? first + group_rows : end;
      run(first, last, w, watch);
    }
    if (sums.chunks > 0) fold(sums);
  }

  // All steps, from the last to the first, of ranks [first, last), unless the call is to stop.
  void run(int64_t first, int64_t last, Work& w, Watch& watch) const {
    const int64_t rows = last - first;
    w.first = first;
    w.dropout = this->copy_recurrent_dropout(w.dropout_rows, first, last);
    if (product_again) fill_zero(w.product, group_rows * this->state_width);  // for what lies past `units`
    w.used = 0;
    for (int64_t r = 0; r < rows; ++r) begin_row(first + r, w.dh + r * dh_width);
    int64_t running = 0;
    for (int64_t i = this->count(first) - 1; i >= 0; --i) {
      while (running < rows && i < this->count(first + running)) ++running;
      if (watch.stopped()) return;
      if (w.used + running > chunk_rows) flush(w);
      if (product_again) {
        for (int64_t r = 0; r < running; ++r) {
          const int64_t rank = first + r, b = this->row(rank), s = this->step(rank, i);
          copy_operand(w, r, rank, b, s, i, state_before(rank, b, i));
        }
        multiply_again(w, running);
      }
      for (int64_t r = 0; r < running; ++r) step_back(w, first + r, r, i);
      if constexpr (Cell::kResetPhase) step_back_reset(w, running, i);
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
      T* const dinitial = static_cast<T*>(call.dinitial_states[k]);
      if (dinitial) fill_zero(dinitial + this->row(rank) * this->units, this->units);
    }
    pass_back(rank, dh, this->time, count > 0 ? this->step(rank, count - 1) : -1);
  }

  const T* tape_at(int64_t b, int64_t s) const { return tape + this->tape_index(b, s); }

  // Whether the i-th valid step reads the state of the one before it, rather than the initial one.
  ELMAN_INLINE bool continues(int64_t rank, int64_t b, int64_t i) const {
    return i > 0 && !(this->steps.resets && this->resets(b, this->step(rank, i)));
  }

  // The state before the i-th valid step, in y, on the tape or as it was given; null: zeros.
  ELMAN_INLINE const T* state_before(int64_t rank, int64_t b, int64_t i) const {
    return continues(rank, b, i) ? this->state_at(y, tape, b, this->step(rank, i - 1)) : this->initial_state(0, b);
  }

  // Fills the chunk's next row with what the products of the i-th valid step read.
  void copy_operand(Work& w, int64_t r, int64_t rank, int64_t b, int64_t s, int64_t i, const T* before) const {
    const int64_t at = w.used + r;
    if (call.dx) {
      w.inputs[at] = this->x_index(b, s);
      w.input_rows[at] = b;
    }
    if (!want_weights && !product_again) return;
    T* const operand = w.operand + at * this->lda;
    if constexpr (Cell::kStateColumn < 0) {
      if (!before && continues(rank, b, i)) {
        cell_output(this->spec, tape_at(b, this->step(rank, i - 1)), w.before, this->units);
        before = w.before;
      }
    }
    this->copy_states(operand, before, this->dropout_of(w.dropout, r, 0));
    if constexpr (Cell::kResetPhase) {
      T* const reset = operand + this->h_column_of(kSharing);
      this->copy_state(reset, before, this->dropout_of(w.dropout, r, kSharing));
      Cell::reset(tape_at(b, s), reset, this->units);
    }
    this->copy_input(operand + this->x_column, b, s);
  }

  // Adds the outputs' gradient to that of one row's state after its i-th valid step, and steps back through it.
  ELMAN_INLINE void step_back(Work& w, int64_t rank, int64_t r, int64_t i) const {
    const int64_t b = this->row(rank), s = this->step(rank, i);
    const RowBack<T> row = row_back(w, r, rank, b, s, i);  // first: past a store the compiler looks everything up again
    if (i >= kAhead) fetch(rank, b, i - kAhead);
    add_outputs(row.dh, rank, b, s, i);
    if (call.norms) static_cast<T*>(call.norms)[b * this->time + s] = T(norm(row.dh));
    cell_back(this->spec, row);
    if (!product_again) copy_operand(w, r, rank, b, s, i, row.before);
  }

  ELMAN_INLINE RowBack<T> row_back(const Work& w, int64_t r, int64_t rank, int64_t b, int64_t s, int64_t i) const {
    RowBack<T> row;
    row.tape = tape ? tape_at(b, s) : nullptr;
    row.h = this->state_at(y, tape, b, s);
    row.before = state_before(rank, b, i);
    if constexpr (Cell::kCarryColumn >= 0) {
      row.carry_before = continues(rank, b, i) ? tape_at(b, this->step(rank, i - 1)) + Cell::kCarryColumn * this->units
                                               : this->initial_state(1, b);
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
    if (const T* const before = continues(rank, b, i) ? state_before(rank, b, i) : nullptr) {
      fetch_row(before, this->units);
    }
    if (tape && Cell::kReadsTape) fetch_row(tape_at(b, s), this->columns);
    if (this->sequences && call.dy) fetch_row(static_cast<const T*>(call.dy) + this->sequence_index(b, s), this->units);
    if (want_weights) fetch_row(static_cast<const T*>(this->in.x) + this->x_index(b, s), this->features);
  }

  // dy of the i-th valid step s, and of the masked steps after it that repeat its output.
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

  void add(T* dh, const T* dy) const {
    for_vectors<T>(this->units, [&](int64_t j, int64_t n) { store(dh + j, load(dh + j) + load_some(dy + j, n)); });
  }

  // The product of rows of dz, `blocks` blocks from `first` on, with rows of what is packed for them.
  auto product_of(const Panels& p, const T* dz, int first, int blocks, const T* packed, int first_packed) const {
    return [this, &p, dz, first, blocks, packed, first_packed](int64_t panel, Product<T>* parts) {
      const int64_t width = p.width(panel), block = this->state_width;
      const T* const b = packed + p.column(panel) * Cell::kGates * block + first_packed * block * width;
      const T* const a = dz + first * block;
      Tile<T> tile{};
      tile.a = tile.a2 = a;
      tile.inner = (blocks - 1) * block + this->units;
      tile.lda = ld_dz;
      tile.b = tile.b2 = b;
      tile.ldb = width;
      tile.sliced = tile.inner > kLongestChain;
      parts[0] = {tile, p.vectors_of(panel), 0};
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
          Tile<T> tile{};
          tile.a = tile.a2 = h;
          tile.inner = this->units;
          tile.lda = this->lda;
          tile.b = tile.b2 = b + width;
          tile.ldb = width;
          tile.init = b;
          tile.sliced = this->long_sums;
          parts[0] = {tile, again.vectors_of(panel), 0};
          return 1;
        },
        [&](int64_t column, int64_t row, int64_t height, const T* z, int64_t ldz) {
          for (int64_t r = row; r < row + height; ++r, z += ldz) {
            const int64_t width = this->units - column < ldz ? this->units - column : ldz;
            copy_row(w.product + r * this->state_width + column, z, width);
          }
        });
  }

  // The gradient of the state that the reset gate let through, and from it that of the gate.
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
                    cell_reset_back(this->spec, row, z, dropout, width);
                  }
                });
  }

  // dh = dz U^T of the rows just stepped back through; then what the step before them may have of it.
  void multiply_back(Work& w, int64_t running, int64_t i) const {
    const T* const dz = w.dz + w.used * ld_dz;
    const int each = this->h_masks > 1 ? 1 : kSharing;
    for (int gate = 0; gate < kSharing; gate += each) {
      const bool adds = Cell::kPassesGradient || (kSharing > 1 && gate > 0);
      multiply<T>(back, 1, this->batch == 1, running,
                  product_of(back, dz, Cell::kSeparateProducts + gate, each, packed_back, gate),
                  [&](int64_t column, int64_t row, int64_t height, const T* z, int64_t ldz) {
                    for (int64_t r = row; r < row + height; ++r, z += ldz) {
                      T* const dh = w.dh + r * dh_width + column;
                      const T* const dropout = w.dropout ? this->dropout_of(w.dropout, r, gate) + column : nullptr;
                      for (int64_t j = 0; j < ldz; j += kLanes<T>) {
                        const Vector<T> d = dropout ? load(z + j) * load(dropout + j) : load(z + j);
                        store(dh + j, adds ? load(dh + j) + d : d);
                      }
                      // Past `units` the product is zero times dz, which is NaN where dz is not finite, and it must not
                      // come back through the products of the step before.
                      if (this->units - column < ldz) {
                        T* const end = dh + ldz - kLanes<T>;
                        store(end, first_lanes<T>(load(end), this->units - column - (ldz - kLanes<T>)));
                      }
                    }
                  });
    }
    for (int64_t r = 0; r < running; ++r) {
      const int64_t rank = w.first + r, before = i > 0 ? this->step(rank, i - 1) : -1;
      if (this->resets(this->row(rank), this->step(rank, i))) pass_to_initial(rank, w.dh + r * dh_width);
      pass_back(rank, w.dh + r * dh_width, this->step(rank, i), before);
    }
  }

  // Passes the states' gradient of a row from step `from` (T: from after the last step) to step `to`, through the
  // masked steps between: each may cut it; clipping it once is clipping it at all of them.
  void pass_back(int64_t rank, T* dh, int64_t from, int64_t to) const {
    const int64_t k = this->spec.truncate_gradient;
    const double c = this->spec.clip_state_gradient;
    if (k <= 0 && !(c > 0) && !(call.norms && this->steps.list)) return;
    bool clipped = false;
    for (int64_t t = from; t > to; --t) {
      if (t < this->time) {  // step t passes it to t - 1
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

  // Adds the states' gradient before a step with a reset to that of the initial states, and leaves none to the step
  // before.
  void pass_to_initial(int64_t rank, T* dh) const {
    if (this->spec.clip_state_gradient > 0) clip(dh, this->spec.clip_state_gradient);
    add_to_initial(rank, dh);
    fill_zero(dh, dh_width);
  }

  void add_to_initial(int64_t rank, const T* dh) const {
    for (int k = 0; k < Cell::kStates; ++k) {
      if (!call.dinitial_states[k]) continue;
      T* const sum = static_cast<T*>(call.dinitial_states[k]) + this->row(rank) * this->units;
      for_vectors<T>(this->units, [&](int64_t j, int64_t n) {
        store_some(sum + j, load_some(sum + j, n) + load(dh + k * this->state_width + j), n);
      });
    }
  }

  void clip(T* dh, double c) const {
    const double n = norm(dh);
    if (!(n > c)) return;
    // In two factors, since c / n may lie below the range of T. An infinite norm makes both zero: what is finite
    // becomes zero, what is infinite NaN.
    const double root = __builtin_sqrt(c) / __builtin_sqrt(n);
    const T scale = T(root), rest = scale > 0 ? T(root / double(scale) * root) : T(0);
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
        add_weights(w, this->h_column_of(gate), 0, this->units, Cell::kSeparateProducts + gate, n);
      }
      const int blocks = this->x_copies > 1 ? 1 : Cell::kGates;
      for (int block = 0; block < Cell::kGates; block += blocks) {
        add_weights(w, this->x_column_of(Base::input_gate(block)), this->state_width, this->features, block, blocks);
      }
      add_bias(w);
      w.slot->fresh = false;
      if (w.slot->total && ++w.slot->chunks == kLongestChain) fold(*w.slot);
    }
    if (call.dx) write_inputs(w);
    w.used = 0;
  }

  // Adds the block to the blocks before it, and begins another.
  void fold(SlotSums& slot) const {
    for (int64_t j = 0; j < slot_gradients; j += kLanes<T>) {
      const Vector<T> block = load(slot.sums + j);
      store(slot.total + j, slot.total_fresh ? block : load(slot.total + j) + block);
    }
    slot.chunks = 0;
    slot.fresh = true;
    slot.total_fresh = false;
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
        T* const sum = w.slot->sums + (row + at) * ld_dz + column;
        const T* const a = w.operand + from + at;
        transposed_tile<T>(vectors, height)(
            {a, w.used, a, 0, this->lda, w.dz + column, w.dz, ld_dz, w.slot->fresh ? nullptr : sum, ld_dz, sum, ld_dz});
      }
    }
  }

  void add_bias(const Work& w) const {
    T* const sum = w.slot->sums + gradient_rows * ld_dz;
    for (int64_t j = 0; j < round_up<T>(dz_columns); j += kLanes<T>) {
      Vector<T> chunk = {};
      for (int64_t r = 0; r < w.used; ++r) chunk += load(w.dz + r * ld_dz + j);
      store(sum + j, w.slot->fresh ? chunk : load(sum + j) + chunk);
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
    add_to_initial(rank, dh);
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
      if (Cell::kSeparateProducts && call.dbias) reduce_row(static_cast<T*>(call.dbias) + this->sums, from, true);
    } else if (T* const gradient = static_cast<T*>(recurrent ? call.drecurrent_kernel : call.dkernel)) {
      reduce_row(gradient + to, from, recurrent);
    }
  }

  void reduce_row(T* to, int64_t from, bool recurrent) const {
    for (int k = 0; to && k < Cell::kGates; ++k) {
      const int gate = recurrent ? k : Base::input_gate(k), block = recurrent ? Cell::kSeparateProducts + k : k;
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
    if (panel < inputs.count) return pack_back(packed_inputs, inputs, panel, this->in.kernel, Cell::kSeparateProducts);
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

template <class T, class Cell>
elman_status backward(const elman_backward_call& call, const Steps& steps, Interrupt& interrupt) {
  Backward<T, Cell> f(call, steps);
  const double step_size = double(f.sums) * double(f.features + f.units);
  const double products = 1 + (f.want_weights ? 1 : 0) + (call.dx ? 0.5 : 0);
  const int64_t threads = threads_for(products * total_steps(f.spec, steps) * step_size);
  const int64_t workers = threads < f.slots ? threads : f.slots;
  Scratch<T> scratch;
  if (!scratch.take(f, workers)) return ELMAN_OUT_OF_MEMORY;
  const double packed = double(f.back.padded() + f.inputs.padded()) * double(f.sums);
  parallel_for(f.back.count + f.inputs.count + f.again.count, threads_for_elements(packed, threads),
               [&](int64_t panel, int) { f.pack(panel); });
  const auto slot = [&](int64_t slot, int worker) {
    const Watch watch(interrupt, worker, products * double(f.group_rows) * step_size);
    f.run_slot(slot, f.scratch + worker * f.worker_scratch, watch);
  };
  parallel_for(f.slots, workers, slot, &interrupt);
  if (f.want_weights) {
    const int64_t rows = f.units + f.features + 1;
    const double elements = double(rows) * double(f.sums) * double(f.slots);
    parallel_for(rows, threads_for_elements(elements, threads), [&](int64_t row, int) { f.reduce(row); });
  }
  return ELMAN_OK;
}

}  // namespace
}  // namespace ELMAN_LEVEL
}  // namespace elman
#endif  // ELMAN_BACKWARD_H_
