# SPDX-License-Identifier: Apache-2.0
"""Whether two candidates can be told apart: the Diebold-Mariano test for forecasts, a paired bootstrap for classes.

In: the losses of both on the same examples. Out: whether they differ by more than chance, at some level. Next to them
the interval of an error rate.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from elman.assessment.student import half_width

Array = np.ndarray
_DRAWS, _AT_ONCE = 4000, 500


def diebold_mariano(first: Array, second: Array, steps: int, level: float) -> bool:
    """Whether the expected losses of two forecasts differ.

    Diebold and Mariano, "Comparing predictive accuracy", 1995, with the correction for few origins and Student's t of
    Harvey, Leybourne and Newbold, "Testing the equality of prediction mean squared errors", 1997. Where the variance
    that they sum is not positive, its terms are weighted as by Bartlett, which makes it positive.

    Args:
        first: `(origins,)`: mean loss of each origin, in order of time.
        second: Likewise.
        steps: Origins whose forecasts overlap: the steps ahead, where there is an origin at each step.
        level: How sure to be, as 0.95.
    """
    difference = np.asarray(first, "float64") - np.asarray(second, "float64")
    count = len(difference)
    steps = min(steps, max(1, count // 2))
    centred = difference - difference.mean()
    covariances = np.array([float(centred[lag:] @ centred[: count - lag]) / count for lag in range(steps)])
    variance = covariances[0] + 2 * covariances[1:].sum()
    if not variance > 0:
        weights = 1 - np.arange(steps) / steps
        variance = covariances[0] + 2 * (weights * covariances)[1:].sum()
    if not variance > 0:
        return bool(difference.mean() != 0)
    correction = (count + 1 - 2 * steps + steps * (steps - 1) / count) / count
    statistic = difference.mean() / math.sqrt(variance / count) * math.sqrt(correction)
    return abs(statistic) > half_width(level, count - 1)


def paired_bootstrap(first: Array, second: Array, clusters: Array, level: float, seed: int = 0) -> bool:
    """Whether the expected losses of two classifiers differ, by draws of whole clusters of examples.

    The draws of the difference are centred on zero: Efron and Tibshirani, "An introduction to the bootstrap", 1993,
    chapter 16.

    Args:
        first: `(examples,)` losses.
        second: Likewise.
        clusters: `(examples,)`: examples with the same number are drawn together.
        level: How sure to be, as 0.95.
        seed: Of the draws.
    """
    difference = np.asarray(first, "float64") - np.asarray(second, "float64")
    _, member = np.unique(clusters, return_inverse=True)
    sums = np.bincount(member, difference)
    sizes = np.bincount(member).astype("float64")
    observed = difference.mean()
    if not np.ptp(sums / sizes) and not observed:
        return False
    centred, count = sums - observed * sizes, len(sums)
    rng = np.random.default_rng(seed)
    beyond = 0
    for _ in range(_DRAWS // _AT_ONCE):
        drawn = rng.integers(0, count, size=(_AT_ONCE, count))
        draws = centred[drawn].sum(1) / sizes[drawn].sum(1)
        beyond += int((np.abs(draws) >= abs(observed) - 1e-12).sum())
    return (beyond + 1) / (_DRAWS + 1) < 1 - level


def wilson(rate: float, count: int) -> tuple[float, float]:
    """The 95 % interval of the rate of something that was seen in so many examples, also where it was seen in none.

    Wilson, "Probable inference, the law of succession, and statistical inference", 1927.

    Args:
        rate: How often it was seen, from 0 to 1.
        count: Independent examples.
    """
    z = NormalDist().inv_cdf(0.975)
    middle = rate + z**2 / (2 * count)
    width = z * math.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    return max(0.0, (middle - width) / (1 + z**2 / count)), min(1.0, (middle + width) / (1 + z**2 / count))
