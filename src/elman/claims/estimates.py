# SPDX-License-Identifier: Apache-2.0
"""Estimates over seeds with 95 % intervals: means, medians, shares, and differences of shares.

In: one number, or true or false, for each seed. Out: `Estimate`s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from elman.assessment.student import half_width

Z = NormalDist().inv_cdf(0.975)


class Estimate(NamedTuple):
    """A figure over seeds.

    Attributes:
        name: What it is, with its unit.
        estimate: The mean, median or share.
        low: Lower end of the 95 % interval.
        high: Upper end.
        seeds: How many seeds it is of; 0 for a figure that no seed changes.
    """

    name: str
    estimate: float
    low: float
    high: float
    seeds: int

    def cells(self) -> tuple[str, str, str]:
        """Name, estimate and interval as text."""
        interval = "" if self.low == self.high == self.estimate else f"{number(self.low)} to {number(self.high)}"
        return self.name, number(self.estimate), interval


def number(value: float) -> str:
    """Three significant digits, and large numbers whole."""
    if not math.isfinite(value):
        return "infinite" if value > 0 else "-infinite" if value < 0 else "not a number"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def mean(name: str, values: Sequence[float] | np.ndarray) -> Estimate:
    """The mean with Student's interval."""
    array = np.asarray(values, "float64")
    middle = float(array.mean())
    if len(array) < 2:
        return Estimate(name, middle, -math.inf, math.inf, len(array))
    half = half_width(0.95, len(array) - 1) * float(array.std(ddof=1)) / math.sqrt(len(array))
    return Estimate(name, middle, middle - half, middle + half, len(array))


def mean_share(name: str, values: np.ndarray) -> Estimate:
    """The mean of shares, one for each seed, with Student's interval between 0 and 1."""
    found = mean(name, values)
    return found._replace(low=max(0.0, found.low), high=min(1.0, found.high))


def median(name: str, values: Sequence[float] | np.ndarray) -> Estimate:
    """The median with the interval between two order statistics, which holds for every distribution.

    The lower of the two middle values is the median of an even number: at least half of the values reach it.
    """
    ordered = np.sort(np.asarray(values, "float64"))
    count = len(ordered)
    below, cumulated = 0, 0.0  # ranks whose tail has at most 2.5 % of the binomial distribution
    while cumulated + math.comb(count, below) / 2**count <= 0.025:
        cumulated += math.comb(count, below) / 2**count
        below += 1
    low, high = (float(ordered[below - 1]), float(ordered[count - below])) if below else (-math.inf, math.inf)
    return Estimate(name, float(ordered[(count - 1) // 2]), low, high, count)


def share(name: str, flags: Any) -> Estimate:
    """The share of seeds for which something is true, with Wilson's interval (1927)."""
    array = np.asarray(flags, bool)
    count, p = len(array), float(array.mean())
    centre = (p + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * math.sqrt(p * (1 - p) / count + Z**2 / (4 * count**2))
    return Estimate(name, p, max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)), count)


def share_difference(name: str, flags: Any, others: Any) -> Estimate:
    """One share less another, with the interval of Newcombe (1998, method 10), which combines those of Wilson."""
    one, other = share("", flags), share("", others)
    difference = one.estimate - other.estimate
    low = difference - math.hypot(one.estimate - one.low, other.high - other.estimate)
    high = difference + math.hypot(one.high - one.estimate, other.estimate - other.low)
    return Estimate(name, difference, low, high, one.seeds)


def known(name: str, value: float) -> Estimate:
    """A figure that is the same for every seed."""
    return Estimate(name, float(value), float(value), float(value), 0)
