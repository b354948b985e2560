# SPDX-License-Identifier: Apache-2.0
"""Error messages for the states of the layers: those of a call, those that a user sets, and those of a file.

Input: a layer, and its states or rows of them. Output: nothing, or states as arrays; or an error with the same message
on every backend, before anything is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from elman.checks import shape_text, shapes_agree, short
from elman.layer_arguments import name_of

NUMBER_KINDS = frozenset("biuf")  # of NumPy's dtypes
TEXT = ("string", "str", "bytes", "StringDType")  # how names of dtypes begin
NO_NUMBERS = ("complex", "datetime", "timedelta", "void")


def sizes(shape: Iterable[int | None]) -> tuple[int | None, ...] | None:
    """A shape as a tuple; `None` if TensorFlow does not know the number of dimensions."""
    try:
        return tuple(shape)
    except ValueError:
        return None


def is_not_numeric(dtype: str) -> bool:
    """Whether a dtype of this name holds no real numbers."""
    return dtype == "object" or dtype.startswith((*TEXT, *NO_NUMBERS))


def check_states(layer: Any, states: Any, shape: Sequence[int | None]) -> None:
    """Checks the initial states of a call.

    Raises:
        ValueError: If their number or a shape does not fit, or one is not an array of numbers.
    """
    states = states if isinstance(states, list | tuple) else [states]
    expected = [(shape[0], size) for size in layer.state_size]
    got = [_shape_or_words(state) for state in states]
    if len(got) == len(expected) and all(map(_agree, got, expected)):
        return
    advice = f"Pass initial_state=[{', '.join('hc'[: len(expected)])}]"
    if len(got) == 1 and _agree(got[0], shape[:2]):
        advice += ", or a mask as mask=m"
    if not got:
        advice += ", to a Bidirectional those of both directions in one list"
    raise ValueError(
        f"{name_of(layer)} got {_states_text(got)} as initial_state; expected {_states_text(expected)}, (batch, "
        f"units). {advice}."
    )


def _shape_or_words(state: Any) -> tuple[int | None, ...] | str | None:
    """A state's shape (`None` if that is unknown), or words for what is not a state."""
    dtype = getattr(state, "dtype", None)
    if dtype is None or not hasattr(state, "shape"):
        return f"an object of class {type(state).__name__}"
    if getattr(dtype, "kind", None) not in NUMBER_KINDS:
        name = getattr(dtype, "name", None) or str(dtype)
        if is_not_numeric(name):
            return f"an array of dtype {name}"
    return sizes(state.shape)


def _agree(got: Any, expected: Sequence[int | None]) -> bool:
    return got is None or (not isinstance(got, str) and shapes_agree(got, expected))


def _states_text(states: Sequence[Any]) -> str:
    """States by their shapes, or by the words of `_shape_or_words`."""
    if not states:
        return "no states"
    texts = [s if isinstance(s, str) else f"shape {'unknown' if s is None else shape_text(s)}" for s in states]
    if len(texts) > 1:
        return f"{len(texts)} states, of {' and '.join(texts)}"
    return texts[0] if isinstance(states[0], str) else f"1 state of {texts[0]}"


def batch_of_states(layer: Any) -> int:
    """The batch size that the states of a stateful layer are for."""
    return int(layer.states[0].shape[0])


def partial_batch(layer: Any, got: int | None = None) -> str:
    """The error message about a batch of another size than a stateful layer's states."""
    size = "another size" if got is None else f"size {got}"
    expected = batch_of_states(layer)
    return (
        f"{name_of(layer)} is stateful and got a batch of {size}; expected {expected}, the size it was built with and "
        f"keeps states for. Pass batch_size={expected} and a number of sequences that {expected} divides."
    )


def traced_states(layer: Any) -> str:
    """The error message about a layer that needs new states inside of a function that is being traced."""
    return (
        f"{name_of(layer)} was made stateful after it was built, and has no states yet; expected them before "
        f"{keras.config.backend()} traces its call. Call it, or its model, once on one batch before."
    )


def check_stateful(layer: Any) -> None:
    """Checks that a layer has states.

    Raises:
        ValueError: If it has none.
    """
    if not layer.stateful:
        raise ValueError(
            f"{name_of(layer)} is not stateful and keeps no state; expected a stateful layer. Make it with "
            "stateful=True."
        )
    if layer.states is None:
        raise ValueError(
            f"{name_of(layer)} has no state yet; expected a layer that is built. Call it on one batch, or its "
            "build((batch, time, features)), first."
        )


def check_rows(layer: Any, rows: Any, batch: int) -> np.ndarray:
    """Returns rows of a batch as an index.

    Raises:
        ValueError: If one is not a row, or is given twice.
    """
    index = np.atleast_1d(np.asarray(rows))
    index = index if index.size else index.astype(int)
    whole = index.ndim == 1 and index.dtype.kind in "iu"
    if not whole or (index.size and not -batch <= index.min() <= index.max() < batch):
        raise ValueError(
            f"{name_of(layer)} got rows={short(rows)}; expected integers from 0 to {batch - 1}. Pass rows of the batch."
        )
    if len(np.unique(index % batch)) < len(index):
        raise ValueError(f"{name_of(layer)} got rows={short(rows)}; expected each row once. Leave out the second.")
    return index


def check_new_states(layer: Any, states: Any, old: list[np.ndarray], index: Any) -> list[np.ndarray]:
    """Returns new states as arrays with the shape and dtype of the old ones.

    Raises:
        ValueError: If their number or a shape does not fit, or one is not an array of numbers.
    """
    states = states if isinstance(states, list | tuple) else [states]
    given = [_as_array(state) for state in states]
    expected = [state[index].shape for state in old]
    got = [_shape_or_words(g if g.ndim else s) for g, s in zip(given, states, strict=True)]
    if got != expected:
        raise ValueError(
            f"{name_of(layer)} got {_states_text(got)}; expected {_states_text(expected)}. Pass a list, as get_state "
            "returns it."
        )
    return [g.astype(o.dtype) for g, o in zip(given, old, strict=True)]


def check_kept_states(layer: Any, states: list[np.ndarray]) -> None:
    """Checks the states in a file against the shapes of the layer's.

    Raises:
        ValueError: If their number or a shape does not fit.
    """
    got = [state.shape for state in states]
    expected = [tuple(state.shape) for state in layer.states]
    if got != expected:
        raise ValueError(
            f"{name_of(layer)} got a file with {_states_text(got)}; expected {_states_text(expected)}, (batch, units), "
            "as it was built. Load the file into a model of that batch, or into layers with save_state=False."
        )


def _as_array(value: Any) -> np.ndarray:
    if keras.ops.is_tensor(value):
        return np.asarray(keras.ops.convert_to_numpy(value))
    try:
        return np.asarray(value)
    except ValueError:  # nested lists of different lengths
        return np.asarray(None)
