// SPDX-License-Identifier: Apache-2.0
//
// A whole network, one row at a time: the program of elman.h as a list of operations (stream_operations.h) that keep
// their packed weights and their states in one block of memory, taken when the stream is created. A step allocates
// nothing and takes no lock.
//
// With a window, the rows of the window go through the operations from zero states at every step; operations without a
// time axis run for the last of them alone.
//
// Part of level.cc, which is compiled once per instruction set.
#ifndef ELMAN_STREAM_H_
#define ELMAN_STREAM_H_

#include <stdlib.h>

#include <new>

#include "floating_point.h"
#include "stream_operations.h"

namespace elman {
namespace ELMAN_LEVEL {
namespace {

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
