// SPDX-License-Identifier: Apache-2.0
//
// Whether a call is one that the kernels can run.
#ifndef ELMAN_CHECKS_H_
#define ELMAN_CHECKS_H_

#include "elman.h"

namespace elman {

// False where it is not; the error is then set (error.h).
bool check_call(const elman_forward_call* call);
bool check_call(const elman_backward_call* call);

}  // namespace elman
#endif  // ELMAN_CHECKS_H_
