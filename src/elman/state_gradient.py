# SPDX-License-Identifier: Apache-2.0
"""A forward pass of a recurrence on NumPy arrays, and how far gradients get through it.

In: options and operands in float64. Out: outputs, and the norm of a gradient after each step. The native library
computes both; without it the reference does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from elman import _native, _numpy, reference
from elman.operands import Operands
from elman.options import Options

Array = np.ndarray


class Run(NamedTuple):
    """What a forward pass returns.

    Attributes:
        y: The output of every step, `(batch, time, units)`.
        final_states: The states after the last step, each `(batch, units)`.
        tape: What a backward pass reads, of the native library or of the reference; `None` if it was not kept.
    """

    y: Array
    final_states: tuple[Array, ...]
    tape: Any


def forward(options: Options, operands: Operands, *, keep_tape: bool = False) -> Run:
    """Runs a recurrence.

    Args:
        options: The recurrence's options, with `return_sequences`.
        operands: Its arrays, with all initial states.
        keep_tape: Keep what `gradient_norms` needs.
    """
    # A value beyond the range of float64 becomes infinite. That is a result here, not an error.
    with np.errstate(over="ignore", invalid="ignore"):
        if _native.reason():
            y, final_states, tape = reference.forward(*operands, options=options)
            return Run(y, final_states, tape if keep_tape else None)
        return Run(*_numpy.forward(options, operands, keep_tape))


def gradient_norms(options: Options, operands: Operands, run: Run, direction: Array) -> Array:
    """The norm of the gradient with respect to the states after each step, for a loss at the last step alone.

    Args:
        options: Those of the forward pass.
        operands: Those of the forward pass.
        run: What `forward` returned, with its tape.
        direction: The gradient of the loss with respect to the last output, `(batch, units)`.

    Returns:
        `(batch, time)`: the L2 norm over all states jointly.
    """
    # Through the final state, which is the last valid step's output: that of a masked step may be a constant zero.
    dy = np.zeros_like(run.y)
    dfinal_states = (direction, *(np.zeros_like(state) for state in run.final_states[1:]))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        if _native.reason():
            return reference.backward(*operands, run.tape, dy, dfinal_states, options=options).norms
        return _numpy.backward(options, operands, run.y, run.tape, dy, dfinal_states, want_dx=False).norms
