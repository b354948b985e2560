# SPDX-License-Identifier: Apache-2.0
"""How wrong forecasts are, and how sure one can be of that: root mean square errors with intervals.

In: squared errors of each held-out window. Out: numbers. Neighbouring windows share rows, so their errors go together:
the intervals come from a moving-block bootstrap, which draws whole stretches of windows (Kuensch, "The
jackknife and the bootstrap for general stationary observations", 1989), the same ones for every model.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_DRAWS = 1000
_SURELY = 0.95
_LEVEL = (0.025, 0.975)


class Score(NamedTuple):
    """The error of one model.

    Attributes:
        rmse: Root mean square error over all held-out windows and steps, in the target's units.
        low: Lower end of its 95 % interval.
        high: Upper end.
        by_step: The same error for each step ahead.
    """

    rmse: float
    low: float
    high: float
    by_step: list[float]


class Difference(NamedTuple):
    """Whether two models can be told apart.

    Attributes:
        low: Lower end of the 95 % interval of the first's RMSE minus the second's.
        high: Upper end.
        distinct: Whether zero is outside.
    """

    low: float
    high: float
    distinct: bool


class Bootstrap:
    """One set of draws of blocks of windows.

    Args:
        windows: How many there are, in order of time.
        ahead: Steps of each; a block is at least as long.
        seed: Of the draws.
    """

    def __init__(self, windows: int, ahead: int, seed: int = 0) -> None:
        # The length grows as the cube root: Hall, Horowitz and Jing, "On blocking rules for the bootstrap", 1995.
        self.block = min(max(ahead, round(windows ** (1 / 3)) + 1), max(1, windows // 2))
        count = -(-windows // self.block)
        rng = np.random.default_rng(seed)
        self.blocks = rng.integers(0, windows - self.block + 1, size=(_DRAWS, count))

    def rmse(self, squares: np.ndarray) -> np.ndarray:
        """`(draws,)`: the RMSE of each draw, of `(windows,)` mean squared errors."""
        sums = np.r_[0.0, np.cumsum(squares)]
        means = (sums[self.block :] - sums[: -self.block]) / self.block
        return np.sqrt(means[self.blocks].mean(1))

    def score(self, squares: np.ndarray) -> Score:
        """The error of one model.

        Args:
            squares: `(windows, ahead)` squared errors.
        """
        low, high = np.quantile(self.rmse(squares.mean(1)), _LEVEL)
        return Score(float(np.sqrt(squares.mean())), float(low), float(high), np.sqrt(squares.mean(0)).tolist())

    def surely_better(self, first: np.ndarray, second: np.ndarray) -> bool:
        """Whether the first has the lower RMSE in 95 % of the draws, of `(windows, ahead)` squared errors."""
        return bool((self.rmse(first.mean(1)) < self.rmse(second.mean(1))).mean() >= _SURELY)

    def difference(self, first: np.ndarray, second: np.ndarray) -> Difference:
        """Compares two models by their `(windows, ahead)` squared errors."""
        low, high = np.quantile(self.rmse(first.mean(1)) - self.rmse(second.mean(1)), _LEVEL)
        return Difference(float(low), float(high), bool(low > 0 or high < 0))
