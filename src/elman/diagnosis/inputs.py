# SPDX-License-Identifier: Apache-2.0
"""Checks what a diagnosis is called with, and turns it into arrays; each thing that is wrong has its own sentence.

In: a model, x and y as the user passes them. Out: an `Observed`, the layers to measure, and arrays, of which at most so
many examples are drawn. Keras is imported if the model is one of its.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from elman.diagnosis.call import Array
from elman.diagnosis.observed import Observed, Recurrent
from elman.diagnosis.on_network import ObservedNetwork
from elman.network import Network

EXAMPLES = 256


def observed(function: str, model: Any, x: Any, loss: Any = None) -> Observed:
    """A model and its inputs.

    Args:
        function: Name of the function that the user called, for error messages.
        model: What the user passed as the model.
        x: Its inputs, as the user passed them.
        loss: Its loss; that of a compiled model, or the mean squared error, if `None`.

    Raises:
        TypeError: If it is neither a Network nor a Keras model, or `x` does not hold numbers.
        ValueError: If it has no recurrent layer or one that cannot be measured, or a shape does not fit.
    """
    if isinstance(model, Network):
        return ObservedNetwork(function, model, x, "mse" if loss is None else loss)
    keras = sys.modules.get("keras")  # a Keras model exists only if Keras is loaded
    if keras is None or not isinstance(model, keras.Model):
        raise TypeError(
            f"{function} got {type(model).__name__}; expected an elman.Network or a Keras model. Put a layer in a "
            "Sequential."
        )
    from elman.diagnosis.on_keras import KerasModel

    return KerasModel(function, model, x, loss)


def measured(model: Observed, layer: str | None) -> list[Recurrent]:
    """The layers to measure and to reset: all that read forwards, or the one that was asked for.

    Raises:
        ValueError: If there is none of that name.
    """
    forward = [each for each in model.recurrent if not each.backward]
    found = [each for each in forward if layer is None or layer in {each.name, each.own}]
    if not found:
        names = ", ".join(repr(each.name) for each in forward)
        raise ValueError(f"layer is {layer!r}; expected one of {names}, or None for all.")
    return found


def targets(model: Observed, y: Any) -> Array:
    """y as a NumPy array.

    Raises:
        TypeError: If it does not hold numbers.
        ValueError: If the model has several outputs, or y has NaN or infinities.
    """
    if (model.outputs_count or 1) > 1:
        raise ValueError(f"Model {model.name!r} has several outputs; expected one where y is passed. Leave y out.")
    array = model.array("diagnose", y, "y")
    if not np.isfinite(array).all():
        raise ValueError("y has NaN or infinities; expected numbers. Leave those examples out, of x as well.")
    return array


def sample(x: list[Array], y: Array | None, seed: int, most: int = EXAMPLES) -> tuple[list[Array], Array | None, int]:
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
        x = [part[chosen] for part in x]
        y = None if y is None else y[chosen]
    return x, y, count


def _count(x: list[Array], y: Array | None) -> int:
    """The number of examples."""
    counts = [len(part) for part in x]
    if len(set(counts)) > 1:
        numbers = ", ".join(map(str, counts))
        raise ValueError(f"The arrays of x have {numbers} examples; expected the same number in each.")
    if y is not None and len(y) != counts[0]:
        raise ValueError(f"x has {counts[0]} examples and y has {len(y)}; expected the same number.")
    return counts[0]
