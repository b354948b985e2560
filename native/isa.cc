// SPDX-License-Identifier: Apache-2.0
#include "isa.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#if defined(__x86_64__) && !defined(ELMAN_BASELINE_ONLY)
#include <cpuid.h>
#endif

#include "error.h"

namespace elman {
namespace {

#if defined(__x86_64__) && !defined(ELMAN_BASELINE_ONLY)
// The widest level above the baseline that the processor has and whose registers the system saves: 0, 1 (avx2) or 2
// (avx512). Asked here, as the run-time library of Zig has no __builtin_cpu_supports: it finds nothing there.
int widest_level() {
  constexpr unsigned kFma = 1u << 12, kSaved = 1u << 27, kAvx = 1u << 28;                   // leaf 1, ecx
  constexpr unsigned kAvx2 = 1u << 5, kAvx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // leaf 7, ebx
  constexpr uint32_t kStateOfAvx = 0x6, kStateOfAvx512 = 0xe6;                              // bits of XCR0
  unsigned a, b, c, d, b7;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (kFma | kSaved | kAvx)) != (kFma | kSaved | kAvx)) return 0;
  if (!__get_cpuid_count(7, 0, &a, &b7, &c, &d) || !(b7 & kAvx2)) return 0;
  uint32_t state, high;
  __asm__ volatile("xgetbv" : "=a"(state), "=d"(high) : "c"(0));
  if ((state & kStateOfAvx) != kStateOfAvx) return 0;
  return (b7 & kAvx512) == kAvx512 && (state & kStateOfAvx512) == kStateOfAvx512 ? 2 : 1;
}
#endif

// Slowest first.
std::vector<const Level*> levels_here() {
#if defined(__x86_64__) && !defined(ELMAN_BASELINE_ONLY)
  const Level* const every[] = {&baseline::kLevel, &avx2::kLevel, &avx512::kLevel};
  return {every, every + 1 + widest_level()};
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
