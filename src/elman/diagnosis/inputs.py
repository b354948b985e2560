# SPDX-License-Identifier: Apache-2.0
"""Checks what a diagnosis is called with, and turns it into arrays; each thing that is wrong has its own sentence.

In: a model, x and y as the user passes them. Out: the model's recurrent layers, and arrays in the structure of its
inputs, of which at most so many examples are drawn.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np

from elman.checks import shape_text
from elman.diagnosis import observe
from elman.diagnosis.call import Array
from elman.diagnosis.observe import Recurrent

EXAMPLES = 256


class Layers(NamedTuple):
    """The recurrent layers of a model.

    Attributes:
        measured: Those to measure and to reset.
        forward: All that read forwards.
        backward: The backward halves of Bidirectionals.
    """

    measured: list[Recurrent]
    forward: list[Recurrent]
    backward: list[Recurrent]

    @property
    def every(self) -> list[Recurrent]:
        """All of them."""
        return self.forward + self.backward


def layers(function: str, model: Any, layer: str | None) -> Layers:
    """Finds the recurrent layers of a model.

    Args:
        function: Name of the function that the user called, for error messages.
        model: What the user passed as the model.
        layer: The name of the one layer to measure; all of them, if `None`.

    Raises:
        TypeError: If it is not a Keras model.
        ValueError: If it has no recurrent layer, none of that name, or a stateful one.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"{function} got {type(model).__name__}; expected a Keras model. Put a layer in a Sequential.")
    forward, backward = observe.find(model)
    if not forward:
        raise ValueError(
            f"Model {model.name!r} has no recurrent layer that elman knows; expected a SimpleRNN, LSTM or GRU. "
            "elman.accelerate(model) converts an RNN of Keras's cells to one."
        )
    stateful = next((each.name for each in forward + backward if each.layer.stateful), None)
    if stateful is not None:
        raise ValueError(
            f"Layer {stateful!r} is stateful, so its states depend on earlier calls; expected stateful=False. Build "
            "the model with stateful=False and set the same weights."
        )
    measured = [each for each in forward if layer is None or layer in {each.name, each.layer.name}]
    if not measured:
        names = ", ".join(repr(each.name) for each in forward)
        raise ValueError(f"layer is {layer!r}; expected one of {names}, or None for all.")
    return Layers(measured, forward, backward)


def arrays(function: str, model: Any, x: Any) -> Any:
    """x as NumPy arrays, in the structure of the model's inputs.

    Raises:
        TypeError: If it does not hold numbers.
        ValueError: If a shape does not fit.
    """
    inputs = _inputs(model)
    if isinstance(x, list | tuple) and x and not isinstance(keras.tree.flatten(x)[0], str | bytes):
        x = np.asarray(x) if np.isscalar(keras.tree.flatten(x)[0]) else x  # one array, written as lists of numbers
    parts = [_array(function, part) for part in keras.tree.flatten(x)]
    if inputs is None:
        return parts[0] if len(parts) == 1 else keras.tree.pack_sequence_as(x, parts)
    flat = keras.tree.flatten(inputs)
    if isinstance(x, dict) and isinstance(inputs, dict):
        parts = [_array(function, x[name]) for name in _known(x, inputs)]
    if len(parts) != len(flat):
        raise ValueError(
            f"x has {len(parts)} arrays; expected {len(flat)}, one for each input of model {model.name!r}."
        )
    for part, tensor in zip(parts, flat, strict=True):
        _check_shape(part, tensor, model)
    return keras.tree.pack_sequence_as(inputs, parts)


def _known(x: dict[str, Any], inputs: dict[str, Any]) -> list[str]:
    if set(x) != set(inputs):
        raise ValueError(f"x has the keys {sorted(x)}; expected {sorted(inputs)}, the names of the model's inputs.")
    return sorted(inputs)


def _inputs(model: Any) -> Any:
    """The structure of a model's inputs; `None` for a class of the user's own, whose `call` alone knows it."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0] if model.built and model.inputs else None
    return getattr(model, "_inputs_struct", None)


def _array(function: str, part: Any, name: str = "x") -> Array:
    if keras.ops.is_tensor(part):
        part = keras.ops.convert_to_numpy(part)
    array = np.asarray(part)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{function} got {name} of dtype {array.dtype} ({type(part).__name__}); expected an array of numbers, or "
            "one for each input of the model. Encode text as integers or one-hot."
        )
    return array


def _check_shape(part: Array, tensor: Any, model: Any) -> None:
    expected = tuple(tensor.shape)
    fits = part.ndim == len(expected) and all(
        want is None or got == want for got, want in zip(part.shape[1:], expected[1:], strict=True)
    )
    if not fits:
        advice = " For a single sequence pass x[None]." if part.ndim == len(expected) - 1 else ""
        raise ValueError(
            f"x has shape {part.shape}; expected {shape_text((None, *expected[1:]))}, the shape of input "
            f"{tensor.name!r} of model {model.name!r}.{advice}"
        )


def targets(model: Any, y: Any) -> Array:
    """y as a NumPy array.

    Raises:
        TypeError: If it does not hold numbers.
        ValueError: If the model has several outputs, or y has NaN or infinities.
    """
    if len(getattr(model, "outputs", None) or ()) > 1:
        raise ValueError(f"Model {model.name!r} has several outputs; expected one where y is passed. Leave y out.")
    array = _array("diagnose", y, "y")
    if not np.isfinite(array).all():
        raise ValueError("y has NaN or infinities; expected numbers. Leave those examples out, of x as well.")
    return array


def sample(x: Any, y: Array | None, seed: int, most: int = EXAMPLES) -> tuple[Any, Array | None, int]:
    """Draws some examples of x and y, in their order, and returns how many there were.

    Raises:
        ValueError: If the arrays have different lengths, or fewer than two rows.
    """
    count = _count(x, y)
    if count < 2:
        raise ValueError(
            f"x has {count} example{'' if count == 1 else 's'}; expected at least 2, better {EXAMPLES}: how much the "
            "output changes is measured against how much it differs between examples."
        )
    if count > most:
        chosen = np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
        x = keras.tree.map_structure(lambda part: part[chosen], x)
        y = None if y is None else y[chosen]
    return x, y, count


def _count(x: Any, y: Array | None) -> int:
    """The number of examples."""
    counts = [len(part) for part in keras.tree.flatten(x)]
    if len(set(counts)) > 1:
        numbers = ", ".join(map(str, counts))
        raise ValueError(f"The arrays of x have {numbers} examples; expected the same number in each.")
    if y is not None and len(y) != counts[0]:
        raise ValueError(f"x has {counts[0]} examples and y has {len(y)}; expected the same number.")
    return counts[0]
