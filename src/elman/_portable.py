# SPDX-License-Identifier: Apache-2.0
"""The context in which no native call is traced, so that what is exported runs where elman is not installed.

It belongs to the thread, or task, that enters it. No framework is imported here.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from types import FrameType
from typing import Any

# How the names of modules begin whose functions trace a call into a file for other programs.
_EXPORTERS = (
    *("keras.src.export.", "jax._src.export.", "jax.experimental.jax2tf", "torch.onnx", "tensorflow.lite.python."),
    "tf2onnx.",
)
_active = ContextVar("elman_portable", default=False)


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """Traces stock computation while the context is active.

    `Model.export`, `jax.export`, jax2tf, `torch.onnx`, tf2onnx and the LiteRT converter need no context: what they
    trace is stock computation, unless `native="require"` asks for another. `tf.saved_model.save` and `torch.export`
    need it: without it their files hold native operations, and open only where elman is imported.

    Layers and functions of elman then run as Keras's own layers do, in operations of the framework alone: a SavedModel,
    an ONNX or LiteRT file, or what `jax.export` and `torch.export` make, loads where elman is absent. The context
    overrides `native="require"` and `ELMAN_NATIVE`. A layer's `truncate_gradient` and `clip_state_gradient`, which
    change no output, do not act. On TensorFlow and PyTorch, what was traced before (a `tf.function`, a compiled module)
    stays as it is: trace it again inside, as `Model.export` does. NumPy arrays are never traced, so functions of them
    run as outside.

    Yields:
        Nothing.

    Example:

    ```python
    with elman.portable():
        model.export("model.onnx", format="onnx")
    ```
    """
    token = _active.set(True)
    try:
        with _traces_of_jax_apart():
            yield
    finally:
        _active.reset(token)


def active() -> bool:
    """True inside `portable()`."""
    return _active.get()


def exporting() -> bool:
    """True if the caller is traced for a file that other programs open. The functions that write such files set nothing
    that could be read, so this searches the call stack for them."""
    frame: FrameType | None = sys._getframe(1)
    while frame:
        if str(frame.f_globals.get("__name__")).startswith(_EXPORTERS):
            return True
        frame = frame.f_back
    return False


for _function in (active, exporting):
    # torch.compile can read neither a context variable nor the call stack. With this mark it uses the value of the call
    # at trace time.
    vars(_function)["_dynamo_marked_constant"] = True


def _traces_of_jax_apart() -> contextlib.AbstractContextManager[None]:
    """Keeps `jax.jit` from using inside a trace that was made outside, and the reverse."""
    context = _context_of_jax(sys.modules["jax"]) if "jax" in sys.modules else None
    return contextlib.nullcontext() if context is None else context(True)


@functools.cache
def _context_of_jax(jax: Any) -> Any:
    """A context that is part of the key under which `jax.jit` caches a trace; `None` before JAX 0.8."""
    make = getattr(jax, "make_user_context", None)
    return make(default_value=False) if make else None
