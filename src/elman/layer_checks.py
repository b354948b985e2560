# SPDX-License-Identifier: Apache-2.0
"""Error messages for misuse of the layers: what is wrong, what was got, what was expected, what to do.

Input: a layer, and what a user passed to it. Output: nothing, or an error with the same message on every backend,
before anything is computed or changed. What only a running TensorFlow graph can know is checked in the graph.
"""

from __future__ import annotations

import difflib
import inspect
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Real
from types import ModuleType
from typing import Any, NoReturn

import keras
import numpy as np

from elman.checks import check_extras, did_you_mean, is_integer, python_scalar, shape_text, shapes_agree, short

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
_CALL_ARGUMENTS = ("sequences", "initial_state", "mask", "training")
_ARRAY = "one array of shape (batch, time, features)"
_ON_TORCH = keras.config.backend() == "torch"


def name_of(layer: Any) -> str:
    """A layer's class and name, with which its error messages start."""
    return f"{type(layer).__name__} {layer.name!r}"


# --- the constructor ---------------------------------------------------------------------------------------------


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
    if not isinstance(learn_initial_state, bool | np.bool_):
        raise TypeError(f"learn_initial_state is {short(learn_initial_state)}; expected True or False.")
    if learn_initial_state and arguments.get("stateful"):
        raise ValueError(
            "learn_initial_state=True and stateful=True are both given; expected one of them, as a stateful layer "
            "starts from the states of the last batch. Leave out one."
        )


def check_save_state(save_state: Any, arguments: Mapping[str, Any]) -> None:
    """Checks that only a layer that keeps states is to save them."""
    if not isinstance(save_state, bool | np.bool_):
        raise TypeError(f"save_state is {short(save_state)}; expected True or False.")
    if save_state and not arguments.get("stateful"):
        raise ValueError(
            "save_state=True is given without stateful=True; expected both, as only a stateful layer has states from "
            "batch to batch. Pass stateful=True, or leave out save_state."
        )


# --- options that are changed later --------------------------------------------------------------------------------


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


def traced_states(layer: Any) -> str:
    """The error message about a layer that needs new states inside of a function that is being traced."""
    return (
        f"{name_of(layer)} was made stateful after it was built, and has no states yet; expected them before "
        f"{keras.config.backend()} traces its call. Call it, or its model, once on one batch before."
    )


# --- a call --------------------------------------------------------------------------------------------------------


def check_call(layer: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
    """Checks the shapes of the input, the initial states and the mask of a call.

    Raises:
        TypeError: If the input is not an array of numbers, or an argument is unknown or missing.
        ValueError: If a shape, or the number of states, does not fit.
    """
    if len(arguments) != 1 or keywords:
        _check_call_arguments(layer, arguments, keywords)
    sequences = arguments[0] if arguments else keywords["sequences"]
    _check_array(layer, sequences)
    shape = getattr(sequences, "shape", None)
    if shape is None:  # an object with a dtype that is not an array, such as a layer
        _raise_no_array(layer, sequences)
    shape = _sizes(shape)
    if shape is None:
        _raise_no_dimensions(layer)
    if len(shape) == 2:
        _check_not_a_last_output(layer, sequences)
        _check_not_indices(layer, sequences, shape)
    check_sequences(layer, shape)
    states = arguments[1] if len(arguments) > 1 else keywords.get("initial_state")
    if states is not None:
        _check_states(layer, states, shape)
    mask = arguments[2] if len(arguments) > 2 else keywords.get("mask")
    if mask is not None:
        check_mask(layer, shape, mask)


def _check_call_arguments(layer: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
    if len(arguments) > len(_CALL_ARGUMENTS):
        _raise_call(layer, f"{len(arguments)} arguments", "Leave out the others.")
    for word in keywords:
        if word not in _CALL_ARGUMENTS and word not in getattr(layer, "_call_context_args", ()):
            advice = did_you_mean(word, _CALL_ARGUMENTS).lstrip()
            _raise_call(layer, f"an unknown argument {word!r}", advice or f"Pass {_ARRAY} first, without a name.")
    if not arguments and "sequences" not in keywords:
        _raise_call(layer, "no input", f"Pass {_ARRAY} first.")


def _raise_call(layer: Any, got: str, advice: str) -> NoReturn:
    raise TypeError(f"{name_of(layer)} got {got}; expected it to be called with {', '.join(_CALL_ARGUMENTS)}. {advice}")


def _sizes(shape: Iterable[int | None]) -> tuple[int | None, ...] | None:
    """A shape as a tuple; `None` if TensorFlow does not know the number of dimensions."""
    try:
        return tuple(shape)
    except ValueError:
        return None


def _check_array(layer: Any, sequences: Any) -> None:
    """Checks that the input is one dense array of real numbers."""
    dtype = getattr(sequences, "dtype", None)
    if dtype is None:
        _raise_no_array(layer, sequences)
    if getattr(dtype, "kind", None) not in _NUMBER_KINDS:
        _check_dtype(layer, getattr(dtype, "name", None) or str(dtype))
    if kind := _other_layout(sequences):
        raise TypeError(
            f"{name_of(layer)} got a {kind}; expected {_ARRAY}, dense and all sequences of one length. "
            f"{_OTHER_LAYOUTS[kind]}."
        )


_NUMBER_KINDS = frozenset("biuf")  # of NumPy's dtypes
_TEXT = ("string", "str", "bytes", "StringDType")  # how names of dtypes begin
_NO_NUMBERS = ("complex", "datetime", "timedelta", "void")
_PAD = "{} pads with zeros; put keras.layers.Masking() before the layer"
_OTHER_LAYOUTS = {
    "RaggedTensor": _PAD.format("Its to_tensor()"),
    "nested tensor": _PAD.format("Its to_padded_tensor(0.0)"),
    "SparseTensor": "Convert it with tf.sparse.to_dense",
    "sparse tensor": "Convert it with to_dense()",
    "BCOO": "Convert it with todense()",
}


def _other_layout(sequences: Any) -> str | None:
    """The kind of a tensor that is not dense; `None` for a dense one."""
    kind = type(sequences).__name__
    if kind in _OTHER_LAYOUTS:
        return kind
    if not _ON_TORCH:
        return None
    if getattr(sequences, "is_nested", False):
        return "nested tensor"
    return "sparse tensor" if getattr(sequences, "is_sparse", False) else None


def _check_dtype(layer: Any, name: str) -> None:
    if name.startswith(_TEXT):
        _raise_text(layer)
    if name.startswith(_NO_NUMBERS):
        raise TypeError(
            f"{name_of(layer)} got an array of dtype {name}; expected real numbers of shape (batch, time, features). "
            "Convert it to features first: real and imaginary part, hours since a date, the fields of a record."
        )
    if name == "object":
        raise TypeError(
            f"{name_of(layer)} got an array of objects; expected numbers of shape (batch, time, features). For "
            "sequences of different lengths use keras.utils.pad_sequences and a mask (keras.layers.Masking); "
            "otherwise convert with astype('float32')."
        )


def _raise_text(layer: Any) -> NoReturn:
    raise TypeError(
        f"{name_of(layer)} got text; expected numbers of shape (batch, time, features). Turn words into integers with "
        "keras.layers.TextVectorization and those into features with keras.layers.Embedding."
    )


def _raise_no_array(layer: Any, sequences: Any) -> NoReturn:
    if isinstance(sequences, str | bytes):
        _raise_text(layer)
    if isinstance(sequences, list | tuple):
        raise TypeError(
            f"{name_of(layer)} got a {type(sequences).__name__}; expected {_ARRAY}. Pass numpy.asarray(...) of nested "
            "lists, the first of what a layer with return_state=True returns, and initial states as "
            "initial_state=[...]."
        )
    what = "None" if sequences is None else f"an object of class {type(sequences).__name__}"
    raise TypeError(f"{name_of(layer)} got {what}; expected {_ARRAY}. Pass a tensor, or numpy.asarray(...) of it.")


def _check_not_indices(layer: Any, sequences: Any, shape: Sequence[int | None]) -> None:
    """Refuses integers in two dimensions, which are usually indices of words."""
    dtype = str(getattr(sequences.dtype, "name", sequences.dtype)).removeprefix("torch.")
    if dtype.startswith(("int", "uint")):
        raise ValueError(
            f"{name_of(layer)} got integers of shape {shape_text(shape)}; expected 3 dimensions, (batch, time, "
            f"features). {_EMBEDDING} {_reshapes(shape)}"
        )


_EMBEDDING = "If they are indices of words, put keras.layers.Embedding(vocabulary, features) before the layer."


def _reshapes(shape: Sequence[int | None]) -> str:
    """What to do with two dimensions, for each thing that they can mean."""
    columns = "n" if shape[1] is None else shape[1]
    return (
        f"If each row is a sequence of {columns} single values, pass x.reshape(-1, {columns}, 1) (and keras.Input(("
        f"{columns}, 1))). If each row is one time step of {columns} features, pass x.reshape(-1, 1, {columns}) (and "
        f"keras.Input((1, {columns})))."
    )


def _raise_no_dimensions(layer: Any) -> NoReturn:
    raise ValueError(
        f"{name_of(layer)} got a tensor of an unknown number of dimensions; expected 3, (batch, time, features). Set "
        "them with tf.ensure_shape(x, (None, None, features))."
    )


def check_sequences(layer: Any, shape: Sequence[int | None]) -> None:
    """Checks the shape of the input against what the layer takes, and what it was built with."""
    if len(shape) != 3:
        _raise_dimensions(layer, tuple(shape))
    if shape[1] == 0:
        raise ValueError(length_0(layer))
    if shape[2] is None:
        raise ValueError(
            f"{name_of(layer)} got input of shape {shape_text(shape)}; expected a known number of features. Set it, "
            "for example with keras.Input((None, 3))."
        )
    kernel = getattr(layer.cell, "kernel", None)
    if kernel is not None and shape[2] != kernel.shape[0]:
        raise ValueError(
            f"{name_of(layer)} got {shape[2]} features, input of shape {shape_text(shape)}; expected "
            f"{kernel.shape[0]}, as it was built. Pass the features it was trained on, or make a new layer."
        )
    if layer.stateful:
        _check_batch(layer, shape[0])


def _raise_dimensions(layer: Any, shape: tuple[int | None, ...]) -> NoReturn:
    if len(shape) == 2:
        last = "If it is the output of a recurrent layer, give that layer return_sequences=True."
        advice = f"{_reshapes(shape)} {last} {_EMBEDDING}"
    elif len(shape) > 3:
        advice = "Flatten all dimensions after time into features, x.reshape(batch, time, -1)."
    else:
        advice = (
            "If it is one series, x.reshape(1, -1, 1) is one sequence of it; "
            "keras.utils.timeseries_dataset_from_array(x[:, None], ...) cuts it into many."
        )
    raise ValueError(
        f"{name_of(layer)} got input of shape {shape_text(shape)}; expected 3 dimensions, (batch, time, features). "
        f"{advice}"
    )


def _check_batch(layer: Any, batch: int | None) -> None:
    if layer.states is None:
        if batch is None:
            raise ValueError(
                f"{name_of(layer)} is stateful and got a batch of unknown size; expected a fixed one, as it keeps a "
                "state for each sequence. Start the model with keras.Input(batch_shape=(batch, time, features)), or "
                "call it on one batch before fit."
            )
    elif type(batch).__module__.startswith("jax."):  # a symbol, which jax.export and Model.export trace with
        expected = _batch_of_states(layer)
        raise ValueError(
            f"{name_of(layer)} is stateful and is exported for a batch of any size; expected {expected}, the batch it "
            "was built with and keeps states for. Export it for that batch: model.export(path, input_signature=["
            f"keras.InputSpec(shape=({expected}, time, features), dtype='float32')])."
        )
    elif batch is not None and batch != _batch_of_states(layer):
        raise ValueError(partial_batch(layer, batch))


def length_0(layer: Any) -> str:
    """The error message about an empty sequence."""
    return (
        f"{name_of(layer)} got sequences of length 0; expected at least one time step. Leave out empty sequences, or "
        "pad them and mask the padding."
    )


def _batch_of_states(layer: Any) -> int:
    return int(layer.states[0].shape[0])


def partial_batch(layer: Any, got: int | None = None) -> str:
    """The error message about a batch of another size than a stateful layer's states."""
    size = "another size" if got is None else f"size {got}"
    expected = _batch_of_states(layer)
    return (
        f"{name_of(layer)} is stateful and got a batch of {size}; expected {expected}, the size it was built with and "
        f"keeps states for. Pass batch_size={expected} and a number of sequences that {expected} divides."
    )


def _check_not_a_last_output(layer: Any, sequences: Any) -> None:
    """Names the recurrent layer that a symbolic 2-D input comes from, directly or through other layers."""
    for source, way in _sources(sequences, ()):
        recurrent = getattr(source, "forward_layer", source)
        if not isinstance(recurrent, keras.layers.RNN) or recurrent.return_sequences:
            continue
        through = f" through {' and '.join(way)}" if way else ""
        giver = repr(source.name) if recurrent is source else f"the {type(recurrent).__name__} inside {source.name!r}"
        raise ValueError(
            f"{name_of(layer)} got input of shape {shape_text(sequences.shape)} from {name_of(source)}{through}, which "
            f"returns only its last output; expected the output of every step, (batch, time, features). Give {giver} "
            "return_sequences=True."
        )


def _sources(tensor: Any, way: tuple[str, ...]) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """The operations that a symbolic 2-D tensor comes from, each with those in between, also inside models."""
    history = getattr(tensor, "_keras_history", None)
    if history is None or len(tensor.shape) != 2:
        return
    source = history.operation
    yield source, way
    if isinstance(source, keras.Model):
        yield from _sources(source.outputs[history.tensor_index], way)
    for before in source._inbound_nodes[history.node_index].input_tensors:
        yield from _sources(before, (name_of(source), *way))


def _check_states(layer: Any, states: Any, shape: Sequence[int | None]) -> None:
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
    if getattr(dtype, "kind", None) not in _NUMBER_KINDS:
        name = getattr(dtype, "name", None) or str(dtype)
        if name == "object" or name.startswith((*_TEXT, *_NO_NUMBERS)):
            return f"an array of dtype {name}"
    return _sizes(state.shape)


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


def check_mask(layer: Any, shape: Sequence[int | None], mask: Any) -> None:
    """Checks that a mask is (batch, time), or (batch, time, 1), which Keras takes too.

    Raises:
        TypeError: If it is not an array of numbers.
        ValueError: If it has another shape.
    """
    if mask is None:
        return
    batch, time = tuple(shape)[:2]
    expected = f"expected (batch, time) = {shape_text((batch, time))}, True where a step counts"
    if not hasattr(mask, "shape"):
        raise TypeError(f"{name_of(layer)} got a {type(mask).__name__} as mask; {expected}. Pass numpy.asarray(...).")
    name = getattr(getattr(mask, "dtype", None), "name", None) or str(getattr(mask, "dtype", None))
    if name == "object" or name.startswith((*_TEXT, *_NO_NUMBERS)):
        raise TypeError(f"{name_of(layer)} got a mask of dtype {name}; {expected}. Pass booleans.")
    got = _sizes(mask.shape)
    if got is None or shapes_agree(got, (batch, time)) or shapes_agree(got, (batch, time, 1)):
        return
    advice = "Pass x's own mask, for example keras.layers.Masking().compute_mask(x)."
    raise ValueError(f"{name_of(layer)} got a mask of shape {shape_text(got)}; {expected}. {advice}")


def check_cell(layer: Any) -> None:
    """Checks that a layer with a cell of another class has only options that Keras's own loop has.

    Raises:
        ValueError: If the gradient of its state is truncated or clipped.
    """
    asked = [name for name in ("truncate_gradient", "clip_state_gradient") if getattr(layer, name) is not None]
    if asked:
        raise ValueError(
            f"{name_of(layer)} has {' and '.join(asked)}, and a cell of the class {type(layer.cell).__name__}; "
            "expected the cell that it was made with, as these act inside its step. Leave out the options, or the cell."
        )


def check_when_run(layer: Any, sequences: Any, adapter: ModuleType) -> Any:
    """Returns the sequences, with a check in the graph for each size that is only known when it runs."""
    if sequences.shape[1] is None:
        sequences = adapter.check_size(sequences, 1, None, length_0(layer))
    if layer.stateful and sequences.shape[0] is None:
        sequences = adapter.check_size(sequences, 0, _batch_of_states(layer), partial_batch(layer))
    return sequences


# --- states --------------------------------------------------------------------------------------------------------


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
