// SPDX-License-Identifier: Apache-2.0
#include "interrupt.h"

#include <chrono>

#include "floating_point.h"

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <pthread.h>
#endif

namespace elman {
namespace {

// A human does not notice 20 ms, and a hook that waits for Python's lock at most every 20 ms costs little.
constexpr int64_t kPause = 20'000'000;

bool is_main_thread() {
#if defined(__linux__)
  return syscall(SYS_gettid) == getpid();
#elif defined(__APPLE__)
  return pthread_main_np();
#else
  return true;
#endif
}

}  // namespace

Interrupt::Interrupt(int (*hook)(void)) : hook_(hook), mode_(hook ? floating_point_mode() : 0) {}

bool Interrupt::has_hook() const { return hook_; }

void Interrupt::ask() {
  if (!hook_ || stopped) return;
  const int64_t now = std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  if (next_ == 0 && !is_main_thread()) {
    hook_ = nullptr;
    return;
  }
  const bool due = next_ != 0 && now >= next_;
  if (due) {
    const unsigned long long ours = floating_point_mode();
    set_floating_point_mode(mode_);
    const int stop = hook_() != 0;
    set_floating_point_mode(ours);
    if (stop) __atomic_store_n(&stopped, 1, __ATOMIC_RELAXED);
  }
  if (due || next_ == 0) next_ = now + kPause;
}

}  // namespace elman
