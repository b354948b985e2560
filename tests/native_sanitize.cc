// SPDX-License-Identifier: Apache-2.0
//
// A driver for the native library alone, built and run by test_sanitizers.py. In: the name of a mode, and how many
// percent of its random calls are made, else all. Out: status 0 if every call did what that mode expects. Numbers are
// not judged here. The arrays have exactly the sizes that elman.h gives, so that a sanitizer sees every access outside
// them.
//
//   shapes        many shapes, options and numbers of threads, forward and backward
//   streams       a program of all operations, step by step and at once, with and without a window; wrong programs
//   concurrent    the same from eight threads at once, some of which set the number of threads
//   modes         the caller's floating-point control word after calls that succeed and calls that fail
//   allocations   as many allocations for 2,000 steps as for 10, counted by ELMAN_COUNT_ALLOCATIONS
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <memory>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif
#if defined(ELMAN_COUNT_ALLOCATIONS)
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "elman.h"

namespace {

std::atomic<long> g_allocations{0};

// An array of exactly its size on the heap, filled with small numbers; or none.
class Array {
 public:
  Array() = default;
  Array(int64_t count, size_t element, uint32_t seed) : memory_(malloc(size_t(count) * element)), present_(true) {
    for (int64_t i = 0; i < count; ++i) {
      seed = seed * 1664525u + 1013904223u;
      const double value = double(seed >> 8) / (1 << 24) - 0.5;
      if (element == 8) {
        static_cast<double*>(memory_.get())[i] = value;
      } else if (element == 4) {
        static_cast<float*>(memory_.get())[i] = float(value);
      } else {
        static_cast<uint8_t*>(memory_.get())[i] = value > -0.2;
      }
    }
  }
  void* get() const { return present_ ? memory_.get() : nullptr; }

 private:
  struct Free {
    void operator()(void* p) const { free(p); }
  };
  std::unique_ptr<void, Free> memory_;
  bool present_ = false;
};

// One problem: a spec, arrays of its sizes, and the two calls.
class Problem {
 public:
  Problem(const elman_spec& spec, uint32_t seed, bool bias, bool state, bool dy, bool dfinal, bool dx) : spec_(spec) {
    const size_t element = spec.dtype == ELMAN_FLOAT64 ? 8 : 4;
    const int64_t b = spec.batch, t = spec.time, f = spec.features, h = spec.units;
    const int64_t every = b * t * h, y = spec.flags & ELMAN_RETURN_SEQUENCES ? every : b * h;
    const int64_t columns = elman_gates(spec.cell) * h;
    const int64_t biases = spec.cell == ELMAN_GRU && spec.flags & ELMAN_RESET_AFTER ? 2 * columns : columns;
    const bool second = elman_states(spec.cell) > 1;
    auto array = [&](int64_t count, bool wanted = true) {
      arrays_.push_back(wanted ? Array(count, element, ++seed) : Array());
      return arrays_.back().get();
    };
    elman_operands& in = forward_.in;
    in.x = array(b * t * f);
    in.kernel = array(f * columns);
    in.recurrent_kernel = array(h * columns);
    in.bias = array(biases, bias);
    in.initial_states[0] = array(b * h, state);
    in.initial_states[1] = array(b * h, state && second);
    in.mask = mask(seed);
    in.input_dropout = array(spec.input_dropout_masks * b * f, spec.input_dropout_masks);
    in.recurrent_dropout = array(spec.recurrent_dropout_masks * b * h, spec.recurrent_dropout_masks);
    forward_.spec = backward_.spec = &spec_;
    forward_.y = array(y);
    forward_.final_states[0] = array(b * h);
    forward_.final_states[1] = array(b * h, second);
    forward_.tape = array(b * t * elman_tape_columns(&spec_));
    backward_.in = in;
    backward_.y = forward_.y;
    backward_.tape = forward_.tape;
    backward_.dy = array(y, dy);
    backward_.dfinal_states[0] = array(b * h, dfinal);
    backward_.dfinal_states[1] = array(b * h, dfinal && second);
    backward_.dx = array(b * t * f, dx);
    backward_.dkernel = array(f * columns);
    backward_.drecurrent_kernel = array(h * columns);
    backward_.dbias = array(biases, bias);
    backward_.dinitial_states[0] = array(b * h, state);
    backward_.dinitial_states[1] = array(b * h, state && second);
    backward_.norms = array(b * t, seed % 2);
  }
  Problem(const Problem&) = delete;

  int forward() const { return elman_forward(&forward_); }
  int backward() const { return elman_backward(&backward_); }

 private:
  const void* mask(uint32_t seed) {
    if (spec_.mask == ELMAN_NO_MASK) return nullptr;
    if (spec_.mask == ELMAN_MASK || spec_.mask == ELMAN_STEPS) {
      arrays_.push_back(Array(spec_.batch * spec_.time, 1, seed));
      return arrays_.back().get();
    }
    const bool wide = spec_.mask == ELMAN_LENGTHS_INT64;
    arrays_.push_back(Array(spec_.batch, wide ? 8 : 4, seed));
    void* const lengths = arrays_.back().get();
    for (int64_t b = 0; b < spec_.batch; ++b) {
      const int64_t length = int64_t(seed + uint32_t(b) * 7919u) % (spec_.time + 1);
      if (wide) {
        memcpy(static_cast<int64_t*>(lengths) + b, &length, 8);
      } else {
        const int32_t narrow = int32_t(length);
        memcpy(static_cast<int32_t*>(lengths) + b, &narrow, 4);
      }
    }
    return lengths;
  }

  elman_spec spec_;
  std::vector<Array> arrays_;
  elman_forward_call forward_{};
  elman_backward_call backward_{};
};

class Random {
 public:
  explicit Random(uint32_t seed) : state_(seed * 2654435761u + 1) {}
  int below(int n) { return int((state_ = state_ * 1664525u + 1013904223u) >> 8) % n; }
  template <size_t kCount>
  int of(const int (&values)[kCount]) {
    return values[below(int(kCount))];
  }

 private:
  uint32_t state_;
};

int fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, elman_last_error());
  return 1;
}

// A random problem, forward and backward.
int run(uint32_t seed) {
  Random random(seed);
  elman_spec spec{};
  spec.batch = random.of({0, 1, 1, 2, 3, 5, 7, 8, 13, 33, 70});
  spec.time = random.of({0, 1, 2, 3, 7, 7, 20});
  spec.features = random.of({0, 1, 2, 3, 8, 17, 64});
  spec.units = random.below(4) ? 1 + random.below(70) : random.of({96, 127, 128, 129, 200});
  spec.truncate_gradient = random.of({0, 0, 1, 2, 3, 1000});
  spec.clip_state_gradient = random.below(2) ? 0.1 * random.below(10) : 0;
  spec.dtype = random.of({ELMAN_FLOAT32, ELMAN_FLOAT64});
  spec.cell = random.below(3);
  spec.activation = random.below(5);
  spec.recurrent_activation = random.of({ELMAN_SIGMOID, ELMAN_SIGMOID, ELMAN_HARD_SIGMOID});
  spec.mask = random.below(4);
  spec.flags = random.below(16);
  spec.input_dropout_masks = random.of({0, 1, elman_gates(spec.cell)});
  spec.recurrent_dropout_masks = random.of({0, 1, elman_gates(spec.cell)});
  const bool bias = random.below(2), state = random.below(2), dx = random.below(2);
  const Problem problem(spec, seed, bias, state, random.below(3), random.below(3), dx);
  if (problem.forward()) return fail("forward");
  if (problem.backward()) return fail("backward");
  return 0;
}

// A random dense layer forward and backward, the loss of its output, and a step of Adam on its weights.
int run_training(uint32_t seed) {
  Random random(seed);
  elman_dense_call dense{};
  dense.rows = random.of({0, 1, 2, 7, 13, 33, 600});
  dense.features = random.of({0, 1, 3, 8, 17, 64, 130});
  dense.units = random.of({1, 2, 7, 16, 19, 64, 129});
  dense.dtype = random.of({ELMAN_FLOAT32, ELMAN_FLOAT64});
  dense.activation = random.below(5);
  const size_t element = dense.dtype == ELMAN_FLOAT64 ? 8 : 4;
  const int64_t in = dense.rows * dense.features, out = dense.rows * dense.units;
  const int64_t weights = dense.features * dense.units;
  const bool has_bias = random.below(2), wants_dx = random.below(2);
  const Array x(in, element, seed), kernel(weights, element, seed + 1), y(out, element, seed + 2);
  const Array target(out, element, seed + 3), dy(out, element, seed + 4), dx(in, element, seed + 5);
  const Array bias(dense.units, element, seed + 6), dbias(dense.units, element, seed + 7);
  const Array dkernel(weights, element, seed + 8), m(weights, element, seed + 9), v(weights, element, seed + 10);
  const Array factor(dense.rows, element, seed + 11);
  dense.x = x.get(), dense.kernel = kernel.get(), dense.y = y.get(), dense.dy = dy.get(), dense.dkernel = dkernel.get();
  if (has_bias) dense.bias = bias.get(), dense.dbias = dbias.get();
  if (wants_dx) dense.dx = dx.get();
  if (elman_dense(&dense)) return fail("dense");
  double value = 0;
  elman_loss_call loss{};
  loss.rows = dense.rows, loss.outputs = dense.units, loss.dtype = dense.dtype, loss.count = 3, loss.parameter = 0.5;
  loss.loss = random.below(5);
  loss.y = y.get(), loss.target = target.get(), loss.gradient = dy.get(), loss.value = &value;
  if (random.below(2)) loss.factor = factor.get();
  if (elman_loss(&loss)) return fail("loss");
  const std::vector<int64_t> classes(size_t(dense.rows), dense.units - 1);
  loss.loss = ELMAN_SPARSE_CATEGORICAL_CROSSENTROPY, loss.target = classes.data();
  if (dense.rows > 0 && elman_loss(&loss)) return fail("loss of classes");
  if (elman_dense_backward(&dense)) return fail("dense_backward");
  elman_adam_call adam{};
  adam.size = weights, adam.dtype = dense.dtype, adam.clip_norm = random.below(2);
  adam.beta_1 = 0.9, adam.beta_2 = 0.999, adam.epsilon = 1e-7, adam.rate = 0.001, adam.keep = 1;
  adam.gradient = dkernel.get(), adam.weights = kernel.get(), adam.m = m.get(), adam.v = v.get();
  return elman_adam(&adam) ? fail("adam") : 0;
}

int shapes(uint32_t percent) {
  for (uint32_t seed = 0; seed < 9 * percent; ++seed) {
    elman_set_num_threads(1 + int(seed % 3));
    if (run(seed) || run_training(seed)) return 1;
  }
  return 0;
}

// A program with every kind of operation, on numbers or on words.
class Program {
 public:
  static constexpr int64_t kFeatures = 3, kWords = 9, kCells = 17, kOutputs = 3 * 33 + 22;

  Program(int dtype, int64_t batch, int64_t window, bool words) : element_(dtype == ELMAN_FLOAT64 ? 8 : 4) {
    program_.batch = batch, program_.window = window, program_.dtype = dtype, program_.features = words ? 1 : kFeatures;
    if (words) {
      elman_op& embedding = add(ELMAN_OP_EMBEDDING, kFeatures, {0}, {kWords * kFeatures});
      embedding.words = kWords, embedding.flags = ELMAN_OP_MASK_ZERO;
    } else {
      add(ELMAN_OP_MASK, 0, {0}, {});
    }
    add(ELMAN_OP_NORMALIZE, 0, {1}, {kFeatures, kFeatures});
    add_cell(ELMAN_LSTM, 2, kFeatures, kCells);
    add_cell(ELMAN_GRU, 2, kFeatures, kCells);
    add(ELMAN_OP_SUM, 0, {3, 4, 3}, {});
    add(ELMAN_OP_LAYER_NORM, 0, {5}, {kCells, kCells}).number = 1e-3;
    add_cell(ELMAN_SIMPLE_RNN, 6, kCells, 5);
    add(ELMAN_OP_CONCAT, 0, {7, 6}, {});
    add(ELMAN_OP_DENSE, 33, {8}, {22 * 33, 33}).activation = ELMAN_ELU;
    add(ELMAN_OP_LATEST, 3, {9}, {});
    add(ELMAN_OP_LAST, 0, {8}, {});
    add(ELMAN_OP_CONCAT, 0, {10, 11}, {});
    add(ELMAN_OP_ACTIVATION, 0, {12}, {}).activation = ELMAN_SOFTMAX;
    add(ELMAN_OP_RESCALE, 0, {13}, {kOutputs, kOutputs});
    program_.op_count = int32_t(ops_.size());
  }
  Program(const Program&) = delete;

  elman_program& program() { return program_; }
  elman_op& op(int value) { return ops_[size_t(value - 1)]; }
  std::vector<int32_t>& inputs(int value) { return inputs_[size_t(value - 1)]; }

  int create(elman_stream** stream) {
    for (size_t i = 0; i < ops_.size(); ++i) {
      ops_[i].inputs = inputs_[i].data();
      ops_[i].input_count = int32_t(inputs_[i].size());
    }
    program_.ops = ops_.data();
    return elman_stream_create(&program_, stream);
  }

 private:
  elman_op& add(int kind, int64_t size, std::vector<int32_t> inputs, const std::vector<int64_t>& weights) {
    elman_op op{};
    op.kind = kind, op.size = size;
    for (size_t k = 0; k < weights.size(); ++k) {
      arrays_.push_back(Array(weights[k], element_, uint32_t(arrays_.size())));
      op.weights[k] = arrays_.back().get();
    }
    inputs_.push_back(std::move(inputs));
    ops_.push_back(op);
    return ops_.back();
  }
  void add_cell(int cell, int32_t input, int64_t features, int64_t units) {
    const int64_t columns = elman_gates(cell) * units, biases = cell == ELMAN_GRU ? 2 * columns : columns;
    std::vector<int64_t> weights = {features * columns, units * columns, biases};
    for (int i = 0; cell != ELMAN_SIMPLE_RNN && i < elman_states(cell); ++i) weights.push_back(units);
    elman_op& op = add(ELMAN_OP_RECURRENT, units, {input}, weights);
    op.cell = cell, op.activation = ELMAN_TANH, op.recurrent_activation = ELMAN_SIGMOID;
    op.flags = ELMAN_RETURN_SEQUENCES | (cell == ELMAN_GRU ? ELMAN_RESET_AFTER | ELMAN_ZERO_OUTPUT_FOR_MASK : 0);
  }

  size_t element_;
  elman_program program_{};
  std::vector<elman_op> ops_;
  std::vector<std::vector<int32_t>> inputs_;
  std::vector<Array> arrays_;
};

struct Destroy {
  void operator()(elman_stream* stream) const { elman_stream_destroy(stream); }
};
using Stream = std::unique_ptr<elman_stream, Destroy>;

// A stream whose program and weights are gone.
Stream made_stream(int dtype, int64_t batch, int64_t window, bool words) {
  elman_stream* made = nullptr;
  Program(dtype, batch, window, words).create(&made);
  return Stream(made);
}

// Runs a stream on rows (batch, steps, features), some of them masked. Another array takes the outputs.
template <class T>
int run_stream(int64_t batch, int64_t window, bool words) {
  constexpr int64_t kSteps = 7;
  const int64_t features = words ? 1 : Program::kFeatures;
  const Stream stream = made_stream(sizeof(T) == 8 ? ELMAN_FLOAT64 : ELMAN_FLOAT32, batch, window, words);
  if (!stream) return fail("stream");
  const auto fill = [&](const Array& array, int64_t rows) {
    T* const x = static_cast<T*>(array.get());
    for (int64_t i = 0; i < rows * features; ++i)
      x[i] = words ? T(i * 5 % Program::kWords) : i / features % 3 ? x[i] : 0;
  };
  const Array x(batch * kSteps * features, sizeof(T), 1), y(batch * kSteps * Program::kOutputs, sizeof(T), 2);
  const Array row(batch * features, sizeof(T), 3), out(batch * Program::kOutputs, sizeof(T), 4);
  fill(x, batch * kSteps);
  fill(row, batch);
  const int64_t columns = elman_stream_state_columns(stream.get(), -2);
  const Array state(columns, sizeof(T), 5);
  const elman_stream_call call = {stream.get(), row.get(), out.get()};
  for (int64_t i = -3; i < 16; ++i) {
    if (elman_stream_state_columns(stream.get(), i) > columns) return fail("columns of a part");
  }
  for (int again = 0; again < 2; ++again) {
    if (elman_stream_run(stream.get(), x.get(), y.get(), kSteps)) return fail("run");
    if (elman_stream_step(stream.get(), row.get(), out.get()) || elman_stream_step_of(&call)) return fail("step");
    if (elman_stream_get_state(stream.get(), batch - 1, state.get())) return fail("get_state");
    if (elman_stream_reset(stream.get(), again ? -1 : batch - 1)) return fail("reset");
    if (elman_stream_set_state(stream.get(), again ? 0 : -1, state.get())) return fail("set_state");
  }
  if (!elman_stream_reset(stream.get(), batch) || !elman_stream_get_state(stream.get(), -1, state.get())) {
    return fail("a row that there is not");
  }
  for (const double wrong : {double(Program::kWords), -1.0, 0.5, 1e300, double(NAN)}) {
    if (!words) break;
    *static_cast<T*>(row.get()) = *static_cast<T*>(state.get()) = T(wrong);
    if (!elman_stream_step_of(&call)) return fail("a step with no word");
    if (window > 0 && !elman_stream_set_state(stream.get(), 0, state.get())) return fail("a state with no word");
  }
  return 0;
}

int wrong_programs() {
  using Change = void (*)(Program&);
  const Change changes[] = {
      [](Program& p) { p.program().batch = 0; },
      [](Program& p) { p.program().features = 0; },
      [](Program& p) { p.program().features = 2; },
      [](Program& p) { p.program().window = -1; },
      [](Program& p) { p.program().dtype = 2; },
      [](Program& p) { p.program().op_count = -1; },
      [](Program& p) { p.op(1).kind = 12; },
      [](Program& p) { p.op(1).words = 0; },
      [](Program& p) { p.op(3).cell = 3; },
      [](Program& p) { p.op(3).size = int64_t(1) << 31; },
      [](Program& p) { p.op(3).flags |= ELMAN_GO_BACKWARDS; },
      [](Program& p) { p.op(3).recurrent_activation = 5; },
      [](Program& p) { p.op(4).weights[1] = nullptr; },
      [](Program& p) { p.op(9).activation = 15; },
      [](Program& p) { p.op(10).size = int64_t(1) << 30; },
      [](Program& p) { p.inputs(2) = {2}; },
      [](Program& p) { p.inputs(2) = {-1}; },
      [](Program& p) { p.inputs(2) = {0, 1}; },
      [](Program& p) { p.inputs(5) = {3, 2}; },
      [](Program& p) { p.inputs(5) = {}; },
  };
  for (const Change change : changes) {
    Program program(ELMAN_FLOAT32, 2, 0, true);
    change(program);
    elman_stream* stream = nullptr;
    if (program.create(&stream) != ELMAN_INVALID || stream) return fail("a wrong program");
  }
  return 0;
}

int streams() {
  for (const int64_t batch : {1, 3, 17}) {
    for (const int64_t window : {0, 4}) {
      for (const bool words : {false, true}) {
        if (run_stream<float>(batch, window, words) || run_stream<double>(batch, window, words)) return 1;
      }
    }
  }
  return wrong_programs();
}

int concurrent(uint32_t percent) {
  elman_set_num_threads(3);
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (uint32_t id = 0; id < 8; ++id) {
    threads.emplace_back([id, percent, &failures] {
      for (uint32_t seed = 0; seed < 60 * percent / 100; ++seed) {
        if (id == 0) elman_set_num_threads(1 + int(seed % 4));
        failures += run(seed % 2 ? seed : 1000 * id + seed) + run_training(seed);
        if (seed % 20 == 0) failures += run_stream<float>(1 + id, seed % 40 ? 4 : 0, id % 2);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return failures;
}

elman_spec plain(int64_t batch, int64_t time, int mask) {
  elman_spec spec{};
  spec.batch = batch;
  spec.time = time;
  spec.features = 5;
  spec.units = 64;
  spec.activation = ELMAN_TANH;
  spec.flags = ELMAN_RETURN_SEQUENCES;
  spec.mask = mask;
  return spec;
}

int modes() {
#if defined(__x86_64__)
  constexpr unsigned kFlags = 0x3f;  // what was raised, not how to compute
  for (int threads = 1; threads <= 3; ++threads) {
    elman_set_num_threads(threads);
    for (unsigned mode : {0x1f80u, 0x9fc0u, 0x7f80u}) {  // the default, denormals flushed, rounding towards zero
      _mm_setcsr(mode);
      for (int64_t batch : {1, 40}) {
        const Problem right(plain(batch, 50, ELMAN_NO_MASK), 1, true, true, true, true, true);
        if (right.forward() || right.backward()) return fail("call");
        if ((_mm_getcsr() & ~kFlags) != mode) return fail("the mode changed");
        elman_spec spec = plain(batch, 50, ELMAN_NO_MASK);
        spec.units = -1;
        elman_forward_call wrong{};
        wrong.spec = &spec;
        if (elman_forward(&wrong) == 0) return fail("a wrong call passed");
        if ((_mm_getcsr() & ~kFlags) != mode) return fail("the mode changed in a failing call");
      }
    }
  }
#endif
  return 0;
}

int allocations() {
  for (int threads = 1; threads <= 2; ++threads) {
    elman_set_num_threads(threads);
    for (int mask = ELMAN_NO_MASK; mask <= ELMAN_STEPS; ++mask) {
      for (int64_t batch : {1, 40}) {
        const Problem shorter(plain(batch, 10, mask), 1, true, true, true, true, true);
        const Problem longer(plain(batch, 2000, mask), 1, true, true, true, true, true);
        const auto count = [](const Problem& problem) {
          const long before = g_allocations;
          if (problem.forward() || problem.backward()) abort();
          return g_allocations - before;
        };
        count(longer);  // threads are started, scratch memory is kept
        count(shorter);
        const long few = count(shorter), many = count(longer);
        printf("threads %d, mask %d, batch %ld: %ld allocations for 10 steps, %ld for 2,000\n", threads, mask,
               long(batch), few, many);
        if (few != many) return 1;
        if (mask == ELMAN_NO_MASK && many) return 1;
      }
    }
  }
  const long before = g_allocations;
  void* volatile block = malloc(1);  // volatile, as a compiler may leave out memory that nobody reads
  free(block);
  int* volatile number = new int;
  delete number;
  return g_allocations - before >= 2 ? 0 : fail("allocations are not counted");
}

}  // namespace

#if defined(ELMAN_COUNT_ALLOCATIONS)
// The dynamic linker sends the library's calls here, as the symbols of a program come before those of the C library.
// The names with __libc_ are those that glibc keeps for this purpose.
extern "C" {
void* __libc_malloc(size_t n);
void* __libc_calloc(size_t n, size_t size);
void* __libc_realloc(void* p, size_t n);
void* __libc_memalign(size_t align, size_t n);

void* malloc(size_t n) {
  ++g_allocations;
  return __libc_malloc(n);
}
void* calloc(size_t n, size_t size) {
  ++g_allocations;
  return __libc_calloc(n, size);
}
void* realloc(void* p, size_t n) {
  ++g_allocations;
  return __libc_realloc(p, n);
}
void* aligned_alloc(size_t align, size_t n) {
  ++g_allocations;
  return __libc_memalign(align, n);
}
int posix_memalign(void** p, size_t align, size_t n) {
  *p = aligned_alloc(align, n);
  return *p ? 0 : ENOMEM;
}
void* mmap(void* p, size_t n, int protection, int flags, int file, off_t at) {
  ++g_allocations;
  return reinterpret_cast<void*>(syscall(SYS_mmap, p, n, protection, flags, file, at));
}
}
#endif

int main(int argc, char** argv) {
  const char* const mode = argc > 1 ? argv[1] : "";
  const uint32_t percent = argc > 2 ? uint32_t(atoi(argv[2])) : 100;
  if (!strcmp(mode, "shapes")) return shapes(percent);
  if (!strcmp(mode, "streams")) return streams();
  if (!strcmp(mode, "concurrent")) return concurrent(percent);
  if (!strcmp(mode, "modes")) return modes();
  if (!strcmp(mode, "allocations")) return allocations();
  fprintf(stderr, "expected one of shapes, streams, concurrent, modes, allocations\n");
  return 2;
}
