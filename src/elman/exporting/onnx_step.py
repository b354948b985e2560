# SPDX-License-Identifier: Apache-2.0
"""One step as an ONNX graph of MatMul, Add, Mul, Sub, Tanh and Sigmoid, with all states in and out.

In: a program (`elman.stream.program`). Out: a model for runtimes without recurrent nodes. `KINDS` has one function for
each kind of operation that is not element-wise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from elman.cells import CELLS
from elman.exporting.onnx_graph import Graph, elementwise
from elman.stream.program import Operation, Program

Array = np.ndarray


class _Step(Graph):
    """The graph, the name of each value, and the states' first values."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        row = ("batch",) if program.integers else ("batch", program.features)
        self.values = [self.input("x", row, integers=program.integers)]
        self.sizes = [program.features, *(each.size for each in program.operations)]
        self.begin: dict[str, Array] = {}

    def state(self, name: str, size: int, begin: Array | None) -> str:
        """A state as an input."""
        self.begin[name] = np.zeros(size, "float32") if begin is None else np.asarray(begin, "float32")
        return self.input(name, ("batch", size))

    def keep(self, name: str, value: str, size: int) -> None:
        """The state after the step as an output."""
        self.output(f"{name}_out", value, ("batch", size))


def model_of(program: Program) -> tuple[Any, dict[str, Array]]:
    """The model, and the first values of its states by name.

    Raises:
        ValueError: If an operation cannot be written.
    """
    if program.window is not None:
        raise ValueError(
            f"the network sees a window of {program.window} rows, and a step keeps states alone. Leave out step=True, "
            "or build the network for any number of steps (input_shape=(None, features))."
        )
    step = _Step(program)
    for number, each in enumerate(program.operations, 1):
        write = KINDS.get(each.kind)
        if write:
            value = write(step, f"{each.name or each.kind}_{number}", each)
        else:
            value = elementwise(step, each.kind, each.name, step.values[each.inputs[0]], each.weights, each.layer)
        step.values.append(value)
    step.output("y", step.values[program.output], ("batch", program.outputs))
    step.outputs.insert(0, step.outputs.pop())
    return step.model("step"), step.begin


def _recurrent(step: _Step, _: str, each: Operation) -> str:
    states = CELLS[each.layer.cell].states
    begin = (each.weights.get("initial_state"), each.weights.get("initial_carry"))
    before = [step.state(f"{each.name}_{s}", each.size, b) for s, b in zip(states, begin, strict=False)]
    after = CELLS_AS_NODES[each.layer.cell](step, each, step.values[each.inputs[0]], before)
    for state, value in zip(states, after, strict=True):
        step.keep(f"{each.name}_{state}", value, each.size)
    return after[0]


def _gates(step: _Step, each: Operation, x: str, key: str, bias: Array | None, gates: range) -> list[str]:
    """x W + b of some gates, each by itself, so that nothing has to be split."""
    n, found = each.size, []
    for k in gates:
        columns = slice(k * n, (k + 1) * n)
        part = None if bias is None else bias[columns]
        found.append(step.affine(f"{each.name}_{key}_{k}", x, each.weights[key][:, columns], part))
    return found


def _simple_rnn(step: _Step, each: Operation, x: str, before: list[str]) -> list[str]:
    (z,) = _gates(step, each, x, "kernel", each.weights.get("bias"), range(1))
    (q,) = _gates(step, each, before[0], "recurrent_kernel", None, range(1))
    return [step.activated(each.layer.activation, step.add("Add", z, q))]


def _lstm(step: _Step, each: Operation, x: str, before: list[str]) -> list[str]:
    layer, sums = each.layer, []
    for z, q in zip(
        _gates(step, each, x, "kernel", each.weights.get("bias"), range(4)),
        _gates(step, each, before[0], "recurrent_kernel", None, range(4)),
        strict=True,
    ):
        sums.append(step.add("Add", z, q))
    i, f, o = (step.activated(layer.recurrent_activation, sums[k]) for k in (0, 1, 3))
    g = step.activated(layer.activation, sums[2])
    c = step.add("Add", step.add("Mul", f, before[1]), step.add("Mul", i, g))
    return [step.add("Mul", o, step.activated(layer.activation, c)), c]


def _gru(step: _Step, each: Operation, x: str, before: list[str]) -> list[str]:
    layer, h = each.layer, before[0]
    bias = each.weights.get("bias")
    first, second = (None, None) if bias is None else (bias[0], bias[1]) if layer.reset_after else (bias, None)
    z, r, n = _gates(step, each, x, "kernel", first, range(3))
    qz, qr = _gates(step, each, h, "recurrent_kernel", second, range(2))
    z, r = (step.activated(layer.recurrent_activation, step.add("Add", a, b)) for a, b in ((z, qz), (r, qr)))
    if layer.reset_after:
        (q,) = _gates(step, each, h, "recurrent_kernel", second, range(2, 3))
        q = step.add("Mul", r, q)
    else:
        (q,) = _gates(step, each, step.add("Mul", r, h), "recurrent_kernel", None, range(2, 3))
    n = step.activated(layer.activation, step.add("Add", n, q))
    return [step.add("Add", n, step.add("Mul", z, step.add("Sub", h, n)))]  # z h + (1 - z) n


CELLS_AS_NODES: dict[str, Callable[[_Step, Operation, str, list[str]], list[str]]] = {
    "simple_rnn": _simple_rnn,
    "lstm": _lstm,
    "gru": _gru,
}


def _latest(step: _Step, _: str, each: Operation) -> str:
    n = each.size // each.rows
    before = step.state(f"{each.name}_rows", each.size, np.full(each.size, np.nan))
    x = step.values[each.inputs[0]]
    if each.rows == 1:
        step.keep(f"{each.name}_rows", x, each.size)
        return x
    first, last, axis = (step.weight(f"number_{k}", [k], "int64") for k in (n, each.size, 1))
    y = step.add("Concat", step.add("Slice", before, first, last, axis), x, axis=1)
    step.keep(f"{each.name}_rows", y, each.size)
    return y


def _masked(step: _Step, name: str, each: Operation) -> str:
    raise ValueError(
        f"layer {each.name!r} masks steps, which a graph of one step cannot leave out. Leave out step=True, or do not "
        "call the graph for such rows."
    )


def _embedding(step: _Step, name: str, each: Operation) -> str:
    if each.layer.mask_zero:
        _masked(step, name, each)
    return elementwise(step, "embedding", each.name, step.values[each.inputs[0]], each.weights, each.layer)


KINDS: dict[str, Callable[[_Step, str, Operation], str]] = {
    "recurrent": _recurrent,
    "embedding": _embedding,
    "latest": _latest,
    "last": lambda step, name, each: step.values[each.inputs[0]],
    "mask": _masked,
    "sum": lambda step, name, each: step.add("Sum", *(step.values[i] for i in each.inputs)),
    "concat": lambda step, name, each: step.add("Concat", *(step.values[i] for i in each.inputs), axis=-1),
}
