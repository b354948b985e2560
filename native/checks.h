// SPDX-License-Identifier: Apache-2.0
//
// Whether a call is one that the kernels can run.
#ifndef ELMAN_CHECKS_H_
#define ELMAN_CHECKS_H_

#include "elman.h"

namespace elman {

// False where it is not; the error is then set (error.h).
bool check_spec(const elman_spec& spec);

}  // namespace elman
#endif  // ELMAN_CHECKS_H_
