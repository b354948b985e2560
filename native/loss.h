// SPDX-License-Identifier: Apache-2.0
//
// Losses and their gradients. The definitions are those of Keras 3 and torch.nn.
#ifndef ELMAN_LOSS_H_
#define ELMAN_LOSS_H_

#include "elman.h"

namespace elman {

// Fills in value and gradient. False where a target is not the number of a class; the error is then set (error.h).
bool loss(const elman_loss_call& call);

}  // namespace elman
#endif  // ELMAN_LOSS_H_
