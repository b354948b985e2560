// SPDX-License-Identifier: Apache-2.0
//
// The entry points of elman.h. A call is checked (checks.h), its mask becomes a list of steps (steps.h), and the
// kernels of the instruction set in use (isa.h) run it.
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <numeric>

#include "cell_table.h"
#include "checks.h"
#include "elman.h"
#include "error.h"
#include "interrupt.h"
#include "isa.h"
#include "level.h"
#include "scratch.h"
#include "steps.h"
#include "threads.h"

namespace elman {
namespace {

int out_of_memory() {
  set_error("out of memory for the call's own scratch space. Use a smaller batch.");
  return ELMAN_OUT_OF_MEMORY;
}

int interrupted() {
  set_error("the call was interrupted by elman_spec.interrupted. Its results are not complete.");
  return ELMAN_INTERRUPTED;
}

// What both directions share; run(level, steps, interrupt) is the rest.
template <class Call, class Run>
int guarded(const Call* call, Run run) {
  const Level* const level = level_or_error();
  if (!level) return ELMAN_UNAVAILABLE;
  if (!check_call(call)) return ELMAN_INVALID;
  try {
    StepList list;
    if (!list.build(*call->spec, call->in.mask)) return ELMAN_INVALID;
    Interrupt interrupt(call->spec->interrupted);
    const elman_status status = run(*level, list.steps(), interrupt);
    if (interrupt.stopped) return interrupted();
    return status == ELMAN_OUT_OF_MEMORY ? out_of_memory() : status;
  } catch (const std::exception&) {  // from a vector: no memory, or more than there can be
    return out_of_memory();
  }
}

size_t element_size(const elman_spec& spec) { return spec.dtype == ELMAN_FLOAT64 ? 8 : 4; }

}  // namespace
}  // namespace elman

extern "C" {

int elman_forward(const elman_forward_call* call) {
  return elman::guarded(call, [&](const elman::Level& level, const elman::Steps& steps, elman::Interrupt& interrupt) {
    const elman_spec& spec = *call->spec;
    const size_t each = size_t(spec.batch * spec.time) * elman::element_size(spec);
    if (spec.flags & ELMAN_RETURN_SEQUENCES) elman::prefer_huge_pages(call->y, each * size_t(spec.units));
    elman::prefer_huge_pages(call->tape, each * size_t(elman_tape_columns(&spec)));
    return level.forward(*call, steps, interrupt);
  });
}

int elman_backward(const elman_backward_call* call) {
  return elman::guarded(call, [&](const elman::Level& level, const elman::Steps& steps, elman::Interrupt& interrupt) {
    const elman_spec& spec = *call->spec;
    elman::prefer_huge_pages(call->dx, size_t(spec.batch * spec.time * spec.features) * elman::element_size(spec));
    return level.backward(*call, steps, interrupt);
  });
}

int64_t elman_tape_columns(const elman_spec* spec) {
  const elman::CellRow* const cell = spec ? elman::find_cell(spec->cell, spec->flags) : nullptr;
  if (!cell) return 0;
  return (spec->flags & ELMAN_RETURN_SEQUENCES ? cell->tape_with_sequences : cell->tape_without) * spec->units;
}

int elman_gates(int cell) {
  const elman::CellRow* const row = elman::find_cell(cell, 0);
  return row ? row->gates : 0;
}

int elman_states(int cell) {
  const elman::CellRow* const row = elman::find_cell(cell, 0);
  return row ? row->states : 0;
}

const char* elman_last_error(void) { return elman::last_error(); }
int elman_abi(void) { return ELMAN_ABI; }
const char* elman_version(void) { return ELMAN_VERSION; }
const char* elman_isa(void) { return elman::level_in_use() ? elman::level_in_use()->name : ""; }
const char* elman_isas(void) { return elman::level_names(); }
int elman_set_isa(const char* name) {
  if (elman::set_level(name)) return ELMAN_OK;
  elman::set_error("elman_set_isa got \"%.40s\"; expected one of %s on this machine, or null for the default.", name,
                   elman::level_names());
  return ELMAN_UNAVAILABLE;
}
int elman_num_threads(void) { return elman::num_threads(); }
int elman_set_num_threads(int n) {
  if (elman::set_num_threads(n) == 0) return ELMAN_OK;
  elman::set_error("elman_set_num_threads got %d; expected a number from 0. Pass 0 for the default.", n);
  return ELMAN_INVALID;
}

double elman_peak_gflops(int dtype, int threads, int milliseconds) {
  const elman::Level* const level = elman::level_in_use();
  if (!level) return 0;
  struct Trial {
    const elman::Level* level;
    int dtype;
    double* operations;
  };
  double operations[256] = {};
  const Trial trial{level, dtype, operations};
  threads = std::min(std::max(threads, 1), 255);
  double best = 0;
  const auto now = [] { return std::chrono::steady_clock::now(); };
  const auto end = now() + std::chrono::milliseconds(milliseconds);
  do {
    const auto begin = now();
    elman::parallel(
        threads, threads,
        [](const void* context, int64_t task, int) {
          const Trial& t = *static_cast<const Trial*>(context);
          t.operations[task] = t.level->multiply_adds(t.dtype, 20000);
        },
        &trial);
    const double seconds = std::chrono::duration<double>(now() - begin).count();
    best = std::max(best, std::accumulate(operations, operations + threads, 0.0) / seconds * 1e-9);
  } while (now() < end);
  return best;
}

}  // extern "C"
