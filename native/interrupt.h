// SPDX-License-Identifier: Apache-2.0
//
// How a long call learns that it is to stop. No inline code here, see level.h.
#ifndef ELMAN_INTERRUPT_H_
#define ELMAN_INTERRUPT_H_

#include <stdint.h>

namespace elman {

// Of one call. Every thread reads `stopped` between steps (with __atomic_load_n); the thread that made the call asks
// the hook now and then.
class Interrupt {
 public:
  explicit Interrupt(int (*hook)(void));

  // Calls the hook if 20 ms have passed since the last time. On the thread that made the call alone.
  void ask();

  bool has_hook() const;
  int stopped = 0;

 private:
  int (*hook_)(void);
  int64_t next_ = 0;         // time of the next call of the hook, ns; 0: the clock was not read yet
  unsigned long long mode_;  // the caller's floating-point mode, in which the hook runs
};

}  // namespace elman
#endif  // ELMAN_INTERRUPT_H_
