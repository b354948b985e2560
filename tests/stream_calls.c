/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts what the steps of a stream ask of the system. The definitions of malloc and its kin in a program take the place
 * of those of the C library, also for libelman. During the steps the kernel kills the process at any system call but
 * read, write and exit.
 */
#define _GNU_SOURCE
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "elman.h"

extern void* __libc_malloc(size_t);
extern void* __libc_calloc(size_t, size_t);
extern void* __libc_realloc(void*, size_t);
extern void __libc_free(void*);
static long calls;
void* malloc(size_t n) { return ++calls, __libc_malloc(n); }
void* calloc(size_t n, size_t size) { return ++calls, __libc_calloc(n, size); }
void* realloc(void* p, size_t n) { return ++calls, __libc_realloc(p, n); }
void free(void* p) { ++calls, __libc_free(p); }
int pthread_mutex_lock(pthread_mutex_t* mutex) { return ++calls, (void)mutex, 0; }

enum { kFeatures = 8, kUnits = 32, kSteps = 10000 };
static float numbers[4096], rows[kSteps * kFeatures], y[kUnits];

static void say(const char* text) { (void)!write(1, text, strlen(text)); }

int main(int argc, char** argv) {
  const int32_t inputs[] = {0, 1, 2, 3};
  elman_op ops[4];
  memset(ops, 0, sizeof ops);
  for (int i = 0; i < 4096; ++i) numbers[i] = 0.01f * (float)(i % 13 - 6);
  for (int i = 0; i < kSteps * kFeatures; ++i) rows[i] = 0.1f * (float)(i % 17 - 8);
  for (int i = 0; i < 4; ++i) {
    ops[i].input_count = 1;
    ops[i].inputs = inputs + i;
    ops[i].size = kUnits;
    for (int k = 0; k < 3; ++k) ops[i].weights[k] = numbers;
  }
  ops[0].kind = ELMAN_OP_NORMALIZE;
  ops[1].kind = ELMAN_OP_RECURRENT;
  ops[1].cell = argc > 1 ? atoi(argv[1]) : ELMAN_SIMPLE_RNN;
  ops[1].activation = ELMAN_TANH;
  ops[1].recurrent_activation = ELMAN_SIGMOID;
  ops[2].kind = ELMAN_OP_LAYER_NORM;
  ops[3].kind = ELMAN_OP_DENSE;
  ops[3].activation = ELMAN_SOFTMAX;
  elman_program program = {0};
  program.batch = 1;
  program.features = kFeatures;
  program.window = argc > 2 ? atoi(argv[2]) : 0;
  program.ops = ops;
  program.op_count = 4;
  elman_stream* stream = NULL;
  if (elman_stream_create(&program, &stream) != ELMAN_OK) return say(elman_last_error()), 2;
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)) return say("no seccomp"), 3;
  calls = 0;
  for (int t = 0; t < kSteps; ++t) elman_stream_step(stream, rows + t * kFeatures, y);
  say(calls == 0 ? "none" : "some");
  syscall(SYS_exit, 0); /* exit_group is not allowed */
  return 4;
}
