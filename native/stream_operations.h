// SPDX-License-Identifier: Apache-2.0
//
// The operations of a stream (stream.h), one class for each elman_op_kind of elman.h. An operation has weights, packed
// once, states for each row of the batch, and a step that reads the values of its inputs and writes its own. A
// recurrent operation is one step of the forward (forward.h) and gives the same bits. A step allocates nothing and
// takes no lock.
//
// Values are rows of whole vectors. What comes after their last number may be any number, and no result depends on it.
//
// Part of level.cc, which is compiled once per instruction set.
#ifndef ELMAN_STREAM_OPERATIONS_H_
#define ELMAN_STREAM_OPERATIONS_H_

#include <stdlib.h>

#include "forward.h"

namespace elman {
namespace ELMAN_LEVEL {
namespace {

// What one operation returns: (batch, stride), whole vectors.
template <class T>
struct Value {
  T* data = nullptr;
  int64_t size = 0, stride = 0;
  uint8_t* valid = nullptr;  // (batch,), nonzero where the step counts; null: everywhere
  bool timed = true;         // whether it has a time axis
};

// The moment of a step: with a window its place in it, and which batch rows have come so far.
struct Moment {
  int64_t left = 0;                  // steps of the window after this one
  bool windowed = false;             // each window begins from zero states
  const uint8_t* present = nullptr;  // (batch,); null: all
};

template <class T>
struct Operation {
  int64_t batch = 1;
  Value<T> x, y;

  virtual ~Operation() = default;
  // Takes memory: counted first, and then given.
  virtual void take(Arena<T>& arena) { take_value(arena, y.size); }
  virtual void step(const Moment& moment) = 0;
  virtual void load_weights() {}
  virtual int64_t state_columns() const { return 0; }
  virtual void reset(int64_t) {}
  virtual void get_state(int64_t, T*) const {}
  virtual void set_state(int64_t, const T*) {}
  virtual bool is_limited() const { return false; }    // whether there are rows of the stream that it cannot take
  virtual bool takes(const T*) const { return true; }  // whether it can take the stream's row x

  void take_value(Arena<T>& arena, int64_t size) {
    y.size = size;
    y.stride = round_up<T>(size);
    y.data = arena.take(batch * y.stride);
  }
  T* x_row(int64_t r) const { return x.data + r * x.stride; }
  T* y_row(int64_t r) const { return y.data + r * y.stride; }
  bool is_present(const Moment& m, int64_t r) const { return !m.present || m.present[r]; }
};

// A weight of n numbers with zeros up to whole vectors.
template <class T>
void copy_padded(T* to, const void* from, int64_t n) {
  fill_zero(to, round_up<T>(n));
  if (from) copy_row(to, static_cast<const T*>(from), n);
}

template <class T, class Cell>
struct RecurrentOp final : Operation<T> {
  using Work = typename Forward<T, Cell>::Work;

  elman_spec spec;
  Steps steps{nullptr, nullptr, nullptr, 1, nullptr};
  elman_forward_call call;
  Forward<T, Cell> forward;
  Work* works = nullptr;
  T* initial[2] = {nullptr, nullptr};

  RecurrentOp(const elman_spec& s, const elman_forward_call& c)
      : spec(s),
        call(own(c)),
        forward(call, steps, 1, true) {}
  ~RecurrentOp() override { free(works); }

  const elman_forward_call& own(const elman_forward_call& c) {
    call = c;
    call.spec = &spec;
    return call;
  }

  int64_t first_of(int64_t task) const { return task * this->batch / forward.tasks; }

  void take(Arena<T>& arena) override {
    this->take_value(arena, spec.units);
    forward.take(arena, forward.tasks);
    for (int i = 0; i < Cell::kStates; ++i) initial[i] = arena.take(forward.state_width);
  }

  void load_weights() override {
    for (int i = 0; i < Cell::kStates; ++i) copy_padded(initial[i], call.in.initial_states[i], spec.units);
    if (forward.bias) forward.add_biases();
    forward.pack_all(1);
    for (int64_t task = 0; task < forward.tasks; ++task) {
      Arena<T> arena{forward.scratch + task * forward.task_scratch, 0};
      const int64_t first = first_of(task);
      Work& w = works[task];
      w = forward.take_work(arena, first_of(task + 1) - first);
      w.first = first;
      w.dropout = nullptr;
      for (int64_t r = first; r < first_of(task + 1); ++r) {
        w.out[r - first] = this->y_row(r);
        w.tape[r - first] = nullptr;
      }
    }
  }

  bool counts(const Moment& m, int64_t r) const {
    return this->is_present(m, r) && (!this->x.valid || this->x.valid[r]);
  }

  void step(const Moment& m) override {
    for (int64_t task = 0; task < forward.tasks; ++task) {
      Work& w = works[task];
      const int64_t rows = first_of(task + 1) - w.first;
      int64_t counted = 0;
      for (int64_t r = 0; r < rows; ++r) {
        counted += counts(m, w.first + r);
        copy_row(w.now + r * forward.lda + forward.x_column, this->x_row(w.first + r), spec.features);
      }
      if (counted == rows) {
        forward.advance(w, rows);
      } else {
        for (int64_t r = 0; r < rows; ++r) advance_row(w, m, r);
      }
      T* const swap = w.now;
      w.now = w.next;
      w.next = swap;
    }
  }

  // One row by itself, since others of its batch do not count.
  void advance_row(const Work& w, const Moment& m, int64_t r) {
    T* const now = w.now + r * forward.lda;
    T* const next = w.next + r * forward.lda;
    if (!counts(m, w.first + r)) {
      copy_row(next, now, forward.state_width);
      if (forward.zero_output) fill_zero(w.out[r], spec.units);
      return;
    }
    Work one;
    one.first = 0;
    one.now = now;
    one.next = next;
    one.state = w.state ? w.state + r * forward.state_width : nullptr;
    one.dropout = nullptr;
    one.out[0] = w.out[r];
    one.tape[0] = nullptr;
    forward.advance(one, 1);
  }

  const Work& work_of(int64_t r) const {
    int64_t task = 0;
    while (first_of(task + 1) <= r) ++task;
    return works[task];
  }

  void begin(int64_t r, const T* h, const T* last) {
    const Work& w = work_of(r);
    forward.copy_states(w.now + (r - w.first) * forward.lda, h, nullptr);
    if (Cell::kReadsState) forward.copy_state(w.state + (r - w.first) * forward.state_width, last, nullptr);
  }

  void reset(int64_t r) override {
    begin(r, initial[0], initial[Cell::kStates - 1]);
    fill_zero(this->y_row(r), spec.units);
  }

  // The states; and the output, which a step that does not count repeats.
  int64_t state_columns() const override { return (Cell::kStates + (this->x.valid != nullptr)) * spec.units; }

  void get_state(int64_t r, T* to) const override {
    const Work& w = work_of(r);
    copy_row(to, w.now + (r - w.first) * forward.lda, spec.units);
    if (Cell::kStates > 1) copy_row(to + spec.units, w.state + (r - w.first) * forward.state_width, spec.units);
    if (this->x.valid) copy_row(to + Cell::kStates * spec.units, this->y_row(r), spec.units);
  }

  void set_state(int64_t r, const T* from) override {
    begin(r, from, from + (Cell::kStates - 1) * spec.units);
    if (this->x.valid) copy_row(this->y_row(r), from + Cell::kStates * spec.units, spec.units);
  }
};

// What has no vector of its own: one number at a time, by the C library.
inline float exp_of(float x) { return __builtin_expf(x); }
inline double exp_of(double x) { return __builtin_exp(x); }
inline float expm1_of(float x) { return __builtin_expm1f(x); }
inline double expm1_of(double x) { return __builtin_expm1(x); }
inline float log1p_of(float x) { return __builtin_log1pf(x); }
inline double log1p_of(double x) { return __builtin_log1p(x); }
inline float sqrt_of(float x) { return __builtin_sqrtf(x); }
inline double sqrt_of(double x) { return __builtin_sqrt(x); }

template <class T>
void softmax(T* y, int64_t n) {
  T most = y[0], sum = 0;
  for (int64_t j = 1; j < n; ++j) most = y[j] > most ? y[j] : most;
  for (int64_t j = 0; j < n; ++j) sum += y[j] = exp_of(y[j] - most);
  for (int64_t j = 0; j < n; ++j) y[j] /= sum;
}

// The activations of enum elman_dense_activation, on a row.
template <class T>
void activate_row(int activation, T* y, int64_t n) {
  switch (activation) {
    case ELMAN_SOFTPLUS:  // log(1 + e^x), without leaving the range
      for (int64_t j = 0; j < n; ++j) y[j] = y[j] > 0 ? y[j] + log1p_of(exp_of(-y[j])) : log1p_of(exp_of(y[j]));
      return;
    case ELMAN_ELU:
      for (int64_t j = 0; j < n; ++j) y[j] = y[j] < 0 ? expm1_of(y[j]) : y[j];
      return;
    case ELMAN_SOFTMAX: return softmax(y, n);
    case ELMAN_EXPONENTIAL:
      for (int64_t j = 0; j < n; ++j) y[j] = exp_of(y[j]);
      return;
    default: return;  // done on vectors
  }
}

template <class T>
struct DenseOp final : Operation<T> {
  const T* kernel;
  const T* bias;
  int64_t units;
  int activation;
  Panels panels;
  T* packed = nullptr;  // by panel as rows of [ b | W ]

  void take(Arena<T>& arena) override {
    this->take_value(arena, units);
    panels = make_panels<T>(units, this->batch);
    packed = arena.take(panels.padded() * (1 + this->x.size));
  }
  T* panel_at(int64_t panel) const { return packed + panels.column(panel) * (1 + this->x.size); }

  void load_weights() override {
    for (int64_t p = 0; p < panels.count; ++p) {
      const int64_t width = panels.width(p);
      if (bias) {
        pack_rows(panel_at(p), 0, panels, p, bias, 1, 0);
      } else {
        fill_zero(panel_at(p), width);
      }
      pack_rows(panel_at(p) + width, width, panels, p, kernel, this->x.size, units);
    }
  }

  void step(const Moment&) override {
    const auto products = [&](int64_t panel, Product<T>* parts) {
      Tile<T> tile{};
      tile.a = tile.a2 = this->x.data;
      tile.inner = this->x.size;
      tile.lda = this->x.stride;
      tile.ldb = panels.width(panel);
      tile.init = panel_at(panel);
      tile.b = tile.b2 = tile.init + tile.ldb;
      tile.sliced = this->x.size > kLongestChain;
      parts[0] = {tile, panels.vectors_of(panel), 0};
      return 1;
    };
    const auto done = [&](int64_t column, int64_t row, int64_t height, const T* z, int64_t ldz) {
      for (int64_t r = row; r < row + height; ++r, z += ldz) {
        T* const y = this->y_row(r) + column;
        for (int64_t j = 0; j < ldz; j += kLanes<T>) store(y + j, activate<T>(activation, load(z + j)));
      }
    };
    multiply<T>(panels, 1, this->batch == 1, this->batch, products, done);
    if (activation > ELMAN_HARD_SIGMOID) {
      for (int64_t r = 0; r < this->batch; ++r) activate_row(activation, this->y_row(r), units);
    }
  }
};

template <class T>
struct ActivationOp final : Operation<T> {
  int activation;
  void step(const Moment&) override {
    for (int64_t r = 0; r < this->batch; ++r) {
      const T* const x = this->x_row(r);
      T* const y = this->y_row(r);
      for (int64_t j = 0; j < this->x.stride; j += kLanes<T>) store(y + j, activate<T>(activation, load(x + j)));
      activate_row(activation, y, this->y.size);
    }
  }
};

// An operation with a scale and an offset for each number of a row.
template <class T>
struct ScaledOp : Operation<T> {
  const void* weights[2];
  T *scale = nullptr, *offset = nullptr;

  void take(Arena<T>& arena) override {
    this->take_value(arena, this->x.size);
    scale = arena.take(this->y.stride);
    offset = arena.take(this->y.stride);
  }
  void load_weights() override {
    copy_padded(scale, weights[0], this->x.size);
    copy_padded(offset, weights[1], this->x.size);
  }
};

// (x - offset) scale, or x scale + offset; in two roundings, as NumPy has it.
template <class T, bool kSubtracts>
struct AffineOp final : ScaledOp<T> {
  void step(const Moment&) override {
    for (int64_t r = 0; r < this->batch; ++r) {
      for (int64_t j = 0; j < this->x.stride; j += kLanes<T>) {
        const Vector<T> x = load(this->x_row(r) + j), a = load(this->scale + j), b = load(this->offset + j);
        store(this->y_row(r) + j, kSubtracts ? (x - b) * a : x * a + b);
      }
    }
  }
};

template <class T>
struct LayerNormOp final : ScaledOp<T> {
  T epsilon;

  static T sum(Vector<T> v) {
    T total = 0;
    for (int lane = 0; lane < kLanes<T>; ++lane) total += v[lane];
    return total;
  }
  void step(const Moment&) override {
    const int64_t n = this->x.size;
    for (int64_t r = 0; r < this->batch; ++r) {
      const T* const x = this->x_row(r);
      T* const y = this->y_row(r);
      Vector<T> total = {}, squares = {};
      for (int64_t j = 0; j < n; j += kLanes<T>) total += first_lanes<T>(load(x + j), n - j < 16 ? n - j : 16);
      const T mean = sum(total) / T(n);
      for (int64_t j = 0; j < n; j += kLanes<T>) {
        const Vector<T> d = first_lanes<T>(load(x + j) - mean, n - j < 16 ? n - j : 16);
        squares += d * d;
        store(y + j, d);
      }
      const T root = sqrt_of(sum(squares) / T(n) + epsilon);
      for (int64_t j = 0; j < n; j += kLanes<T>)
        store(y + j, load(y + j) / root * load(this->scale + j) + load(this->offset + j));
    }
  }
};

// Its input is the stream's row, and what is not the number of a word has been refused.
template <class T>
struct EmbeddingOp final : Operation<T> {
  const void* weights;
  int64_t words, units;
  bool mask_zero;
  T* table = nullptr;

  void take(Arena<T>& arena) override {
    this->take_value(arena, units);
    table = arena.take(words * units);
    if (mask_zero) this->y.valid = reinterpret_cast<uint8_t*>(arena.take(this->batch));
  }
  void load_weights() override { copy_row(table, static_cast<const T*>(weights), words * units); }
  bool is_limited() const override { return true; }
  bool takes(const T* x) const override { return *x >= 0 && *x < T(words) && *x == T(int64_t(*x)); }
  void step(const Moment&) override {
    for (int64_t r = 0; r < this->batch; ++r) {
      const int64_t word = int64_t(*this->x_row(r));
      copy_row(this->y_row(r), table + word * units, units);
      if (mask_zero) this->y.valid[r] = word != 0 && (!this->x.valid || this->x.valid[r]);
    }
  }
};

template <class T>
struct LatestOp final : Operation<T> {
  int64_t rows;

  void take(Arena<T>& arena) override { this->take_value(arena, rows * this->x.size); }
  void step(const Moment& m) override {
    const int64_t n = this->x.size;
    if (m.windowed && m.left >= rows) return;  // not among the last ones of the window
    for (int64_t r = 0; r < this->batch; ++r) {
      if (!this->is_present(m, r)) continue;
      T* const y = this->y_row(r);
      if (!m.windowed) __builtin_memmove(y, y + n, size_t((rows - 1) * n) * sizeof(T));
      copy_row(y + (rows - 1 - m.left) * n, this->x_row(r), n);
    }
  }
  void reset(int64_t r) override {
    for (int64_t j = 0; j < this->y.size; ++j) this->y_row(r)[j] = T(__builtin_nan(""));
  }
  int64_t state_columns() const override { return this->y.size; }
  void get_state(int64_t r, T* to) const override { copy_row(to, this->y_row(r), this->y.size); }
  void set_state(int64_t r, const T* from) override { copy_row(this->y_row(r), from, this->y.size); }
};

// Without a mask the row that it gets. With one, the last valid row; the first one while there was none.
template <class T>
struct LastOp final : Operation<T> {
  T* kept = nullptr;  // (batch,): 0 nothing, 1 the first row, 2 a valid row

  void take(Arena<T>& arena) override {
    this->take_value(arena, this->x.size);
    kept = arena.take(this->batch);
  }
  void step(const Moment& m) override {
    for (int64_t r = 0; r < this->batch; ++r) {
      if (!this->is_present(m, r)) continue;
      const bool valid = !this->x.valid || this->x.valid[r];
      if (!valid && kept[r] > 0) continue;
      copy_row(this->y_row(r), this->x_row(r), this->x.size);
      kept[r] = valid ? 2 : 1;
    }
  }
  void reset(int64_t r) override {
    kept[r] = 0;
    fill_zero(this->y_row(r), this->y.size);
  }
  int64_t state_columns() const override { return this->x.valid ? this->y.size + 1 : 0; }
  void get_state(int64_t r, T* to) const override {
    if (!this->x.valid) return;
    copy_row(to, this->y_row(r), this->y.size);
    to[this->y.size] = kept[r];
  }
  void set_state(int64_t r, const T* from) override {
    if (!this->x.valid) return;
    copy_row(this->y_row(r), from, this->y.size);
    kept[r] = from[this->y.size];
  }
};

template <class T>
struct MaskOp final : Operation<T> {
  T number;

  void take(Arena<T>& arena) override {
    this->take_value(arena, this->x.size);
    this->y.valid = reinterpret_cast<uint8_t*>(arena.take(this->batch));
  }
  void step(const Moment&) override {
    for (int64_t r = 0; r < this->batch; ++r) {
      const T* const x = this->x_row(r);
      bool valid = false;
      for (int64_t j = 0; j < this->x.size; ++j) valid |= x[j] != number;
      for (int64_t j = 0; j < this->x.size; ++j) this->y_row(r)[j] = x[j] * T(valid);
      this->y.valid[r] = valid && (!this->x.valid || this->x.valid[r]);
    }
  }
};

// Several inputs; a row is valid where all that have a mask say so.
template <class T, bool kSums>
struct JoinOp final : Operation<T> {
  Value<T>* inputs = nullptr;
  int count = 0;

  ~JoinOp() override { free(inputs); }
  void take(Arena<T>& arena) override {
    int64_t size = 0;
    bool masked = false;
    for (int i = 0; i < count; ++i) {
      size = kSums ? inputs[i].size : size + inputs[i].size;
      masked |= inputs[i].valid != nullptr;
    }
    this->take_value(arena, size);
    uint8_t* const valid = reinterpret_cast<uint8_t*>(arena.take(this->batch));  // counted in any case
    this->y.valid = masked ? valid : nullptr;
  }
  void step(const Moment&) override {
    for (int64_t r = 0; r < this->batch; ++r) {
      T* y = this->y_row(r);
      if (this->y.valid) this->y.valid[r] = 1;
      for (int i = 0; i < count; ++i) {
        const Value<T>& v = inputs[i];
        const T* const x = v.data + r * v.stride;
        if (!kSums || i == 0) copy_row(y, x, v.size);
        for (int64_t j = 0; kSums && i > 0 && j < v.stride; j += kLanes<T>) store(y + j, load(y + j) + load(x + j));
        if (!kSums) y += v.size;
        if (v.valid) this->y.valid[r] &= v.valid[r];
      }
    }
  }
};

}  // namespace
}  // namespace ELMAN_LEVEL
}  // namespace elman
#endif  // ELMAN_STREAM_OPERATIONS_H_
