# SPDX-License-Identifier: Apache-2.0
"""The recurrent layers of a model, and what each of them runs on.

In: a Keras model or layer. Out: its recurrent layers with their names, and a table of their routes. Nothing is changed
or run here; a layer that was not called yet has no route.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from elman import keras_rnn, layers, route
from elman.cells import BY_KERAS
from elman.layer_arguments import name_of
from elman.patching import stock

__all__ = ["LayerRoute", "routes"]

# Keras's layer, and the one of elman that computes the same.
TWINS: tuple[tuple[type, type], ...] = tuple(
    (stock(keras.layers, cell.keras), getattr(layers, cell.keras)) for cell in BY_KERAS.values()
)
OURS: tuple[type[Any], ...] = tuple(own for _, own in TWINS)


class LayerRoute(NamedTuple):
    """One row of `routes`.

    Attributes:
        layer: The layer's name, after the names of the layers that contain it: `"bidirectional/forward_simple_rnn"`.
        path: `"native"` or `"keras"`; `None` before the layer's first call.
        reason: Why the path is not the native one; `None` if it is.
    """

    layer: str
    path: str | None
    reason: str | None


def routes(model: Any) -> list[LayerRoute]:
    """Prints which implementation each recurrent layer ran on when Keras last traced it, and why.

    Args:
        model: A model or a layer. Nested layers are included.

    Returns:
        A row for each recurrent layer, elman's and Keras's, in the order of the model.

    Raises:
        TypeError: If `model` is not a Keras layer or model.

    Example:

        elman.routes(model)  # layer       path    reason
                             # simple_rnn  native
    """
    if not isinstance(model, keras.Layer):
        raise TypeError(f"routes got {kind_of(model)}; expected a Keras model or layer.")
    wrapped = wrapped_layers(model)
    rows = [LayerRoute(path, *_route_of(layer, wrapped)) for path, layer in recurrent_layers(model)]
    print(_table(rows) if rows else f"{name_of(model)} has no recurrent layer.")
    return rows


# --- recurrent layers and their names ------------------------------------------------------------------------------


def _parts(layer: Any) -> list[Any]:
    """The layers directly inside of a layer. Keras lists them publicly for models only."""
    if isinstance(layer, keras.Model):
        return list(layer.layers)
    return list(layer._flatten_layers(include_self=False, recursive=False))


def recurrent_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """Yields each recurrent layer once, with its name as `LayerRoute.layer` has it."""
    seen = set()

    def walk(layer: Any, path: str) -> Iterator[tuple[str, Any]]:
        if id(layer) in seen:
            return
        seen.add(id(layer))
        if isinstance(layer, keras.layers.RNN):
            yield path, layer
            return
        for part in _parts(layer):
            yield from walk(part, f"{path}/{part.name}" if path else part.name)

    return walk(model, model.name if isinstance(model, keras.layers.RNN) else "")


def wrapped_layers(model: Any) -> set[int]:
    """The ids of the layers whose parent, a wrapper or a custom layer, can hold only a single layer in their place."""
    parents = [p for p in model._flatten_layers() if not isinstance(p, keras.Sequential | functional_class())]
    return {id(part) for parent in parents for part in _parts(parent)}


def reason_to_keep(layer: Any, wrapped: set[int]) -> str | None:
    """Why `accelerate` keeps one of Keras's layers.

    Args:
        layer: A recurrent layer of Keras.
        wrapped: What `wrapped_layers` returns for its model.

    Returns:
        What the layer has that no layer of elman has; `None` if one of elman computes the same.
    """
    if type(layer) in dict(TWINS):
        return None
    if type(layer) is not keras.layers.RNN:
        return f"the class {type(layer).__name__}"
    return keras_rnn.reason_to_keep(layer, id(layer) in wrapped)


def _route_of(layer: Any, wrapped: set[int]) -> tuple[str | None, str | None]:
    if not isinstance(layer, OURS):
        reason = reason_to_keep(layer, wrapped)
        return "keras", route.reason("kept", what=reason) if reason else route.reason("stock")
    if layer.route is None:
        return None, "not called yet"
    return layer.route.path, layer.route.reason


def _table(rows: list[LayerRoute]) -> str:
    texts = [("layer", "path", "reason"), *((row.layer, row.path or "-", row.reason or "") for row in rows)]
    name, path = (max(len(text[column]) for text in texts) for column in (0, 1))
    return "\n".join(f"{text[0]:{name}}  {text[1]:{path}}  {text[2]}".rstrip() for text in texts)


def kind_of(value: Any) -> str:
    """A value as error messages name it."""
    return name_of(value) if isinstance(value, keras.Layer) else f"a {type(value).__name__}"


@functools.cache
def functional_class() -> type:
    """The class of functional models, for which Keras has no public name."""
    tensor = keras.Input((1,))
    return type(keras.Model(tensor, tensor))
