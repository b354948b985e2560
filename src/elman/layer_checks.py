# SPDX-License-Identifier: Apache-2.0
"""Error messages for a call of the layers: what is wrong, what was got, what was expected, what to do.

Input: a layer, and what a user passed to it. Output: nothing, or an error with the same message on every backend,
before anything is computed or changed. What only a running TensorFlow graph can know is checked in the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, NoReturn

import keras

from elman.checks import did_you_mean, shape_text, shapes_agree
from elman.layer_arguments import name_of
from elman.layer_states import (
    NO_NUMBERS,
    NUMBER_KINDS,
    TEXT,
    batch_of_states,
    check_states,
    is_not_numeric,
    partial_batch,
    sizes,
)

_CALL_ARGUMENTS = ("sequences", "initial_state", "mask", "training", "resets")
_ARRAY = "one array of shape (batch, time, features)"
_ON_TORCH = keras.config.backend() == "torch"


def check_call(layer: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
    """Checks the shapes of the input, the initial states, the mask and the resets of a call.

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
    shape = sizes(shape)
    if shape is None:
        _raise_no_dimensions(layer)
    if len(shape) == 2:
        _check_not_a_last_output(layer, sequences)
        _check_not_indices(layer, sequences, shape)
    check_sequences(layer, shape)
    states = arguments[1] if len(arguments) > 1 else keywords.get("initial_state")
    if states is not None:
        check_states(layer, states, shape)
    mask = arguments[2] if len(arguments) > 2 else keywords.get("mask")
    if mask is not None:
        check_mask(layer, shape, mask)
    resets = arguments[4] if len(arguments) > 4 else keywords.get("resets")
    if resets is not None:
        _check_resets(layer, shape, resets)


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


def _check_array(layer: Any, sequences: Any) -> None:
    """Checks that the input is one dense array of real numbers."""
    dtype = getattr(sequences, "dtype", None)
    if dtype is None:
        _raise_no_array(layer, sequences)
    if getattr(dtype, "kind", None) not in NUMBER_KINDS:
        _check_dtype(layer, getattr(dtype, "name", None) or str(dtype))
    if kind := _other_layout(sequences):
        raise TypeError(
            f"{name_of(layer)} got a {kind}; expected {_ARRAY}, dense and all sequences of one length. "
            f"{_OTHER_LAYOUTS[kind]}."
        )


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
    if name.startswith(TEXT):
        _raise_text(layer)
    if name.startswith(NO_NUMBERS):
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
        expected = batch_of_states(layer)
        raise ValueError(
            f"{name_of(layer)} is stateful and is exported for a batch of any size; expected {expected}, the batch it "
            "was built with and keeps states for. Export it for that batch: model.export(path, input_signature=["
            f"keras.InputSpec(shape=({expected}, time, features), dtype='float32')])."
        )
    elif batch is not None and batch != batch_of_states(layer):
        raise ValueError(partial_batch(layer, batch))


def length_0(layer: Any) -> str:
    """The error message about an empty sequence."""
    return (
        f"{name_of(layer)} got sequences of length 0; expected at least one time step. Leave out empty sequences, or "
        "pad them and mask the padding."
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
    if is_not_numeric(name):
        raise TypeError(f"{name_of(layer)} got a mask of dtype {name}; {expected}. Pass booleans.")
    got = sizes(mask.shape)
    if got is None or shapes_agree(got, (batch, time)) or shapes_agree(got, (batch, time, 1)):
        return
    advice = "Pass x's own mask, for example keras.layers.Masking().compute_mask(x)."
    raise ValueError(f"{name_of(layer)} got a mask of shape {shape_text(got)}; {expected}. {advice}")


def _check_resets(layer: Any, shape: Sequence[int | None], resets: Any) -> None:
    """Checks that resets are booleans (batch, time), and that the layer has an initial state to return to."""
    expected = f"expected booleans (batch, time) = {shape_text(tuple(shape)[:2])}, True where the state begins again"
    name = getattr(getattr(resets, "dtype", None), "name", None) or str(getattr(resets, "dtype", None))
    got = sizes(resets.shape) if hasattr(resets, "shape") else None
    if got is None or name.removeprefix("torch.") != "bool":
        what = type(resets).__name__ if got is None else f"an array of dtype {name}"
        raise TypeError(f"{name_of(layer)} got resets of {what}; {expected}. Pass numpy.asarray(resets) != 0.")
    if not shapes_agree(got, tuple(shape)[:2]):
        raise ValueError(f"{name_of(layer)} got resets of shape {shape_text(got)}; {expected}. Pass one for each step.")
    if layer.stateful:
        raise ValueError(
            f"{name_of(layer)} is stateful and got resets; expected a layer that is not, since a batch of a stateful "
            "one begins with the last batch's states, and resets return to what the batch begins with. Make it with "
            "return_state=True instead, and pass the states as initial_state, zero where a sequence begins."
        )


def check_cell(layer: Any, resets: Any) -> None:
    """Checks that a layer that runs in Keras's own loop has, and gets, only what that loop knows.

    Raises:
        ValueError: If the gradient of its state is truncated or clipped, or there are resets.
    """
    asked = [name for name in ("truncate_gradient", "clip_state_gradient") if getattr(layer, name) is not None]
    asked += [] if resets is None else ["resets"]
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
        sequences = adapter.check_size(sequences, 0, batch_of_states(layer), partial_batch(layer))
    return sequences
