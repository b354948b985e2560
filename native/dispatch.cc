// SPDX-License-Identifier: Apache-2.0
//
// The entry points of elman.h: checks what only the arrays' content can tell, lists the valid steps, and calls the
// kernels of this machine's instruction set.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <numeric>
#include <vector>

#include "elman.h"
#include "level.h"
#include "threads.h"

namespace elman {
namespace {

thread_local char t_error[320] = "";

// Slowest first.
std::vector<const Level*> levels_here() {
#if defined(__x86_64__)
  std::vector<const Level*> levels{&baseline::kLevel};
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    levels.push_back(&avx2::kLevel);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl")) {
      levels.push_back(&avx512::kLevel);
    }
  }
  return levels;
#elif defined(__aarch64__)
  return {&neon::kLevel};
#else
  return {&baseline::kLevel};
#endif
}

// The fastest, or the one that ELMAN_ISA names; null where it names none of this machine.
const Level* chosen_level() {
  static const Level* const chosen = []() -> const Level* {
    const std::vector<const Level*> levels = levels_here();
    const char* const asked = getenv("ELMAN_ISA");
    if (!asked || !*asked) return levels.back();
    for (const Level* level : levels) {
      if (!strcmp(level->name, asked)) return level;
    }
    return nullptr;
  }();
  return chosen;
}

const char* level_names() {
  static char names[64];
  static const bool written = [] {
    for (const Level* level : levels_here()) {
      if (*names) strcat(names, ",");
      strcat(names, level->name);
    }
    return true;
  }();
  (void)written;
  return names;
}

// The valid steps of every row, ranked. Throws where there is no memory.
class StepList {
 public:
  // False where a length does not fit; the error is then written.
  bool build(const elman_spec& spec, const void* mask) {
    steps_.time = spec.time;
    if (spec.mask == ELMAN_NO_MASK || spec.batch == 0 || spec.time == 0) return true;
    std::vector<int32_t> valid(size_t(spec.batch) * size_t(spec.time)), count(size_t(spec.batch));
    for (int64_t b = 0; b < spec.batch; ++b) {
      const int64_t n = row(spec, mask, b, valid.data() + b * spec.time);
      if (n < 0) return false;
      count[size_t(b)] = int32_t(n);
    }
    if (std::accumulate(count.begin(), count.end(), int64_t(0)) == spec.batch * spec.time)
      return true;  // masks nothing
    rows_.resize(size_t(spec.batch));
    std::iota(rows_.begin(), rows_.end(), 0);
    std::stable_sort(rows_.begin(), rows_.end(),
                     [&](int32_t a, int32_t b) { return count[size_t(a)] > count[size_t(b)]; });
    list_.resize(valid.size());
    counts_.resize(size_t(spec.batch));
    for (size_t rank = 0; rank < rows_.size(); ++rank) {
      const int32_t* const from = valid.data() + int64_t(rows_[rank]) * spec.time;
      counts_[rank] = count[size_t(rows_[rank])];
      std::copy(from, from + counts_[rank], list_.begin() + int64_t(rank) * spec.time);
    }
    steps_ = {rows_.data(), counts_.data(), list_.data(), spec.time};
    return true;
  }

  const Steps& steps() const { return steps_; }

 private:
  // Writes the valid steps of row b, in processing order; returns how many, or -1.
  static int64_t row(const elman_spec& spec, const void* mask, int64_t b, int32_t* valid) {
    const bool backwards = spec.flags & ELMAN_GO_BACKWARDS;
    int64_t n = 0;
    if (spec.mask == ELMAN_MASK) {
      const uint8_t* const row = static_cast<const uint8_t*>(mask) + b * spec.time;
      for (int64_t s = 0; s < spec.time; ++s) {
        if (row[backwards ? spec.time - 1 - s : s]) valid[n++] = int32_t(s);
      }
      return n;
    }
    const int64_t length =
        spec.mask == ELMAN_LENGTHS_INT32 ? static_cast<const int32_t*>(mask)[b] : static_cast<const int64_t*>(mask)[b];
    if (length < 0 || length > spec.time) {
      snprintf(t_error, sizeof t_error,
               "lengths[%lld] is %lld; expected 0 to %lld, the number of time steps. Correct it, or pass a mask.",
               static_cast<long long>(b), static_cast<long long>(length), static_cast<long long>(spec.time));
      return -1;
    }
    const int64_t skipped = backwards ? spec.time - length : 0;
    for (; n < length; ++n) valid[n] = int32_t(skipped + n);
    return n;
  }

  std::vector<int32_t> rows_, counts_, list_;
  Steps steps_{};
};

bool fits(const elman_spec& spec) {
  const int64_t sizes[] = {spec.batch, spec.time, spec.features, spec.units};
  for (int64_t size : sizes) {
    if (size < 0 || size >= INT32_MAX) {
      snprintf(t_error, sizeof t_error, "a size of the input is %lld; expected 0 to 2147483646. Split the input.",
               static_cast<long long>(size));
      return false;
    }
  }
  const auto within = [](int32_t value, int32_t last) { return value >= 0 && value <= last; };
  const auto masks = [&](int32_t n) { return n == 0 || n == 1 || n == elman_gates(spec.cell); };
  if (spec.units == 0 || !within(spec.cell, ELMAN_GRU) || !within(spec.dtype, ELMAN_FLOAT64) ||
      !within(spec.activation, ELMAN_HARD_SIGMOID) || !within(spec.recurrent_activation, ELMAN_HARD_SIGMOID) ||
      !within(spec.mask, ELMAN_LENGTHS_INT64) || !masks(spec.input_dropout_masks) ||
      !masks(spec.recurrent_dropout_masks)) {
    snprintf(
        t_error, sizeof t_error,
        "the call asks for cell %d, dtype %d, activations %d and %d, mask %d, %d and %d dropout masks and %lld units; "
        "expected values of elman.h and a unit. Use the elman package that this library came with.",
        spec.cell, spec.dtype, spec.activation, spec.recurrent_activation, spec.mask, spec.input_dropout_masks,
        spec.recurrent_dropout_masks, static_cast<long long>(spec.units));
    return false;
  }
  return true;
}

int out_of_memory() {
  snprintf(t_error, sizeof t_error, "out of memory for the call's own scratch space. Use a smaller batch.");
  return ELMAN_OUT_OF_MEMORY;
}

// What both directions share; run(level, steps) is the rest.
template <class Run>
int guarded(const elman_spec& spec, const elman_operands& in, Run run) {
  const Level* const level = chosen_level();
  if (!level) {
    snprintf(t_error, sizeof t_error,
             "ELMAN_ISA is \"%.40s\"; expected one of %s on this machine. Unset or correct it.", getenv("ELMAN_ISA"),
             level_names());
    return ELMAN_UNAVAILABLE;
  }
  if (!fits(spec)) return ELMAN_INVALID;
  try {
    StepList list;
    if (!list.build(spec, in.mask)) return ELMAN_INVALID;
    const elman_status status = run(*level, list.steps());
    return status == ELMAN_OUT_OF_MEMORY ? out_of_memory() : status;
  } catch (const std::exception&) {  // of a vector: no memory, or more than there can be
    return out_of_memory();
  }
}

size_t element_size(const elman_spec& spec) { return spec.dtype == ELMAN_FLOAT64 ? 8 : 4; }

}  // namespace
}  // namespace elman

extern "C" {

int elman_forward(const elman_forward_call* call) {
  const elman_spec& spec = *call->spec;
  return elman::guarded(spec, call->in, [&](const elman::Level& level, const elman::Steps& steps) {
    const size_t each = size_t(spec.batch * spec.time) * elman::element_size(spec);
    if (spec.flags & ELMAN_RETURN_SEQUENCES) elman::prefer_huge_pages(call->y, each * size_t(spec.units));
    elman::prefer_huge_pages(call->tape, each * size_t(elman_tape_columns(&spec)));
    return level.forward(*call, steps);
  });
}

int elman_backward(const elman_backward_call* call) {
  const elman_spec& spec = *call->spec;
  return elman::guarded(spec, call->in, [&](const elman::Level& level, const elman::Steps& steps) {
    elman::prefer_huge_pages(call->dx, size_t(spec.batch * spec.time * spec.features) * elman::element_size(spec));
    return level.backward(*call, steps);
  });
}

int64_t elman_tape_columns(const elman_spec* spec) {
  const bool has_states = spec->flags & ELMAN_RETURN_SEQUENCES;
  switch (spec->cell) {
    case ELMAN_LSTM: return 5 * spec->units;
    case ELMAN_GRU: return (spec->flags & ELMAN_RESET_AFTER || !has_states ? 4 : 3) * spec->units;
    default: return has_states ? 0 : spec->units;
  }
}

int elman_gates(int cell) { return cell == ELMAN_LSTM ? 4 : cell == ELMAN_GRU ? 3 : 1; }
int elman_states(int cell) { return cell == ELMAN_LSTM ? 2 : 1; }

const char* elman_last_error(void) { return elman::t_error; }
int elman_abi(void) { return ELMAN_ABI; }
const char* elman_version(void) { return ELMAN_VERSION; }
const char* elman_isa(void) { return elman::chosen_level() ? elman::chosen_level()->name : ""; }
const char* elman_isas(void) { return elman::level_names(); }
int elman_num_threads(void) { return elman::num_threads(); }
int elman_set_num_threads(int n) { return elman::set_num_threads(n); }

double elman_peak_gflops(int dtype, int threads, int milliseconds) {
  const elman::Level* const level = elman::chosen_level();
  if (!level) return 0;
  struct Trial {
    const elman::Level* level;
    int dtype;
    double operations[256];
  } trial{level, dtype, {}};
  threads = std::min(std::max(threads, 1), 255);
  double best = 0;
  const auto now = [] { return std::chrono::steady_clock::now(); };
  const auto end = now() + std::chrono::milliseconds(milliseconds);
  do {
    const auto begin = now();
    elman::parallel(
        threads, threads,
        [](void* context, int task, int) {
          Trial& t = *static_cast<Trial*>(context);
          t.operations[task] = t.level->multiply_adds(t.dtype, 20000);
        },
        &trial);
    const double seconds = std::chrono::duration<double>(now() - begin).count();
    best = std::max(best, std::accumulate(trial.operations, trial.operations + threads, 0.0) / seconds * 1e-9);
  } while (now() < end);
  return best;
}

}  // extern "C"
