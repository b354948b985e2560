# SPDX-License-Identifier: Apache-2.0
"""One call of a recurrent layer: its operands in float64, and what it computes from them.

In: arrays in processing order. Out: outputs, which are computed once and kept. How a model is run to get the operands
is in `observe`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from elman import state_gradient
from elman.cells import CELLS
from elman.operands import Operands
from elman.options import Options
from elman.state_gradient import Run

Array = np.ndarray
Weights = tuple[Array, Array, Array | None]

_TAPE = 8_000_000  # numbers of a tape that are kept or computed at once, 64 MB
_LARGEST = {"float64": 1.8e308, "float32": 3.4e38, "bfloat16": 3.38e38, "float16": 65504.0}  # that a dtype can hold


@dataclasses.dataclass(frozen=True)
class Given:
    """What a layer is called with, in float64 and in processing order.

    Attributes:
        options: The recurrence's options. Every step is returned, and the gradient is neither cut nor clipped.
        x: `(batch, time, features)`.
        valid: `(batch, time)`, `True` where a step is not masked.
        states: The initial states, each `(batch, units)`.
        weights: Kernel, recurrent kernel and bias (or `None`).
        dtype: Name of the dtype in which the layer computes.
        reversed_time: Whether `x` and `valid` were reversed for a layer that reads backwards.
    """

    options: Options
    x: Array
    valid: Array
    states: tuple[Array, ...]
    weights: Weights
    dtype: str
    reversed_time: bool

    @property
    def units(self) -> int:
        """The layer's size."""
        return self.states[0].shape[1]

    def forward(self, valid: Array | None = None, *, keep_tape: bool = False) -> Run:
        """Runs the recurrence, with another mask if `valid` is given."""
        return state_gradient.forward(self.options, self.operands(valid), keep_tape=keep_tape)

    def operands(self, valid: Array | None = None) -> Operands:
        """The arrays of the recurrence, with another mask if `valid` is given."""
        mask = np.ascontiguousarray(self.valid if valid is None else valid)
        return Operands(self.x, *self.weights, self.states, mask)

    def tape_numbers(self) -> int:
        """At most how many numbers of one example's tape a backward pass reads."""
        return self.x.shape[1] * self.units * (len(CELLS[self.options.cell].gates) + 1)


@dataclasses.dataclass(frozen=True)
class Call(Given):
    """Operands and the forward pass on them.

    Attributes:
        run: The forward pass. Its tape is kept only if it was asked for and takes at most 64 MB.
    """

    run: Run

    @property
    def y(self) -> Array:
        """The output of every step, `(batch, time, units)`."""
        return self.run.y

    def rows(self, chosen: slice) -> Call:
        """The call for some examples; nothing is computed again."""
        states = tuple(state[chosen] for state in self.states)
        finals = tuple(state[chosen] for state in self.run.final_states)
        tape = self.run.tape[chosen] if isinstance(self.run.tape, np.ndarray) else None
        run = Run(self.y[chosen], finals, tape)
        return dataclasses.replace(self, x=self.x[chosen], valid=self.valid[chosen], states=states, run=run)

    def changed(
        self, *, states: tuple[Array, ...] | None = None, weights: Weights | None = None, keep_tape: bool = False
    ) -> Call:
        """The call with other initial states or weights, computed."""
        given = Given(
            self.options,
            self.x,
            self.valid,
            self.states if states is None else states,
            self.weights if weights is None else weights,
            self.dtype,
            self.reversed_time,
        )
        return computed(given, keep_tape=keep_tape)

    def gradient_norms(self, direction: Array) -> Array:
        """The norm of the gradient with respect to the states after each step, `(batch, time)`.

        Args:
            direction: The gradient of the loss with respect to the last output, `(batch, units)`.
        """
        if self.run.tape is not None:
            return state_gradient.gradient_norms(self.options, self.operands(), self.run, direction)
        at_once = max(1, _TAPE // self.tape_numbers())
        parts = [slice(i, i + at_once) for i in range(0, len(self.x), at_once)]
        return np.concatenate([self._norms_of(part, direction[part]) for part in parts])

    def _norms_of(self, part: slice, direction: Array) -> Array:
        """Those of some examples, whose tape is computed here."""
        rows = self.rows(part)
        return dataclasses.replace(rows, run=rows.forward(keep_tape=True)).gradient_norms(direction)

    def first_nonfinite(self) -> int | None:
        """The first step, as the input counts them, whose state is NaN or too large for the layer's dtype."""
        largest = _LARGEST[self.dtype]
        wrong = ((~np.isfinite(self.y) | (np.abs(self.y) > largest)).any(axis=2) & self.valid).any(axis=0)
        if not wrong.any():
            return None
        step = int(np.argmax(wrong))
        return len(wrong) - 1 - step if self.reversed_time else step


def given(
    options: Options, x: Array, valid: Array | None, states: tuple[Array, ...], weights: Weights, dtype: str
) -> Given:
    """What a layer is called with, from operands in the order of time.

    Args:
        options: The layer's options.
        x: `(batch, time, features)`, float64.
        valid: `(batch, time)`, or `None` if every step is valid.
        states: The initial states, each `(batch, units)`, float64.
        weights: Kernel, recurrent kernel and bias, float64.
        dtype: Name of the dtype in which the layer computes.
    """
    valid = np.ones(x.shape[:2], bool) if valid is None else valid
    if options.go_backwards:
        x, valid = x[:, ::-1], valid[:, ::-1]
    own = options._replace(go_backwards=False, return_sequences=True, truncate_gradient=None, clip_state_gradient=None)
    x, valid = np.ascontiguousarray(x), np.ascontiguousarray(valid)
    return Given(own, x, valid, states, weights, dtype, options.go_backwards)


def computed(given: Given, *, keep_tape: bool = False) -> Call:
    """A call with its forward pass, whose tape is kept if it is small enough."""
    small = given.tape_numbers() * len(given.x) <= _TAPE
    return Call(**vars(given), run=given.forward(keep_tape=keep_tape and small))


def last_valid(valid: Array) -> Array:
    """The index of the last valid step of each example, `(batch,)`; the last step if none is valid.

    Args:
        valid: `(batch, time)`.
    """
    return valid.shape[1] - 1 - valid[:, ::-1].argmax(axis=1)


def by_lag(values: Array, valid: Array, missing: float) -> Array:
    """Values of steps in the order of their lag, in valid steps back from the last valid one.

    Args:
        values: `(batch, time, ...)`.
        valid: `(batch, time)`.
        missing: What stands at lags that an example does not have.
    """
    lag = valid[:, ::-1].cumsum(axis=1)[:, ::-1] - 1
    ordered = np.full(values.shape, missing)
    rows, steps = np.nonzero(valid)
    ordered[rows, lag[rows, steps]] = values[rows, steps]
    return ordered
