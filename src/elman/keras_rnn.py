# SPDX-License-Identifier: Apache-2.0
"""Keras's RNN(cell) and RNN([cell, ...]): which of elman's layers compute the same, and why the others stay Keras's.

In: a layer or its config. Out: the configs of elman's layers, or a sentence. Cells that are stacked become layers, one
behind the other, where every number stays the same. No layer is made here.
"""

from __future__ import annotations

from typing import Any

import keras

from elman import layers
from elman.cells import CELLS

# Keras's cell, and elman's layer of it.
LAYERS: dict[type, type[Any]] = {
    getattr(keras.layers, f"{cell.keras}Cell"): getattr(layers, cell.keras) for cell in CELLS.values()
}

_OF_A_LAYER = ("name", "trainable", "dtype")  # which a cell's config has too


def are_stacked(layer: Any) -> bool:
    """Whether a layer is Keras's RNN of stacked cells."""
    return type(layer) is keras.layers.RNN and isinstance(layer.cell, keras.layers.StackedRNNCells)


def of(layer: Any) -> list[Any]:
    """The cells of a Keras RNN, the one that reads the input first."""
    return list(layer.cell.cells) if are_stacked(layer) else [layer.cell]


def obstacle(layer: Any, held: bool) -> str | None:
    """Why elman has nothing in the place of a Keras RNN.

    Args:
        layer: A layer of the class `keras.layers.RNN` itself.
        held: Whether something that takes one layer has it: a wrapper, or a layer of the user's own.

    Returns:
        What the layer has that stands in the way, or `None`.
    """
    kinds = [type(cell) for cell in of(layer)]
    other = next((kind for kind in kinds if kind not in LAYERS), None)
    if other is not None:
        return f"a cell of the class {other.__name__}"
    if any(part.dtype_policy != layer.dtype_policy for part in (layer.cell, *of(layer))):
        return "a cell of another dtype"
    if not are_stacked(layer):
        return None
    if held:
        return "stacked cells inside of what takes one layer"
    if layer.return_state:
        return "stacked cells with return_state=True, whose states are nested"
    if layer.go_backwards:  # the second layer would read a mask forwards
        return "stacked cells with go_backwards=True"
    if any(_begins_with_a_state(node.arguments.args, node.arguments.kwargs) for node in layer._inbound_nodes):
        return "stacked cells that are called with an initial state"
    return None


def _begins_with_a_state(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> bool:
    """Whether a call in a functional model is."""
    return keywords.get("initial_state") is not None or any(value is not None for value in arguments[1:2])


def config_of(layer: dict[str, Any], cell: dict[str, Any]) -> dict[str, Any]:
    """That of an elman layer, by a Keras RNN's and its one cell's."""
    own = {key: value for key, value in layer.items() if key != "cell"}
    return {key: value for key, value in cell.items() if key not in _OF_A_LAYER} | own


def config_of_one(layer: dict[str, Any], cell: dict[str, Any], i: int, number: int) -> dict[str, Any]:
    """That of an elman layer, by a Keras RNN's and the i-th's of its stacked cells."""
    config = config_of(layer, cell)
    if number > 1:
        config["name"] = f"{config['name']}_cell_{i + 1}"
    if i < number - 1:  # all steps go on, and masked ones repeat: what is asked for is asked of the last one
        config |= {"return_sequences": True, "zero_output_for_mask": False, "activity_regularizer": None}
    return config


def of_record(record: dict[str, Any]) -> tuple[type[Any], dict[str, Any]] | None:
    """The elman layer and its config by what Keras writes of an RNN with one cell; `None` if there is none."""
    if (record["class_name"], record.get("module"), record.get("registered_name")) != ("RNN", "keras.layers", None):
        return None
    cell = record["config"]["cell"]
    kind = next((own for theirs, own in LAYERS.items() if theirs.__name__ == cell["class_name"]), None)
    if kind is None or cell.get("module") != "keras.layers" or cell["config"]["dtype"] != record["config"]["dtype"]:
        return None
    return kind, config_of(record["config"], cell["config"])
