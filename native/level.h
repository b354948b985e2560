// SPDX-License-Identifier: Apache-2.0
//
// Between the entry points (entry.cc, compiled once) and the kernels (level.cc, compiled once per instruction set). No
// inline code here: a copy that was compiled for a newer instruction set could win at link time and run everywhere.
#ifndef ELMAN_LEVEL_H_
#define ELMAN_LEVEL_H_

#include "elman.h"
#include "interrupt.h"

namespace elman {

// Which steps of which rows are computed: a masked step costs nothing. Rows are ranked by their number of valid
// steps, most first, so that the rows still running at any moment are the first ones.
struct Steps {
  const int32_t* rows;    // (B,) rank -> row; null: the same
  const int32_t* counts;  // (B,) rank -> valid steps; null: T
  const int32_t* list;    // (B, T) rank -> its valid steps, ascending, in processing order; null: all
  int64_t time;
  // (B, T) in the time order of x: bytes whose second bit is set at a reset; null: there is none
  const uint8_t* resets;
};

// What a stream can do; `self` is the stream. Rows are numbered from 0, operations from 0, and the window is -1.
struct StreamCalls {
  elman_status (*run)(elman_stream* self, const void* x, void* y, int64_t steps);  // all steps or, if invalid, none
  void (*reset)(elman_stream* self, int64_t row);
  int64_t (*state_columns)(const elman_stream* self, int64_t op);
  void (*get_state)(const elman_stream* self, int64_t row, void* to);
  bool (*takes_state)(const elman_stream* self, const void* from);  // whether its window is one of rows that run takes
  void (*set_state)(elman_stream* self, int64_t row, const void* from);
  void (*destroy)(elman_stream* self);
};

// One instruction set's kernels.
struct Level {
  const char* name;
  elman_status (*forward)(const elman_forward_call& call, const Steps& steps, Interrupt& interrupt);
  elman_status (*backward)(const elman_backward_call& call, const Steps& steps, Interrupt& interrupt);
  elman_status (*dense)(const elman_dense_call& call);
  elman_status (*dense_backward)(const elman_dense_call& call);
  void (*adam)(const elman_adam_call& call);
  elman_status (*stream_create)(const elman_program& program, elman_stream** stream);  // of a program that was checked
  double (*multiply_adds)(int dtype, int64_t rounds);  // runs on registers alone; returns the operations done
};

namespace baseline {
extern const Level kLevel;
}
namespace avx2 {
extern const Level kLevel;
}
namespace avx512 {
extern const Level kLevel;
}
namespace neon {
extern const Level kLevel;
}

#ifdef ELMAN_LEVEL  // what the files of one instruction set have for each other
namespace ELMAN_LEVEL {
elman_status run_forward(const elman_forward_call& call, const Steps& steps, Interrupt& interrupt);
elman_status run_backward(const elman_backward_call& call, const Steps& steps, Interrupt& interrupt);
}  // namespace ELMAN_LEVEL
#endif

}  // namespace elman

struct elman_stream {
  const elman::StreamCalls* calls;
  int64_t batch;
};
#endif  // ELMAN_LEVEL_H_
