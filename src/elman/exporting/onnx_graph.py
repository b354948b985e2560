# SPDX-License-Identifier: Apache-2.0
"""An ONNX graph while it is written: nodes, weights, inputs and outputs; and what both kinds of graph have in common.

In: names of values, arrays. Out: a model. Nothing is checked or run here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray
OPSET, IR_VERSION = 17, 8  # of 2022: what embedded runtimes and old servers read, too
_SIMPLE = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid", "softplus": "Softplus", "exponential": "Exp"}


class Graph:
    """A graph of float32."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.note = ""  # what a user of the file has to know
        self._known: dict[tuple[Any, ...], str] = {}

    def weight(self, name: str, values: Any, dtype: str = "float32") -> str:
        """An array of the file; equal ones are written once."""
        array = np.asarray(values, dtype, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = name
            self.weights.append(numpy_helper.from_array(array, name))
        return self._known[key]

    def add(self, kind: str, *inputs: str, to: str | None = None, outputs: int = 1, **attributes: Any) -> str:
        """A node; returns the name of its first output, or of the last of several."""
        name = to or f"{kind.lower()}_{len(self.nodes)}"
        names = [name] if outputs == 1 else ["" if k + 1 < outputs else name for k in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return name

    def cast(self, value: str, kind: int) -> str:
        """A value in another type; `add` has an argument of the name that the attribute has."""
        name = f"cast_{len(self.nodes)}"
        self.nodes.append(helper.make_node("Cast", [value], [name], to=kind))
        return name

    def input(self, name: str, shape: tuple[Any, ...], integers: bool = False) -> str:
        """An input; letters in a shape are free sizes."""
        kind = TensorProto.INT64 if integers else TensorProto.FLOAT
        self.inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def output(self, name: str, value: str, shape: tuple[Any, ...]) -> None:
        """An output."""
        self.add("Identity", value, to=name)
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def activated(self, activation: str, z: str) -> str:
        """activation(z), along the last axis."""
        if activation == "linear":
            return z
        if activation == "hard_sigmoid":
            return self.add("HardSigmoid", z, alpha=1 / 6, beta=0.5)
        if activation == "softmax":
            return self.add("Softmax", z, axis=-1)
        if activation == "elu":
            return self.add("Elu", z)
        return self.add(_SIMPLE[activation], z)

    def affine(self, name: str, x: str, kernel: Array, bias: Array | None) -> str:
        """x W + b."""
        y = self.add("MatMul", x, self.weight(f"{name}_kernel", kernel))
        return y if bias is None else self.add("Add", y, self.weight(f"{name}_bias", bias))

    def model(self, name: str) -> Any:
        """The model."""
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.weights)
        return helper.make_model(
            graph,
            producer_name="elman",
            doc_string=self.note,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )


def elementwise(graph: Graph, kind: str, name: str, x: str, weights: Any, layer: Any) -> str:
    """Layers that act on the last axis alone, for rows as for sequences."""
    match kind:
        case "dense":
            return graph.activated(layer.activation, graph.affine(name, x, weights["kernel"], weights.get("bias")))
        case "activation":
            return graph.activated(layer.activation, x)
        case "normalize":
            centred = graph.add("Sub", x, graph.weight(f"{name}_mean", weights["mean"]))
            return graph.add("Mul", centred, graph.weight(f"{name}_scale", 1 / weights["std"]))
        case "rescale":
            scaled = graph.add("Mul", x, graph.weight(f"{name}_scale", weights["scale"]))
            return graph.add("Add", scaled, graph.weight(f"{name}_offset", weights["offset"]))
        case "layer_norm":
            gamma, beta = (graph.weight(f"{name}_{key}", weights[key]) for key in ("gamma", "beta"))
            return graph.add("LayerNormalization", x, gamma, beta, axis=-1, epsilon=layer.epsilon)
    return graph.add("Gather", graph.weight(f"{name}_embeddings", weights["embeddings"]), x, axis=0)  # embedding


def checked(model: Any) -> Any:
    """The model, once `onnx.checker` has read it."""
    onnx.checker.check_model(model, full_check=True)
    return model
