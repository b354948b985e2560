// SPDX-License-Identifier: Apache-2.0
//
// Whether a call is one that the kernels can run.
#ifndef ELMAN_CHECKS_H_
#define ELMAN_CHECKS_H_

#include <initializer_list>

#include "elman.h"

namespace elman {

// False where it is not; the error is then set (error.h).
bool check_call(const elman_forward_call* call);
bool check_call(const elman_backward_call* call);

// What the other calls share: the call is there, its dtype is one of elman.h, and its sizes can be counted.
bool check_sizes(const char* name, const void* call, int32_t dtype, std::initializer_list<int64_t> sizes);

// An array that a call cannot do without, unless it has no element.
bool check_needed(const char* name, const void* address, double elements);

}  // namespace elman
#endif  // ELMAN_CHECKS_H_
