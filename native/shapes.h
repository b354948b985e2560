// SPDX-License-Identifier: Apache-2.0
//
// The shapes of elman.h's arrays, written as letters, for the two adapters that get shaped buffers from a framework
// (tf_op.cc, jax_ffi.cc).
//
//   B batch   T time   F features   H units   Z gates * units   C the tape's columns   D dropout masks, 1 or the gates
//   t time where y holds every step, else no dimension    R rows of the bias, no dimension where it has one
#ifndef ELMAN_SHAPES_H_
#define ELMAN_SHAPES_H_

#include <inttypes.h>
#include <stdio.h>

#include "cell_table.h"
#include "elman.h"

namespace elman {

constexpr int64_t kAnySize = -1;

struct Shape {
  int rank = 0;  // may be more than the sizes kept: such a shape fits nothing
  int64_t sizes[3] = {};
};

// Whether a dimension is absent for this spec.
inline bool is_absent(char letter, const elman_spec& spec) {
  if (letter == 't') return !(spec.flags & ELMAN_RETURN_SEQUENCES);
  return letter == 'R' && find_cell(spec.cell, spec.flags)->bias_rows == 1;
}

// Sizes of the spec that are not known yet are kAnySize.
inline int64_t size_of(char letter, const elman_spec& spec) {
  switch (letter) {
    case 'B': return spec.batch;
    case 'T':
    case 't': return spec.time;
    case 'F': return spec.features;
    case 'H': return spec.units;
    case 'Z': return spec.units == kAnySize ? kAnySize : spec.units * elman_gates(spec.cell);
    case 'R': return find_cell(spec.cell, spec.flags)->bias_rows;
    case 'C': return elman_tape_columns(&spec);
    default: return kAnySize;
  }
}

inline Shape shape_of(const char* letters, const elman_spec& spec) {
  Shape shape;
  for (; *letters; ++letters) {
    if (!is_absent(*letters, spec)) shape.sizes[shape.rank++] = size_of(*letters, spec);
  }
  return shape;
}

// Whether a shape is the expected one, but for sizes of kAnySize.
inline bool fits(const Shape& got, const Shape& expected) {
  if (got.rank != expected.rank) return false;
  for (int i = 0; i < got.rank; ++i) {
    if (expected.sizes[i] != kAnySize && expected.sizes[i] != got.sizes[i]) return false;
  }
  return true;
}

// Text of a limited length that shapes are written into.
struct ShapeText {
  char text[96];
};

// As Python writes a tuple: (3,) or (3, ?).
inline ShapeText print_shape(const Shape& shape) {
  ShapeText out;
  if (shape.rank > 3) {
    snprintf(out.text, sizeof out.text, "of %d dimensions", shape.rank);
    return out;
  }
  size_t at = size_t(snprintf(out.text, sizeof out.text, "("));
  for (int i = 0; i < shape.rank; ++i) {
    char size[24] = "?";
    if (shape.sizes[i] != kAnySize) snprintf(size, sizeof size, "%" PRId64, shape.sizes[i]);
    const char* const after = shape.rank == 1 ? "," : i + 1 < shape.rank ? ", " : "";
    at += size_t(snprintf(out.text + at, sizeof out.text - at, "%s%s", size, after));
  }
  snprintf(out.text + at, sizeof out.text - at, ")");
  return out;
}

// In words: (batch, time, features).
inline ShapeText print_meaning(const char* letters, const elman_spec& spec) {
  ShapeText out;
  const int rank = shape_of(letters, spec).rank;
  size_t at = size_t(snprintf(out.text, sizeof out.text, "("));
  for (int i = 0; *letters; ++letters) {
    if (is_absent(*letters, spec)) continue;
    const char* word = "?";
    switch (*letters) {
      case 'B': word = "batch"; break;
      case 'T':
      case 't': word = "time"; break;
      case 'F': word = "features"; break;
      case 'H': word = "units"; break;
      case 'Z': word = "gates * units"; break;
      case 'R': word = "2"; break;
      case 'C': word = "columns"; break;
      case 'D': word = "1 or gates"; break;
    }
    ++i;
    const char* const after = rank == 1 ? "," : i < rank ? ", " : "";
    at += size_t(snprintf(out.text + at, sizeof out.text - at, "%s%s", word, after));
  }
  snprintf(out.text + at, sizeof out.text - at, ")");
  return out;
}

}  // namespace elman
#endif  // ELMAN_SHAPES_H_
