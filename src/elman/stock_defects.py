# SPDX-License-Identifier: Apache-2.0
"""The defects of Keras's own time loops: one row each, with the calls that they apply to.

Where the native path is not taken and a defect applies, a layer runs elman's plain operations instead of Keras's loop.
docs/differences.md lists the defects for users. In: a layer and how it is called. Out: whether a row applies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

HALVES = ("bfloat16", "float16")


class Call(NamedTuple):
    """How a stock layer would be called.

    Attributes:
        layer: The layer.
        dtype: The dtype that it computes in.
        masked: Whether there is a mask.
        training: Whether dropout acts.
        eager: Whether nothing traces the call, which runs on the CPU.
    """

    layer: Any
    dtype: str
    masked: bool
    training: bool
    eager: bool

    @property
    def unrolled_backwards(self) -> bool:
        """Whether an unrolled loop reads a mask from the last step to the first."""
        return self.masked and self.layer.unroll and self.layer.go_backwards

    @property
    def gated(self) -> bool:
        """Whether dropout may have a mask for each gate."""
        return hasattr(self.layer.cell, "implementation")


class Defect(NamedTuple):
    """A row of the table.

    Attributes:
        what: What Keras does instead.
        backends: The backends on which it does.
        applies: Whether it does so in a call.
        of_the_gradient: Whether only gradients are wrong.
    """

    what: str
    backends: tuple[str, ...]
    applies: Callable[[Call], bool]
    of_the_gradient: bool = False


ALL = ("tensorflow", "jax", "torch")
DEFECTS = (
    Defect("float64 is multiplied in float32", ("torch",), lambda call: call.dtype == "float64"),
    Defect("float64 fails", ("jax",), lambda call: call.dtype == "float64"),
    Defect(
        "stateless_call fails in half types, on a GRU and with dropout", ("jax",), lambda call: call.dtype in HALVES
    ),
    Defect("each eager call compiles the loop again, and keeps what it compiled", ("jax",), lambda call: call.eager),
    Defect("the output of a masked first step is the initial state", ("jax",), lambda call: call.masked),
    Defect(
        "NaN and infinities at masked steps make gradients NaN", ALL, lambda call: call.masked, of_the_gradient=True
    ),
    Defect(
        "an unrolled loop returns masked outputs though zero_output_for_mask is set",
        ("jax",),
        lambda call: call.masked and call.layer.unroll and call.layer.zero_output_for_mask,
    ),
    Defect(
        "an unrolled loop that reads backwards zeroes the wrong steps",
        ("tensorflow", "jax"),
        lambda call: call.unrolled_backwards and call.layer.zero_output_for_mask,
    ),
    Defect("an unrolled loop that reads a mask backwards fails", ("torch",), lambda call: call.unrolled_backwards),
    Defect(
        "a dropout of 1 drops nothing, everything or fails, which depends on the backend",
        ALL,
        lambda call: (
            call.gated and call.training and 1.0 in (call.layer.cell.dropout, call.layer.cell.recurrent_dropout)
        ),
    ),
    Defect(
        "implementation=1 with dropout and no recurrent_dropout fails",
        ALL,
        lambda call: bool(
            call.gated
            and call.training
            and call.layer.cell.implementation == 1
            and call.layer.cell.dropout
            and not call.layer.cell.recurrent_dropout
        ),
    ),
)


def any_applies(call: Call, backend: str, gradients: bool) -> bool:
    """Whether a defect of the stock loop applies to a call.

    Args:
        call: The call.
        backend: The name of Keras's backend.
        gradients: Whether gradients may be taken through it.
    """
    rows = [d for d in DEFECTS if backend in d.backends and (gradients or not d.of_the_gradient)]
    return any(defect.applies(call) for defect in rows)
