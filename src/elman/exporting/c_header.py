# SPDX-License-Identifier: Apache-2.0
"""A network as one C99 header: weights, a state struct of the caller, `NAME_init`, `NAME_step` and `NAME_reset`.

In: a program (`elman.stream.program`). Out: the header's text. No malloc, no global state, and of the C library
`sqrtf`, `expm1f` and `log1pf` alone, where LayerNorm, elu or softplus ask for them. `KINDS` has one function for each
kind of operation. Nothing is compiled here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from elman.exporting import c_functions
from elman.stream.program import Operation, Program

Array = np.ndarray
_PER_LINE = 8


class Vector(NamedTuple):
    """Rows that a network takes, and what it returns for each.

    Attributes:
        x: (steps, features).
        y: (steps, outputs).
        tolerance: How far a result may be from `y`.
    """

    x: Array
    y: Array
    tolerance: float


class _Header:
    """What has been written so far, in the header's parts."""

    def __init__(self, program: Program, name: str, scales: Mapping[int, Mapping[str, Array]] | None) -> None:
        self.program, self.name, self.scales = program, name, scales
        self.arrays: list[str] = []
        self.memory: list[str] = []  # fields of the state
        self.reset: list[str] = []
        self.row: list[str] = []  # what each row of a window does
        self.tail: list[str] = []  # what a step does
        self.needed: set[str] = set()
        self.values = ["x"]  # the C expression of each value
        self.valid: list[str | None] = [None]  # and of whether it counts
        self.timed = [program.window is not None]
        self.lines = self.tail

    def call(self, function: str, *arguments: object) -> str:
        """A call of a function of `c_functions`, which is written too."""
        self.needed.add(function)
        return f"{self.name}_{function}({', '.join(map(str, arguments))})"

    def array(self, name: str, values: Array, kind: str = "float") -> str:
        """A constant array; returns its name."""
        name = f"{self.name}_{name}"
        flat = [_literal(v) if kind == "float" else str(int(v)) for v in np.ravel(values)]
        rows = [", ".join(flat[i : i + _PER_LINE]) for i in range(0, len(flat), _PER_LINE)]
        body = ",\n    ".join(rows)
        self.arrays.append(f"static const {kind} {name}[{len(flat)}] = {{\n    {body}}};")
        return name

    def kept(self, name: str, size: int, begin: Array | None = None) -> str:
        """A field of the state that begins from zeros, or from these numbers; returns its C expression."""
        self.memory.append(f"float {name}[{size}];")
        if begin is None:
            self.reset.append(f"for (i = 0; i < {size}; ++i) s->{name}[i] = 0.0f;")
        else:
            source = self.array(f"begin_{name}", begin)
            self.reset.append(f"for (i = 0; i < {size}; ++i) s->{name}[i] = {source}[i];")
        return f"s->{name}"

    def local(self, number: int, size: int) -> str:
        """An array on the stack."""
        self.lines.append(f"float v{number}[{size}];")
        return f"v{number}"

    def add_product(self, to: str, x: str, n: int, weights: tuple[str, Array], columns: slice, number: int) -> str:
        """to[j] += sum over i of x[i] W[i, j], for these columns."""
        name, kernel = weights
        part = f"{name}{number}" + (f"_{columns.start}" if columns.start else "")
        some = kernel[:, columns]
        count = some.shape[1]
        if self.scales is None:
            return self.call("multiply", to, x, n, self.array(part, some.T), count) + ";"
        scale = self.scales[number][name][columns]
        quantized = self.array(part, np.rint(some / scale).T, "signed char")
        return self.call("multiply", to, x, n, quantized, self.array(f"{part}_scale", scale), count) + ";"


def text(program: Program, name: str, vector: Vector, facts: Sequence[str], scales: Any = None) -> str:
    """The header.

    Args:
        program: The operations, of float32.
        name: What its names begin with.
        vector: Rows and results for the self-test.
        facts: Lines of its first comment.
        scales: For int8 the scale of each column, by operation and weight; `program` then has the weights that the
            integers stand for.
    """
    header = _Header(program, name, scales)
    for number, each in enumerate(program.operations, 1):
        _write(header, number, each)
    if program.window is not None and header.timed[program.output]:  # the end of a window reads the state alone
        out = header.kept("out", program.outputs)
        source = header.values[program.output]
        header.row += ["{", "int i;", f"for (i = 0; i < {program.outputs}; ++i) {out}[i] = {source}[i];", "}"]
        header.values[program.output] = out
    return c_functions.assembled(header, vector, facts)


def _write(header: _Header, number: int, each: Operation) -> None:
    timed = any(header.timed[i] for i in each.inputs)
    ends = each.kind in ("latest", "last") or (each.kind == "recurrent" and not each.layer.return_sequences)
    header.timed.append(timed and not ends)
    header.lines = header.row if timed else header.tail
    value, valid = KINDS[each.kind](header, number, each)
    header.values.append(value)
    header.valid.append(valid)


def _literal(value: Any) -> str:
    number = np.format_float_scientific(np.float32(value), unique=True, trim="0")
    return f"{number}f"


Written = tuple[str, str | None]  # the value, and whether it counts


def _recurrent(header: _Header, number: int, each: Operation) -> Written:
    x, valid = header.values[each.inputs[0]], header.valid[each.inputs[0]]
    h = header.kept(f"h{number}", each.size, each.weights.get("initial_state"))
    y = header.kept(f"y{number}", each.size) if valid else h
    step = CELLS[each.layer.cell](header, number, each, x, h)
    if valid:
        zero = f"for (i = 0; i < {each.size}; ++i) {y}[i] = 0.0f;" if each.layer.zero_output_for_mask else ""
        copy = f"for (i = 0; i < {each.size}; ++i) {y}[i] = {h}[i];"
        step = [f"if ({valid}) {{", *step, copy, *(["} else {", zero] if zero else []), "}"]
    header.lines += ["{", "int i;", *step, "}"]
    return y, valid if each.layer.return_sequences else None


def _sums(header: _Header, number: int, each: Operation, to: str, x: str) -> list[str]:
    """to = b + x W, for all gates."""
    kernel = each.weights["kernel"]
    bias = each.weights.get("bias")
    first = None if bias is None else np.atleast_2d(bias)[0]
    n, m = kernel.shape
    product = header.add_product(to, x, n, ("kernel", kernel), slice(0, m), number)
    return [f"float {to}[{m}];", _start(header, number, "bias", to, first, m), product]


def _start(header: _Header, number: int, name: str, to: str, bias: Array | None, m: int) -> str:
    value = "0.0f" if bias is None else f"{header.array(f'{name}{number}', bias)}[i]"
    return f"for (i = 0; i < {m}; ++i) {to}[i] = {value};"


def _simple_rnn(header: _Header, number: int, each: Operation, x: str, h: str) -> list[str]:
    n, kernel = each.size, each.weights["recurrent_kernel"]
    new = header.call(each.layer.activation, "z[i]")
    return [
        *_sums(header, number, each, "z", x),
        header.add_product("z", h, n, ("recurrent_kernel", kernel), slice(0, n), number),
        f"for (i = 0; i < {n}; ++i) {h}[i] = {new};",
    ]


def _lstm(header: _Header, number: int, each: Operation, x: str, h: str) -> list[str]:
    n, layer, kernel = each.size, each.layer, each.weights["recurrent_kernel"]
    c = header.kept(f"c{number}", n, each.weights.get("initial_carry"))
    gate = [header.call(layer.recurrent_activation, f"z[i + {k * n}]") for k in range(4)]
    candidate = header.call(layer.activation, f"z[i + {2 * n}]")
    return [
        *_sums(header, number, each, "z", x),
        header.add_product("z", h, n, ("recurrent_kernel", kernel), slice(0, 4 * n), number),
        f"for (i = 0; i < {n}; ++i) {{",
        f"{c}[i] = {gate[1]} * {c}[i] + {gate[0]} * {candidate};",
        f"{h}[i] = {gate[3]} * {header.call(layer.activation, f'{c}[i]')};",
        "}",
    ]


def _gru(header: _Header, number: int, each: Operation, x: str, h: str) -> list[str]:
    n, layer, kernel = each.size, each.layer, each.weights["recurrent_kernel"]
    bias = each.weights.get("bias")
    recurrent = ("recurrent_kernel", kernel)
    update = header.call(layer.recurrent_activation, "z[i]")
    reset = header.call(layer.recurrent_activation, f"z[i + {n}]")
    candidate = header.call(layer.activation, f"z[i + {2 * n}]")
    lines = _sums(header, number, each, "z", x)
    if layer.reset_after:
        second = None if bias is None else bias[1]
        lines += [
            f"float q[{3 * n}];",
            _start(header, number, "recurrent_bias", "q", second, 3 * n),
            header.add_product("q", h, n, recurrent, slice(0, 3 * n), number),
            f"for (i = 0; i < {2 * n}; ++i) z[i] += q[i];",
            f"for (i = 0; i < {n}; ++i) z[i + {2 * n}] += {reset} * q[i + {2 * n}];",
        ]
    else:
        lines += [
            f"float q[{n}];",
            header.add_product("z", h, n, recurrent, slice(0, 2 * n), number),
            f"for (i = 0; i < {n}; ++i) q[i] = {reset} * {h}[i];",
            header.add_product(f"z + {2 * n}", "q", n, recurrent, slice(2 * n, 3 * n), number),
        ]
    return [
        *lines,
        f"for (i = 0; i < {n}; ++i) {{",
        f"const float u = {update};",
        f"{h}[i] = u * {h}[i] + (1.0f - u) * {candidate};",
        "}",
    ]


CELLS: dict[str, Callable[[_Header, int, Operation, str, str], list[str]]] = {
    "simple_rnn": _simple_rnn,
    "lstm": _lstm,
    "gru": _gru,
}


def _activated(header: _Header, activation: str, y: str, n: int) -> list[str]:
    if activation == "linear":
        return []
    if activation == "softmax":
        return [header.call("softmax", y, n) + ";"]
    return [f"for (i = 0; i < {n}; ++i) {y}[i] = {header.call(activation, f'{y}[i]')};"]


def _dense(header: _Header, number: int, each: Operation) -> Written:
    x, y, kernel = header.values[each.inputs[0]], header.local(number, each.size), each.weights["kernel"]
    header.lines += [
        "{",
        "int i;",
        _start(header, number, "bias", y, each.weights.get("bias"), each.size),
        header.add_product(y, x, len(kernel), ("kernel", kernel), slice(0, each.size), number),
        *_activated(header, each.layer.activation, y, each.size),
        "}",
    ]
    return y, header.valid[each.inputs[0]]


def _elementwise(header: _Header, number: int, each: Operation, expression: str, *after: str) -> Written:
    y = header.local(number, each.size)
    header.lines += ["{", "int i;", f"for (i = 0; i < {each.size}; ++i) {y}[i] = {expression};", *after, "}"]
    return y, header.valid[each.inputs[0]]


def _activation(header: _Header, number: int, each: Operation) -> Written:
    after = _activated(header, each.layer.activation, f"v{number}", each.size)
    return _elementwise(header, number, each, f"{header.values[each.inputs[0]]}[i]", *after)


def _normalize(header: _Header, number: int, each: Operation) -> Written:
    mean, scale = header.array(f"mean{number}", each.weights["mean"]), 1 / each.weights["std"]
    x = header.values[each.inputs[0]]
    return _elementwise(header, number, each, f"({x}[i] - {mean}[i]) * {header.array(f'scale{number}', scale)}[i]")


def _rescale(header: _Header, number: int, each: Operation) -> Written:
    scale, offset = (header.array(f"{name}{number}", each.weights[name]) for name in ("scale", "offset"))
    return _elementwise(header, number, each, f"{header.values[each.inputs[0]]}[i] * {scale}[i] + {offset}[i]")


def _layer_norm(header: _Header, number: int, each: Operation) -> Written:
    gamma, beta = (header.array(f"{name}{number}", each.weights[name]) for name in ("gamma", "beta"))
    y = header.local(number, each.size)
    x, epsilon = header.values[each.inputs[0]], _literal(each.layer.epsilon)
    header.lines.append(header.call("layer_norm", x, y, each.size, gamma, beta, epsilon) + ";")
    return y, header.valid[each.inputs[0]]


def _embedding(header: _Header, number: int, each: Operation) -> Written:
    table, y, x = each.weights["embeddings"], header.local(number, each.size), header.values[each.inputs[0]]
    if header.scales is None:
        value = f"{header.array(f'embeddings{number}', table)}[w * {each.size} + i]"
    else:
        scale = header.scales[number]["embeddings"]
        integers = header.array(f"embeddings{number}", np.rint(table / scale), "signed char")
        value = f"(float){integers}[w * {each.size} + i] * {header.array(f'embeddings_scale{number}', scale)}[i]"
    word = header.call("word", f"{x}[0]", len(table))
    header.lines += [
        "{",
        f"const int w = {word};",
        "int i;",
        f"for (i = 0; i < {each.size}; ++i) {y}[i] = {value};",
        "}",
    ]
    return y, f"({word} != 0)" if each.layer.mask_zero else None


def _latest(header: _Header, number: int, each: Operation) -> Written:
    name, n, total = f"rows{number}", each.size // each.rows, each.size
    header.memory.append(f"float {name}[{total}];")
    header.reset.append(f"for (i = 0; i < {total}; ++i) s->{name}[i] = {header.call('not_a_number')};")
    header.lines += [
        "{",
        "int i;",
        *([f"for (i = 0; i < {total - n}; ++i) s->{name}[i] = s->{name}[i + {n}];"] if total > n else []),
        f"for (i = 0; i < {n}; ++i) s->{name}[i + {total - n}] = {header.values[each.inputs[0]]}[i];",
        "}",
    ]
    return f"s->{name}", None


def _last(header: _Header, number: int, each: Operation) -> Written:
    x, valid = header.values[each.inputs[0]], header.valid[each.inputs[0]]
    row = header.kept(f"row{number}", each.size)
    take = [f"for (i = 0; i < {each.size}; ++i) {row}[i] = {x}[i];"]
    if valid:
        header.memory.append(f"int kept{number};")
        header.reset.append(f"s->kept{number} = 0;")
        take = [f"if ({valid} || !s->kept{number}) {{", *take, f"s->kept{number} = 1;", "}"]
    header.lines += ["{", "int i;", *take, "}"]
    return row, None


def _mask(header: _Header, number: int, each: Operation) -> Written:
    x, before = header.values[each.inputs[0]], header.valid[each.inputs[0]]
    y, value = header.local(number, each.size), _literal(each.layer.value)
    header.lines += [
        f"int m{number} = 0;",
        "{",
        "int i;",
        f"for (i = 0; i < {each.size}; ++i) m{number} |= {header.call('differs', f'{x}[i]', value)};",
        f"for (i = 0; i < {each.size}; ++i) {y}[i] = {x}[i] * (float)m{number};",
        *([f"m{number} &= {before};"] if before else []),
        "}",
    ]
    return y, f"m{number}"


def _joined_valid(header: _Header, each: Operation) -> str | None:
    known = [v for i in each.inputs if (v := header.valid[i])]
    return f"({' && '.join(known)})" if known else None


def _sum(header: _Header, number: int, each: Operation) -> Written:
    terms = " + ".join(f"{header.values[i]}[i]" for i in each.inputs)
    return _elementwise(header, number, each, terms)[0], _joined_valid(header, each)


def _concat(header: _Header, number: int, each: Operation) -> Written:
    y, first = header.local(number, each.size), 0
    sizes = [header.program.features, *(op.size for op in header.program.operations)]
    header.lines += ["{", "int i;"]
    for i in each.inputs:
        at = f"{y}[i + {first}]" if first else f"{y}[i]"
        header.lines.append(f"for (i = 0; i < {sizes[i]}; ++i) {at} = {header.values[i]}[i];")
        first += sizes[i]
    header.lines.append("}")
    return y, _joined_valid(header, each)


KINDS: dict[str, Callable[[_Header, int, Operation], Written]] = {
    "recurrent": _recurrent,
    "dense": _dense,
    "activation": _activation,
    "normalize": _normalize,
    "rescale": _rescale,
    "layer_norm": _layer_norm,
    "embedding": _embedding,
    "latest": _latest,
    "last": _last,
    "mask": _mask,
    "sum": _sum,
    "concat": _concat,
}
