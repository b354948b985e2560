/* SPDX-License-Identifier: Apache-2.0
 *
 * A simple RNN of two units and a dense layer, one row at a time, through elman.h:
 *
 *   cc -std=c99 stream.c -I native -L src/elman -lelman -o stream
 */
#include <stdio.h>

#include "elman.h"

int main(void) {
  const float kernel[1][2] = {{0.5f, -0.25f}}, recurrent[2][2] = {{0.1f, 0.2f}, {-0.3f, 0.4f}}, bias[2] = {0.0f, 0.1f};
  const float dense[2][1] = {{1.0f}, {-1.0f}};
  const int32_t row = 0, hidden = 1; /* value 0 is the row, value 1 what the first operation returns */

  elman_op ops[2] = {{0}, {0}};
  ops[0].kind = ELMAN_OP_RECURRENT;
  ops[0].cell = ELMAN_SIMPLE_RNN;
  ops[0].activation = ELMAN_TANH;
  ops[0].flags = ELMAN_RETURN_SEQUENCES;
  ops[0].input_count = 1;
  ops[0].inputs = &row;
  ops[0].size = 2;
  ops[0].weights[0] = kernel;
  ops[0].weights[1] = recurrent;
  ops[0].weights[2] = bias;
  ops[1].kind = ELMAN_OP_DENSE;
  ops[1].input_count = 1;
  ops[1].inputs = &hidden;
  ops[1].size = 1;
  ops[1].weights[0] = dense;

  elman_program program = {0};
  program.batch = 1;
  program.features = 1;
  program.ops = ops;
  program.op_count = 2;
  program.dtype = ELMAN_FLOAT32;

  elman_stream* stream = NULL;
  if (elman_stream_create(&program, &stream) != ELMAN_OK) {
    fprintf(stderr, "%s\n", elman_last_error());
    return 1;
  }
  for (int t = 0; t < 4; ++t) {
    const float x = (float)t;
    float y;
    elman_stream_step(stream, &x, &y);
    printf("%.6f\n", (double)y);
  }
  elman_stream_destroy(stream);
  return 0;
}
