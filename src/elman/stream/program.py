# SPDX-License-Identifier: Apache-2.0
"""A network as a list of operations on one row, which the stream runs, and the C header and the one-step ONNX graph
write.

In: a `Network`. Out: a `Program` with copies of its weights, or a `ValueError` that names a layer that cannot run row
by row. `STEPS` has one function for each row of the layer table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from elman.network import (
    GRU,
    LSTM,
    Activation,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Last,
    Latest,
    LayerNorm,
    Mask,
    Network,
    Normalize,
    Rescale,
    Reverse,
    SimpleRNN,
    Sum,
)
from elman.network.combine import Chain
from elman.network.layer import Layer
from elman.network.network import Bound

Array = np.ndarray
_WINDOWS = 1 << 31  # the native library counts rows up to here


class Operation(NamedTuple):
    """One operation of a program.

    Attributes:
        kind: `"recurrent"`, `"dense"`, `"activation"`, `"normalize"`, `"rescale"`, `"layer_norm"`, `"embedding"`,
            `"latest"`, `"last"`, `"mask"`, `"sum"` or `"concat"`; see `enum elman_op_kind` in `native/elman.h`.
        name: Name of the layer; empty for a sum or a concatenation.
        inputs: Numbers of the values that it reads: 0 is the row, i the result of operation i - 1.
        size: Numbers that it returns.
        weights: Its arrays by name.
        layer: The layer, with its options.
        rows: Of `"latest"`: how many rows it keeps.
    """

    kind: str
    name: str
    inputs: tuple[int, ...]
    size: int
    weights: Mapping[str, Array] = {}
    layer: Any = None
    rows: int = 0


class Program(NamedTuple):
    """A network that runs row by row.

    Attributes:
        operations: In order; the last one returns the output. None for a network without layers that compute.
        dtype: Floating type.
        features: Numbers of a row; 1 for the integer of an `Embedding`.
        integers: Whether a row is that integer.
        window: Rows that the network sees at a time, or `None` for all that have come.
        output: The value that is the output.
        outputs: Numbers of the output.
    """

    operations: tuple[Operation, ...]
    dtype: np.dtype
    features: int
    integers: bool
    window: int | None
    output: int
    outputs: int

    @property
    def kept_numbers(self) -> int:
        """How many numbers of rows a stream keeps in its state."""
        if self.window is not None:
            return self.window * self.features
        return sum(each.size for each in self.operations if each.kind == "latest")

    @property
    def multiply_adds(self) -> int:
        """How many a step of one row takes, about: one for each weight, and for each row of a window."""
        weights = sum(a.size for each in self.operations if each.kind != "embedding" for a in each.weights.values())
        return (weights + 1) * (self.window or 1)

    @property
    def words(self) -> int | None:
        """How many words there are, if a row is the number of one."""
        sizes = [each.layer.size for each in self.operations if each.kind == "embedding"]
        return min(sizes) if self.integers else None


class _Writer:
    """The operations so far."""

    def __init__(self, network: Network, features: int) -> None:
        self.network, self.window = network, _window(network)
        self.bound = iter(network.bound)
        self.operations: list[Operation] = []
        self.sizes = [features]

    def add(self, kind: str, inputs: tuple[int, ...], size: int, **options: Any) -> int:
        """Adds an operation; returns the number of its value."""
        self.operations.append(Operation(kind, options.pop("name", ""), inputs, size, **options))
        self.sizes.append(size)
        return len(self.operations)

    def entry(self, entry: Any, x: int) -> int:
        """Adds what an entry computes of a value."""
        if isinstance(entry, Layer):
            bound = next(self.bound)
            return STEPS[type(entry)](self, bound, x)
        if isinstance(entry, Chain):
            for each in entry.entries:
                x = self.entry(each, x)
            return x
        branches = tuple(self.entry(branch, x) for branch in entry.branches)
        sizes = [self.sizes[branch] for branch in branches]
        if isinstance(entry, Sum):
            return self.add("sum", branches, sizes[0])
        return self.add("concat", branches, sum(sizes))

    def weights(self, bound: Bound) -> dict[str, Array]:
        """Copies of a layer's arrays."""
        return {key: self.network.weights[f"{bound.name}/{key}"].copy() for key in bound.parameters}


def program_of(network: Network) -> Program:
    """The operations of a network.

    Args:
        network: A network that has its weights.

    Raises:
        ValueError: If it has none yet, its window is too long, or a layer reads rows that are still to come.
    """
    shape = network.input_shape
    if shape is None:
        raise ValueError("the network has no weights yet; pass input_shape=, or call it once, before it is streamed.")
    integers = network.takes_integers
    features = 1 if integers else shape[-1]
    assert features is not None
    writer = _Writer(network, features)
    output = writer.entry(network.layers, 0)
    if output == 0 or output != len(writer.operations):  # a network whose last entry returns its input
        output = writer.add("sum", (output,), writer.sizes[output])
    return Program(
        tuple(writer.operations), network.dtype, features, integers, writer.window, output, writer.sizes[output]
    )


def _window(network: Network) -> int | None:
    shape = network.input_shape
    assert shape is not None
    has_time = network.takes_integers or len(shape) == 2
    window = shape[0] if has_time else None
    if window is not None and window >= _WINDOWS:
        raise ValueError(
            f"the network sees a window of {window} rows; expected fewer than {_WINDOWS:,}. Build it for fewer steps, "
            "or for any number of them (input_shape=(None, features))."
        )
    return window


def _recurrent(writer: _Writer, bound: Bound, x: int) -> int:
    layer: Any = bound.layer
    if layer.go_backwards:
        raise ValueError(
            f"layer {bound.name!r} reads time backwards (go_backwards=True, as one half of a Bidirectional does), so "
            "its output for a row depends on rows that have not come yet. A stream needs layers that read forwards; "
            "apply the network to whole sequences instead, or train it without that direction."
        )
    return writer.add("recurrent", (x,), layer.units, name=bound.name, weights=writer.weights(bound), layer=layer)


def _reverse(writer: _Writer, bound: Bound, x: int) -> int:
    raise ValueError(
        f"layer {bound.name!r} turns the steps round, so its output for a row depends on rows that have not come yet. "
        "A stream needs layers that read forwards."
    )


def _dense(writer: _Writer, bound: Bound, x: int) -> int:
    layer: Any = bound.layer
    return writer.add("dense", (x,), layer.units, name=bound.name, weights=writer.weights(bound), layer=layer)


def _embedding(writer: _Writer, bound: Bound, x: int) -> int:
    layer: Any = bound.layer
    if writer.network.dtype == np.float32 and layer.size > 1 << 24:
        raise ValueError(f"layer {bound.name!r} has {layer.size:,} words; expected at most {1 << 24:,} in float32.")
    return writer.add("embedding", (x,), layer.units, name=bound.name, weights=writer.weights(bound), layer=layer)


def _each(kind: str) -> Callable[[_Writer, Bound, int], int]:
    """A layer that returns as many numbers as it gets."""

    def add(writer: _Writer, bound: Bound, x: int) -> int:
        size, weights = writer.sizes[x], writer.weights(bound)
        return writer.add(kind, (x,), size, name=bound.name, weights=weights, layer=bound.layer)

    return add


def _latest(writer: _Writer, bound: Bound, x: int) -> int:
    layer: Any = bound.layer
    rows = layer.steps
    return writer.add("latest", (x,), rows * writer.sizes[x], name=bound.name, layer=layer, rows=rows)


def _flatten(writer: _Writer, bound: Bound, x: int) -> int:
    if len(bound.shape) == 1:
        return x
    rows = bound.shape[0]
    assert rows is not None
    return writer.add("latest", (x,), rows * writer.sizes[x], name=bound.name, layer=bound.layer, rows=rows)


STEPS: dict[type[Layer], Callable[[_Writer, Bound, int], int]] = {
    SimpleRNN: _recurrent,
    LSTM: _recurrent,
    GRU: _recurrent,
    Dense: _dense,
    Activation: _each("activation"),
    Embedding: _embedding,
    Normalize: _each("normalize"),
    Rescale: _each("rescale"),
    LayerNorm: _each("layer_norm"),
    Dropout: lambda writer, bound, x: x,
    Mask: _each("mask"),
    Flatten: _flatten,
    Latest: _latest,
    Last: _each("last"),
    Reverse: _reverse,
}
