// SPDX-License-Identifier: Apache-2.0
//
// The floating-point mode of a thread. No inline code here, see scratch.h.
#ifndef ELMAN_FLOATING_POINT_H_
#define ELMAN_FLOATING_POINT_H_

namespace elman {

// The control word of this thread.
unsigned long long floating_point_mode();
void set_floating_point_mode(unsigned long long mode);

// Flushes denormals to zero on this thread; restores the caller's mode at its end. States that fade away would else
// become denormals, on which arithmetic takes a hundred times as long.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();

 private:
  unsigned long long saved_;
};

}  // namespace elman
#endif  // ELMAN_FLOATING_POINT_H_
