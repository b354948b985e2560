# SPDX-License-Identifier: Apache-2.0
"""Decides whether a recurrence runs natively: the only place that does, for the layers and for the functions.

In: what the user set, and facts. Out: a `Decision`, with the reason where the native path is not taken. No framework is
known here: its adapter supplies what only the framework can know (`Facts`), and a layer what it is (`LayerFacts`).
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from elman import _native, _portable
from elman._native import NativeUnavailable
from elman.options import ACTIVATIONS, Options

__all__ = [
    "NATIVE",
    "REASONS",
    "Adapter",
    "Decision",
    "Facts",
    "LayerFacts",
    "NativeUnavailable",
    "Route",
    "before_the_call",
    "decide",
    "decide_for",
    "reason",
    "unavailable",
]

REASONS = {
    "asked": "native=False asks for it",
    "off": "the environment has ELMAN_NATIVE=off; unset it for the native path",
    "portable": "elman.portable() is active, so that what is traced needs no elman",
    "export": 'what is traced here is exported, to files that other programs open; native="require" keeps it native',
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
        reason: The reason why the native path was not taken, or `None`.
    """

    path: str
    detail: str | None
    reason: str | None


class Facts(NamedTuple):
    """What only a framework knows about a call; the defaults are those of a call that can run natively.

    Attributes:
        transform: Whether torch.compile traces a transform of torch.func.
        xla: Whether TensorFlow compiles the function with XLA.
        device: Where the arrays are, if not on the CPU.
        missing: The reason why the native path does not work with this version of the framework.
    """

    transform: bool = False
    xla: bool = False
    device: object = None
    missing: str | None = None


NATIVE = Facts()  # of a call that can run natively


class LayerFacts(NamedTuple):
    """What a layer adds to the facts of its framework.

    Attributes:
        backend: The name of Keras's backend, if elman has no adapter for it.
        cell: The name of the cell's class, if it is not Keras's own for this layer.
        cudnn: Whether the user asked for cuDNN.
    """

    backend: str | None = None
    cell: str | None = None
    cudnn: bool = False


class Adapter(Protocol):
    """What the route asks of a framework's adapter.

    Attributes:
        TRACES: Whether the framework can trace a call into a function or a file, so that `portable()` matters.
    """

    TRACES: bool

    def traced_environment(self) -> _native.Environment | None:
        """The environment, while a compiler of the framework traces the caller, which then cannot read it; else
        `None`."""

    def is_traced(self, x: Any) -> bool:
        """Whether x is traced into a function or a file."""

    def facts(self, x: Any) -> Facts:
        """The facts of a call on `x`."""


class Decision(NamedTuple):
    """Whether a recurrence runs natively.

    Attributes:
        reason: The reason why it does not, or `None`.
        required: Whether the user or the environment requires the native path, so that a reason is an error.
        asked: Whether the user or the environment asked for other operations, so that a reason needs no warning.
        isa: On the native path the instruction set, e.g. `"avx512"`.
        portable: Whether `elman.portable()`, or an export, is the reason.
    """

    reason: str | None
    required: bool = False
    asked: bool = False
    isa: str | None = None
    portable: bool = False


def reason(key: str, **facts: object) -> str:
    """The reason in one row of the table."""
    return REASONS[key].format(**facts)


def unavailable(reason: str) -> NativeUnavailable:
    """The error of a native path that is required and cannot run."""
    return NativeUnavailable(f"the native path is required and cannot run: {reason.removesuffix('.')}.")


def decide(
    native: str | bool,
    options: Options,
    dtype: str,
    adapter: Adapter | None,
    x: Any,
    layer: LayerFacts = LayerFacts(),
) -> Decision:
    """Decides whether a recurrence runs natively.

    Args:
        native: The argument of this name, as the user set it.
        options: The recurrence's options.
        dtype: The name of its arrays' dtype.
        adapter: The framework's adapter; `None` where elman has none, and `layer.backend` is set.
        x: The recurrence's input.
        layer: What the layer adds, where one calls.
    """
    traced = adapter.traced_environment() if adapter else None
    return decide_for(before_the_call(native, options, dtype, traced, layer), adapter, x)


def before_the_call(
    native: str | bool,
    options: Options,
    dtype: str,
    traced: _native.Environment | None = None,
    layer: LayerFacts = LayerFacts(),
) -> Decision:
    """The part of `decide` that is the same for every call with these arguments, so that a caller may keep it.

    Args:
        native: As in `decide`. So are `options`, `dtype` and `layer`.
        options: See `native`.
        dtype: See `native`.
        traced: What `Adapter.traced_environment` returned.
        layer: See `native`.
    """
    if native is False:
        return Decision(reason("asked"), asked=True)
    environment = traced or _native.environment()
    mode = environment.mode if native == "auto" else native
    if mode == "off":
        return Decision(reason("off"), asked=True)
    found = _of_options(options, dtype) or environment.reason or _of_layer(layer)
    return Decision(found, mode == "require", False, None if found else environment.isa)


def decide_for(decision: Decision, adapter: Adapter | None, x: Any) -> Decision:
    """The rest of `decide`: what `portable()` and the framework add to the decision before the call on `x`."""
    if (adapter is None or adapter.TRACES) and _portable.active():
        return Decision(reason("portable"), asked=True, portable=True)
    if decision.reason or not adapter:
        return decision
    if not decision.required and adapter.TRACES and adapter.is_traced(x) and _portable.exporting():
        return Decision(reason("export"), asked=True, portable=True)
    found = _of_framework(adapter.facts(x))
    return decision._replace(reason=found, isa=None) if found else decision


def _of_options(options: Options, dtype: str) -> str | None:
    for activation in (options.activation, options.recurrent_activation):
        if activation not in ACTIVATIONS:
            name = getattr(activation, "__name__", None) or type(activation).__name__
            return reason("activation", activation=name, activations=", ".join(ACTIVATIONS))
    return None if dtype in _native.DTYPES else reason("dtype", dtype=dtype)


def _of_layer(layer: LayerFacts) -> str | None:
    if layer.cudnn:
        return reason("cudnn")
    if layer.backend:
        return reason("backend", backend=layer.backend)
    return reason("cell", cell=layer.cell) if layer.cell else None


def _of_framework(facts: Facts) -> str | None:
    if facts is NATIVE:
        return None
    if facts.transform:
        return reason("transform")
    if facts.xla:
        return reason("xla")
    return reason("device", device=facts.device) if facts.device else facts.missing
