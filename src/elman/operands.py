# SPDX-License-Identifier: Apache-2.0
"""The arrays of one recurrence: one immutable record, in the order of `elman_operands` in `native/elman.h`.

The reference, the plain operations and every adapter take it. Nothing is checked or converted here.

Shapes: B batch, T time, F features, H units, G gates of the cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

# The operands one by one, as the native calls take them; there is room for two states.
FLAT = (
    "x",
    "kernel",
    "recurrent_kernel",
    "bias",
    "initial_h",
    "initial_c",
    "mask",
    "input_dropout",
    "recurrent_dropout",
)


class Operands(NamedTuple):
    """The arrays of one recurrence; `None` where one is left out. All but the mask have the dtype of x.

    Attributes:
        x: `(B, T, F)`.
        kernel: `(F, G*H)`, the gates side by side in the order of `Cell.gates`.
        recurrent_kernel: `(H, G*H)`.
        bias: `(G*H,)`, or `(2, G*H)` where `Cell.two_biases` says so.
        initial_states: One array `(B, H)` for each state of the cell; none: zeros.
        mask: Booleans `(B, T)`, `True` where a step counts; or int32 or int64 lengths `(B,)`; or uint8 codes `(B, T)`,
            0 for a masked step, 1 for one that counts, and 3 for one before which the state returns to the initial one.
        input_dropout: `(1, B, F)`, the factors of x for all gates, or `(G, B, F)`, for each gate.
        recurrent_dropout: `(1, B, H)` or `(G, B, H)`, the factors of the state.
    """

    x: Any
    kernel: Any
    recurrent_kernel: Any
    bias: Any = None
    initial_states: tuple[Any, ...] = ()
    mask: Any = None
    input_dropout: Any = None
    recurrent_dropout: Any = None


def flat(operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """The operands one by one, in the order of `FLAT`."""
    x, kernel, recurrent_kernel, bias, states, mask, input_dropout, recurrent_dropout = operands
    first, second = pair(states)
    return x, kernel, recurrent_kernel, bias, first, second, mask, input_dropout, recurrent_dropout


def grouped(operands: tuple[Any, ...]) -> Operands:
    """The inverse of `flat`."""
    x, kernel, recurrent_kernel, bias, h, c, mask, input_dropout, recurrent_dropout = operands
    states = tuple([state for state in (h, c) if state is not None])
    return Operands(x, kernel, recurrent_kernel, bias, states, mask, input_dropout, recurrent_dropout)


def pair(states: Sequence[Any]) -> tuple[Any, Any]:
    """The states, filled up with `None` to the two that a native call has room for."""
    first, second = (*states, None, None)[:2]
    return first, second
