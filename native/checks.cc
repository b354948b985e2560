// SPDX-License-Identifier: Apache-2.0
#include "checks.h"

#include "cell_table.h"
#include "error.h"

namespace elman {
namespace {

bool within(int32_t value, int32_t last) { return value >= 0 && value <= last; }

}  // namespace

bool check_spec(const elman_spec& spec) {
  const int64_t sizes[] = {spec.batch, spec.time, spec.features, spec.units};
  for (const int64_t size : sizes) {
    if (size < 0 || size >= INT32_MAX) {
      set_error("a size of the input is %lld; expected 0 to 2147483646. Split the input.",
                static_cast<long long>(size));
      return false;
    }
  }
  const CellRow* const cell = find_cell(spec.cell, spec.flags);
  const auto masks = [&](int32_t n) { return n == 0 || n == 1 || n == cell->gates; };
  if (spec.units == 0 || !cell || !within(spec.dtype, ELMAN_FLOAT64) || !within(spec.activation, ELMAN_HARD_SIGMOID) ||
      !within(spec.recurrent_activation, ELMAN_HARD_SIGMOID) || !within(spec.mask, ELMAN_LENGTHS_INT64) ||
      !masks(spec.input_dropout_masks) || !masks(spec.recurrent_dropout_masks)) {
    set_error(
        "the call asks for cell %d, dtype %d, activations %d and %d, mask %d, %d and %d dropout masks and %lld units; "
        "expected values of elman.h and a unit. Use the elman package that this library came with.",
        spec.cell, spec.dtype, spec.activation, spec.recurrent_activation, spec.mask, spec.input_dropout_masks,
        spec.recurrent_dropout_masks, static_cast<long long>(spec.units));
    return false;
  }
  return true;
}

}  // namespace elman
