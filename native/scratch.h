// SPDX-License-Identifier: Apache-2.0
//
// Scratch memory that calls reuse. No inline code here: the kernels include this header at other instruction sets than
// the file that defines it.
#ifndef ELMAN_SCRATCH_H_
#define ELMAN_SCRATCH_H_

#include <stddef.h>

namespace elman {

// Memory of an earlier call where it is large enough. Aligned for any vector; null where there is none.
void* scratch_take(size_t bytes);
void scratch_give(void* memory);  // null: nothing to give

// Asks for huge pages where [memory, memory + bytes) is large: the page faults of fresh memory cost more than the
// arithmetic.
void prefer_huge_pages(void* memory, size_t bytes);

}  // namespace elman
#endif  // ELMAN_SCRATCH_H_
