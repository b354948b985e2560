# SPDX-License-Identifier: Apache-2.0
"""A network on whole sequences as an ONNX graph with the standard RNN, LSTM and GRU nodes: no loop, nothing unrolled.

In: a network. Out: a model with free batch and time. `ROWS` has one function for each row of the layer table. Masked
steps become the lengths that the nodes know, so they have to be the last ones of a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np
from onnx import TensorProto, helper

from elman.cells import CELLS
from elman.exporting.onnx_graph import Graph, elementwise
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
_NODES = {"simple_rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
_ORDERS = {"simple_rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (0, 1, 2)}  # of the gates: i o f g, and z r n
_ACTIVATIONS = {"tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu", "hard_sigmoid": "HardSigmoid", "linear": "Affine"}
_PADDING = (
    "Masked steps must be the last ones of a sequence (padding on the right): the graph counts valid steps, and the "
    "recurrent nodes of ONNX know lengths alone."
)
_CONSTANTS = {"hard_sigmoid": (1 / 6, 0.5), "linear": (1.0, 0.0)}  # alpha and beta of those that have them


class _Sequence(Graph):
    """The graph, the network's weights, and which states are inputs and outputs."""

    def __init__(self, network: Network, *, state: bool) -> None:
        super().__init__()
        self.network, self.has_states = network, state
        shape = network.input_shape
        assert shape is not None
        sizes = tuple("time" if size is None else size for size in shape)
        self.x = self.input("x", ("batch", *sizes), integers=network.takes_integers)
        self.begin: dict[str, Array] = {}
        self.valid: dict[str, str] = {}  # the mask (batch, time) of each value that has one

    def arrays_of(self, bound: Bound) -> dict[str, Array]:
        """A layer's arrays."""
        return {key: self.network.weights[f"{bound.name}/{key}"] for key in bound.parameters}

    def batch(self) -> str:
        """The number of examples, as an array of one number."""
        shape = self.add("Shape", self.x)
        return self.add("Gather", shape, self.weight("first", [0], "int64"), axis=0)

    def entry(self, entry: Any, x: str, bound: Iterator[Bound]) -> str:
        """What an entry computes of x."""
        if isinstance(entry, Layer):
            one = next(bound)
            y = ROWS[type(entry)](self, one, x)
            if x in self.valid and len(one.layer.output(one.shape)) == 2:
                self.valid.setdefault(y, self.valid[x])
            return y
        if isinstance(entry, Chain):
            for each in entry.entries:
                x = self.entry(each, x, bound)
            return x
        branches = [self.entry(branch, x, bound) for branch in entry.branches]
        y = self.add("Sum", *branches) if isinstance(entry, Sum) else self.add("Concat", *branches, axis=-1)
        for mask in {self.valid[branch] for branch in branches if branch in self.valid}:  # there is one at most
            self.valid[y] = mask
        return y

    def lengths(self, x: str, to: str) -> str:
        """The number of valid steps of each sequence, (batch,), in an integer type."""
        self.note = _PADDING
        kind = {"int32": TensorProto.INT32, "int64": TensorProto.INT64}[to]
        return self.add("ReduceSum", self.cast(self.valid[x], kind), self.weight("second", [1], "int64"), keepdims=0)


def model_of(network: Network, *, state: bool) -> tuple[Any, dict[str, Array]]:
    """The model, and the first values of its states, (units,) by name, if they are inputs.

    Raises:
        ValueError: If a layer cannot be written.
    """
    graph = _Sequence(network, state=state)
    y = graph.entry(network.layers, graph.x, iter(network.bound))
    sizes = ("time" if size is None else size for size in network.output_shape)
    graph.output("y", y, ("batch", *sizes))
    graph.outputs.insert(0, graph.outputs.pop())
    return graph.model("network"), graph.begin


def _recurrent(graph: _Sequence, bound: Bound, x: str) -> str:
    layer: Any = bound.layer
    name, weights, cell = bound.name, graph.arrays_of(bound), CELLS[layer.cell]
    steps_first = graph.add("Transpose", x, perm=[1, 0, 2])
    if x in graph.valid and layer.zero_output_for_mask and not (layer.return_sequences or layer.go_backwards):
        _refuse_mask(bound, "returns zeros where the last step is masked")
    lengths = graph.lengths(x, "int32") if x in graph.valid else ""
    inputs = [steps_first, *_node_weights(graph, bound, weights), lengths]
    states = [_initial(graph, bound, weights, i) for i in range(len(cell.states))]
    if any(states):
        inputs += states
    used = [layer.recurrent_activation, layer.activation] if cell.gated else [layer.activation]
    used += [layer.activation] * (len(cell.states) - 1)
    attributes: dict[str, Any] = {
        "hidden_size": layer.units,
        "activations": [_ACTIVATIONS[each] for each in used],
        "direction": "reverse" if layer.go_backwards else "forward",
    }
    if constants := [_CONSTANTS[each] for each in used if each in _CONSTANTS]:
        attributes["activation_alpha"], attributes["activation_beta"] = zip(*constants, strict=True)
    if layer.cell == "gru":
        attributes["linear_before_reset"] = int(layer.reset_after)
    all_steps, *finals = (f"{name}_{each}" for each in ("y", *(f"last_{s}" for s in cell.states)))

    graph.nodes.append(helper.make_node(_NODES[layer.cell], inputs, [all_steps, *finals], name=name, **attributes))
    squeezed = [graph.add("Squeeze", each, graph.weight("first", [0], "int64")) for each in finals]
    if graph.has_states:
        for each, value in zip(cell.states, squeezed, strict=True):
            graph.output(f"{name}_{each}_out", value, ("batch", layer.units))
    if not layer.return_sequences:
        return squeezed[0]
    y = graph.add("Transpose", graph.add("Squeeze", all_steps, graph.weight("second", [1], "int64")), perm=[1, 0, 2])
    if layer.go_backwards:
        return _turned(graph, y)  # the node keeps the order of time
    if x in graph.valid and not layer.zero_output_for_mask:  # the last output is repeated, where the node has zeros
        valid = graph.add("Unsqueeze", graph.valid[x], graph.weight("last_axis", [2], "int64"))
        last = graph.add("Unsqueeze", squeezed[0], graph.weight("second", [1], "int64"))
        y = graph.add("Where", valid, y, last)
    return y


def _node_weights(graph: _Sequence, bound: Bound, weights: dict[str, Array]) -> list[str]:
    """W (1, gates H, F), R (1, gates H, H) and B (1, 2 gates H) in the order of ONNX."""
    layer: Any = bound.layer
    n, order = layer.units, _ORDERS[layer.cell]

    def ordered(array: Array) -> Array:
        return np.concatenate([array[..., k * n : (k + 1) * n] for k in order], axis=-1)

    bias = np.zeros((2, len(order) * n))
    if "bias" in weights:
        bias[: np.atleast_2d(weights["bias"]).shape[0]] = weights["bias"]
    return [
        graph.weight(f"{bound.name}_w", ordered(weights["kernel"]).T[None]),
        graph.weight(f"{bound.name}_r", ordered(weights["recurrent_kernel"]).T[None]),
        graph.weight(f"{bound.name}_b", ordered(bias).reshape(1, -1)),
    ]


def _initial(graph: _Sequence, bound: Bound, weights: dict[str, Array], i: int) -> str:
    """An initial state (1, batch, H); empty for zeros."""
    layer: Any = bound.layer
    learned = weights.get(("initial_state", "initial_carry")[i])
    name = f"{bound.name}_{CELLS[layer.cell].states[i]}"
    if graph.has_states:
        graph.begin[name] = np.zeros(layer.units, "float32") if learned is None else learned
        value = graph.input(name, ("batch", layer.units))
        return graph.add("Unsqueeze", value, graph.weight("first", [0], "int64"))
    if learned is None:
        return ""
    one, units = graph.weight("second", [1], "int64"), graph.weight(f"units_{layer.units}", [layer.units], "int64")
    shape = graph.add("Concat", one, graph.batch(), units, axis=0)
    return graph.add("Expand", graph.weight(name, learned[None, None]), shape)


def _turned(graph: _Sequence, x: str) -> str:
    """The steps from the last to the first."""
    numbers = (graph.weight(f"number_{k}", [k], "int64") for k in (-1, np.iinfo(np.int64).min + 1, 1, -1))
    return graph.add("Slice", x, *numbers)


def _each(kind: str) -> Callable[[_Sequence, Bound, str], str]:
    return lambda graph, bound, x: elementwise(graph, kind, bound.name, x, graph.arrays_of(bound), bound.layer)


def _embedding(graph: _Sequence, bound: Bound, x: str) -> str:
    layer: Any = bound.layer
    if layer.mask_zero:
        graph.valid[x] = graph.add("Not", graph.add("Equal", x, graph.weight("word_0", 0, "int64")))
    return elementwise(graph, "embedding", bound.name, x, graph.arrays_of(bound), layer)


def _mask(graph: _Sequence, bound: Bound, x: str) -> str:
    """Steps whose numbers all have the value are not valid, and become zeros."""
    if x != graph.x:
        _refuse_mask(bound, "comes after other layers, so that the masked steps may be any")
    layer: Any = bound.layer
    differs = graph.add("Not", graph.add("Equal", x, graph.weight(f"{bound.name}_value", layer.value)))
    count = graph.add(
        "ReduceSum", graph.cast(differs, TensorProto.FLOAT), graph.weight("last_axis", [2], "int64"), keepdims=0
    )
    valid = graph.add("Greater", count, graph.weight("zero", 0.0))
    factor = graph.add("Unsqueeze", graph.cast(valid, TensorProto.FLOAT), graph.weight("last_axis", [2], "int64"))
    y = graph.add("Mul", x, factor)
    graph.valid[y] = valid
    return y


def _refuse_mask(bound: Bound, reason: str) -> NoReturn:
    raise ValueError(
        f"layer {bound.name!r} masks steps and {reason}; the nodes of ONNX know lengths alone. Export the network "
        "without it, and pass sequences without padding."
    )


def _flatten(graph: _Sequence, bound: Bound, x: str) -> str:
    (size,) = bound.layer.output(bound.shape)
    return graph.add("Reshape", x, graph.weight(f"flat_{size}", [0, size], "int64"))


def _latest(graph: _Sequence, bound: Bound, x: str) -> str:
    layer: Any = bound.layer
    (size,) = layer.output(bound.shape)
    end = np.iinfo(np.int64).max
    numbers = (graph.weight(f"number_{k}", [k], "int64") for k in (-layer.steps, end, 1))
    return graph.add("Reshape", graph.add("Slice", x, *numbers), graph.weight(f"flat_{size}", [0, size], "int64"))


def _last(graph: _Sequence, bound: Bound, x: str) -> str:
    if x in graph.valid:
        last = graph.add("Sub", graph.lengths(x, "int64"), graph.weight("one", 1, "int64"))
        numbers = graph.add("Unsqueeze", last, graph.weight("second", [1], "int64"))
        return graph.add("GatherND", x, numbers, batch_dims=1)
    return graph.add("Gather", x, graph.weight("last", -1, "int64"), axis=1)


ROWS: dict[type[Layer], Callable[[_Sequence, Bound, str], str]] = {
    SimpleRNN: _recurrent,
    LSTM: _recurrent,
    GRU: _recurrent,
    Dense: _each("dense"),
    Activation: _each("activation"),
    Embedding: _embedding,
    Normalize: _each("normalize"),
    Rescale: _each("rescale"),
    LayerNorm: _each("layer_norm"),
    Dropout: lambda graph, bound, x: x,
    Mask: _mask,
    Flatten: _flatten,
    Latest: _latest,
    Last: _last,
    Reverse: lambda graph, bound, x: _turned(graph, x),
}
