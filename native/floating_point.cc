// SPDX-License-Identifier: Apache-2.0
#include "floating_point.h"

namespace elman {

#if defined(__x86_64__)
namespace {
constexpr unsigned long long kFlush = 0x8040;  // flush to zero, denormals are zero
}
unsigned long long floating_point_mode() { return __builtin_ia32_stmxcsr(); }
// The sticky flags that the kernel raised are not passed to the caller.
void set_floating_point_mode(unsigned long long mode) { __builtin_ia32_ldmxcsr(unsigned(mode)); }
#elif defined(__aarch64__)
namespace {
constexpr unsigned long long kFlush = 1ull << 24;
}
unsigned long long floating_point_mode() {
  unsigned long long mode;
  __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
void set_floating_point_mode(unsigned long long mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#else
namespace {
constexpr unsigned long long kFlush = 0;
}
unsigned long long floating_point_mode() { return 0; }
void set_floating_point_mode(unsigned long long) {}
#endif

FlushDenormals::FlushDenormals() : saved_(floating_point_mode()) { set_floating_point_mode(saved_ | kFlush); }
FlushDenormals::~FlushDenormals() { set_floating_point_mode(saved_); }

}  // namespace elman
