// SPDX-License-Identifier: Apache-2.0
//
// The table of cells: everything about a cell that is not arithmetic. The entry points, TensorFlow's ops, JAX's
// handlers and the kernels read it. A new cell is its number in elman.h, its struct in cells.h and one row here.
#ifndef ELMAN_CELL_TABLE_H_
#define ELMAN_CELL_TABLE_H_

#include <string.h>

#include "elman.h"

// struct in cells.h, name, number, flag: the row applies where the spec has this flag (0: always), gates G, states S,
// rows of the bias, and the tape's columns in units: where y holds every state, and where it does not.
//
// The first row that applies counts. Names are stored in users' graphs: they never change.
#define ELMAN_CELLS(ROW)                                            \
  ROW(SimpleRnn, "simple_rnn", ELMAN_SIMPLE_RNN, 0, 1, 1, 1, 0, 1)  \
  ROW(Lstm, "lstm", ELMAN_LSTM, 0, 4, 2, 1, 5, 5)                   \
  ROW(GruAfter, "gru", ELMAN_GRU, ELMAN_RESET_AFTER, 3, 1, 2, 4, 4) \
  ROW(GruBefore, "gru", ELMAN_GRU, 0, 3, 1, 1, 3, 4)

namespace elman {

struct CellRow {
  const char* name;
  int32_t cell, flag;
  int gates, states, bias_rows;
  int tape_with_sequences, tape_without;

  bool applies(int32_t number, int32_t flags) const { return number == cell && (flags & flag) == flag; }
};

#define ELMAN_ROW(Struct, ...) {__VA_ARGS__},
constexpr CellRow kCells[] = {ELMAN_CELLS(ELMAN_ROW)};
#undef ELMAN_ROW

// The row of a cell; null where no cell has this number. Static, so that no copy is shared between instruction sets.
static inline const CellRow* find_cell(int32_t number, int32_t flags) {
  for (const CellRow& row : kCells) {
    if (row.applies(number, flags)) return &row;
  }
  return nullptr;
}

// A row of the cell with this name of `length` characters; null where no cell has it.
static inline const CellRow* find_cell(const char* name, size_t length) {
  for (const CellRow& row : kCells) {
    if (strlen(row.name) == length && memcmp(row.name, name, length) == 0) return &row;
  }
  return nullptr;
}

}  // namespace elman
#endif  // ELMAN_CELL_TABLE_H_
