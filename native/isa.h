// SPDX-License-Identifier: Apache-2.0
//
// The instruction sets that this machine can run, and the one in use.
#ifndef ELMAN_ISA_H_
#define ELMAN_ISA_H_

#include "level.h"

namespace elman {

// The kernels in use on this thread: those that set_level chose, else those that ELMAN_ISA names, else the fastest;
// null where ELMAN_ISA names none that this machine can run.
const Level* level_in_use();

// The same; where it is null, the error is set (error.h).
const Level* level_or_error();

// For this thread; null: the default again. False where this machine can run none of this name.
bool set_level(const char* name);

// The names of those this machine can run, comma-separated, slowest first.
const char* level_names();

}  // namespace elman
#endif  // ELMAN_ISA_H_
