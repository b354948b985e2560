// SPDX-License-Identifier: Apache-2.0
//
// The instruction sets that this machine can run, and the one in use.
#ifndef ELMAN_ISA_H_
#define ELMAN_ISA_H_

#include "level.h"

namespace elman {

// The kernels in use: the fastest, or those that ELMAN_ISA names; null where it names none that this machine can run.
const Level* level_in_use();

// The names of those this machine can run, comma-separated, slowest first.
const char* level_names();

}  // namespace elman
#endif  // ELMAN_ISA_H_
