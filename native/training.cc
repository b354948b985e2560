// SPDX-License-Identifier: Apache-2.0
//
// The entry points of elman.h for the rest of a small network's training step: a call is checked, and the kernels of
// the instruction set in use (isa.h) run it.
#include "checks.h"
#include "elman.h"
#include "error.h"
#include "isa.h"
#include "loss.h"

namespace elman {
namespace {

bool check_dense(const elman_dense_call* call, bool back) {
  if (!check_sizes("elman_dense_call", call, call ? call->dtype : 0,
                   {call ? call->rows : 0, call ? call->features : 0, call ? call->units : 0})) {
    return false;
  }
  if (call->activation < 0 || call->activation > ELMAN_HARD_SIGMOID) {
    set_error(
        "the call asks for activation %d; expected one of elman.h. Use the elman package that this library came "
        "with.",
        call->activation);
    return false;
  }
  const double rows = double(call->rows), features = double(call->features), units = double(call->units);
  return check_needed("x", call->x, rows * features) && check_needed("kernel", call->kernel, features * units) &&
         check_needed("y", call->y, rows * units) && (!back || check_needed("dy", call->dy, rows * units)) &&
         (!back || check_needed("dkernel", call->dkernel, features * units));
}

bool check_loss(const elman_loss_call* call) {
  if (!check_sizes("elman_loss_call", call, call ? call->dtype : 0,
                   {call ? call->rows : 0, call ? call->outputs : 0})) {
    return false;
  }
  if (call->loss < 0 || call->loss > ELMAN_SPARSE_CATEGORICAL_CROSSENTROPY) {
    set_error("the call asks for loss %d; expected one of elman.h. Use the elman package that this library came with.",
              call->loss);
    return false;
  }
  const double elements = double(call->rows) * double(call->outputs);
  return check_needed("y", call->y, elements) && check_needed("target", call->target, elements) &&
         check_needed("value", call->value, 1);
}

bool check_adam(const elman_adam_call* call) {
  if (!check_sizes("elman_adam_call", call, call ? call->dtype : 0, {call ? call->size : 0})) return false;
  const double size = double(call->size);
  return check_needed("gradient", call->gradient, size) && check_needed("weights", call->weights, size) &&
         check_needed("m", call->m, size) && check_needed("v", call->v, size);
}

int finished(elman_status status) {
  if (status == ELMAN_OUT_OF_MEMORY) set_error("out of memory for the call's own scratch space. Use a smaller batch.");
  return status;
}

}  // namespace
}  // namespace elman

extern "C" {

int elman_dense(const elman_dense_call* call) {
  const elman::Level* const level = elman::level_or_error();
  if (!level) return ELMAN_UNAVAILABLE;
  return elman::check_dense(call, false) ? elman::finished(level->dense(*call)) : ELMAN_INVALID;
}

int elman_dense_backward(const elman_dense_call* call) {
  const elman::Level* const level = elman::level_or_error();
  if (!level) return ELMAN_UNAVAILABLE;
  return elman::check_dense(call, true) ? elman::finished(level->dense_backward(*call)) : ELMAN_INVALID;
}

int elman_loss(const elman_loss_call* call) {
  if (!elman::check_loss(call)) return ELMAN_INVALID;
  return elman::loss(*call) ? ELMAN_OK : ELMAN_INVALID;
}

int elman_adam(const elman_adam_call* call) {
  const elman::Level* const level = elman::level_or_error();
  if (!level) return ELMAN_UNAVAILABLE;
  if (!elman::check_adam(call)) return ELMAN_INVALID;
  level->adam(*call);
  return ELMAN_OK;
}

}  // extern "C"
