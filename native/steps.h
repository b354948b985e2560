// SPDX-License-Identifier: Apache-2.0
//
// From a mask or lengths to lists of the steps to compute.
#ifndef ELMAN_STEPS_H_
#define ELMAN_STEPS_H_

#include <vector>

#include "elman.h"
#include "level.h"

namespace elman {

// The valid steps of every row, ranked.
class StepList {
 public:
  // False where a length does not fit; the error is then set (error.h). Throws std::bad_alloc where there is no memory.
  bool build(const elman_spec& spec, const void* mask);

  const Steps& steps() const { return steps_; }

 private:
  std::vector<int32_t> rows_, counts_, list_;
  Steps steps_{};
};

}  // namespace elman
#endif  // ELMAN_STEPS_H_
