# SPDX-License-Identifier: Apache-2.0
"""Error messages for the options of the layers: those that a constructor takes, and those that are set later.

Input: a layer or the name of its class, and what a user passed. Output: the option as a plain Python value, or an error
with the same message on every backend.
"""

from __future__ import annotations

import difflib
import inspect
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, NoReturn

import keras

from elman.checks import boolean, check_extras, did_you_mean, is_integer, python_scalar, short

# What a layer's **kwargs take in addition to the arguments that its constructor names.
_BASE_ARGUMENTS = ("name", "dtype", "trainable", "autocast", "input_shape", "input_dim", "zero_output_for_mask")
_GATED_ARGUMENTS = ("implementation",)  # of LSTM and GRU
# What elman's layers take and Keras's do not.
EXTRAS = ("learn_initial_state", "truncate_gradient", "clip_state_gradient", "native", "save_state")
_FINDERS = {
    "activation": keras.activations,
    "initializer": keras.initializers,
    "regularizer": keras.regularizers,
    "constraint": keras.constraints,
}
_EXAMPLES = {
    "activation": "keras.ops.sin",
    "initializer": "keras.initializers.Constant(0.1)",
    "regularizer": "keras.regularizers.L2(0.01)",
    "constraint": "keras.constraints.MaxNorm(2.0)",
}
_NOT_NAMES = {"get", "serialize", "deserialize", "l1_l2", "constant", "stft"}  # in these modules, but not names of one
_SWITCHES = (
    *("use_bias", "return_sequences", "return_state", "go_backwards", "stateful", "unroll"),
    *("zero_output_for_mask", "unit_forget_bias", "reset_after"),
)
_OWN_SWITCHES = ("learn_initial_state", "save_state")
_CHOICES = {"use_cudnn": ("auto", True, False), "implementation": (0, 1, 2)}
_NOT_KEPT = ("seed", "implementation")  # which the layer's constructor passes to the cell's, and does not keep
_OF_THE_CELL = ("activation", "recurrent_activation", "dropout", "recurrent_dropout")  # which it reads in each call
_INPUT_BEFORE = "Keras 3 has none. Put keras.Input({}) before the layer"
_GONE = {  # arguments of Keras 2, and what to do instead
    "time_major": "Keras 3 has none, its input is (batch, time, features). Pass keras.ops.transpose(x, (1, 0, 2))",
    "batch_input_shape": _INPUT_BEFORE.format("batch_shape=(batch, time, features)"),
    "batch_size": _INPUT_BEFORE.format("batch_shape=(batch, time, features)"),
    "input_length": _INPUT_BEFORE.format("(time, features)"),
    "implementation": "Keras 3 has none here, as there is one implementation. Leave it out",
    "weights": "Keras 3 has none. Call set_weights once the layer is built",
}


def name_of(layer: Any) -> str:
    """A layer's class and name, with which its error messages start."""
    return f"{type(layer).__name__} {layer.name!r}"


def check_arguments(
    name: str, constructor: Callable[..., None], arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> dict[str, Any]:
    """Checks the names and the kinds of a constructor's arguments.

    Returns:
        The arguments by name. NumPy scalars have become Python's, which JSON can hold, and switches booleans.

    Raises:
        TypeError: If one is missing, or there are too many.
        ValueError: If one is unknown, or `units`, a switch, a fraction, an activation, initializer, regularizer or
            constraint is not valid.
    """
    signature = inspect.signature(constructor)
    known = [p.name for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    for word in keywords:
        if word not in (*known, *_BASE_ARGUMENTS, *(_GATED_ARGUMENTS if "use_cudnn" in known else ())):
            _raise_unknown(name, word, (*known, *EXTRAS))
    try:
        bound = signature.bind(*arguments, **keywords)
    except TypeError as error:
        raise TypeError(
            f"{name} got arguments that do not fit: {error}; expected {name}({', '.join(known)})."
        ) from error
    values = dict(bound.arguments)
    values |= values.pop("kwargs", {})
    return {argument: _checked(name, argument, value) for argument, value in values.items()}


def _raise_unknown(name: str, word: str, known: Sequence[str]) -> NoReturn:
    """Names the argument that was meant; the list of all of them only where none is near."""
    gated = [c.__name__ for c in (keras.layers.LSTM, keras.layers.GRU) if word in inspect.signature(c).parameters]
    if word in _GONE:
        advice = f"{_GONE[word]}."
    elif gated:
        advice = f"It belongs to elman.{' and elman.'.join(gated)}. Leave it out."
    elif nearest := did_you_mean(word, (*known, *_BASE_ARGUMENTS)):
        advice = nearest.lstrip()
    else:
        advice = f"Expected some of {', '.join(known)}, or what every Keras layer takes (name, dtype, trainable)."
    raise ValueError(f"{name} got an unknown argument {word!r}. {advice}")


def _checked(name: str, argument: str, value: Any) -> Any:
    """An argument as a plain Python value, or an error if it is not valid."""
    value = python_scalar(value)
    _check_argument(name, argument, value)
    if argument in _SWITCHES:
        return bool(value)
    return int(value) if argument == "units" else value


def _check_argument(name: str, argument: str, value: Any) -> None:
    """Refuses what Keras would misunderstand, or refuse with a message of its own."""
    kind = argument.rpartition("_")[2]
    if argument == "units" and not is_integer(value, least=1):
        raise ValueError(
            f"{name} got units={short(value)}; expected a positive integer, the size of its state. Pass for example "
            f"{name}(32)."
        )
    if kind in _FINDERS:
        _check_named(name, argument, kind, value)
    elif kind == "dropout" and not (isinstance(value, Real) and 0 <= float(value) <= 1):
        raise ValueError(
            f"{name} got {argument}={short(value)}; expected a fraction between 0 and 1. Pass for example "
            f"{argument}=0.2."
        )
    elif argument in _CHOICES and not any(type(value) is type(c) and value == c for c in _CHOICES[argument]):
        raise ValueError(
            f"{name} got {argument}={short(value)}; expected one of {', '.join(map(repr, _CHOICES[argument]))}. Leave "
            "it out where you are not sure."
        )
    elif argument in _SWITCHES and isinstance(value, str):
        raise ValueError(
            f"{name} got {argument}={short(value)}; expected True or False. A word counts as True: pass the value "
            "without quotes, and options by name."
        )
    elif argument == "input_shape" and not isinstance(value, list | tuple):
        raise ValueError(
            f"{name} got input_shape={short(value)}; expected (time, features). Pass for example input_shape=(5, 3), "
            "or put keras.Input((5, 3)) before the layer."
        )


def _check_named(name: str, argument: str, kind: str, value: Any) -> None:
    """Checks a name of an activation, an initializer, a regularizer or a constraint."""
    if value is None or callable(value) or isinstance(value, dict):
        return
    module = _FINDERS[kind]
    state = random.getstate()  # Keras draws a seed from it for an initializer, here and later again
    try:
        module.get(value)
    except (KeyError, ValueError) as error:
        words = [w for w in dir(module) if w[0].islower() and w not in _NOT_NAMES]
        nearest = _nearest(value, words) if isinstance(value, str) else ""
        all_words = (
            f" Expected one of keras.{module.__name__.rpartition('.')[2]} ({', '.join(words)}), or a callable such as "
            f"{_EXAMPLES[kind]}."
        )
        article = "an" if kind[0] in "ai" else "a"
        raise ValueError(
            f"{name} got {argument}={short(value)}, which is not the name of {article} {kind}.{nearest or all_words}"
        ) from error
    finally:
        random.setstate(state)


def _nearest(word: str, words: Iterable[str]) -> str:
    """As `did_you_mean`, but ignores underscores and spaces too."""

    def bare(text: str) -> str:
        return "".join(filter(str.isalnum, text)).lower()

    by_bare = {bare(w): w for w in words}
    found = difflib.get_close_matches(bare(word), by_bare, n=1)
    return f" Did you mean {by_bare[found[0]]!r}?" if found else ""


def check_learn_initial_state(learn_initial_state: Any, arguments: Mapping[str, Any]) -> None:
    """Checks that an initial state is not both learned and kept from batch to batch."""
    if boolean("learn_initial_state", learn_initial_state) and arguments.get("stateful"):
        raise ValueError(
            "learn_initial_state=True and stateful=True are both given; expected one of them, as a stateful layer "
            "starts from the states of the last batch. Leave out one."
        )


def check_save_state(save_state: Any, arguments: Mapping[str, Any]) -> None:
    """Checks that only a layer that keeps states is to save them."""
    if boolean("save_state", save_state) and not arguments.get("stateful"):
        raise ValueError(
            "save_state=True is given without stateful=True; expected both, as only a stateful layer has states from "
            "batch to batch. Pass stateful=True, or leave out save_state."
        )


def check_change(layer: Any, name: str, value: Any) -> Any:
    """Checks an option that is set on a layer after the constructor.

    Returns:
        The value to set, as `check_arguments` returns it.

    Raises:
        AttributeError: If the layer cannot change it.
        TypeError: If a switch of elman's own is not a boolean.
        ValueError: If the value is not valid, or does not go with the other options.
    """
    if name in _NOT_KEPT or (isinstance(prop := getattr(type(layer), name, None), property) and prop.fset is None):
        _check_settable(layer, name)
    if name in (*_SWITCHES, *_CHOICES, "activity_regularizer"):
        value = _checked(type(layer).__name__, name, value)
    value = keras.regularizers.get(value) if name == "activity_regularizer" else python_scalar(value)
    extras = {extra: getattr(layer, extra) for extra in ("truncate_gradient", "clip_state_gradient", "native")}
    if name in extras:
        check_extras(**{**extras, name: value})
    if name == "learn_initial_state" and bool(value) != layer.learn_initial_state and layer.built:
        raise ValueError(
            f"{name_of(layer)} got learn_initial_state={short(value)} after it was built; expected it before, as it "
            "decides which weights there are. Make a new layer with it and pass this one's get_weights()."
        )
    if name in {"stateful", *_OWN_SWITCHES}:
        switches = {"stateful": layer.stateful, **{s: getattr(layer, s) for s in _OWN_SWITCHES}, name: value}
        check_learn_initial_state(switches["learn_initial_state"], switches)
        check_save_state(switches["save_state"], switches)
    return value


def _check_settable(layer: Any, name: str) -> None:
    """Refuses a new value of what only the constructor, or only the cell, takes."""
    if name in _OF_THE_CELL:
        raise AttributeError(
            f"{name_of(layer)} cannot take a new {name} itself; expected it to be set on its cell. Set "
            f"layer.cell.{name}."
        )
    known = inspect.signature(type(layer)).parameters
    if name in (*known, *(_GATED_ARGUMENTS if "use_cudnn" in known else ())):
        raise AttributeError(
            f"{name_of(layer)} cannot change {name} after it is made. Make a new layer with it, for example "
            f"{type(layer).__name__}.from_config({{**layer.get_config(), {name!r}: ...}}), and set its weights."
        )


def check_cell_options(layer: Any, gates: int) -> None:
    """Gives options that were changed on a cell the form that the cell's constructor gives them.

    Args:
        layer: A layer with the cell that it was made with.
        gates: How many blocks of units the cell's kernel has.

    Raises:
        ValueError: If an activation is unknown, or a dropout is not a fraction.
    """
    cell = layer.cell
    for name in _OF_THE_CELL:
        value = getattr(cell, name, 0.0)
        if callable(value) or (type(value) is float and 0.0 <= value <= 1.0):
            continue
        value = _checked(type(cell).__name__, name, value)
        setattr(cell, name, float(value) if name.endswith("dropout") else keras.activations.get(value))
    if cell.recurrent_dropout and getattr(cell, "implementation", 1) != 1:
        cell.implementation, cell.dropout_mask_count = 1, gates  # as the constructor does
