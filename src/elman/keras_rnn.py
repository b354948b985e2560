# SPDX-License-Identifier: Apache-2.0
"""Keras's RNN(cell) and RNN([cell, ...]): which of elman's layers compute the same, and why the others are kept.

In: a layer or its config. Out: the configs of elman's layers, or a reason. Stacked cells become a stack of layers,
where every number stays the same. No layer is made here.
"""

from __future__ import annotations

from typing import Any

import keras

from elman import layers
from elman.cells import BY_KERAS

# Keras's cell, and the layer of elman that computes it.
LAYERS: dict[type, type[Any]] = {
    getattr(keras.layers, f"{cell.keras}Cell"): getattr(layers, cell.keras) for cell in BY_KERAS.values()
}

_OF_A_LAYER = ("name", "trainable", "dtype")  # in a cell's config too, where the layer's own override them


def are_stacked(layer: Any) -> bool:
    """True if a layer is Keras's RNN of stacked cells."""
    return type(layer) is keras.layers.RNN and isinstance(layer.cell, keras.layers.StackedRNNCells)


def of(layer: Any) -> list[Any]:
    """The cells of a Keras RNN. The first of them reads the input."""
    return list(layer.cell.cells) if are_stacked(layer) else [layer.cell]


def reason_to_keep(layer: Any, wrapped: bool) -> str | None:
    """Why no layer of elman, or stack of them, can replace a Keras RNN.

    Args:
        layer: A layer of the class `keras.layers.RNN` itself.
        wrapped: Whether its parent, a wrapper or a custom layer, can hold only a single layer in its place.

    Returns:
        What the layer has that elman lacks; `None` if it can be replaced.
    """
    kinds = [type(cell) for cell in of(layer)]
    other = next((kind for kind in kinds if kind not in LAYERS), None)
    if other is not None:
        return f"a cell of the class {other.__name__}"
    if any(part.dtype_policy != layer.dtype_policy for part in (layer.cell, *of(layer))):
        return "a cell of another dtype"
    if not are_stacked(layer):
        return None
    if wrapped:
        return "stacked cells inside of a layer that holds a single one"
    if layer.return_state:
        return "stacked cells with return_state=True, whose states are nested"
    if layer.go_backwards:  # the second layer would read the mask in forward order
        return "stacked cells with go_backwards=True"
    if any(_has_initial_state(node.arguments.args, node.arguments.kwargs) for node in layer._inbound_nodes):
        return "stacked cells that are called with an initial state"
    return None


def _has_initial_state(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> bool:
    """True if a call in a functional model passes an initial state."""
    return keywords.get("initial_state") is not None or any(value is not None for value in arguments[1:2])


def config_of(layer: dict[str, Any], cell: dict[str, Any]) -> dict[str, Any]:
    """The config of elman's layer.

    Args:
        layer: The config of a Keras RNN with one cell.
        cell: The config of that cell.
    """
    own = {key: value for key, value in layer.items() if key != "cell"}
    return {key: value for key, value in cell.items() if key not in _OF_A_LAYER} | own


def config_of_one(layer: dict[str, Any], cell: dict[str, Any], i: int, number: int) -> dict[str, Any]:
    """The config of elman's layer for one of several stacked cells.

    Args:
        layer: The config of the Keras RNN.
        cell: The config of the cell.
        i: The cell's index, counted from the input.
        number: How many cells there are.
    """
    config = config_of(layer, cell)
    if number > 1:
        config["name"] = f"{config['name']}_cell_{i + 1}"
    # The next layer reads every step, and masked steps repeat the output. The RNN's own options are the last layer's.
    if i < number - 1:
        config |= {"return_sequences": True, "zero_output_for_mask": False, "activity_regularizer": None}
    return config


def of_record(record: dict[str, Any]) -> tuple[type[Any], dict[str, Any]] | None:
    """The class and the config of elman's layer for an RNN with one cell, as Keras writes it.

    Args:
        record: A layer in a config: its class, module and own config.

    Returns:
        The class and the config; `None` if elman has no layer for it.
    """
    if (record["class_name"], record.get("module"), record.get("registered_name")) != ("RNN", "keras.layers", None):
        return None
    cell = record["config"]["cell"]
    kind = next((own for theirs, own in LAYERS.items() if theirs.__name__ == cell["class_name"]), None)
    if kind is None or cell.get("module") != "keras.layers" or cell["config"]["dtype"] != record["config"]["dtype"]:
        return None
    return kind, config_of(record["config"], cell["config"])
