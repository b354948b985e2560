# SPDX-License-Identifier: Apache-2.0
"""What a layer says when it is not used as it can be: what, what was got, what is expected, what to do.

In: a layer, and what a user handed to it. Out: nothing, or an error, the same sentence on every backend, before
anything is computed or changed. What only a running TensorFlow graph can know is left with the graph to check.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from types import ModuleType
from typing import Any

import keras
import numpy as np

from elman.checks import did_you_mean, shape_text, shapes_agree

# What a layer's **kwargs take beside the arguments that its constructor names.
_BASE_ARGUMENTS = ("name", "dtype", "trainable", "autocast", "input_shape", "input_dim", "zero_output_for_mask")
_FINDERS = {
    "activation": keras.activations,
    "initializer": keras.initializers,
    "regularizer": keras.regularizers,
    "constraint": keras.constraints,
}


def name_of(layer: Any) -> str:
    """A layer's class and name, as its sentences begin."""
    return f"{type(layer).__name__} {layer.name!r}"


# --- the constructor ---------------------------------------------------------------------------------------------


def check_arguments(
    name: str, constructor: Callable[..., None], arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> dict[str, Any]:
    """Holds a constructor's arguments to their names, and the first ones that go wrong to their kinds.

    Returns:
        The arguments by name.

    Raises:
        TypeError: If one is missing, or there are too many.
        ValueError: If one is unknown, or `units`, an activation, initializer, regularizer or constraint is none.
    """
    signature = inspect.signature(constructor)
    known = [p.name for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    extras = ("learn_initial_state", "truncate_gradient", "clip_state_gradient", "native")
    for word in keywords:
        if word not in known and word not in _BASE_ARGUMENTS:
            raise ValueError(
                f"{name} got an unknown argument {word!r}; expected some of {', '.join((*known, *extras))}, or what "
                "every Keras layer takes (name, dtype, "
                f"trainable).{did_you_mean(word, (*known, *extras, *_BASE_ARGUMENTS))}"
            )
    try:
        bound = signature.bind(*arguments, **keywords)
    except TypeError as error:
        raise TypeError(f"{name}: {error}; expected {name}({', '.join(known)}).") from error
    values = dict(bound.arguments)
    values |= values.pop("kwargs", {})
    _check_units(name, values["units"])
    for argument, value in values.items():
        _check_named(name, argument, value)
    return values


def _check_units(name: str, units: Any) -> None:
    if not isinstance(units, Integral) or isinstance(units, bool) or units < 1:
        raise ValueError(
            f"{name} got units={units!r}; expected a positive integer, the size of its state. Pass for example "
            f"{name}(32)."
        )


def _check_named(name: str, argument: str, value: Any) -> None:
    """A string that should name an activation, an initializer and so on."""
    kind = argument.rpartition("_")[2]
    if kind not in _FINDERS or not isinstance(value, str):
        return
    module = _FINDERS[kind]
    try:
        module.get(value)
    except ValueError as error:
        words = sorted(w for w in dir(module) if not w.startswith("_") and w not in {"get", "serialize", "deserialize"})
        raise ValueError(
            f"{name} got {argument}={value!r}, which names no {kind}; expected one of "
            f"keras.{module.__name__.rpartition('.')[2]} ({', '.join(w for w in words if w.islower())}), or a "
            f"callable.{did_you_mean(value, words)}"
        ) from error


def check_learn_initial_state(learn_initial_state: Any, arguments: Mapping[str, Any]) -> None:
    """A learned initial state and one kept from batch to batch exclude each other."""
    if not isinstance(learn_initial_state, bool | np.bool_):
        raise TypeError(f"learn_initial_state is {learn_initial_state!r}; expected True or False.")
    if learn_initial_state and arguments.get("stateful"):
        raise ValueError(
            "learn_initial_state=True and stateful=True are both given; expected one of them, as a stateful layer "
            "begins where the last batch ended. Drop one."
        )


# --- a call --------------------------------------------------------------------------------------------------------


def check_call(layer: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
    """Holds the input and the initial states of a call to their shapes.

    Raises:
        TypeError: If the input holds no numbers.
        ValueError: If a shape, or the number of states, does not fit.
    """
    sequences = arguments[0] if arguments else keywords.get("sequences")
    _check_numbers(layer, sequences)
    shape = getattr(sequences, "shape", None)
    if shape is None:
        return  # Keras says what it thinks of lists and of nothing
    shape = tuple(shape)
    if len(shape) == 2:
        _check_not_a_last_output(layer, sequences)
    check_sequences(layer, shape)
    states = arguments[1] if len(arguments) > 1 else keywords.get("initial_state")
    if states is not None:
        _check_states(layer, states, shape[0])


def _check_numbers(layer: Any, sequences: Any) -> None:
    dtype = str(getattr(sequences, "dtype", ""))
    text = dtype.startswith(("<U", "|S", ">U", "string", "<StringDType", "StringDType", "str"))
    if isinstance(sequences, str) or text:
        raise TypeError(
            f"{name_of(layer)} got text; expected numbers of shape (batch, time, features). Turn words into integers "
            "with keras.layers.TextVectorization and those into features with keras.layers.Embedding."
        )
    if dtype == "object":
        raise TypeError(
            f"{name_of(layer)} got an array of objects of shape {shape_text(sequences.shape)}; expected numbers of "
            "shape (batch, time, features). For sequences of different lengths use keras.utils.pad_sequences and a "
            "mask (keras.layers.Masking); else convert with astype('float32')."
        )
    if isinstance(sequences, list | tuple):
        raise TypeError(
            f"{name_of(layer)} got a {type(sequences).__name__}; expected one array of shape (batch, time, features). "
            "Pass numpy.asarray(...) of it, and initial states as initial_state=[...]."
        )


def check_sequences(layer: Any, shape: Sequence[int | None]) -> None:
    """Holds the input's shape to what the layer takes, and to what it was built with."""
    shape = tuple(shape)
    if len(shape) == 2:
        rows, columns = shape_text(shape)[1:-1].split(", ")
        rows, columns = ("-1" if size == "?" else size for size in (rows, columns))
        raise ValueError(
            f"{name_of(layer)} got input of shape {shape_text(shape)}; expected 3 dimensions, (batch, time, features). "
            f"If each row is a sequence of {columns} single values, pass x.reshape({rows}, {columns}, 1). If each row "
            f"is one time step of {columns} features, pass x.reshape({rows}, 1, {columns}). If it is the output of a "
            "recurrent layer, give that layer return_sequences=True."
        )
    if len(shape) != 3:
        raise ValueError(
            f"{name_of(layer)} got input of shape {shape_text(shape)}; expected 3 dimensions, (batch, time, features). "
            "Flatten what comes after time into features, x.reshape(batch, time, -1)."
        )
    if shape[1] == 0:
        raise ValueError(length_0(layer))
    if shape[2] is None:
        raise ValueError(
            f"{name_of(layer)} got input of shape {shape_text(shape)}; expected a known number of features. Name it, "
            "for example keras.Input((None, 3))."
        )
    kernel = getattr(layer.cell, "kernel", None)
    if kernel is not None and shape[2] != kernel.shape[0]:
        raise ValueError(
            f"{name_of(layer)} got {shape[2]} features, input of shape {shape_text(shape)}; expected "
            f"{kernel.shape[0]}, with which it was built. Pass the features it was trained on, or make a new layer."
        )
    expected = layer._expected_batch_size
    if layer.stateful and expected is not None and shape[0] not in {None, expected}:
        raise ValueError(partial_batch(layer, shape[0]))


def length_0(layer: Any) -> str:
    """The sentence about an empty sequence."""
    return (
        f"{name_of(layer)} got sequences of length 0; expected at least one time step. Leave out empty sequences, or "
        "pad them and mask the padding."
    )


def partial_batch(layer: Any, got: int | None = None) -> str:
    """The sentence about a batch that is not as large as a stateful layer's states."""
    size = "another size" if got is None else f"size {got}"
    expected = layer._expected_batch_size
    return (
        f"{name_of(layer)} is stateful and got a batch of {size}; expected {expected}, the batch it was built with and "
        f"keeps states for. Pass batch_size={expected} and a number of sequences that {expected} divides."
    )


def _check_not_a_last_output(layer: Any, sequences: Any) -> None:
    """Names the recurrent layer that a symbolic 2-D input comes from, also by way of others."""
    tensor, between = sequences, []
    while hasattr(tensor, "_keras_history") and len(tensor.shape) == 2:
        source = tensor._keras_history.operation
        recurrent = getattr(source, "forward_layer", source)
        if isinstance(recurrent, keras.layers.RNN):
            way = f" by way of {' and '.join(reversed(between))}" if between else ""
            raise ValueError(
                f"{name_of(layer)} got input of shape {shape_text(sequences.shape)} from {name_of(source)}{way}, which "
                f"returns its last output alone; expected every step's, (batch, time, features). Give {source.name!r} "
                "return_sequences=True."
            )
        between.append(name_of(source))
        inputs = [] if isinstance(source, keras.layers.InputLayer) else source.input
        if not hasattr(inputs, "_keras_history"):
            return
        tensor = inputs


def _check_states(layer: Any, states: Any, batch: int | None) -> None:
    states = states if isinstance(states, list | tuple) else [states]
    expected = [(batch, size) for size in layer.state_size]
    shapes = [tuple(s.shape) if hasattr(s, "shape") else np.shape(s) for s in states]
    if len(shapes) == len(expected) and all(map(shapes_agree, shapes, expected)):
        return
    raise ValueError(
        f"{name_of(layer)} got {_states_text(shapes)} as initial_state; expected {_states_text(expected)}, "
        f"(batch, units) each. Pass a list of {len(expected)}."
    )


def _states_text(shapes: Iterable[Sequence[int | None]]) -> str:
    shapes = [shape_text(shape) for shape in shapes]
    return f"{len(shapes)} state{'s' * (len(shapes) != 1)} of shape {', '.join(shapes) or '()'}"


def check_mask(layer: Any, shape: Sequence[int | None], mask: Any) -> None:
    """Holds a mask to (batch, time), or (batch, time, 1) as Keras takes it.

    Raises:
        ValueError: If it has another shape.
    """
    if mask is None:
        return
    got = tuple(mask.shape)
    batch, time = tuple(shape)[:2]
    if not shapes_agree(got, (batch, time)) and not shapes_agree(got, (batch, time, 1)):
        raise ValueError(
            f"{name_of(layer)} got a mask of shape {shape_text(got)}; expected (batch, time) = "
            f"{shape_text((batch, time))}, True where a step counts."
        )


def check_when_run(layer: Any, sequences: Any, adapter: ModuleType) -> Any:
    """The sequences, with a check in the graph for each size that only a run can know."""
    if sequences.shape[1] is None:
        sequences = adapter.check_size(sequences, 1, None, length_0(layer))
    if layer.stateful and sequences.shape[0] is None:
        sequences = adapter.check_size(sequences, 0, layer._expected_batch_size, partial_batch(layer))
    return sequences


# --- states --------------------------------------------------------------------------------------------------------


def check_stateful(layer: Any) -> None:
    """Holds a layer to having states.

    Raises:
        ValueError: If it has none.
    """
    if not layer.stateful:
        raise ValueError(f"{name_of(layer)} is not stateful and keeps no state. Make it with stateful=True.")
    if layer.states is None:
        raise ValueError(f"{name_of(layer)} has no state yet, as it is not built. Call it, or its build, first.")


def check_rows(layer: Any, rows: Any, batch: int) -> np.ndarray:
    """The rows of a batch as an index.

    Raises:
        ValueError: If one is no row.
    """
    index = np.atleast_1d(np.asarray(rows))
    if (
        index.ndim != 1
        or index.dtype.kind not in "iu"
        or (index.size and not -batch <= index.min() <= index.max() < batch)
    ):
        raise ValueError(
            f"{name_of(layer)} got rows={rows!r}; expected integers from 0 to {batch - 1}, rows of the batch."
        )
    return index


def check_new_states(layer: Any, states: Any, old: list[np.ndarray], index: Any) -> list[np.ndarray]:
    """New states as arrays of the shape and dtype of what they replace.

    Raises:
        ValueError: If the number or a shape does not fit.
    """
    given = [np.asarray(s) for s in (states if isinstance(states, list | tuple) else [states])]
    expected = [state[index].shape for state in old]
    if [s.shape for s in given] != expected:
        raise ValueError(
            f"{name_of(layer)} got {_states_text(s.shape for s in given)}; expected {_states_text(expected)}. Pass a "
            "list, as get_state returns it."
        )
    return [s.astype(o.dtype) for s, o in zip(given, old, strict=True)]
