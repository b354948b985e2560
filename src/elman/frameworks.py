# SPDX-License-Identifier: Apache-2.0
"""Tells which framework an array belongs to without importing any.

An array can only exist where its framework is loaded already, so the adapter that is imported here never
brings a framework in. The idea is einops'.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable
from types import ModuleType

_ADAPTERS = {
    "numpy": "elman._numpy",
    "tensorflow": "elman._tensorflow",
    "jax": "elman._jax",
    "jaxlib": "elman._jax",
    "torch": "elman._torch",
}


@functools.lru_cache(maxsize=256)
def _adapter_name(array_type: type) -> str | None:
    """The adapter's module for an array type or a subclass of one (a `torch.nn.Parameter`, a user's own)."""
    for base in array_type.__mro__:
        root = base.__module__.partition(".")[0]
        if root in _ADAPTERS:
            return _ADAPTERS[root]
    return None


def adapter_of(arrays: Iterable[tuple[str, object]]) -> tuple[ModuleType, object]:
    """The adapter for these arrays, and the first array that is its own: NumPy's only where no other takes part.

    Args:
        arrays: Pairs of the name the user knows an array by, and the array. `None`s, lists and numbers do not count.

    Raises:
        TypeError: If none is an array of a known framework, or two frameworks meet.
    """
    arrays = [(name, array) for name, array in arrays if array is not None]
    found: dict[str, tuple[str, object]] = {}
    for name, array in arrays:
        if adapter := _adapter_name(type(array)):
            found.setdefault(adapter, (name, array))
    if len(found) > 1:
        found.pop("elman._numpy", None)  # NumPy arrays go along with any framework's
    if len(found) > 1:
        (first, (one, _)), (second, (other, _)) = list(found.items())[:2]
        raise TypeError(
            f"{one} is an array of {first.rpartition('_')[2]} and {other} of {second.rpartition('_')[2]}; "
            "expected arrays of one framework. Convert one of them."
        )
    if not found:
        name, array = arrays[0]
        raise TypeError(
            f"{name} is {type(array).__name__}; expected an array of NumPy, TensorFlow, JAX or PyTorch. "
            f"Pass numpy.asarray({name})."
        )
    ((module, (_, like)),) = found.items()
    return importlib.import_module(module), like
