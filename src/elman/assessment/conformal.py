# SPDX-License-Identifier: Apache-2.0
"""Split-conformal intervals of forecasts: how far the truth was from forecasts of windows that no model was trained on.

In: absolute errors of held-out windows, for each step ahead. Out: for any level, the half width of an interval at each
step, and how often such intervals held the truth. The source is Vovk, Gammerman and Shafer, "Algorithmic Learning in
a Random World", 2005, and Lei et al., "Distribution-free predictive inference for regression", 2018: if the windows
are exchangeable, an interval covers the next value as often as its level says, whatever the model is.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

_PARTS = 5  # into which windows are cut, in order of time, to measure coverage
_KEPT = 2000  # errors of a step that are kept


class Conformal(NamedTuple):
    """Sorted absolute errors of each step ahead.

    Attributes:
        errors: `(windows, ahead)`, ascending along the windows.
    """

    errors: np.ndarray

    @classmethod
    def calibrated(cls, errors: np.ndarray) -> Conformal:
        """From `(windows, ahead)` errors of any sign, NaN where the value is not known.

        Of many windows evenly spaced order statistics are kept, and of each step as many as of the one with the fewest.
        """
        ordered = np.sort(np.abs(errors), axis=0)  # NaN last
        known = (~np.isnan(ordered)).sum(0)
        count = min(int(known.min()), _KEPT)
        if count < len(ordered):
            # The k-th of n errors stands at the level k / (n + 1). Those that are kept stand at the same levels.
            levels = np.arange(1, count + 1) / (count + 1)
            steps = [_at_level(each[:n, None], levels) for each, n in zip(ordered.T, known, strict=True)]
            ordered = np.concatenate(steps, axis=1)
        return cls(ordered)

    @property
    def highest_level(self) -> float:
        """The highest level that these windows can give an interval of finite width."""
        return len(self.errors) / (len(self.errors) + 1)

    def half_width(self, level: float) -> np.ndarray:
        """`(ahead,)`: what is added to a forecast, and taken off it; infinite above `highest_level`.

        The k-th smallest of n errors covers the next one with probability k / (n + 1); between two of them the width is
        interpolated, so that small samples are not too wide.
        """
        if level > self.highest_level + 1e-12:
            return np.full(self.errors.shape[1], np.inf)
        return _at_level(self.errors, np.array([level]))[0]


def coverage_ahead(errors: np.ndarray, level: float) -> np.ndarray | None:
    """The coverage that intervals would have had: each part of the windows with the widths from all parts before it.

    Args:
        errors: `(windows, ahead)` errors of any sign, in order of time; NaN where the value is not known.
        level: Of the intervals.

    Returns:
        `(ahead,)` shares; `None` if there are too few windows for an interval of this level.
    """
    ends = np.linspace(0, len(errors), _PARTS + 1).astype(int)[1:]
    held, judged = np.zeros((2, errors.shape[1]))
    for first, end in itertools.pairwise(ends):
        before = Conformal.calibrated(errors[:first]) if first else None
        if before is None or level > before.highest_level or end == first:
            continue
        held += (np.abs(errors[first:end]) <= before.half_width(level)).sum(0)
        judged += (~np.isnan(errors[first:end])).sum(0)
    return held / judged if judged.all() else None


def _at_level(ordered: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """`(levels, ahead)`: ascending errors at levels, where the k-th of n is at k / (n + 1)."""
    count = len(ordered)
    place = np.clip(levels * (count + 1) - 1, 0, count - 1)
    below = np.floor(place + 1e-9).astype(int)
    above = np.minimum(below + 1, count - 1)
    share = np.clip(place - below, 0, 1)[:, None]
    return (1 - share) * ordered[below] + share * ordered[above]
