// SPDX-License-Identifier: Apache-2.0
//
// The backward (backward.h) of each cell and type. Compiled once per instruction set.
#include "backward.h"

#include "cell_table.h"

namespace elman {
namespace ELMAN_LEVEL {

elman_status run_backward(const elman_backward_call& call, const Steps& steps, Interrupt& interrupt) {
  return with_cell(*call.spec, [&](auto type) {
    using Cell = typename decltype(type)::type;
    return call.spec->dtype == ELMAN_FLOAT64 ? backward<double, Cell>(call, steps, interrupt)
                                             : backward<float, Cell>(call, steps, interrupt);
  });
}

}  // namespace ELMAN_LEVEL
}  // namespace elman
