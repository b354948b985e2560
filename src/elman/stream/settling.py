# SPDX-License-Identifier: Apache-2.0
"""How long a stream remembers where it began, and the state that it settles in.

In: a program. Out: a number of rows, or a flat state. Rows are drawn around the mean that the network's
own `Normalize` knows, or around zero. Nothing here is exact: it is a measurement with random rows, the same each time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elman.network import Normalize
from elman.stream.native import native_stream
from elman.stream.program import Program

Array = np.ndarray
NOT_MEASURED: Any = object()
_PAIRS, _MOST, _BEFORE = 16, 4096, 256  # pairs of streams; rows that they get; rows before, which set them apart
_TOLERANCE = 0.05  # of the outputs' standard deviation, as in the diagnosis
_STILL = 1e-6  # change of a state, of its largest value, from which on it has settled


def warmup(program: Program) -> int | None:
    """Rows after which the output no longer depends on where the stream began; `None` if it does to the last."""
    if program.window is not None:
        return program.window
    rng = np.random.default_rng(0)
    stream = native_stream(program, 2 * _PAIRS)
    before = typical_rows(program, rng, (_PAIRS, _BEFORE))
    _run(program, stream, np.concatenate([before, before]))
    for row in range(_PAIRS):  # one of each pair begins again
        stream.reset(row)
    rows = typical_rows(program, rng, (_PAIRS, _MOST))
    y = _run(program, stream, np.concatenate([rows, rows])).astype("float64")
    fresh, old = y[:_PAIRS], y[_PAIRS:]
    scale = max(float(old.std(axis=(0, 1)).max()), 1e-30)
    distance = np.sqrt(np.mean((fresh - old) ** 2, axis=(0, 2))) / scale
    above = np.flatnonzero(~(distance <= _TOLERANCE))  # NaN too: it stands for rows that have not come
    last = int(above[-1]) + 1 if len(above) else 0
    return last + 1 if last < _MOST else None


def settled_state(program: Program) -> Array:
    """The flat state, (1, columns), after mean rows: once it is still, or after 4,096 rows.

    With a window that is the window full of mean rows.
    """
    stream = native_stream(program, 1)
    row = _mean_row(program)[None]
    state = before = np.zeros((1, stream.state_columns(-2)), program.dtype)
    for _ in range(_MOST):
        _run(program, stream, row[None])
        state = np.zeros_like(before)
        stream.get_state(0, state.ctypes.data)
        limit = _STILL * max(float(np.abs(state).max(initial=0, where=np.isfinite(state))), 1e-30)
        if (np.abs(state - before) <= limit).all():  # false while a NaN is in it
            break
        before = state
    return state


def _run(program: Program, stream: Any, x: Array) -> Array:
    x = np.ascontiguousarray(x, program.dtype)
    y = np.empty((*x.shape[:2], program.outputs), program.dtype)
    stream.run(x.ctypes.data, y.ctypes.data, x.shape[1])
    return y


def _mean_row(program: Program) -> Array:
    first = _normalize(program)
    return np.zeros(program.features) if first is None else np.asarray(first["mean"], "float64")


def typical_rows(program: Program, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Random rows, (*shape, features): around the mean that the network knows, words of its `Embedding`."""
    if program.words is not None:
        return rng.integers(0, program.words, (*shape, 1))
    first, rows = _normalize(program), rng.normal(size=(*shape, program.features))
    return rows if first is None else rows * first["std"] + first["mean"]


def _normalize(program: Program) -> dict[str, Array] | None:
    """The weights of a `Normalize` that sees the rows first."""
    for each in program.operations:
        if each.inputs == (0,) and isinstance(each.layer, Normalize):
            return dict(each.weights)
    return None
