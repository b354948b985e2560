# SPDX-License-Identifier: Apache-2.0
"""Runs a Keras model whose recurrent layers are computed by the NumPy adapter in float64, and keeps their calls.

In: a Keras model and arrays. Out: the last outputs, and a `Call` of each recurrent layer. So the figures of a layer are
the same on every backend; everything around the recurrent layers runs in Keras. A run can reset the states to the
initial ones, a number of valid steps before the end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from elman import layers
from elman.cells import BY_KERAS, CELLS
from elman.diagnosis.call import Array, Call, Given, Weights, computed, last_valid
from elman.layer_routes import recurrent_layers
from elman.options import ACTIVATIONS
from elman.state_gradient import Run

KINDS = {getattr(keras.layers, name): cell for name, cell in BY_KERAS.items()}
Loop = Callable[..., tuple[Any, Any, list[Any]]]


class Recurrent(NamedTuple):
    """A recurrent layer of a model.

    Attributes:
        name: The layer's name after those of what contains it, as `elman.routes` prints it.
        layer: The Keras layer.
        cell: Name of its row in `cells.CELLS`.
    """

    name: str
    layer: Any
    cell: str

    @property
    def kind(self) -> str:
        """The layer's class as Keras names it."""
        return CELLS[self.cell].keras


def find(model: Any) -> tuple[list[Recurrent], list[Recurrent]]:
    """The recurrent layers of a model that read forwards, and those that are the backward half of a Bidirectional.

    Raises:
        ValueError: If a layer has an activation or a cell of the user's own, which only Keras can compute.
    """
    backward = {
        id(layer.backward_layer) for layer in model._flatten_layers() if isinstance(layer, keras.layers.Bidirectional)
    }
    both: tuple[list[Recurrent], list[Recurrent]] = ([], [])
    for name, layer in recurrent_layers(model):
        cell = next((cell.name for kind, cell in KINDS.items() if isinstance(layer, kind)), None)
        if cell is not None:
            _check_activations(name, layer, cell)
            both[id(layer) in backward].append(Recurrent(name, layer, cell))
    return both


def _check_activations(name: str, layer: Any, cell: str) -> None:
    options = layers.options_of(layer, cell)
    for argument in ("activation", "recurrent_activation"):
        value = getattr(options, argument)
        if callable(value):
            raise ValueError(  # noqa: TRY004  Keras takes it
                f"Layer {name!r} has {argument}={getattr(value, '__name__', value)!r}; expected one of "
                f"{', '.join(ACTIVATIONS)}, whose slopes elman knows. Diagnose a model with one of these."
            )


class Seen(NamedTuple):
    """What a run of a model showed.

    Attributes:
        outputs: The model's last outputs, `(examples, numbers)`.
        shape: The shape of one example's output, or `None` if the model has several outputs.
        calls: The call of each recurrent layer, by its name; the first one, if a layer is called several times.
        times: How many times each layer was called.
        longest: The most valid steps that any call of a layer had.
    """

    outputs: Array
    shape: tuple[int, ...] | None
    calls: dict[str, Call]
    times: dict[str, int]
    longest: int


def run(model: Any, x: Any, found: list[Recurrent], *, keep_tapes: bool = False) -> Seen:
    """Runs a model, its layers `found` computed by the NumPy adapter.

    Args:
        model: A Keras model.
        x: Its inputs, as `inputs.arrays` returns them.
        found: Its recurrent layers.
        keep_tapes: Keep the tapes of the calls, for their gradients.
    """
    calls: dict[str, Call] = {}
    times = {recurrent.name: 0 for recurrent in found}
    longest = 0

    def loop_of(recurrent: Recurrent) -> Loop:
        def inner_loop(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
            nonlocal longest
            given = _given(recurrent, sequences, initial_state, mask)
            call = computed(given, keep_tape=keep_tapes and recurrent.name not in calls)
            calls.setdefault(recurrent.name, call)
            times[recurrent.name] += 1
            longest = max(longest, int(call.valid.sum(axis=1).max(initial=0)))
            return _returned(recurrent.layer, call.run)

        return inner_loop

    with _replaced_loops(found, loop_of):
        outputs = keras.tree.flatten(model(x, training=False))
    parts = _last_outputs(outputs, next(iter(calls.values())).valid if calls else None)
    shape = parts[0].shape[1:] if len(parts) == 1 else None
    return Seen(_side_by_side(parts), shape, calls, times, longest)


def input_of(model: Any, x: Any, found: list[Recurrent], name: str) -> Given:
    """What one recurrent layer is called with.

    The layers that come before it are computed. It and those after it return zeros, so that they cost little.

    Args:
        model: A Keras model.
        x: Its inputs, as `inputs.arrays` returns them.
        found: Its recurrent layers.
        name: The name of the one whose operands are returned.
    """
    seen: dict[str, Given] = {}

    def loop_of(recurrent: Recurrent) -> Loop:
        def inner_loop(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
            given = _given(recurrent, sequences, initial_state, mask)
            if name not in seen and recurrent.name != name:
                return _returned(recurrent.layer, given.forward())
            seen.setdefault(recurrent.name, given)
            zeros = np.zeros((*given.valid.shape, given.units))
            return _returned(recurrent.layer, Run(zeros, given.states, None))

        return inner_loop

    with _replaced_loops(found, loop_of):
        model(x, training=False)
    return seen[name]


class Reset(NamedTuple):
    """Which states are reset, and when.

    Attributes:
        kept: For each row of x, the number of valid steps before the end at which the states are reset.
        layers: The names of the layers whose states are reset.
        full: The run with nothing reset. Row r of x repeats its row r modulo the number of its rows.
    """

    kept: Array
    layers: Collection[str]
    full: Seen


def run_reset(model: Any, x: Any, found: list[Recurrent], reset: Reset) -> Array:
    """Runs a model with states reset, and returns its last outputs, `(rows, numbers)`."""
    valid = None

    def loop_of(recurrent: Recurrent) -> Loop:
        full = reset.full.calls[recurrent.name]

        def inner_loop(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
            nonlocal valid
            given = _given(recurrent, sequences, initial_state, mask, full.weights)
            valid = given.valid if valid is None else valid
            if recurrent.name in reset.layers:
                forget = _forgetful(given, full, reset.kept, sequences=recurrent.layer.return_sequences)
            elif _repeats(given, full, given.valid):
                forget = _repeated(full.run, len(given.x))
            else:
                forget = given.forward()
            return _returned(recurrent.layer, forget)

        return inner_loop

    with _replaced_loops([each for each in found if each.name in reset.full.calls], loop_of):
        outputs = keras.tree.flatten(model(x, training=False))
    return _side_by_side(_last_outputs(outputs, valid))


def _forgetful(given: Given, full: Call, kept: Array, *, sequences: bool) -> Run:
    """A forward pass with the states reset `kept[row]` valid steps before the end; outputs before that stay.

    If `sequences` is false, only the last output is read, and the others may be wrong.
    """
    steps = np.arange(given.valid.shape[1])
    begins = starts(given.valid, kept)[:, None]
    after = given.forward(given.valid & (steps >= begins))
    if not sequences:
        return after
    earlier = given.valid & (steps < begins)
    same = _repeats(given, full, earlier)
    before = _repeated(full.run, len(given.x)).y if same else given.forward(earlier).y
    # If no step is kept, the last output is that of the initial state.
    from_here = np.minimum(begins, last_valid(given.valid)[:, None])
    return after._replace(y=np.where((steps >= from_here)[..., None], after.y, before))


def _repeats(given: Given, full: Call, where: Array) -> bool:
    """Whether the rows of the full run are repeated, as far as the steps `where` see."""
    rows, count = len(given.x), len(full.x)
    if given.x.shape[1:] != full.x.shape[1:] or rows % count:
        return False
    shape = (rows // count, count)
    x, valid = given.x.reshape(*shape, *full.x.shape[1:]), given.valid.reshape(*shape, -1)
    states = (state.reshape(*shape, -1) for state in given.states)
    return (
        bool((valid == full.valid).all())
        and all((state == own).all() for state, own in zip(states, full.states, strict=True))
        and bool(((x == full.x).all(axis=-1) | ~where.reshape(valid.shape)).all())
    )


def _repeated(run: Run, rows: int) -> Run:
    times = rows // len(run.y)
    finals = tuple(np.tile(state, (times, 1)) for state in run.final_states)
    return Run(np.tile(run.y, (times, 1, 1)), finals, None)


def starts(valid: Array, kept: Array) -> Array:
    """The step at which the last `kept[row]` valid steps begin; the first step if there are fewer.

    If none is kept, it is the number of steps.
    """
    later = valid[:, ::-1].cumsum(axis=1)[:, ::-1]  # valid steps from here to the end
    return np.where(kept > 0, (later > kept[:, None]).sum(axis=1), valid.shape[1])


# --- between Keras and NumPy -----------------------------------------------------------------------------------------


def _given(
    recurrent: Recurrent, sequences: Any, initial_state: Any, mask: Any, weights: Weights | None = None
) -> Given:
    """What Keras calls a layer's time loop with. Weights are converted, unless they are given."""
    options = layers.options_of(recurrent.layer, recurrent.cell)
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
    return Given(
        own,
        np.ascontiguousarray(x),
        np.ascontiguousarray(valid),
        tuple(_numbers(state) for state in states),
        weights_of(recurrent.layer) if weights is None else weights,
        recurrent.layer.compute_dtype,
        options.go_backwards,
    )


def weights_of(layer: Any) -> Weights:
    """Kernel, recurrent kernel and bias of a layer in float64."""
    cell = layer.cell
    kernel, recurrent_kernel, bias = (
        None if weight is None else _numbers(weight) for weight in (cell.kernel, cell.recurrent_kernel, cell.bias)
    )
    assert kernel is not None
    assert recurrent_kernel is not None
    return kernel, recurrent_kernel, bias


def _numbers(tensor: Any, dtype: str = "float64") -> Array:
    return np.asarray(ops.convert_to_numpy(tensor)).astype(dtype)


def _returned(layer: Any, run: Run) -> tuple[Any, Any, list[Any]]:
    """What Keras expects of a time loop: the last output, all outputs (which it reads only if the layer returns
    sequences) and the final states."""
    last = _tensor(run.y[:, -1], layer)
    every = _tensor(run.y, layer) if layer.return_sequences else last
    return last, every, [_tensor(state, layer) for state in run.final_states]


def _tensor(array: Array, layer: Any) -> Any:
    wide = layer.compute_dtype == "float64"
    with np.errstate(over="ignore"):  # a value too large for the layer's dtype is infinite there too
        return ops.convert_to_tensor(array if wide else array.astype("float32"), layer.compute_dtype)


def _last_outputs(outputs: list[Any], valid: Array | None) -> list[Array]:
    """Outputs as arrays; the last valid step of those that have every step."""
    return [at_last_valid(_numbers(output), valid) for output in outputs]


def at_last_valid(output: Array, valid: Array | None) -> Array:
    """The last valid step of an output that has every step; any other output as it is."""
    if valid is None or output.ndim < 3 or output.shape[1] != valid.shape[1]:
        return output
    return output[np.arange(len(output)), last_valid(valid)]


def _side_by_side(parts: list[Array]) -> Array:
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


@contextmanager
def _replaced_loops(found: list[Recurrent], loop_of: Callable[[Recurrent], Loop]) -> Iterator[None]:
    """Replaces the time loop of each layer inside the block. Keras's tracking of attributes does not see it."""
    for recurrent in found:
        object.__setattr__(recurrent.layer, "inner_loop", loop_of(recurrent))
    try:
        yield
    finally:
        for recurrent in found:
            object.__delattr__(recurrent.layer, "inner_loop")
