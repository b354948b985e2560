# SPDX-License-Identifier: Apache-2.0
"""How far gradients reach back through a layer, and the rate at which differences between states grow.

In: a `Call`. Out: curves by lag, in valid steps back from the last one, and the leading Lyapunov exponent. The backward
pass returns the norm of the gradient at every step.

rho_k = |g_{T-k}| / |g_T| with a loss at the last step only (Pascanu, Mikolov and Bengio 2013, "On the difficulty of
training recurrent neural networks"). Its rate, ln rho_k / k for large k, is the leading Lyapunov exponent of the
trajectory that the input drives (Vogt et al. 2022, "On Lyapunov exponents for RNNs"; the product of the Jacobians and
its transpose have the same singular values).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from elman.diagnosis.call import Array, Call, by_lag

_LEAST = 1e-250  # of a norm; float64 has no room for smaller ones
_MOST_SKIPPED = 10  # steps at the end, in which a direction turns to the leading one


class Reach(NamedTuple):
    """Curves over the examples that have so many valid steps.

    Attributes:
        lags: 0, 1, 2, ...
        middle: The median of the gradient's norm over that at lag 0.
        low: The 10 % quantile.
        high: The 90 % quantile.
        exponent: The leading Lyapunov exponent, per step; minus infinity if the gradient becomes 0.
        error: Its standard error over examples.
    """

    lags: list[int]
    middle: list[float]
    low: list[float]
    high: list[float]
    exponent: float
    error: float


def reach(call: Call, seed: int = 0) -> Reach:
    """The reach of gradients through a layer, for a loss at its last step in a random direction for each example."""
    direction = np.random.default_rng(seed).standard_normal((len(call.x), call.units))
    norms = by_lag(call.gradient_norms(direction), call.valid, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = norms / norms[:, :1]
    examples = np.isfinite(ratios).sum(axis=0)
    count = int((examples >= max(1, len(ratios) / 2)).sum())  # of lags that half of the examples have
    if not count:
        return Reach([], [], [], [], np.nan, np.nan)
    low, middle, high = np.nanquantile(ratios[:, :count], (0.1, 0.5, 0.9), axis=0)
    exponents = np.array([_exponent(row[np.isfinite(row)]) for row in ratios])
    curves = (middle.tolist(), low.tolist(), high.tolist())
    return Reach(list(range(count)), *curves, *_mean(exponents[~np.isnan(exponents)]))


def _mean(exponents: Array) -> tuple[float, float]:
    """The mean over examples and its standard error; minus infinity if half of them are."""
    finite = exponents[np.isfinite(exponents)]
    if not len(exponents):
        return np.nan, np.nan
    if 2 * len(finite) <= len(exponents):
        return -np.inf, 0.0
    return float(finite.mean()), float(finite.std() / np.sqrt(len(finite)))


def _exponent(ratios: Array) -> float:
    """The slope of the logarithm of a row of norms by lag, without the lags in which its direction still turns."""
    ended = np.flatnonzero(ratios < _LEAST)
    last = int(ended[0]) - 1 if len(ended) else len(ratios) - 1
    if len(ended) and (last == 0 or ratios[last] > np.sqrt(_LEAST)):
        return -np.inf  # it became 0 in one step, rather than too small for float64
    skipped = min(_MOST_SKIPPED, last // 4)
    if last - skipped < 1:
        return np.nan
    return float((np.log(ratios[last]) - np.log(ratios[skipped])) / (last - skipped))


def half_life(exponent: float) -> float:
    """Steps in which a difference halves; infinite if it does not shrink."""
    return float(np.log(2) / -exponent) if not exponent >= 0 else float("inf")


def forgetting(call: Call, seed: int = 0) -> list[float]:
    """The distance between the states from two initial states under the same input, after 1, 2, ... valid steps.

    It is relative to the distance of the initial states, the median over examples. The second initial state is random
    in [-1, 1]. A distance that goes to zero is the echo state property (Jaeger 2001).
    """
    rng = np.random.default_rng(seed)
    other = tuple(rng.uniform(-1, 1, state.shape) for state in call.states)
    with np.errstate(all="ignore"):  # Call.first_nonfinite reports NaN and infinities
        distance = np.linalg.norm(call.y - call.changed(states=other).y, axis=2)
        distance /= np.linalg.norm(call.states[0] - other[0], axis=1)[:, None]
    by_step = by_lag(distance[:, ::-1], call.valid[:, ::-1], np.nan)
    count = int(((~np.isnan(by_step)).sum(axis=0) >= max(1, len(by_step) / 2)).sum())
    return np.nanmedian(by_step[:, :count], axis=0).tolist() if count else []
