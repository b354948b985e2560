# SPDX-License-Identifier: Apache-2.0
"""Finds the framework of an array, and its adapter, without importing a framework.

An array exists only if its framework is loaded, so importing the adapter here loads no framework. The idea is from
einops. torch.compile traces this module: it follows import statements and isinstance, but neither importlib, nor
functools, nor the type of a tensor.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from elman import _numpy

_FRAMEWORKS = {"numpy": "numpy", "tensorflow": "tensorflow", "jax": "jax", "jaxlib": "jax"}


def _framework(array: object) -> str | None:
    """The framework of an array or of a subclass (a `torch.nn.Parameter`, a class of the user)."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, getattr(torch, "Tensor", ())):
        return "torch"
    for base in type(array).__mro__:
        root = base.__module__.partition(".")[0]
        if root in _FRAMEWORKS:
            return _FRAMEWORKS[root]
    return None


def _adapter(framework: str) -> ModuleType:
    if framework == "torch":
        from elman import _torch

        return _torch
    if framework == "jax":
        from elman import _jax

        return _jax
    if framework == "tensorflow":
        from elman import _tensorflow

        return _tensorflow
    return _numpy


def adapter_of(arrays: Iterable[tuple[str, Any]]) -> tuple[ModuleType, Any]:
    """The adapter for these arrays, and the first array that is its own: NumPy's only where no other takes part.

    Args:
        arrays: Pairs of the name the user knows an array by, and the array. `None`s, lists and numbers do not count.

    Raises:
        TypeError: If none is an array of a known framework, or two frameworks meet.
    """
    arrays = [(name, array) for name, array in arrays if array is not None]
    found: dict[str, tuple[str, Any]] = {}
    for name, array in arrays:
        if framework := _framework(array):
            found.setdefault(framework, (name, array))
    if len(found) > 1:
        found.pop("numpy", None)  # NumPy arrays go along with any framework's
    if len(found) > 1:
        (first, (one, _)), (second, (other, _)) = list(found.items())[:2]
        raise TypeError(
            f"{one} is an array of {first} and {other} of {second}; expected arrays of one framework. Convert one of "
            "them."
        )
    if not found:
        name, array = arrays[0]
        raise TypeError(
            f"{name} is {type(array).__name__}; expected an array of NumPy, TensorFlow, JAX or PyTorch. "
            f"Pass numpy.asarray({name})."
        )
    ((framework, (_, like)),) = found.items()
    return _adapter(framework), like
