# SPDX-License-Identifier: Apache-2.0
"""A `Program` as the native library takes it. In: the program. Out: a `NativeStream`, and the names of its states."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from elman._native import NativeOperation, NativeStream
from elman.cells import CELLS
from elman.stream.program import Operation, Program

Array = np.ndarray


class Part(NamedTuple):
    """One array of a stream's state.

    Attributes:
        name: `layer/state`, such as `lstm/c`.
        shape: Its shape for one row.
        first: Where it begins in the flat state.
        end: Where it ends.
    """

    name: str
    shape: tuple[int, ...]
    first: int
    end: int


def native_stream(program: Program, batch: int) -> NativeStream:
    """A new native stream of a program."""
    kept: list[Array] = []  # until the library has copied them
    operations = [_operation(program, each, kept) for each in program.operations]
    return NativeStream(operations, batch, program.features, program.window, program.dtype.name)


def parts_of(program: Program, stream: NativeStream) -> list[Part]:
    """The arrays of the flat state, in its order."""
    named: list[tuple[str, tuple[int, ...]]] = []
    if program.window is not None:
        named += [("window/rows", (program.window, program.features)), ("window/count", ())]
    else:
        for i, each in enumerate(program.operations):
            named += _states(program, each, stream.state_columns(i))
    parts, first = [], 0
    for name, shape in named:
        end = first + int(np.prod(shape, dtype=int))
        parts.append(Part(name, shape, first, end))
        first = end
    assert first == stream.state_columns(-2), "the library has another layout of states"
    return parts


def _states(program: Program, each: Operation, columns: int) -> list[tuple[str, tuple[int, ...]]]:
    if not columns:
        return []
    if each.kind == "latest":
        return [(f"{each.name}/rows", (each.rows, each.size // each.rows))]
    if each.kind == "last":
        return [(f"{each.name}/row", (each.size,)), (f"{each.name}/kept", ())]
    states = CELLS[each.layer.cell].states
    masked = columns > len(states) * each.size  # then the output is kept too, since masked steps repeat it
    return [(f"{each.name}/{state}", (each.size,)) for state in (*states, *(["y"] if masked else []))]


def _operation(program: Program, each: Operation, kept: list[Array]) -> NativeOperation:
    names, fields = FIELDS.get(each.kind, ((), {}))
    arrays = [_weight(each, name) for name in names]
    dense = [None if a is None else np.ascontiguousarray(a, program.dtype) for a in arrays]
    kept.extend(a for a in dense if a is not None)
    operation = NativeOperation(
        each.kind,
        each.inputs,
        size=each.rows if each.kind == "latest" else each.size,
        weights=tuple(0 if a is None else a.ctypes.data for a in dense),
        **{field: getattr(each.layer, attribute) for field, attribute in fields.items()},
    )
    return _with_cell(operation, each.layer) if each.kind == "recurrent" else operation


def _weight(each: Operation, name: str) -> Array | None:
    return 1 / each.weights["std"] if name == "1 / std" else each.weights.get(name)


def _with_cell(operation: NativeOperation, layer: Any) -> NativeOperation:
    options, cell = layer.options, CELLS[layer.cell]
    return operation._replace(
        cell=cell.number,
        activation=options.activation,
        recurrent_activation=options.recurrent_activation,
        return_sequences=options.return_sequences,
        zero_output_for_mask=options.zero_output_for_mask,
        reset_after=options.reset_after and cell.reset is not None,
    )


# For each kind its weights, and its fields with the names that the layer has for them.
FIELDS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "recurrent": (("kernel", "recurrent_kernel", "bias", "initial_state", "initial_carry"), {}),
    "dense": (("kernel", "bias"), {"activation": "activation"}),
    "activation": ((), {"activation": "activation"}),
    "normalize": (("1 / std", "mean"), {}),
    "rescale": (("scale", "offset"), {}),
    "layer_norm": (("gamma", "beta"), {"number": "epsilon"}),
    "embedding": (("embeddings",), {"words": "size", "mask_zero": "mask_zero"}),
    "mask": ((), {"number": "value"}),
}
