# SPDX-License-Identifier: Apache-2.0
"""The options of a recurrence, everything but its arrays: one immutable, hashable value. The reference, the route
and every adapter share it; `_native` makes the C contract's `elman_spec` of it."""

from __future__ import annotations

from typing import NamedTuple

ACTIVATIONS = ("linear", "tanh", "relu", "sigmoid", "hard_sigmoid")


class Options(NamedTuple):
    """The options of one recurrence. Time is counted in processing order.

    Attributes:
        cell: Name of the cell, a row of `cells.CELLS`.
        activation: Name of the activation of the new state, or (off the native path) a callable.
        recurrent_activation: That of the gates, likewise; a simple RNN has none.
        go_backwards: Read time from the last step to the first. Outputs stay in processing order.
        zero_output_for_mask: Outputs of masked steps are zero, rather than the output before them.
        return_sequences: Return every step's output, rather than the last one's.
        truncate_gradient: Integer k or `None`. The state's gradient is cut at T-k, T-2k, ...
        clip_state_gradient: Float c or `None`. Largest L2 norm, per example and over all states
            jointly, of the gradient that one step passes to the step before it.
        reset_after: A GRU's reset gate acts on the product of state and weights, which has a bias of its own, rather
            than on the state before it.
    """

    cell: str = "simple_rnn"
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    go_backwards: bool = False
    zero_output_for_mask: bool = False
    return_sequences: bool = True
    truncate_gradient: int | None = None
    clip_state_gradient: float | None = None
    reset_after: bool = True
