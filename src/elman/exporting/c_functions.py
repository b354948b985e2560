# SPDX-License-Identifier: Apache-2.0
"""The functions that a C header may need, and the header put together from its parts.

In: what `c_header` has collected. Out: text. A function is written only if something calls it, before those that call
it. NAME stands for the header's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# name -> (the functions that it calls, its text), in an order in which they can be written.
FUNCTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "power": ((), """\
/* 2^n, for n from -126 to 127. */
static inline float NAME_power(int n) {
  union { uint32_t bits; float value; } u;
  u.bits = (uint32_t)(n + 127) << 23;
  return u.value;
}"""),
    "not_a_number": ((), """\
static inline float NAME_not_a_number(void) {
  union { uint32_t bits; float value; } u;
  u.bits = 0x7fc00000u;
  return u.value;
}"""),
    "reduced": (("power",), """\
/* x = n ln 2 + r; returns e^r - 1, and 2^n in scale. |x| is at most 88. */
static inline float NAME_reduced(float x, float* scale) {
  const int n = (int)(x * 1.44269504f + (x < 0.0f ? -0.5f : 0.5f));
  const float r = (x - (float)n * 0.693145752f) - (float)n * 1.42860677e-6f;
  const float q = (((1.39464415e-3f * r + 8.36657957e-3f) * r + 4.16662822e-2f) * r + 1.66665430e-1f) * r + 0.5f;
  *scale = NAME_power(n);
  return r * r * q + r;
}"""),
    "exponential": (("reduced",), """\
static inline float NAME_exponential(float x) {
  float scale, p, factor = 1.0f;
  if (x < -87.0f) return 0.0f;
  if (x > 84.0f) { /* in two factors, whose product may be infinite */
    x = (x < 90.0f ? x : 90.0f) - 6.0f;
    factor = 403.428793f;
  }
  if (!(x <= 84.0f)) return x; /* NaN */
  p = NAME_reduced(x, &scale);
  return factor * (scale * p + scale);
}"""),
    "tanh": (("reduced",), """\
static inline float NAME_tanh(float x) {
  const float a = x < 0.0f ? -x : x;
  float scale, e;
  if (a > 10.0f) return x < 0.0f ? -1.0f : 1.0f;
  if (!(a <= 10.0f)) return x; /* NaN */
  e = NAME_reduced(a + a, &scale);
  e = scale * e + (scale - 1.0f);
  e = e / (e + 2.0f);
  return x < 0.0f ? -e : e;
}"""),
    "sigmoid": (("reduced",), """\
static inline float NAME_sigmoid(float x) {
  float scale, p;
  if (x < -87.0f) return 0.0f;
  if (x > 87.0f) return 1.0f;
  if (!(x <= 87.0f)) return x; /* NaN */
  p = NAME_reduced(-x, &scale);
  return 1.0f / (scale * p + scale + 1.0f);
}"""),
    "linear": ((), "static inline float NAME_linear(float x) { return x; }"),
    "relu": ((), "static inline float NAME_relu(float x) { return x <= 0.0f ? 0.0f : x; }"),
    "hard_sigmoid": ((), """\
static inline float NAME_hard_sigmoid(float x) {
  const float y = x / 6.0f + 0.5f;
  return y <= 0.0f ? 0.0f : y >= 1.0f ? 1.0f : y;
}"""),
    "softplus": (("exponential",), """\
static inline float NAME_softplus(float x) {
  return x > 0.0f ? x + log1pf(NAME_exponential(-x)) : log1pf(NAME_exponential(x));
}"""),
    "elu": ((), "static inline float NAME_elu(float x) { return x < 0.0f ? expm1f(x) : x; }"),
    "softmax": (("exponential",), """\
static inline void NAME_softmax(float* y, int n) {
  float most = y[0], sum = 0.0f;
  int i;
  for (i = 1; i < n; ++i) most = y[i] > most ? y[i] : most;
  for (i = 0; i < n; ++i) {
    y[i] = NAME_exponential(y[i] - most);
    sum += y[i];
  }
  for (i = 0; i < n; ++i) y[i] /= sum;
}"""),
    "multiply": ((), """\
/* z[j] += sum of x[i] w[j * n + i] */
static inline void NAME_multiply(float* z, const float* x, int n, const float* w, int m) {
  const int last = n - n % 4;
  int i, j;
  for (j = 0; j < m; ++j, w += n) {
    float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
    for (i = 0; i < last; i += 4) {
      a += x[i] * w[i];
      b += x[i + 1] * w[i + 1];
      c += x[i + 2] * w[i + 2];
      d += x[i + 3] * w[i + 3];
    }
    for (i = last; i < n; ++i) a += x[i] * w[i];
    z[j] += (a + b) + (c + d);
  }
}"""),
    "multiply_int8": ((), """\
/* z[j] += scale[j] times the sum of x[i] w[j * n + i] */
static inline void NAME_multiply(float* z, const float* x, int n, const signed char* w, const float* scale, int m) {
  const int last = n - n % 4;
  int i, j;
  for (j = 0; j < m; ++j, w += n) {
    float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
    for (i = 0; i < last; i += 4) {
      a += x[i] * (float)w[i];
      b += x[i + 1] * (float)w[i + 1];
      c += x[i + 2] * (float)w[i + 2];
      d += x[i + 3] * (float)w[i + 3];
    }
    for (i = last; i < n; ++i) a += x[i] * (float)w[i];
    z[j] += scale[j] * ((a + b) + (c + d));
  }
}"""),
    "layer_norm": ((), """\
static inline void NAME_layer_norm(const float* x, float* y, int n, const float* gamma, const float* beta,
                                   float epsilon) {
  float mean = 0.0f, variance = 0.0f;
  int i;
  for (i = 0; i < n; ++i) mean += x[i];
  mean /= (float)n;
  for (i = 0; i < n; ++i) variance += (x[i] - mean) * (x[i] - mean);
  variance = sqrtf(variance / (float)n + epsilon);
  for (i = 0; i < n; ++i) y[i] = (x[i] - mean) / variance * gamma[i] + beta[i];
}"""),
    "word": ((), """\
/* The number of a word; one that is out of range is limited to it. */
static inline int NAME_word(float x, int words) {
  return !(x > 0.0f) ? 0 : x >= (float)words ? words - 1 : (int)x;
}"""),
    "differs": ((), """\
static inline int NAME_differs(float x, float value) { return !(x <= value && x >= value); }"""),
}  # fmt: skip
_LIBM = ("sqrtf", "expm1f", "log1pf")


def assembled(header: Any, vector: Any, facts: Sequence[str]) -> str:
    """The whole header.

    Args:
        header: The parts that `c_header` has written.
        vector: Rows and results of the self-test.
        facts: Lines of the first comment.
    """
    name, program = header.name, header.program
    functions = _functions(header)
    libm = [function for function in _LIBM if any(f"{function}(" in text for text in functions)]
    guard = f"{name.upper()}_H_"
    uses = (
        f"Of the C library it calls {', '.join(libm)} alone (math.h)."
        if libm
        else "It calls no function of the C library."
    )
    comment = "\n".join(f" * {line}" for line in (*facts, uses))
    parts = [
        f"/* Written by elman.\n *\n{comment}\n */\n#ifndef {guard}\n#define {guard}\n",
        "#include <stdint.h>" + ("\n#include <math.h>" if libm else "") + "\n",
        f"#define {name.upper()}_FEATURES {program.features}\n#define {name.upper()}_OUTPUTS {program.outputs}\n",
        _state(header),
        *functions,
        *header.arrays,
        _steps(header),
        _selftest(header, vector),
        f"#endif /* {guard} */",
    ]
    return "\n".join(parts) + "\n"


def _functions(header: Any) -> list[str]:
    wanted = {"multiply_int8" if n == "multiply" and header.scales is not None else n for n in header.needed}
    for function in reversed(FUNCTIONS):
        if function in wanted:
            wanted |= set(FUNCTIONS[function][0])
    return [FUNCTIONS[each][1].replace("NAME", header.name) for each in FUNCTIONS if each in wanted]


def _state(header: Any) -> str:
    name, window = header.name, header.program.window
    fields = header.memory
    if window is not None:
        own = [f"float rows[{window * header.program.features}];", "int next, count;"]
        return _struct(f"{name}_memory", fields) + _struct(f"{name}_state", [f"{name}_memory memory;", *own])
    return _struct(f"{name}_state", fields)


def _struct(name: str, fields: Sequence[str]) -> str:
    body = "\n  ".join(fields or ["int unused;"])
    return f"typedef struct {name} {{\n  {body}\n}} {name};\n"


def _function(head: str, lines: Sequence[str]) -> str:
    body, depth = [], 1
    for line in lines:
        depth -= line.startswith("}")
        body.append("  " * depth + line)
        depth += line.endswith("{")
    return "\n".join([f"static inline {head} {{", *body, "}\n"])


def _steps(header: Any) -> str:
    name, program = header.name, header.program
    memory = f"{name}_state" if program.window is None else f"{name}_memory"
    clear = ["int i;", *header.reset] if header.reset else []
    begin = [*clear, "(void)i;"] if clear else ["(void)s;", "s->unused = 0;"]
    output = [
        "{",
        "int i;",
        f"for (i = 0; i < {program.outputs}; ++i) y[i] = {header.values[program.output]}[i];",
        "}",
    ]
    if program.window is None:
        used = [] if any("s->" in line for line in header.tail) else ["(void)s;"]
        return "\n".join(
            [
                _function(f"void {name}_reset({memory}* s)", begin),
                _function(f"void {name}_init({memory}* s)", [f"{name}_reset(s);"]),
                _function(f"void {name}_step({memory}* s, const float* x, float* y)", [*used, *header.tail, *output]),
            ]
        )
    features, window = program.features, program.window
    step = [
        "int i, k;",
        f"for (i = 0; i < {features}; ++i) s->rows[s->next * {features} + i] = x[i];",
        f"s->next = (s->next + 1) % {window};",
        f"if (s->count < {window}) ++s->count;",
        f"{name}_clear(&s->memory);",
        "for (k = 0; k < s->count; ++k) {",
        f"{name}_row(&s->memory, s->rows + (s->next + {window} - s->count + k) % {window} * {features});",
        "}",
        f"{name}_end(&s->memory, y);",
    ]
    state = f"{name}_state"
    return "\n".join(
        [
            _function(f"void {name}_clear({memory}* s)", begin),
            _function(f"void {name}_row({memory}* s, const float* x)", header.row),
            _function(f"void {name}_end({memory}* s, float* y)", [*header.tail, *output]),
            _function(f"void {name}_reset({state}* s)", [f"{name}_clear(&s->memory);", "s->next = s->count = 0;"]),
            _function(f"void {name}_init({state}* s)", [f"{name}_reset(s);"]),
            _function(f"void {name}_step({state}* s, const float* x, float* y)", step),
        ]
    )


def _selftest(header: Any, vector: Any) -> str:
    """main(), which returns 0 if the rows give the results."""
    name, upper = header.name, header.name.upper()
    other = type(header)(header.program, name, None)
    other.array("selftest_x", vector.x)
    other.array("selftest_y", np.where(np.isfinite(vector.y), vector.y, 0))
    other.array("selftest_known", np.isfinite(vector.y), "signed char")
    limit = f"{vector.tolerance:.9e}f"
    lines = [
        f"{name}_state s;",
        f"float y[{upper}_OUTPUTS];",
        "int t, j;",
        f"{name}_init(&s);",
        f"for (t = 0; t < {len(vector.x)}; ++t) {{",
        f"{name}_step(&s, {name}_selftest_x + t * {upper}_FEATURES, y);",
        f"for (j = 0; j < {upper}_OUTPUTS; ++j) {{",
        f"const int at = t * {upper}_OUTPUTS + j;",
        f"const float d = y[j] - {name}_selftest_y[at];",
        f"if ({name}_selftest_known[at] && !(d <= {limit} && d >= -{limit})) return t + 1;",
        "}",
        "}",
        "return 0;",
    ]
    function = _function(f"int {name}_selftest(void)", lines)
    return "\n".join(
        [
            f"/* With {upper}_SELFTEST: 0, or the number of the first row with another result; main() returns it. */",
            f"#ifdef {upper}_SELFTEST",
            *other.arrays,
            function,
            f"#ifndef {upper}_SELFTEST_NO_MAIN",
            f"int main(void) {{ return {name}_selftest(); }}",
            "#endif",
            "#endif",
        ]
    )
