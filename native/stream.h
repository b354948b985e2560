// SPDX-License-Identifier: Apache-2.0
//
// A whole network, one row at a time: the program of elman.h as a list of operations that keep their packed weights and
// their states in one block of memory, taken when the stream is created. A recurrent operation is one step of the
// forward (forward.h) and gives the same bits. A step allocates nothing and takes no lock.
//
// Values are rows of whole vectors. What comes after their last number may be any number, and no result depends on it.
// With a window, the rows of the window go through the operations from zero states at every step; operations without a
// time axis run for the last of them alone.
//
// Part of level.cc, which is compiled once per instruction set.
#ifndef ELMAN_STREAM_H_
#define ELMAN_STREAM_H_

#include <stdlib.h>

#include <new>

#include "floating_point.h"
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

template <class T>
class Stream final : public elman_stream {
 public:
  static elman_status create(const elman_program& program, elman_stream** out) {
    Stream* const stream = new (std::nothrow) Stream();
    const elman_status status = stream ? stream->build(program) : ELMAN_OUT_OF_MEMORY;
    if (status != ELMAN_OK) {
      delete stream;
      return status;
    }
    *out = stream;
    return ELMAN_OK;
  }

 private:
  Operation<T>** ops_ = nullptr;
  Value<T> row_;
  int64_t count_ = 0, features_ = 0, window_ = 0;
  void* memory_ = nullptr;
  T* rows_ = nullptr;  // (batch, window, features), the latest last
  T* held_ = nullptr;  // (batch,): how many of them
  uint8_t* present_ = nullptr;
  bool is_limited_ = false;  // whether there are rows that some operation cannot take

  Stream() = default;
  ~Stream() {
    for (int64_t i = 0; ops_ && i < count_; ++i) delete ops_[i];
    free(ops_);
    free(memory_);
  }

  const Value<T>& value(int32_t i) const { return i == 0 ? row_ : ops_[i - 1]->y; }

  elman_status build(const elman_program& p) {
    static const StreamCalls kCalls = {run, reset, columns, get, takes_state, set, destroy};
    calls = &kCalls;
    batch = p.batch;
    features_ = p.features;
    window_ = p.window;
    ops_ = static_cast<Operation<T>**>(calloc(size_t(p.op_count) + 1, sizeof(*ops_)));
    if (!ops_) return ELMAN_OUT_OF_MEMORY;
    count_ = p.op_count;
    Arena<T> counted;
    take(counted, p);
    for (int64_t i = 0; i < count_; ++i) {
      if (!(ops_[i] = make(p, p.ops[i]))) return ELMAN_OUT_OF_MEMORY;
      ops_[i]->take(counted);
    }
    memory_ = calloc(size_t(counted.used) * sizeof(T) + 64, 1);
    if (!memory_) return ELMAN_OUT_OF_MEMORY;
    Arena<T> arena{reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(memory_) + 63) & ~uintptr_t(63)), 0};
    take(arena, p);
    for (int64_t i = 0; i < count_; ++i) {
      connect(ops_[i], p.ops[i]);  // again: the values have addresses now
      ops_[i]->take(arena);
      ops_[i]->load_weights();
      is_limited_ |= ops_[i]->is_limited();
    }
    for (int64_t r = 0; r < batch; ++r) reset_row(r);
    return ELMAN_OK;
  }

  void take(Arena<T>& arena, const elman_program& p) {
    row_.size = p.features;
    row_.stride = round_up<T>(p.features);
    row_.data = arena.take(batch * row_.stride);
    rows_ = arena.take(batch * window_ * features_);
    held_ = arena.take(batch);
    present_ = reinterpret_cast<uint8_t*>(arena.take(batch));
  }

  // An operation with its inputs; null where there is no memory. Values that come before it have their sizes.
  Operation<T>* make(const elman_program& p, const elman_op& op) {
    Operation<T>* const made = make_kind(p, op);
    if (!made) return nullptr;
    made->batch = batch;
    connect(made, op);
    made->y.size = made->x.size;
    return made;
  }

  void connect(Operation<T>* op, const elman_op& from) {
    op->x = value(from.inputs[0]);
    if (from.kind == ELMAN_OP_SUM) fill(static_cast<JoinOp<T, true>*>(op)->inputs, from);
    if (from.kind == ELMAN_OP_CONCAT) fill(static_cast<JoinOp<T, false>*>(op)->inputs, from);
    bool timed = false;
    for (int32_t i = 0; i < from.input_count; ++i) timed |= value(from.inputs[i]).timed;
    const bool ends = from.kind == ELMAN_OP_LATEST || from.kind == ELMAN_OP_LAST ||
                      (from.kind == ELMAN_OP_RECURRENT && !(from.flags & ELMAN_RETURN_SEQUENCES));
    op->y.timed = timed && !ends;
    switch (from.kind) {  // those that return every step keep the mask of their input
      case ELMAN_OP_RECURRENT:
      case ELMAN_OP_DENSE:
      case ELMAN_OP_ACTIVATION:
      case ELMAN_OP_NORMALIZE:
      case ELMAN_OP_RESCALE:
      case ELMAN_OP_LAYER_NORM: op->y.valid = op->y.timed ? op->x.valid : nullptr; break;
      default: break;
    }
  }
  void fill(Value<T>* inputs, const elman_op& from) const {
    for (int32_t i = 0; i < from.input_count; ++i) inputs[i] = value(from.inputs[i]);
  }

  Operation<T>* make_kind(const elman_program& p, const elman_op& op) {
    switch (op.kind) {
      case ELMAN_OP_RECURRENT: return make_recurrent(p, op);
      case ELMAN_OP_DENSE: {
        auto* const made = new (std::nothrow) DenseOp<T>();
        if (!made) return nullptr;
        made->kernel = static_cast<const T*>(op.weights[0]);
        made->bias = static_cast<const T*>(op.weights[1]);
        made->units = op.size;
        made->activation = op.activation;
        return made;
      }
      case ELMAN_OP_ACTIVATION: {
        auto* const made = new (std::nothrow) ActivationOp<T>();
        if (made) made->activation = op.activation;
        return made;
      }
      case ELMAN_OP_NORMALIZE: return make_affine<AffineOp<T, true>>(op);
      case ELMAN_OP_RESCALE: return make_affine<AffineOp<T, false>>(op);
      case ELMAN_OP_LAYER_NORM: {
        auto* const made = make_affine<LayerNormOp<T>>(op);
        if (made) made->epsilon = T(op.number);
        return made;
      }
      case ELMAN_OP_EMBEDDING: {
        auto* const made = new (std::nothrow) EmbeddingOp<T>();
        if (!made) return nullptr;
        made->weights = op.weights[0];
        made->words = op.words;
        made->units = op.size;
        made->mask_zero = op.flags & ELMAN_OP_MASK_ZERO;
        return made;
      }
      case ELMAN_OP_LATEST: {
        auto* const made = new (std::nothrow) LatestOp<T>();
        if (made) made->rows = op.size;
        return made;
      }
      case ELMAN_OP_LAST: return new (std::nothrow) LastOp<T>();
      case ELMAN_OP_MASK: {
        auto* const made = new (std::nothrow) MaskOp<T>();
        if (made) made->number = T(op.number);
        return made;
      }
      case ELMAN_OP_SUM: return make_join<JoinOp<T, true>>(op);
      default: return make_join<JoinOp<T, false>>(op);
    }
  }

  template <class Op>
  static Op* make_affine(const elman_op& op) {
    Op* const made = new (std::nothrow) Op();
    if (!made) return nullptr;
    made->weights[0] = op.weights[0];
    made->weights[1] = op.weights[1];
    return made;
  }

  template <class Op>
  static Op* make_join(const elman_op& op) {
    Op* const made = new (std::nothrow) Op();
    if (!made) return nullptr;
    made->inputs = static_cast<Value<T>*>(calloc(size_t(op.input_count), sizeof(Value<T>)));
    made->count = op.input_count;
    if (made->inputs) return made;
    delete made;
    return nullptr;
  }

  Operation<T>* make_recurrent(const elman_program& p, const elman_op& op) {
    elman_spec spec{};
    spec.batch = p.batch;
    spec.time = 1;
    spec.features = value(op.inputs[0]).size;
    spec.units = op.size;
    spec.cell = op.cell;
    spec.dtype = p.dtype;
    spec.activation = op.activation;
    spec.recurrent_activation = op.recurrent_activation;
    spec.flags = op.flags | ELMAN_RETURN_SEQUENCES;
    elman_forward_call call{};
    call.spec = &spec;
    call.in.kernel = op.weights[0];
    call.in.recurrent_kernel = op.weights[1];
    call.in.bias = op.weights[2];
    call.in.initial_states[0] = op.weights[3];
    call.in.initial_states[1] = op.weights[4];
    Operation<T>* made = nullptr;
    with_cell(spec, [&](auto type) {
      using Made = RecurrentOp<T, typename decltype(type)::type>;
      Made* const own = new (std::nothrow) Made(spec, call);
      if (own) {
        const size_t tasks = size_t(own->forward.tasks);
        own->works = static_cast<typename Made::Work*>(calloc(tasks, sizeof(typename Made::Work)));
      }
      made = own;
      return ELMAN_OK;
    });
    return made;
  }

  // --- steps ---------------------------------------------------------------------------------------------------------

  static Stream& self(elman_stream* s) { return *static_cast<Stream*>(s); }
  static const Stream& self(const elman_stream* s) { return *static_cast<const Stream*>(s); }

  static elman_status run(elman_stream* stream, const void* x, void* y, int64_t steps) {
    Stream& s = self(stream);
    const FlushDenormals flush;
    const Value<T>& last = s.value(int32_t(s.count_));
    if (!s.takes(static_cast<const T*>(x), s.batch * steps)) return ELMAN_INVALID;
    for (int64_t t = 0; t < steps; ++t) {
      const T* const rows = static_cast<const T*>(x) + t * s.features_;
      s.window_ > 0 ? s.step_window(rows, steps * s.features_) : s.step_row(rows, steps * s.features_);
      T* const out = static_cast<T*>(y) + t * last.size;
      for (int64_t r = 0; r < s.batch; ++r)
        copy_row(out + r * steps * last.size, last.data + r * last.stride, last.size);
    }
    return ELMAN_OK;
  }

  bool takes(const T* x, int64_t rows) const {
    for (int64_t i = 0; is_limited_ && i < count_; ++i) {
      for (int64_t r = 0; r < rows; ++r) {
        if (!ops_[i]->takes(x + r * features_)) return false;
      }
    }
    return true;
  }

  void step_row(const T* x, int64_t ld) {
    for (int64_t r = 0; r < batch; ++r) copy_row(row_.data + r * row_.stride, x + r * ld, features_);
    const Moment moment;
    for (int64_t i = 0; i < count_; ++i) ops_[i]->step(moment);
  }

  void step_window(const T* x, int64_t ld) {
    bool full = true;
    for (int64_t r = 0; r < batch; ++r) {
      T* const rows = rows_ + r * window_ * features_;
      __builtin_memmove(rows, rows + features_, size_t((window_ - 1) * features_) * sizeof(T));
      copy_row(rows + (window_ - 1) * features_, x + r * ld, features_);
      if (held_[r] < T(window_)) held_[r] += 1;
      full &= held_[r] == T(window_);
      for (int64_t i = 0; i < count_; ++i) ops_[i]->reset(r);
    }
    Moment moment;
    moment.windowed = true;
    for (int64_t t = 0; t < window_; ++t) {
      moment.left = window_ - 1 - t;
      if (!full && !mark_present(moment)) continue;
      for (int64_t r = 0; r < batch; ++r) {
        copy_row(row_.data + r * row_.stride, rows_ + (r * window_ + t) * features_, features_);
      }
      for (int64_t i = 0; i < count_; ++i) {
        if (moment.left == 0 || ops_[i]->x.timed || ops_[i]->y.timed) ops_[i]->step(moment);
      }
    }
  }

  // False where no row has come yet at this place of the window.
  bool mark_present(Moment& moment) {
    bool any = false;
    for (int64_t r = 0; r < batch; ++r) any |= present_[r] = held_[r] > T(moment.left);
    moment.present = present_;
    return any;
  }

  // --- states --------------------------------------------------------------------------------------------------------

  void reset_row(int64_t r) {
    held_[r] = 0;
    fill_zero(rows_ + r * window_ * features_, window_ * features_);
    for (int64_t i = 0; i < count_; ++i) ops_[i]->reset(r);
  }
  static void reset(elman_stream* stream, int64_t row) { self(stream).reset_row(row); }

  static int64_t columns(const elman_stream* stream, int64_t op) {
    const Stream& s = self(stream);
    if (op < -2 || op >= s.count_) return 0;
    if (op >= 0) return s.window_ > 0 ? 0 : s.ops_[op]->state_columns();
    if (op == -1) return s.window_ > 0 ? s.window_ * s.features_ + 1 : 0;
    int64_t all = columns(stream, -1);
    for (int64_t i = 0; i < s.count_; ++i) all += columns(stream, i);
    return all;
  }

  static void get(const elman_stream* stream, int64_t row, void* to) {
    const Stream& s = self(stream);
    T* at = static_cast<T*>(to);
    if (s.window_ > 0) {
      copy_row(at, s.rows_ + row * s.window_ * s.features_, s.window_ * s.features_);
      at[s.window_ * s.features_] = s.held_[row];
      return;
    }
    for (int64_t i = 0; i < s.count_; at += s.ops_[i++]->state_columns()) s.ops_[i]->get_state(row, at);
  }

  static bool takes_state(const elman_stream* stream, const void* from) {
    const Stream& s = self(stream);
    return s.window_ == 0 || s.takes(static_cast<const T*>(from), s.window_);
  }

  static void set(elman_stream* stream, int64_t row, const void* from) {
    Stream& s = self(stream);
    const T* at = static_cast<const T*>(from);
    if (s.window_ > 0) {
      copy_row(s.rows_ + row * s.window_ * s.features_, at, s.window_ * s.features_);
      s.held_[row] = at[s.window_ * s.features_];
      return;
    }
    for (int64_t i = 0; i < s.count_; at += s.ops_[i++]->state_columns()) s.ops_[i]->set_state(row, at);
  }

  static void destroy(elman_stream* stream) { delete static_cast<Stream*>(stream); }
};

}  // namespace
}  // namespace ELMAN_LEVEL
}  // namespace elman
#endif  // ELMAN_STREAM_H_
