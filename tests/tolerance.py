# SPDX-License-Identifier: Apache-2.0
"""How far a result may be from the truth: by rule, in one place.

In: a result, the truth in higher precision, and for float32 what stock arithmetic makes of the same input.
Out: an `AssertionError` that names the tensor and the figures. Errors are measured per tensor, against its
largest value: a sum of products cannot be better than its largest terms.

    float64   at most 1e-12 of the tensor's largest value
    float32   at most max(4 x the stock error, 32 ulp of the tensor's largest value);
              over a whole grid, root mean square error at most 1.5 x the stock's
"""

from __future__ import annotations

import math

import numpy as np

Array = np.ndarray

FLOAT64_RELATIVE = 1e-12
STOCK_FACTOR = 4.0
ULPS = 32
GRID_FACTOR = 1.5


def ulp(truth: Array, dtype: type) -> float:
    """The spacing of `dtype` at the tensor's largest value; the smallest normal number where denormals may be lost."""
    info = np.finfo(dtype)
    return float(np.spacing(dtype(max(largest(truth), float(info.tiny) / float(info.eps)))))


def largest(truth: Array) -> float:
    """The largest finite magnitude; 0 where there is none."""
    return float(np.max(np.abs(truth), initial=0, where=np.isfinite(truth)))


def differences(got: Array, truth: Array) -> Array:
    """|got - truth|, where neither is finite 0 if they agree and infinity if they do not.

    Raises:
        AssertionError: If the shapes differ.
    """
    assert got.shape == truth.shape, f"shape {got.shape}, expected {truth.shape}"
    wide = np.result_type(truth, np.float64)
    a, b = got.astype(wide), truth.astype(wide)
    finite = np.isfinite(a) & np.isfinite(b)
    with np.errstate(invalid="ignore"):
        distance = np.abs(a - b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(finite, distance, np.where(same, 0, np.inf))


def error(got: Array, truth: Array) -> float:
    """The largest difference."""
    return float(np.max(differences(got, truth), initial=0))


def assert_float64(got: Array, truth: Array, what: object) -> None:
    """The rule for float64 results; `what` names the tensor in the message."""
    assert got.dtype == np.float64, f"{what}: dtype {got.dtype}"
    size = largest(truth)
    allowed = max(FLOAT64_RELATIVE * size, ULPS * float(np.finfo(np.float64).tiny))
    distance = error(got, truth)
    assert distance <= allowed, f"{what}: error {distance:.3g}, allowed {allowed:.3g} (largest value {size:.3g})"


class Grid:
    """The rule for float32 results, tensor by tensor as they come, and at the end over all of them."""

    def __init__(self) -> None:
        self._squares: dict[str, list[tuple[float, float]]] = {}

    def check(self, name: str, got: Array, truth: Array, stock: Array, what: object) -> None:
        """One tensor; `name` groups it with its like, `what` names the case in the message."""
        assert got.dtype == np.float32, f"{what}: {name} has dtype {got.dtype}"
        unit = ulp(truth, np.float32)
        distance, yardstick = error(got, truth), error(stock, truth)
        allowed = max(STOCK_FACTOR * yardstick, ULPS * unit)
        assert distance <= allowed, (
            f"{what}: {name} has error {distance / unit:.1f} ulp of its largest value; "
            f"stock arithmetic has {yardstick / unit:.1f}, allowed are {allowed / unit:.1f}"
        )
        if got.size:
            pair = (_mean_square(got, truth, unit), _mean_square(stock, truth, unit))
            self._squares.setdefault(name, []).append(pair)

    def extend(self, other: Grid) -> None:
        """Counts another grid's tensors too."""
        for name, pairs in other._squares.items():
            self._squares.setdefault(name, []).extend(pairs)

    def root_mean_squares(self) -> dict[str, tuple[float, float]]:
        """Per name, and over everything as "all", the errors of the results and of stock, in ulp."""
        groups = {**self._squares, "all": [pair for pairs in self._squares.values() for pair in pairs]}
        return {
            name: (_root_mean(got for got, _ in pairs), _root_mean(stock for _, stock in pairs))
            for name, pairs in groups.items()
        }

    def assert_root_mean_square(self) -> None:
        """The rule over the whole grid."""
        figures = self.root_mean_squares()
        table = ", ".join(f"{name} {got:.3f} (stock {stock:.3f})" for name, (got, stock) in figures.items())
        print(f"root mean square error in ulp: {table}")
        got, stock = figures["all"]
        assert got <= GRID_FACTOR * stock, f"root mean square error in ulp: {table}"


def _mean_square(got: Array, truth: Array, unit: float) -> float:
    return float(np.mean((differences(got, truth) / unit) ** 2))


def _root_mean(squares) -> float:
    squares = list(squares)
    return math.sqrt(sum(squares) / len(squares))
