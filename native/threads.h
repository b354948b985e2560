// SPDX-License-Identifier: Apache-2.0
//
// The library's own threads. No inline code here: the kernels include this header at other instruction sets than the
// file that defines it.
#ifndef ELMAN_THREADS_H_
#define ELMAN_THREADS_H_

#include <stdint.h>

#include "interrupt.h"

namespace elman {

using Task = void (*)(const void* context, int64_t i, int worker);

// Runs task(context, i, worker) for every i in [0, tasks), on at most `workers` threads, the caller among them. Tasks
// that run at the same time have different workers in [0, workers); the caller is worker 0. Returns when all have
// ended. Which thread runs a task is not defined. Runs serially while another call has the pool. Denormals are flushed
// inside. While the caller waits for other threads, it asks `interrupt` (null: nobody) whether the call is to stop.
void parallel(int64_t tasks, int workers, Task task, const void* context, Interrupt* interrupt = nullptr);

int num_threads();
int set_num_threads(int n);  // 0: the default again

}  // namespace elman
#endif  // ELMAN_THREADS_H_
