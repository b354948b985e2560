// SPDX-License-Identifier: Apache-2.0
#include "checks.h"

#include "cell_table.h"
#include "error.h"

namespace elman {
namespace {

bool within(int32_t value, int32_t last) { return value >= 0 && value <= last; }

// False where an array or the scratch memory would have more bytes than can be counted.
bool check_memory(const elman_spec& spec, const CellRow& cell) {
  const double rows = double(spec.batch) * double(spec.time), units = double(spec.units),
               features = double(spec.features);
  const double sequences = rows * (5 * units + features);
  const double weights =
      cell.gates * units * (features + 2 * units) * 64;  // packed, and sums for some portions of the rows
  if (sequences < 0x1p58 && weights < 0x1p58) return true;
  set_error("the arrays of %lld x %lld steps, %lld features and %lld units have too many elements. Split the input.",
            static_cast<long long>(spec.batch), static_cast<long long>(spec.time),
            static_cast<long long>(spec.features), static_cast<long long>(spec.units));
  return false;
}

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
  constexpr int32_t kFlags =
      ELMAN_GO_BACKWARDS | ELMAN_ZERO_OUTPUT_FOR_MASK | ELMAN_RETURN_SEQUENCES | ELMAN_RESET_AFTER;
  if (spec.flags & ~kFlags || spec.truncate_gradient < 0 || !(spec.clip_state_gradient >= 0)) {
    set_error(
        "the call asks for flags 0x%x, truncate_gradient %lld and clip_state_gradient %g; expected flags of elman.h "
        "and numbers from 0. Use the elman package that this library came with.",
        unsigned(spec.flags), static_cast<long long>(spec.truncate_gradient), spec.clip_state_gradient);
    return false;
  }
  if (spec.units == 0 || !cell || !within(spec.dtype, ELMAN_FLOAT64) || !within(spec.activation, ELMAN_HARD_SIGMOID) ||
      !within(spec.recurrent_activation, ELMAN_HARD_SIGMOID) || !within(spec.mask, ELMAN_STEPS) ||
      !masks(spec.input_dropout_masks) || !masks(spec.recurrent_dropout_masks)) {
    set_error(
        "the call asks for cell %d, dtype %d, activations %d and %d, mask %d, %d and %d dropout masks and %lld units; "
        "expected values of elman.h and a unit. Use the elman package that this library came with.",
        spec.cell, spec.dtype, spec.activation, spec.recurrent_activation, spec.mask, spec.input_dropout_masks,
        spec.recurrent_dropout_masks, static_cast<long long>(spec.units));
    return false;
  }
  return check_memory(spec, *cell);
}

// An array that is there exactly where the spec says so.
bool check_announced(const char* name, const void* address, bool announced, double elements) {
  if (announced) return check_needed(name, address, elements);
  if (!address) return true;
  set_error("%s is not null, and the spec says that there is none. Pass null, or correct the spec.", name);
  return false;
}

bool check_operands(const elman_spec& spec, const elman_operands& in) {
  const double batch = double(spec.batch), time = double(spec.time), features = double(spec.features);
  const double units = double(spec.units), columns = units * elman_gates(spec.cell);
  return check_needed("x", in.x, batch * time * features) && check_needed("kernel", in.kernel, features * columns) &&
         check_needed("recurrent_kernel", in.recurrent_kernel, units * columns) &&
         check_announced("mask", in.mask, spec.mask != ELMAN_NO_MASK,
                         spec.mask == ELMAN_MASK || spec.mask == ELMAN_STEPS ? batch * time : batch) &&
         check_announced("input_dropout", in.input_dropout, spec.input_dropout_masks > 0, batch * features) &&
         check_announced("recurrent_dropout", in.recurrent_dropout, spec.recurrent_dropout_masks > 0, batch * units);
}

// The spec, the operands and y, which both calls have.
template <class Call>
bool check_common(const Call* call) {
  if (!call || !call->spec) {
    set_error("the %s is null. Pass its address.", call ? "spec of the call" : "call");
    return false;
  }
  const elman_spec& spec = *call->spec;
  const double steps = spec.flags & ELMAN_RETURN_SEQUENCES ? double(spec.time) : 1;
  return check_spec(spec) && check_operands(spec, call->in) &&
         check_needed("y", call->y, double(spec.batch) * steps * double(spec.units));
}

}  // namespace

bool check_sizes(const char* name, const void* call, int32_t dtype, std::initializer_list<int64_t> sizes) {
  if (!call) {
    set_error("the %s is null. Pass its address.", name);
    return false;
  }
  if (!within(dtype, ELMAN_FLOAT64)) {
    set_error("the %s has dtype %d; expected one of elman.h. Use the elman package that this library came with.", name,
              dtype);
    return false;
  }
  double elements = 1;
  for (const int64_t size : sizes) {
    elements *= double(size);
    if (size < 0 || elements >= 0x1p58) {
      set_error("a size of the %s is %lld; expected a number from 0, and less than 2^58 elements. Split the input.",
                name, static_cast<long long>(size));
      return false;
    }
  }
  return true;
}

bool check_needed(const char* name, const void* address, double elements) {
  if (address || elements == 0) return true;
  set_error("%s is null, and has %.0f elements by the sizes of the call. Pass its address.", name, elements);
  return false;
}

bool check_call(const elman_forward_call* call) { return check_common(call); }

bool check_call(const elman_backward_call* call) {
  if (!check_common(call)) return false;
  const elman_spec& spec = *call->spec;
  return check_needed("tape", call->tape, double(spec.batch) * double(spec.time) * double(elman_tape_columns(&spec)));
}

}  // namespace elman
