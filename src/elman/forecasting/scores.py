# SPDX-License-Identifier: Apache-2.0
"""How wrong forecasts are, and how sure one can be of that: root mean square errors with intervals.

In: squared errors of each held-out window. Out: numbers. Neighbouring windows share rows, so their errors depend on
each other. The intervals therefore come from a moving-block bootstrap, which draws whole stretches of windows (Kuensch,
"The jackknife and the bootstrap for general stationary observations", 1989), the same ones for every model.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_DRAWS = 1000
_SURELY = 0.95
_LEVEL = (0.025, 0.975)
# Stretches that share no rows. If a model is better in all of five, that is chance with a probability of
# 2 / 2**5, more than 5 % (the sign test).
_LEAST_BLOCKS = 6


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
        distinct: Whether zero is outside, and there are enough windows to say so.
    """

    low: float
    high: float
    distinct: bool


class Bootstrap:
    """One set of draws of blocks of windows.

    Args:
        windows: How many there are, in order of time.
        ahead: Steps of each; a block is at least as long.
        seed: Seed of the draws.

    Attributes:
        block: Windows of a block.
        enough: Whether there are so many windows that a comparison can be more than chance.
    """

    def __init__(self, windows: int, ahead: int, seed: int = 0) -> None:
        # The length grows as the cube root: Hall, Horowitz and Jing, "On blocking rules for the bootstrap", 1995.
        wanted = max(ahead, round(windows ** (1 / 3)) + 1)
        self.enough = windows >= _LEAST_BLOCKS * wanted
        self.block = min(wanted, max(1, windows // 2))
        count = -(-windows // self.block)
        rng = np.random.default_rng(seed)
        self.blocks = rng.integers(0, windows - self.block + 1, size=(_DRAWS, count))

    def rmse(self, squares: np.ndarray) -> np.ndarray:
        """`(draws,)`: the RMSE of each draw, from `(windows,)` mean squared errors."""
        sums = np.r_[0.0, np.cumsum(squares)]
        means = (sums[self.block :] - sums[: -self.block]) / self.block
        return np.sqrt(means[self.blocks].mean(1))

    def score(self, squares: np.ndarray) -> Score:
        """The error of one model.

        Args:
            squares: `(windows, ahead)` squared errors.
        """
        low, high = np.quantile(self.rmse(squares.mean(1)), _LEVEL)
        rmse = float(np.sqrt(squares.mean()))
        # Blocks hold the first and the last windows more rarely than the others, so the draws may miss the estimate.
        return Score(rmse, min(float(low), rmse), max(float(high), rmse), np.sqrt(squares.mean(0)).tolist())

    def surely_better(self, first: np.ndarray, second: np.ndarray) -> bool:
        """Whether the first of two `(windows, ahead)` squared errors has the lower RMSE in 95 % of the draws."""
        return bool((self.rmse(first.mean(1)) < self.rmse(second.mean(1))).mean() >= _SURELY)

    def difference(self, first: np.ndarray, second: np.ndarray) -> Difference:
        """Compares two models by their `(windows, ahead)` squared errors."""
        low, high = np.quantile(self.rmse(first.mean(1)) - self.rmse(second.mean(1)), _LEVEL)
        return Difference(float(low), float(high), self.enough and bool(low > 0 or high < 0))
