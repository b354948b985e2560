# SPDX-License-Identifier: Apache-2.0
"""Runs a model whose recurrences are computed in float64, and keeps their calls.

In: an `Observed` model and arrays. Out: the last outputs, and a `Call` of each recurrent layer. So the figures of a
layer do not depend on what computes the rest of the model. A run can reset the states to the initial ones, a number of
valid steps before the end.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from elman.diagnosis.call import Array, Call, Given, computed, last_valid
from elman.diagnosis.observed import Loop, Observed, Recurrent
from elman.state_gradient import Run


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


def run(model: Observed, x: list[Array], *, keep_tapes: bool = False) -> Seen:
    """Runs a model.

    Args:
        model: The model.
        x: Its inputs, some examples of `model.x`.
        keep_tapes: Keep the tapes of the calls, for their gradients.
    """
    calls: dict[str, Call] = {}
    times = {recurrent.name: 0 for recurrent in model.recurrent}
    longest = 0

    def loop_of(name: str) -> Loop:
        def loop(given: Given) -> Run:
            nonlocal longest
            call = computed(given, keep_tape=keep_tapes and name not in calls)
            calls.setdefault(name, call)
            times[name] += 1
            longest = max(longest, int(call.valid.sum(axis=1).max(initial=0)))
            return call.run

        return loop

    outputs = model.run(x, {name: loop_of(name) for name in times})
    valid = next(iter(calls.values())).valid if calls else None
    parts = [_at_last_valid(output, valid) for output in outputs]
    shape = parts[0].shape[1:] if len(parts) == 1 else None
    return Seen(_side_by_side(parts), shape, calls, times, longest)


def input_of(model: Observed, x: list[Array], name: str) -> Given:
    """What one recurrent layer is called with.

    The layers that come before it are computed. It and those after it return zeros, so that they cost little.

    Args:
        model: The model.
        x: Its inputs, some examples of `model.x`.
        name: The name of the layer whose operands are returned.
    """
    seen: dict[str, Given] = {}

    def loop_of(own: str) -> Loop:
        def loop(given: Given) -> Run:
            if name not in seen and own != name:
                return given.forward()
            seen.setdefault(own, given)
            return Run(np.zeros((*given.valid.shape, given.units)), given.states, None)

        return loop

    model.run(x, {each.name: loop_of(each.name) for each in model.recurrent})
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


def run_reset(model: Observed, x: list[Array], reset: Reset) -> Array:
    """Runs a model with states reset, and returns its last outputs, `(rows, numbers)`."""
    valid = None

    def loop_of(recurrent: Recurrent) -> Loop:
        full = reset.full.calls[recurrent.name]

        def loop(given: Given) -> Run:
            nonlocal valid
            valid = given.valid if valid is None else valid
            if recurrent.name in reset.layers:
                return _forgetful(given, full, reset.kept, sequences=recurrent.sequences)
            if _repeats(given, full, given.valid):
                return _repeated(full.run, len(given.x))
            return given.forward()

        return loop

    called = [each for each in model.recurrent if each.name in reset.full.calls]
    outputs = model.run(x, {each.name: loop_of(each) for each in called})
    return _side_by_side([_at_last_valid(output, valid) for output in outputs])


def _forgetful(given: Given, full: Call, kept: Array, *, sequences: bool) -> Run:
    """A forward pass with the states reset `kept[row]` valid steps before the end; outputs before that stay.

    If `sequences` is false, only the last output is read, and the others may be wrong.
    """
    steps = np.arange(given.valid.shape[1])
    begins = _starts(given.valid, kept)[:, None]
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


def _starts(valid: Array, kept: Array) -> Array:
    """The step at which the last `kept[row]` valid steps begin; the first step if there are fewer.

    If none is kept, it is the number of steps.
    """
    later = valid[:, ::-1].cumsum(axis=1)[:, ::-1]  # valid steps from here to the end
    return np.where(kept > 0, (later > kept[:, None]).sum(axis=1), valid.shape[1])


def _at_last_valid(output: Array, valid: Array | None) -> Array:
    """The last valid step of an output that has every step; any other output as it is."""
    if valid is None or output.ndim < 3 or output.shape[1] != valid.shape[1]:
        return output
    return output[np.arange(len(output)), last_valid(valid)]


def _side_by_side(parts: list[Array]) -> Array:
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
