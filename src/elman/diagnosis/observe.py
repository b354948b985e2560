# SPDX-License-Identifier: Apache-2.0
"""Runs a model with its recurrent layers computed by the NumPy adapter in float64, and sees what they were given.

In: a Keras model and arrays. Out: the last outputs, and for each recurrent layer a `Call`: its weights, input, mask and
initial states. So the figures of a layer are the same on every backend; what lies around it runs in Keras. The states
can be reset to the initial ones a number of valid steps before the end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from elman import _native, _numpy, layers, reference
from elman.cells import BY_KERAS, CELLS
from elman.layer_routes import recurrent_layers
from elman.options import Options

Array = np.ndarray

KINDS = {getattr(keras.layers, name): cell for name, cell in BY_KERAS.items()}


class Found(NamedTuple):
    """A recurrent layer of a model.

    Attributes:
        name: As `elman.routes` has it: behind the names of what it is in.
        layer: The Keras layer.
        cell: Name of its row in `cells.CELLS`.
    """

    name: str
    layer: Any
    cell: str


class Call(NamedTuple):
    """What a layer was given, in float64, and in processing order.

    Attributes:
        options: Of the recurrence; every step is returned, and nothing acts on the gradient.
        x: `(batch, time, features)`.
        valid: `(batch, time)`, `True` where a step counts.
        states: The initial ones, each `(batch, units)`.
        weights: Kernel, recurrent kernel and bias (or `None`).
        dtype: In which the layer computes.
    """

    options: Options
    x: Array
    valid: Array
    states: tuple[Array, ...]
    weights: tuple[Array, Array, Array | None]
    dtype: str

    def rows(self, chosen: Any) -> Call:
        """The same for some rows of the batch."""
        return self._replace(
            x=self.x[chosen], valid=self.valid[chosen], states=tuple(state[chosen] for state in self.states)
        )

    def forward(self, mask: Array | None = None) -> tuple[Array, tuple[Array, ...]]:
        """Every step's output, and the final states."""
        mask = self.valid if mask is None else mask
        options = self.options
        # What grows past the range of float64 is infinite, and is told as such.
        with np.errstate(over="ignore", invalid="ignore"):
            run = _numpy.plain if _native.reason() else _numpy.recurrence
            return run(options, self.x, *self.weights, self.states, np.ascontiguousarray(mask))


def find(model: Any) -> tuple[list[Found], list[Found]]:
    """The recurrent layers that read forwards through a model, and those that are the backward half of a Bidirectional.

    Raises:
        ValueError: If a layer computes what only Keras can: an activation or a cell of the user's own.
    """
    backward = {
        id(layer.backward_layer) for layer in model._flatten_layers() if isinstance(layer, keras.layers.Bidirectional)
    }
    found: tuple[list[Found], list[Found]] = ([], [])
    for name, layer in recurrent_layers(model):
        cell = next((cell.name for kind, cell in KINDS.items() if isinstance(layer, kind)), None)
        if cell is not None:
            _check_activations(name, layer, cell)
            found[id(layer) in backward].append(Found(name, layer, cell))
    return found


def all_layers(model: Any) -> list[Found]:
    """The recurrent layers of a model, forward and backward ones."""
    found, backward = find(model)
    return found + backward


def kind(found: Found) -> str:
    """The class of a layer as Keras names it."""
    return CELLS[found.cell].keras


def _check_activations(name: str, layer: Any, cell: str) -> None:
    options = layers.options_of(layer, cell)
    for argument in ("activation", "recurrent_activation"):
        value = getattr(options, argument)
        if callable(value):
            raise ValueError(  # noqa: TRY004  Keras takes it
                f"Layer {name!r} has {argument}={getattr(value, '__name__', value)!r}; expected one of "
                f"{', '.join(reference.ACTIVATIONS)}, whose slopes elman knows. Diagnose a model with one of these."
            )


def _numbers(tensor: Any, dtype: str = "float64") -> Array:
    return np.asarray(ops.convert_to_numpy(tensor)).astype(dtype)


def weights_of(layer: Any) -> tuple[Array, Array, Array | None]:
    """Kernel, recurrent kernel and bias of a layer in float64."""
    cell = layer.cell
    kernel, recurrent, bias = (
        None if weight is None else _numbers(weight) for weight in (cell.kernel, cell.recurrent_kernel, cell.bias)
    )
    assert kernel is not None
    assert recurrent is not None
    return kernel, recurrent, bias


def _call_of(found: Found, sequences: Any, initial_state: Any, mask: Any) -> Call:
    """What Keras hands to a layer's time loop, as a `Call`."""
    options = layers.options_of(found.layer, found.cell)
    x = _numbers(sequences)
    if mask is None:
        valid = np.ones(x.shape[:2], bool)
    else:
        valid = _numbers(mask, "bool")
        valid = valid[..., 0] if valid.ndim == 3 else valid
    if options.go_backwards:
        x, valid = x[:, ::-1], valid[:, ::-1]
    states = initial_state if isinstance(initial_state, list | tuple) else [initial_state]
    own = options._replace(go_backwards=False, return_sequences=True, truncate_gradient=None, clip_state_gradient=None)
    return Call(
        own,
        np.ascontiguousarray(x),
        np.ascontiguousarray(valid),
        tuple(_numbers(state) for state in states),
        weights_of(found.layer),
        found.layer.compute_dtype,
    )


def starts(valid: Array, kept: Array) -> Array:
    """The step at which the last `kept[row]` valid steps begin; the first one where there are fewer.

    With none kept it is the number of steps.
    """
    later = valid[:, ::-1].cumsum(axis=1)[:, ::-1]  # valid steps from here on
    return np.where(kept > 0, (later > kept[:, None]).sum(axis=1), valid.shape[1])


def _reset(call: Call, kept: Array) -> tuple[Array, tuple[Array, ...]]:
    """`Call.forward` with the states reset `kept[row]` valid steps before the end; outputs before that stay."""
    steps = np.arange(call.valid.shape[1])
    begins = starts(call.valid, kept)[:, None]
    y, finals = call.forward(call.valid & (steps >= begins))
    before, _ = call.forward(call.valid & (steps < begins))
    last = call.valid.shape[1] - 1 - call.valid[:, ::-1].argmax(axis=1)
    from_here = np.minimum(begins, last[:, None])  # with nothing kept, the last output is of the initial state
    return np.where((steps >= from_here)[..., None], y, before), finals


class Seen(NamedTuple):
    """What a run of a model saw.

    Attributes:
        outputs: The model's last outputs, `(batch, numbers)`.
        shape: Of one example's output, where the model has one output; else `None`.
        calls: Of each recurrent layer, by its name; the first, where a layer is called more than once.
        times: How many times each was called.
    """

    outputs: Array
    shape: tuple[int, ...] | None
    calls: dict[str, Call]
    times: dict[str, int]


def run(model: Any, x: Any, found: list[Found], kept: Array | None = None, reset: Collection[str] = ()) -> Seen:
    """Runs a model, `found` computed by the NumPy adapter.

    Args:
        model: A Keras model.
        x: As `checks.arrays` gives it.
        found: Layers to see.
        kept: `(batch,)` valid steps before the end at which states are reset; `None` resets nothing.
        reset: The names of the layers whose states are.
    """
    calls: dict[str, Call] = {}
    times = {each.name: 0 for each in found}

    def loop_of(each: Found) -> Any:
        def inner_loop(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
            call = _call_of(each, sequences, initial_state, mask)
            calls.setdefault(each.name, call)
            times[each.name] += 1
            y, finals = _reset(call, kept) if kept is not None and each.name in reset else call.forward()
            last, *rest = (_tensor(array, each.layer) for array in (y[:, -1], y, *finals))
            return last, rest[0], rest[1:]

        return inner_loop

    with _in_place_of_the_loops(found, loop_of):
        outputs = keras.tree.flatten(model(x, training=False))
    valid = next(iter(calls.values())).valid if calls else None
    parts = [_last(_numbers(output), valid) for output in outputs]
    shape = parts[0].shape[1:] if len(parts) == 1 else None
    return Seen(np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1), shape, calls, times)


def _tensor(array: Array, layer: Any) -> Any:
    wide = layer.compute_dtype == "float64"
    with np.errstate(over="ignore"):  # what the layer's own type cannot hold is infinite there too
        return ops.convert_to_tensor(array if wide else array.astype("float32"), layer.compute_dtype)


def _last(output: Array, valid: Array | None) -> Array:
    """The last valid step of an output that has every step; any other output as it is."""
    if valid is None or output.ndim < 3 or output.shape[1] != valid.shape[1]:
        return output
    last = valid.shape[1] - 1 - valid[:, ::-1].argmax(axis=1)
    return output[np.arange(len(output)), last]


@contextmanager
def _in_place_of_the_loops(found: list[Found], loop_of: Any) -> Iterator[None]:
    """Puts a function in the place of each time loop, past Keras's tracking of attributes, and takes it away."""
    for each in found:
        object.__setattr__(each.layer, "inner_loop", loop_of(each))
    try:
        yield
    finally:
        for each in found:
            object.__delattr__(each.layer, "inner_loop")
