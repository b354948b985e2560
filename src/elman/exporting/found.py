# SPDX-License-Identifier: Apache-2.0
"""What an export found, and how far a file may be from its network: the rule of `tests/tolerance.py`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

Array = np.ndarray
_STOCK_FACTOR, _ULPS = 4.0, 32
_OVERFLOW, _DEPARTED = 1e30, 1e-3


class Exported(NamedTuple):
    """What `elman.export` returns.

    Attributes:
        path: The file.
        size: Its bytes.
        error: Largest difference between the file's results and the network's; `None` if nothing could run it.
        notes: Sentences about how it was compared.
    """

    path: Path
    size: int
    error: float | None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        error = "not compared" if self.error is None else f"largest error {self.error:.3g}"
        return "\n".join([f"{self.path}: {self.size:,} bytes, {error}", *self.notes])


def largest_error(got: Array, expected: Array) -> float:
    """The largest difference; infinity where one is not a number and the other is."""
    known = np.isfinite(expected)
    if got.shape != expected.shape or (np.isfinite(got) != known).any():
        return float("inf")
    return float(np.abs(got.astype("float64") - expected, where=known, out=np.zeros(got.shape)).max(initial=0))


def allowed(single: Array, wide: Array) -> float:
    """The largest error that is rounding: 4 times that of float32 itself, or 32 ulp of the largest value."""
    largest = np.float32(np.abs(wide, where=np.isfinite(wide), out=np.zeros(wide.shape)).max(initial=1e-30))
    return max(_STOCK_FACTOR * largest_error(single, wide), _ULPS * float(np.spacing(largest)))


def comparable(single: Array, wide: Array) -> int:
    """How many rows of outputs can be compared: half of those before float32 itself leaves float64.

    A network that grows without limit, or is chaotic, has no result that rounding would not change, after some rows.
    """
    known = np.isfinite(wide)
    size = float(np.abs(wide, where=known, out=np.zeros(wide.shape)).max(initial=0, where=np.abs(wide) < _OVERFLOW))
    with np.errstate(invalid="ignore"):
        near = np.abs(single - wide) <= _DEPARTED * size
    left = ~(near | ~known & np.isnan(single)).all(axis=1) | (~known & np.logical_or.accumulate(known)).any(axis=1)
    return int(left.argmax()) // 2 if left.any() else len(wide)
