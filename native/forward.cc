// SPDX-License-Identifier: Apache-2.0
//
// The forward (forward.h) of each cell and type. Compiled once per instruction set.
#include "forward.h"

#include "cell_table.h"

namespace elman {
namespace ELMAN_LEVEL {

elman_status run_forward(const elman_forward_call& call, const Steps& steps, Interrupt& interrupt) {
  return with_cell(*call.spec, [&](auto type) {
    using Cell = typename decltype(type)::type;
    return call.spec->dtype == ELMAN_FLOAT64 ? forward<double, Cell>(call, steps, interrupt)
                                             : forward<float, Cell>(call, steps, interrupt);
  });
}

}  // namespace ELMAN_LEVEL
}  // namespace elman
