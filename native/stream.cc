// SPDX-License-Identifier: Apache-2.0
//
// The entry points of streams (elman.h): a program is checked, and made by the instruction set in use (stream.h).
#include <exception>
#include <vector>

#include "cell_table.h"
#include "elman.h"
#include "error.h"
#include "isa.h"
#include "level.h"

namespace elman {
namespace {

constexpr int64_t kMostSize = int64_t(1) << 31;

bool is_size(int64_t n) { return n > 0 && n < kMostSize; }

int invalid(const char* what, long long got) {
  set_error("the stream's program has %s %lld; expected values of elman.h. Correct it.", what, got);
  return ELMAN_INVALID;
}

// Whether the activation is one of those that the operation has.
bool check_activation(const elman_op& op) {
  const bool dense = op.kind == ELMAN_OP_DENSE || op.kind == ELMAN_OP_ACTIVATION;
  return (op.activation >= ELMAN_LINEAR && op.activation <= ELMAN_HARD_SIGMOID) ||
         (dense && op.activation >= ELMAN_SOFTPLUS && op.activation <= ELMAN_EXPONENTIAL);
}

int check_op(const elman_program& program, int32_t i) {
  const elman_op& op = program.ops[i];
  if (op.kind < ELMAN_OP_RECURRENT || op.kind > ELMAN_OP_CONCAT) return invalid("an operation of kind", op.kind);
  const bool joins = op.kind == ELMAN_OP_SUM || op.kind == ELMAN_OP_CONCAT;
  if (!op.inputs || op.input_count < 1 || (!joins && op.input_count != 1)) return invalid("inputs:", op.input_count);
  for (int32_t k = 0; k < op.input_count; ++k) {
    if (op.inputs[k] < 0 || op.inputs[k] > i) return invalid("an input that comes later:", op.inputs[k]);
  }
  if (!check_activation(op)) return invalid("activation", op.activation);
  const bool sized = op.kind <= ELMAN_OP_DENSE || op.kind == ELMAN_OP_EMBEDDING || op.kind == ELMAN_OP_LATEST;
  if (sized && !is_size(op.size)) return invalid("an operation of size", op.size);
  if (op.kind == ELMAN_OP_EMBEDDING && !is_size(op.words)) return invalid("words:", op.words);
  constexpr int32_t kFlags = ELMAN_ZERO_OUTPUT_FOR_MASK | ELMAN_RETURN_SEQUENCES | ELMAN_RESET_AFTER;
  if (op.kind == ELMAN_OP_RECURRENT) {
    if (op.flags & ~kFlags) return invalid("flags", op.flags);
    if (!find_cell(op.cell, op.flags)) return invalid("cell", op.cell);
    if (op.recurrent_activation < ELMAN_LINEAR || op.recurrent_activation > ELMAN_HARD_SIGMOID) {
      return invalid("recurrent activation", op.recurrent_activation);
    }
  }
  const int needed = op.kind == ELMAN_OP_RECURRENT || (op.kind >= ELMAN_OP_NORMALIZE && op.kind <= ELMAN_OP_LAYER_NORM)
                         ? 2
                     : op.kind == ELMAN_OP_DENSE || op.kind == ELMAN_OP_EMBEDDING ? 1
                                                                                  : 0;
  for (int k = 0; k < needed; ++k) {
    if (!op.weights[k]) return invalid("no weights of operation", i);
  }
  return ELMAN_OK;
}

// Whether the operations fit each other, and what they return can be counted.
int check_sizes(const elman_program& program) {
  constexpr double kMostElements = 0x1p56;
  const double batch = double(program.batch), features = double(program.features);
  std::vector<double> sizes{features};  // of each value
  double elements = batch * features * double(program.window + 1);
  for (int32_t i = 0; i < program.op_count; ++i) {
    const elman_op& op = program.ops[i];
    double size = sizes[size_t(op.inputs[0])];
    if (op.kind == ELMAN_OP_EMBEDDING && (op.inputs[0] != 0 || program.features != 1)) {
      return invalid("an Embedding that does not read rows of one integer: operation", i);
    }
    if (op.kind == ELMAN_OP_RECURRENT || op.kind == ELMAN_OP_DENSE) {
      elements += 8 * double(op.size) * (size + double(op.size));
      size = double(op.size);
    }
    if (op.kind == ELMAN_OP_EMBEDDING) {
      elements += double(op.words) * double(op.size);
      size = double(op.size);
    }
    if (op.kind == ELMAN_OP_LATEST) size *= double(op.size);
    for (int32_t k = 1; k < op.input_count; ++k) {
      const double other = sizes[size_t(op.inputs[k])];
      if (op.kind == ELMAN_OP_SUM && other != size) return invalid("inputs of different sizes: operation", i);
      if (op.kind == ELMAN_OP_CONCAT) size += other;
    }
    elements += batch * size;
    if (size >= double(kMostSize) || elements >= kMostElements) return invalid("too many numbers: operation", i);
    sizes.push_back(size);
  }
  return elements < kMostElements ? ELMAN_OK : invalid("too many numbers in a window of", program.window);
}

int check_program(const elman_program* program, elman_stream** stream) {
  if (!program || !stream) return invalid("null for itself or its result:", 0);
  if (!is_size(program->batch)) return invalid("batch", program->batch);
  if (!is_size(program->features)) return invalid("features", program->features);
  if (program->window < 0 || program->window >= kMostSize) return invalid("window", program->window);
  if (program->dtype != ELMAN_FLOAT32 && program->dtype != ELMAN_FLOAT64) return invalid("dtype", program->dtype);
  if (program->op_count < 0 || (program->op_count > 0 && !program->ops)) return invalid("ops:", program->op_count);
  for (int32_t i = 0; i < program->op_count; ++i) {
    if (const int status = check_op(*program, i)) return status;
  }
  return check_sizes(*program);
}

int out_of_memory() {
  set_error("out of memory for a stream. Use a smaller batch.");
  return ELMAN_OUT_OF_MEMORY;
}

int null_argument(const char* name) {
  set_error("%s is null. Pass its address.", name);
  return ELMAN_INVALID;
}

int not_a_word() {
  set_error("x is not the number of a word of the Embedding; expected an integer from 0 below its size.");
  return ELMAN_INVALID;
}

// Runs body(row) for the row, or for each.
template <class Body>
int for_rows(const elman_stream* stream, int64_t row, Body body) {
  if (!stream) return null_argument("the stream");
  if (row < -1 || row >= stream->batch) {
    set_error("row is %lld; expected 0 to %lld, or -1 for each.", static_cast<long long>(row),
              static_cast<long long>(stream->batch - 1));
    return ELMAN_INVALID;
  }
  const int64_t first = row < 0 ? 0 : row, last = row < 0 ? stream->batch : row + 1;
  for (int64_t r = first; r < last; ++r) body(r);
  return ELMAN_OK;
}

}  // namespace
}  // namespace elman

extern "C" {

int elman_stream_create(const elman_program* program, elman_stream** stream) {
  const elman::Level* const level = elman::level_or_error();
  if (!level) return ELMAN_UNAVAILABLE;
  try {
    if (const int status = elman::check_program(program, stream)) return status;
  } catch (const std::exception&) {
    return elman::out_of_memory();
  }
  const elman_status status = level->stream_create(*program, stream);
  return status == ELMAN_OUT_OF_MEMORY ? elman::out_of_memory() : status;
}

int elman_stream_run(elman_stream* stream, const void* x, void* y, int64_t steps) {
  if (!stream) return elman::null_argument("the stream");
  if (steps > 0 && (!x || !y)) return elman::null_argument(x ? "y" : "x");
  return stream->calls->run(stream, x, y, steps) == ELMAN_INVALID ? elman::not_a_word() : ELMAN_OK;
}

int elman_stream_step(elman_stream* stream, const void* x, void* y) { return elman_stream_run(stream, x, y, 1); }

int elman_stream_step_of(const elman_stream_call* call) {
  return call ? elman_stream_run(call->stream, call->x, call->y, 1) : elman::null_argument("the call");
}

int elman_stream_reset(elman_stream* stream, int64_t row) {
  return elman::for_rows(stream, row, [&](int64_t r) { stream->calls->reset(stream, r); });
}

int64_t elman_stream_state_columns(const elman_stream* stream, int64_t op) {
  return stream ? stream->calls->state_columns(stream, op) : 0;
}

int elman_stream_get_state(const elman_stream* stream, int64_t row, void* state) {
  if (!state && elman_stream_state_columns(stream, -2) > 0) return elman::null_argument("state");
  if (row < 0) {
    elman::set_error("row is %lld; expected the number of one row.", static_cast<long long>(row));
    return ELMAN_INVALID;
  }
  return elman::for_rows(stream, row, [&](int64_t r) { stream->calls->get_state(stream, r, state); });
}

int elman_stream_set_state(elman_stream* stream, int64_t row, const void* state) {
  if (!state && elman_stream_state_columns(stream, -2) > 0) return elman::null_argument("state");
  if (stream && !stream->calls->takes_state(stream, state)) return elman::not_a_word();
  return elman::for_rows(stream, row, [&](int64_t r) { stream->calls->set_state(stream, r, state); });
}

void elman_stream_destroy(elman_stream* stream) {
  if (stream) stream->calls->destroy(stream);
}

}  // extern "C"
