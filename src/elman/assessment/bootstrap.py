# SPDX-License-Identifier: Apache-2.0
"""Intervals of mean losses, where neighbouring losses depend on each other: a block bootstrap with Student's t.

In: the loss of each held-out window, in order of time. Out: an estimate with an interval that contains it. Losses that
are compared come in pairs, of the same windows. No model and no table is known here.

The method. Blocks of neighbouring windows are drawn with replacement, and the series is joined at its ends, so that
every window is drawn as often as every other (the circular block bootstrap: Politis and Romano, 1992). The length of a
block follows from the dependence (Politis and White, "Automatic block-length selection for the dependent bootstrap",
2004, with the correction by Patton, Politis and White, 2009). Windows of several steps overlap, so that a block is at
least twice as long as a window's forecast. The draws give the standard error; an interval is so many standard errors
wide as Student's t asks for with one degree of freedom less than there are blocks (Ibragimov and Mueller, "t-statistic
based correlation and heterogeneity robust inference", 2010, has the same idea for means of blocks). Errors are positive
and skewed, so that the interval of an RMSE, and of a ratio of two, is computed for its logarithm.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from elman.assessment.student import half_width

# Fewer windows than this, after their dependence is taken off, declare no winner. benchmarks/fit_verdicts.py measures
# the coverage of the intervals where there are more.
LEAST_EFFECTIVE = 12
_DRAWS = 1000
_BLOCKS_PER_FORECAST = 2
_MOST_INFLATION = 2.0  # of the variance, where a block is short for the dependence that is seen


class Interval(NamedTuple):
    """An estimate and its interval.

    Attributes:
        estimate: Of all windows.
        low: Lower end; at most the estimate.
        high: Upper end; infinite if there is one window.
    """

    estimate: float
    low: float
    high: float


def block_length(losses: np.ndarray, ahead: int = 1) -> int:
    """Windows of a block.

    Args:
        losses: `(windows,)`, in order of time.
        ahead: Steps of each window's forecast. Neighbouring windows share all but one of them.

    Returns:
        The length that the dependence asks for, at least the cube root of the number of windows (Hall, Horowitz and
        Jing, "On blocking rules for the bootstrap with dependent data", 1995), at least twice `ahead` if that is more
        than 1, and at most half of the windows.
    """
    count = len(losses)
    least = max(math.ceil(count ** (1 / 3)), _BLOCKS_PER_FORECAST * ahead if ahead > 1 else 1)
    return max(1, min(max(_politis_white(losses), least), count // 2))


def effective_windows(losses: np.ndarray, ahead: int = 1) -> float:
    """How many independent windows would say as much about the mean: the number of windows over the inflation of the
    mean's variance by dependence, and at most the number of forecasts that do not overlap.

    Args:
        losses: `(windows,)`, in order of time.
        ahead: Steps of each window's forecast.
    """
    count = len(losses)
    variance = losses.var()
    if count < 2 or variance == 0:
        return count / ahead
    inflation = _standard_error(losses, _draws(losses, ahead), ahead) ** 2 * count / variance
    return float(min(count / max(inflation, 1), count / ahead))


def windows_needed(losses: np.ndarray, ahead: int = 1) -> int:
    """About how many held-out windows like these are needed to declare a winner."""
    return math.ceil(len(losses) * LEAST_EFFECTIVE / max(effective_windows(losses, ahead), 1e-9))


def by_moment(losses: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Losses of several series as those of one, in order of time, with the same mean.

    Windows of one moment share its events: 20 shops on one day are not 20 independent days.

    Args:
        losses: `(windows,)`.
        moments: `(windows,)`: when each is; windows of several series may share one.

    Returns:
        `(moments,)`: of each moment the sum of its losses, in units of the mean number of windows of a moment.
    """
    found, member = np.unique(moments, return_inverse=True)
    return np.bincount(member, losses) * (len(found) / len(losses))


def rmse_interval(squares: np.ndarray, ahead: int = 1, *, level: float = 0.95, seed: int = 0) -> Interval:
    """The interval of a root mean square error.

    Args:
        squares: `(windows,)` mean squared errors, in order of time.
        ahead: Steps of each window's forecast.
        level: Of the interval.
        seed: Of the draws.
    """
    estimate = float(np.sqrt(squares.mean()))
    if estimate == 0:
        return Interval(0.0, 0.0, 0.0)
    if len(squares) < 2:
        return Interval(estimate, 0.0, math.inf)
    relative = squares / squares.mean()
    draws = _draws(relative, ahead, seed=seed)
    means = draws.means(relative)
    return _of_logarithm(estimate, _logarithm(means, len(squares)), relative, draws, ahead, level)


def ratio_interval(
    first: np.ndarray, second: np.ndarray, ahead: int = 1, *, level: float = 0.95, seed: int = 0
) -> Interval:
    """The interval of the ratio of two RMSEs on the same windows; 1 minus it is the skill of the first.

    Args:
        first: `(windows,)` mean squared errors, in order of time.
        second: Likewise, of the same windows; its mean must not be 0.
        ahead: Steps of each window's forecast.
        level: Of the interval.
        seed: Of the draws.
    """
    of_first, of_second = first.mean(), second.mean()
    estimate = float(np.sqrt(of_first / of_second))
    if estimate == 0:
        return Interval(0.0, 0.0, 0.0)
    if len(first) < 2:
        return Interval(estimate, 0.0, math.inf)
    first, second = first / of_first, second / of_second
    change = first - second  # what decides the ratio's logarithm, to first order
    draws = _draws(change, ahead, seed=seed)
    logarithms = _logarithm(draws.means(first), len(first)) - _logarithm(draws.means(second), len(first))
    return _of_logarithm(estimate, logarithms, change, draws, ahead, level)


def share_of_draws_below(first: np.ndarray, second: np.ndarray, ahead: int = 1, *, seed: int = 0) -> float:
    """The share of draws in which the first mean loss is below the second.

    Args:
        first: `(windows,)` losses, in order of time.
        second: Likewise, of the same windows.
        ahead: Steps of each window's forecast.
        seed: Of the draws.
    """
    change = first - second
    return float((_draws(change, ahead, seed=seed).means(change) < 0).mean())


# --- the draws -------------------------------------------------------------------------------------------------------


class _Draws(NamedTuple):
    """Blocks that were drawn.

    Attributes:
        block: Windows of each.
        starts: `(draws, blocks)`: the first window of each.
    """

    block: int
    starts: np.ndarray

    def means(self, losses: np.ndarray) -> np.ndarray:
        """`(draws,)`: the mean loss of each draw."""
        sums = np.r_[0.0, np.cumsum(np.r_[losses, losses[: self.block]])]
        return (sums[self.starts + self.block] - sums[self.starts]).mean(1) / self.block


def _draws(losses: np.ndarray, ahead: int, *, seed: int = 0) -> _Draws:
    block, count = block_length(losses, ahead), len(losses)
    starts = np.random.default_rng(seed).integers(0, count, size=(_DRAWS, -(-count // block)))
    return _Draws(block, starts)


def _freedom(windows: int, block: int) -> float:
    return max(windows / block - 1, 1.0)


def _logarithm(means: np.ndarray, windows: int) -> np.ndarray:
    """Logarithms of means that are 1 on average; a mean of 0 counts as one window's share."""
    return np.log(np.maximum(means, 1 / windows))


def _standard_error(losses: np.ndarray, draws: _Draws, ahead: int) -> float:
    return float(draws.means(losses).std()) * _correction(losses, draws.block, ahead)


def _of_logarithm(
    estimate: float, logarithms: np.ndarray, losses: np.ndarray, draws: _Draws, ahead: int, level: float
) -> Interval:
    """The interval of an RMSE or a ratio of two, from draws of the logarithm of its square."""
    error = float(logarithms.std()) * _correction(losses, draws.block, ahead) / 2
    width = min(error * half_width(level, _freedom(len(losses), draws.block)), 300.0)  # finite, whatever the losses
    return Interval(estimate, estimate * math.exp(-width), estimate * math.exp(width))


def _correction(losses: np.ndarray, block: int, ahead: int) -> float:
    """What the standard error of draws is multiplied by.

    Two things make it too small. The mean of the blocks is that of the sample, so that one of `windows / block` degrees
    of freedom is lost. And what is beyond a block counts as independent: a block of length b sees the share
    (1 - k / b) of the covariance at lag k. The overlap of forecasts alone has the autocorrelation (1 - k / ahead);
    the rest is estimated.
    """
    count = len(losses)
    blocks = count / block
    lags = np.arange(1, ahead)
    overlap = 1 - lags / ahead
    known = (1 + 2 * overlap.sum()) / (1 + 2 * (np.maximum(1 - lags / block, 0) * overlap).sum())
    covariances, reach = _covariances(losses), _reach(losses)
    lags = np.arange(1, reach + 1)
    whole = covariances[0] + 2 * (_flat_top(lags / max(reach, 1)) * covariances[1 : reach + 1]).sum()
    seen = covariances[0] + 2 * (np.maximum(1 - lags / block, 0) * covariances[1 : reach + 1]).sum()
    estimated = whole / seen if seen > 0 else 1.0
    return math.sqrt(min(max(known, estimated, 1.0), _MOST_INFLATION) * blocks / max(blocks - 1, 0.5))


# --- the length of a block -------------------------------------------------------------------------------------------


def _politis_white(losses: np.ndarray) -> int:
    """The length for the circular block bootstrap, formula (14) of Politis and White as corrected in 2009.

    With R(k) the autocovariances and a flat-top lag window up to the reach of the dependence, G is the sum of
    |k| R(k), g that of R(k), and the length is (2 G^2 / (4/3 g^2))^(1/3) n^(1/3).
    """
    count, reach = len(losses), _reach(losses)
    covariances = _covariances(losses)
    lags = np.arange(1, reach + 1)
    weighted = _flat_top(lags / max(reach, 1)) * covariances[1 : reach + 1]
    sum_g, sum_k = covariances[0] + 2 * weighted.sum(), 2 * (lags * weighted).sum()
    if sum_g <= 0:
        return 1
    length = (1.5 * (sum_k / sum_g) ** 2 * count) ** (1 / 3)
    return math.ceil(min(length, 3 * math.sqrt(count), count / 3))


def _reach(losses: np.ndarray) -> int:
    """Twice the lag after which several autocorrelations in a row are those of noise."""
    count = len(losses)
    covariances = _covariances(losses)
    if count < 4 or not covariances[0] > 0:
        return 0
    in_a_row = max(5, math.ceil(math.sqrt(math.log10(count))))
    longest = min(math.ceil(math.sqrt(count)) + in_a_row, count - 1)
    noise = 2 * math.sqrt(math.log10(count) / count)
    large = np.flatnonzero(np.abs(covariances[1 : longest + 1]) >= noise * covariances[0]) + 1
    gaps = np.flatnonzero(np.diff(np.r_[0, large, longest + in_a_row + 1]) > in_a_row)
    last = int(np.r_[0, large][gaps[0]])
    return min(2 * max(last, 1), longest)


def _covariances(losses: np.ndarray) -> np.ndarray:
    """`(windows,)`: the autocovariance at each lag, with the number of windows as divisor."""
    count = len(losses)
    spectrum = np.abs(np.fft.rfft(losses - losses.mean(), 2 * count)) ** 2
    return np.fft.irfft(spectrum, 2 * count)[:count] / count


def _flat_top(share: np.ndarray) -> np.ndarray:
    """The lag window of Politis and Romano, "Bias-corrected nonparametric spectral estimation", 1995."""
    return np.clip(2 * (1 - share), 0, 1)
