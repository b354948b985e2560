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

__all__ = ["REASONS", "NativeUnavailable", "Route", "decide", "reason", "unavailable"]

REASONS = {
    "asked": "native=False asks for it",
    "off": "the environment has ELMAN_NATIVE=off; unset it for the native path",
    "portable": "elman.portable() is active, so that what is traced needs no elman",
    "stock": "it is Keras's own layer; elman.accelerate(model) makes it native",
    "kept": "it is Keras's own layer, and elman.accelerate(model) keeps it: it has {what}",
    "backend": "Keras runs on {backend}, and the native path on TensorFlow, JAX or PyTorch",
    "cell": "its cell is a {cell}, and the native path computes what Keras's own cells do",
    "cudnn": 'use_cudnn=True asks for cuDNN, which is Keras\'s to call; the native path runs with "auto" and False',
    "activation": "activation {activation} has no native kernel; there are {activations}",
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


def unavailable(sentence: str) -> NativeUnavailable:
    """The error of a native path that is required and cannot run."""
    return NativeUnavailable(f"the native path is required and cannot run: {sentence.removesuffix('.')}.")


def decide(
    native: str | bool, options: Options, dtype: str, environment: _native.Environment | None = None
) -> tuple[str | None, bool]:
    """Whether a recurrence can run natively, as far as no framework is needed to know it.

    Args:
        native: As the user set it.
        options: The recurrence's options.
        dtype: That of its arrays.
        environment: What the process says, where the caller had to ask before; else it is asked here.

    Returns:
        Why not, or `None`; and whether the native path is required.
    """
    if native is False:
        return reason("asked"), False
    environment = environment or _native.environment()
    mode = environment.mode if native == "auto" else native
    return _obstacle(str(mode), options, dtype, environment.obstacle), mode == "require"


def _obstacle(mode: str, options: Options, dtype: str, library: str | None) -> str | None:
    if mode == "off":
        return reason("off")
    for activation in (options.activation, options.recurrent_activation):
        if activation not in ACTIVATIONS:
            name = getattr(activation, "__name__", None) or type(activation).__name__
            return reason("activation", activation=name, activations=", ".join(ACTIVATIONS))
    if dtype not in _native.DTYPES:
        return reason("dtype", dtype=dtype)
    return library
