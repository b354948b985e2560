// SPDX-License-Identifier: Apache-2.0
//
// The library's own threads and scratch memory. No inline code lives here: the kernels include this
// header at other instruction sets than the file that defines it.
#ifndef ELMAN_THREADS_H_
#define ELMAN_THREADS_H_

#include <stddef.h>

namespace elman {

// Runs task(context, i, worker) for every i in [0, tasks), on at most `workers` threads, the caller among
// them; worker < workers tells concurrent tasks apart. Returns when all have ended. Which thread runs a task
// is left open. Runs serially while another call holds the pool. Denormals are flushed inside.
void parallel(int tasks, int workers, void (*task)(void* context, int i, int worker), void* context);

int num_threads();
int set_num_threads(int n);  // 0: the default again

// Memory from earlier calls where it is large enough. Aligned for any vector; null when there is none.
void* scratch_take(size_t bytes);
void scratch_give(void* memory);

// Asks for huge pages where [memory, memory + bytes) is large: fresh pages cost more than the arithmetic.
void prefer_huge_pages(void* memory, size_t bytes);

// Flushes denormals to zero on this thread; restores the caller's mode.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();

 private:
  unsigned long long saved_;
};

}  // namespace elman
#endif  // ELMAN_THREADS_H_
