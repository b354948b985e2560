// SPDX-License-Identifier: Apache-2.0
#include "isa.h"

#include <stdlib.h>
#include <string.h>

#include <vector>

#include "error.h"

namespace elman {
namespace {

// Slowest first.
std::vector<const Level*> levels_here() {
#if defined(__x86_64__) && !defined(ELMAN_BASELINE_ONLY)
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

const Level* find_level(const char* name) {
  for (const Level* level : levels_here()) {
    if (!strcmp(level->name, name)) return level;
  }
  return nullptr;
}

thread_local const Level* t_level = nullptr;  // so that one thread's choice cannot change another's results

}  // namespace

const Level* level_in_use() {
  if (t_level) return t_level;
  static const Level* const chosen = [] {
    const char* const asked = getenv("ELMAN_ISA");
    return asked && *asked ? find_level(asked) : levels_here().back();
  }();
  return chosen;
}

const Level* level_or_error() {
  const Level* const level = level_in_use();
  if (!level) {
    set_error("ELMAN_ISA is \"%.40s\"; expected one of %s on this machine. Unset or correct it.", getenv("ELMAN_ISA"),
              level_names());
  }
  return level;
}

bool set_level(const char* name) {
  const Level* const level = name ? find_level(name) : nullptr;
  if (name && !level) return false;
  t_level = level;
  return true;
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

}  // namespace elman
