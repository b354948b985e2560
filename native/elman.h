// SPDX-License-Identifier: Apache-2.0
//
// The contract of the native library: one call forward, one call backward.
//
// In: pointers to dense row-major arrays of the caller, and one `elman_spec` that describes them. Out: the caller's own
// arrays, filled. Only a pool of threads and some scratch memory are kept between calls. Nothing here depends on Python
// or on a framework.
//
// Legend   B batch   T time   F features   H units   G gates   S states
//
//   simple RNN   G 1, S 1   h_t = activation(x_t W + h_{t-1} U + b)                                (Elman, 1990)
//   LSTM   gates i f g o, states h c;   i, f, o = recurrent_activation(x_t W + h_{t-1} U + b), g = activation(likewise)
//          c_t = f c_{t-1} + i g,   h_t = o activation(c_t)                     (Hochreiter and Schmidhuber, 1997)
//   GRU    gates z r n, S 1;   z, r = recurrent_activation(x_t W + h_{t-1} U + b);   h_t = z h_{t-1} + (1 - z) n
//          n = activation(x_t W + b + (r h_{t-1}) U)                                           (Cho et al., 2014)
//          n = activation(x_t W + b + r (h_{t-1} U + b'))   with ELMAN_RESET_AFTER, as cuDNN has it
//
// Time is counted in processing order: step t reads x at time t, or at T-1-t with ELMAN_GO_BACKWARDS,
// and y is written in processing order, as Keras does. A masked step leaves the state as it is; its
// output repeats the output before it (zero before the first valid step), or is zero with
// ELMAN_ZERO_OUTPUT_FOR_MASK. Before a step with a reset the state returns to the initial one, whose gradient is then
// the sum over all steps that start from it; what limits the state's gradient limits each of its terms.
//
// Numbers that are not finite follow IEEE arithmetic: zero times infinity is NaN, also where the zero is the slope of a
// ReLU, a dropout mask or a weight. What is not computed carries nothing: neither x of a masked step, nor dy of an
// output that depends on no valid step, nor a gradient across a step that truncate_gradient names. clip_state_gradient
// multiplies a row by the limit over the norm, where the norm exceeds the limit: with an infinite norm finite elements
// become 0 and infinite ones NaN; a NaN norm exceeds nothing, and the row stays as it is.
//
// Every array has the element type of the spec unless its line says otherwise. Pointers live as long
// as the call; arrays do not overlap. Both calls return an elman_status; after an error no result may be
// used. They never throw, print, or abort.
#ifndef ELMAN_H_
#define ELMAN_H_

#include <stdint.h>

#if defined(_WIN32)
#define ELMAN_API __declspec(dllexport)
#elif defined(__GNUC__)
#define ELMAN_API __attribute__((visibility("default")))
#else
#define ELMAN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

// Raised whenever a struct below changes; `_native.py` refuses a library of another number.
#define ELMAN_ABI 4

// What a call returns; all but ELMAN_OK leave a sentence in elman_last_error().
enum elman_status {
  ELMAN_OK = 0,
  ELMAN_INVALID = 1,        // what the arrays hold, or a size, does not fit
  ELMAN_OUT_OF_MEMORY = 2,  // for the call's own scratch space
  ELMAN_UNAVAILABLE = 3,    // ELMAN_ISA or elman_set_isa names no instruction set of this machine
  ELMAN_INTERRUPTED = 4,    // elman_spec.interrupted ended the call
};
enum elman_cell { ELMAN_SIMPLE_RNN = 0, ELMAN_LSTM = 1, ELMAN_GRU = 2 };
enum elman_dtype { ELMAN_FLOAT32 = 0, ELMAN_FLOAT64 = 1 };
enum elman_activation {
  ELMAN_LINEAR = 0,
  ELMAN_TANH = 1,
  ELMAN_RELU = 2,
  ELMAN_SIGMOID = 3,
  ELMAN_HARD_SIGMOID = 4,  // x / 6 + 1 / 2, limited to 0 and 1
};

// What `mask` points to.
enum elman_mask {
  ELMAN_NO_MASK = 0,        // null: every step is valid
  ELMAN_MASK = 1,           // (B, T) bytes in the time order of x, nonzero: valid
  ELMAN_LENGTHS_INT32 = 2,  // (B,) int32: the first lengths[b] times of x are valid
  ELMAN_LENGTHS_INT64 = 3,  // (B,) int64, likewise
  ELMAN_STEPS = 4,          // (B, T) bytes in the time order of x: 0 masked, 1 valid, 3 valid with a reset
};

enum elman_flags {
  ELMAN_GO_BACKWARDS = 1,
  ELMAN_ZERO_OUTPUT_FOR_MASK = 2,
  ELMAN_RETURN_SEQUENCES = 4,  // y is every step; without it, the last step's output alone
  ELMAN_RESET_AFTER = 8,       // a GRU's reset gate acts after the product of its state
};

// Everything that is not an array. New fields are appended, and zero keeps the previous behaviour.
typedef struct elman_spec {
  int64_t batch, time, features, units;  // B T F H; each may be 0 but units
  int64_t truncate_gradient;             // k > 0: the state's gradient is zero across T-k, T-2k, ...; 0: off
  double clip_state_gradient;            // c > 0: largest L2 norm of the gradient that step t passes to t-1; 0: off
  int32_t cell, dtype;
  int32_t activation, recurrent_activation;
  int32_t mask;                     // enum elman_mask
  int32_t flags;                    // enum elman_flags, or'ed
  int32_t input_dropout_masks;      // 0, 1 or G
  int32_t recurrent_dropout_masks;  // 0, 1 or G

  // Called during long calls, between steps and at most every 20 ms, on the thread that made the call, if that is the
  // main thread of the process, where signals are handled. Nonzero ends the call with ELMAN_INTERRUPTED. Null: never
  // called.
  int (*interrupted)(void);
} elman_spec;

// What both calls read.
typedef struct elman_operands {
  const void* x;                  // (B, T, F)
  const void* kernel;             // (F, G*H)  W
  const void* recurrent_kernel;   // (H, G*H)  U
  const void* bias;               // (G*H,)    b; of a GRU with ELMAN_RESET_AFTER (2, G*H), b and b'; null: none
  const void* initial_states[2];  // S x (B, H); null: zeros
  const void* mask;               // see enum elman_mask
  const void* input_dropout;  // (input_dropout_masks, B, F), multiplies x_t at every step; null for 0 masks. Of G masks
                              // each gate has its own.
  const void* recurrent_dropout;  // (recurrent_dropout_masks, B, H), multiplies h_{t-1} before U, likewise
} elman_operands;

// Forward: written whole, whatever was there.
typedef struct elman_forward_call {
  const elman_spec* spec;
  elman_operands in;
  void* y;                // (B, T, H), or (B, H) without ELMAN_RETURN_SEQUENCES
  void* final_states[2];  // S x (B, H); null: not wanted
  void* tape;             // (B, T, elman_tape_columns(spec)), for the backward; null: no backward will follow
} elman_forward_call;

// Backward. A null cotangent stands for zeros, a null gradient is not computed. With a spec of
// 0 tape columns the tape is y itself.
typedef struct elman_backward_call {
  const elman_spec* spec;
  elman_operands in;
  const void* y;                 // as the forward wrote it
  const void* tape;              // as the forward wrote it
  const void* dy;                // shape of y
  const void* dfinal_states[2];  // S x (B, H)
  void* dx;                      // (B, T, F)
  void* dkernel;                 // (F, G*H)
  void* drecurrent_kernel;       // (H, G*H)
  void* dbias;                   // shape of bias
  void* dinitial_states[2];      // S x (B, H)
  void* norms;                   // (B, T) L2 norm, over all states jointly, of the loss's gradient with respect to the
                                 // state after step t (processing order)
} elman_backward_call;

ELMAN_API int elman_forward(const elman_forward_call* call);
ELMAN_API int elman_backward(const elman_backward_call* call);

// --- streams: a whole network, one row at a time
// -----------------------------------------------------------------------
//
// A program is a list of operations. Value 0 is the row that a step gets, and value i is the result of ops[i - 1]; an
// operation reads values that come before its own. The last value is the output. Everything is copied when a stream is
// created. Afterwards a step allocates nothing, takes no lock and makes no system call. A stream belongs to one thread
// at a time.
enum elman_op_kind {
  ELMAN_OP_RECURRENT = 0,   // a step of a cell
  ELMAN_OP_DENSE = 1,       // activation(x W + b)
  ELMAN_OP_ACTIVATION = 2,  // activation(x)
  ELMAN_OP_NORMALIZE = 3,   // (x - offset) scale
  ELMAN_OP_RESCALE = 4,     // x scale + offset
  ELMAN_OP_LAYER_NORM = 5,  // scale (x - mean(x)) / sqrt(var(x) + number) + offset
  ELMAN_OP_EMBEDDING = 6,   // W[x], x one integer
  ELMAN_OP_LATEST = 7,      // the last `size` rows side by side; NaN where there was none yet
  ELMAN_OP_LAST = 8,        // the last valid row
  ELMAN_OP_MASK = 9,        // a row whose numbers all equal `number` is zeroed, and not valid
  ELMAN_OP_SUM = 10,        // of all inputs
  ELMAN_OP_CONCAT = 11,     // all inputs side by side
};

// Activations of ELMAN_OP_DENSE and ELMAN_OP_ACTIVATION besides those of enum elman_activation.
enum elman_dense_activation {
  ELMAN_SOFTPLUS = 16,
  ELMAN_ELU = 17,
  ELMAN_SOFTMAX = 18,
  ELMAN_EXPONENTIAL = 19,
};
enum elman_op_flags {
  ELMAN_OP_MASK_ZERO = 16,  // of an EMBEDDING: 0 is not valid
};

typedef struct elman_op {
  int32_t kind;
  int32_t cell, activation, recurrent_activation;  // RECURRENT: all; DENSE, ACTIVATION: activation
  int32_t flags;  // RECURRENT: elman_flags but ELMAN_GO_BACKWARDS; without ELMAN_RETURN_SEQUENCES the output has no
                  // time axis, so that in a window what follows runs once; EMBEDDING: elman_op_flags
  int32_t input_count;  // 1; of SUM and CONCAT any
  const int32_t* inputs;
  int64_t size;            // RECURRENT, DENSE, EMBEDDING: units; LATEST: rows
  int64_t words;           // EMBEDDING: rows of W
  const void* weights[5];  // RECURRENT: kernel, recurrent kernel, bias or null, and initial states (units,) or null;
                           // DENSE: kernel (inputs, units), bias or null;  EMBEDDING: W (words, units);
                           // NORMALIZE, RESCALE, LAYER_NORM: scale and offset (inputs,)
  double number;
} elman_op;

typedef struct elman_program {
  int64_t batch;     // independent rows of a step
  int64_t features;  // of a row; 1 for an EMBEDDING
  int64_t window;    // W > 0: a step returns what the network computes from zero states on the last W rows alone, or on
                     // all rows while there are fewer; 0: on all rows since the last reset
  const elman_op* ops;
  int32_t op_count;
  int32_t dtype;
} elman_program;

typedef struct elman_stream elman_stream;

// All return an elman_status but the sizes and `destroy`; a call that does not return ELMAN_OK changes nothing. A row
// is the number of one of the `batch` rows; to reset or to set, -1 is each.
ELMAN_API int elman_stream_create(const elman_program* program, elman_stream** stream);
ELMAN_API int elman_stream_step(elman_stream* stream, const void* x,
                                void* y);  // x (batch, features), y (batch, outputs)

// `elman_stream_step` with its operands in one place, for callers to whom each argument costs time.
typedef struct elman_stream_call {
  elman_stream* stream;
  const void* x;
  void* y;
} elman_stream_call;
ELMAN_API int elman_stream_step_of(const elman_stream_call* call);

ELMAN_API int elman_stream_run(elman_stream* stream, const void* x, void* y, int64_t steps);  // (batch, steps, ...)
ELMAN_API int elman_stream_reset(elman_stream* stream, int64_t row);
ELMAN_API void elman_stream_destroy(elman_stream* stream);

// The state of a row is one array: first the window and the number of its rows, if the program has one (then nothing
// else), else operation by operation. `state_columns`: the length of an operation's part; -1: of the window; -2: of
// all.
ELMAN_API int64_t elman_stream_state_columns(const elman_stream* stream, int64_t op);
ELMAN_API int elman_stream_get_state(const elman_stream* stream, int64_t row, void* state);
ELMAN_API int elman_stream_set_state(elman_stream* stream, int64_t row, const void* state);

// Columns per (batch, step) that the backward needs beyond y. A simple RNN needs its states, which y holds when every
// step is returned (0 columns), else H. An LSTM: 5 H. A GRU: 4 H with ELMAN_RESET_AFTER; without it 3 H, or 4 H
// where y does not hold the states.
ELMAN_API int64_t elman_tape_columns(const elman_spec* spec);

// The sentence of this thread's last error; valid until its next call.
ELMAN_API const char* elman_last_error(void);

// G and S of a cell.
ELMAN_API int elman_gates(int cell);
ELMAN_API int elman_states(int cell);

ELMAN_API int elman_abi(void);
ELMAN_API const char* elman_version(void);

// The instruction set in use on this thread ("baseline", "avx2", "avx512", "neon"): set, else named by ELMAN_ISA, else
// the fastest; and those this machine could run, comma-separated, slowest first.
ELMAN_API const char* elman_isa(void);
ELMAN_API const char* elman_isas(void);

// Chooses the instruction set for calls that this thread makes from now on; null: the default again. Returns an
// elman_status.
ELMAN_API int elman_set_isa(const char* name);

// Threads a call may use: set, else ELMAN_NUM_THREADS, else what affinity and cgroup quota allow.
ELMAN_API int elman_num_threads(void);
ELMAN_API int elman_set_num_threads(int n);  // 0: the default again; returns an elman_status

// Multiply-adds on registers alone, the ceiling that no kernel can pass: GFLOP/s over `threads`
// threads, best of about `milliseconds` of trials.
ELMAN_API double elman_peak_gflops(int dtype, int threads, int milliseconds);

// --- the rest of a small network's training step ---------------------------------------------------------------------
//
// R rows (of a batch, or of all steps of a batch), F features, N units or outputs. Results do not depend on the number
// of threads, to the last bit.

// A dense layer: y = activation(x W + b).
typedef struct elman_dense_call {
  int64_t rows, features, units;  // R F N; R may be 0
  int32_t dtype, activation;
  const void* x;       // (R, F)
  const void* kernel;  // (F, N)  W
  const void* bias;    // (N,)    b; null: none
  void* y;             // (R, N); elman_dense writes it, elman_dense_backward reads it
  const void* dy;      // (R, N); of the backward, as all that follow
  void* dx;            // (R, F); null: not wanted
  void* dkernel;       // (F, N)
  void* dbias;         // (N,); null: not wanted
} elman_dense_call;

enum elman_loss_name {
  ELMAN_MSE = 0,
  ELMAN_MAE = 1,
  ELMAN_HUBER = 2,                            // parameter: delta
  ELMAN_QUANTILE = 3,                         // parameter: the share below
  ELMAN_BINARY_CROSSENTROPY = 4,              // y: probabilities
  ELMAN_SPARSE_CATEGORICAL_CROSSENTROPY = 5,  // y: probabilities, up to a factor for each row
};

// A loss and its gradient: sum over rows of factor l(y, target), over count, with l the mean over the outputs of a row.
// Computed in double.
typedef struct elman_loss_call {
  int64_t rows, outputs;
  double parameter, count;
  int32_t dtype, loss;  // enum elman_loss_name
  const void* y;        // (R, N)
  const void* target;   // (R, N); of a categorical loss (R,) int64, the numbers of classes
  const void* factor;   // (R,); null: ones
  void* gradient;       // (R, N); null: not wanted
  double* value;
} elman_loss_call;

// m <- m + (g - m) (1 - beta_1);   v <- v + (g^2 - v) (1 - beta_2);   w <- w keep - m / (sqrt(v) + epsilon) rate
//
// g is the gradient, scaled down to an L2 norm of clip_norm where it has a larger one.
typedef struct elman_adam_call {
  int64_t size;
  double clip_norm;  // 0: none
  double beta_1, beta_2, epsilon, rate, keep;
  int32_t dtype;
  const void* gradient;
  void *weights, *m, *v;
} elman_adam_call;

ELMAN_API int elman_dense(const elman_dense_call* call);
ELMAN_API int elman_dense_backward(const elman_dense_call* call);
ELMAN_API int elman_loss(const elman_loss_call* call);
ELMAN_API int elman_adam(const elman_adam_call* call);

#ifdef __cplusplus
}
#endif
#endif  // ELMAN_H_
