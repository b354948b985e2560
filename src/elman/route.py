# SPDX-License-Identifier: Apache-2.0
"""The one place that says no: why a recurrence runs in plain framework operations instead of natively.

Pure: options and facts in, a sentence or `None` out. What only a framework can know about itself (its
device, its tracing context, a missing symbol) its adapter says in `obstacle()`, by these sentences.
"""

from __future__ import annotations

from typing import NamedTuple

from elman import _native
from elman._native import NativeUnavailable
from elman.options import ACTIVATIONS, Options

__all__ = ["REASONS", "NativeUnavailable", "Route", "obstacle", "reason"]

REASONS = {
    "asked": "native=False asks for it",
    "off": "the environment has ELMAN_NATIVE=off; unset it for the native path",
    "activation": "activation={activation!r} has no native kernel; there are {activations}",
    "dtype": "dtype {dtype} has no native kernel; there are float32 and float64",
    "device": "the arrays are on {device}, and the native path runs on the CPU",
    "transform": "torch.compile traces a torch.func transform here, and torch follows it in its own operations alone",
    "xla": "TensorFlow compiles this function with XLA (jit_compile=True), which has no kernel for elman's op",
    "symbol": "{framework} {version} lacks what the native path needs: {missing}",
}


class Route(NamedTuple):
    """How a recurrence ran.

    Attributes:
        path: `"native"` or `"keras"` (`"plain"` for the functions).
        detail: On the native path the instruction set, e.g. `"avx512"`.
        reason: Off the native path, the sentence that says why.
    """

    path: str
    detail: str | None
    reason: str | None


def reason(key: str, **facts: object) -> str:
    """The sentence of one row of the table."""
    return REASONS[key].format(**facts)


def mode(native: str | bool) -> str | bool:
    """What `native` comes to with the environment's ELMAN_NATIVE: `"auto"`, `"require"`, `"off"` or `False`."""
    return _native.environment_mode() if native == "auto" else native


def obstacle(mode: str | bool, options: Options, dtype: str, library: str | None) -> str | None:
    """Why this recurrence cannot run natively, as far as no framework is needed to know it; else `None`."""
    if mode is False:
        return reason("asked")
    if mode == "off":
        return reason("off")
    if options.activation not in ACTIVATIONS:
        return reason("activation", activation=options.activation, activations=", ".join(ACTIVATIONS))
    if dtype not in _native.DTYPES:
        return reason("dtype", dtype=dtype)
    return library
