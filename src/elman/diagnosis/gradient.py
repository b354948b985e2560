# SPDX-License-Identifier: Apache-2.0
"""How far gradients reach back through a layer, and the rate at which differences between states grow.

In: a `Call`. Out: curves by lag, in valid steps back from the last one, and the leading Lyapunov exponent. The gradient
is the native backward's, which returns its norm at every step.

rho_k = |g_{T-k}| / |g_T| with a loss at the last step only (Pascanu, Mikolov and Bengio 2013, "On the difficulty of
training recurrent neural networks"); its rate, ln rho_k / k for large k, is the leading Lyapunov exponent of the
trajectory that the input drives (Vogt et al. 2022, "On Lyapunov exponents for RNNs"; the product of the Jacobians and
its transpose have the same singular values).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from elman import _native, _numpy, reference
from elman.diagnosis.observe import Array, Call
from elman.operands import Operands

_AT_ONCE = 2_000_000  # numbers of the tape
_LEAST = 1e-250  # of a norm; below it float64 has no room to fall further
_MOST_SKIPPED = 10  # steps at the end, in which a direction turns to the leading one


class Reach(NamedTuple):
    """Curves over the examples that have so many valid steps.

    Attributes:
        lags: 0, 1, 2, ...
        middle: The median of the gradient's norm over that at lag 0.
        low: The 10 % quantile.
        high: The 90 % quantile.
        exponent: The leading Lyapunov exponent, per step; minus infinity where the gradient ends.
        error: Its standard error over examples.
    """

    lags: list[int]
    middle: list[float]
    low: list[float]
    high: list[float]
    exponent: float
    error: float


def reach(call: Call, seed: int = 0) -> Reach:
    """The reach of gradients through a layer, of a loss at its last step in a random direction of each example."""
    norms = _by_lag(_norms(call, seed), call.valid)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = norms / norms[:, :1]
    here = np.isfinite(ratios).sum(axis=0)
    count = int((here >= max(1, len(ratios) / 2)).sum())  # of lags that half of the examples have
    if not count:
        return Reach([], [], [], [], np.nan, np.nan)
    low, middle, high = np.nanquantile(ratios[:, :count], (0.1, 0.5, 0.9), axis=0)
    exponents = np.array([_exponent(row[np.isfinite(row)]) for row in ratios])
    curves = (middle.tolist(), low.tolist(), high.tolist())
    return Reach(list(range(count)), *curves, *_mean(exponents[~np.isnan(exponents)]))


def _mean(exponents: Array) -> tuple[float, float]:
    """The mean over examples and its standard error; minus infinity where half of them are."""
    finite = exponents[np.isfinite(exponents)]
    if not len(exponents):
        return np.nan, np.nan
    if 2 * len(finite) <= len(exponents):
        return -np.inf, 0.0
    return float(finite.mean()), float(finite.std() / np.sqrt(len(finite)))


def _norms(call: Call, seed: int) -> Array:
    """`(batch, time)`, of the gradient with respect to all states jointly after each step."""
    batch, time, _ = call.x.shape
    units = call.states[0].shape[1]
    direction = np.random.default_rng(seed).standard_normal((batch, units))
    rows = max(1, _AT_ONCE // (time * units * 5))
    parts = [slice(i, i + rows) for i in range(0, batch, rows)]
    return np.concatenate([_norms_of(call.rows(part), direction[part]) for part in parts])


def _norms_of(call: Call, direction: Array) -> Array:
    dy = np.zeros((*call.x.shape[:2], direction.shape[1]))
    dy[:, -1] = direction  # which a masked last step hands to the one before it
    none = tuple(np.zeros_like(state) for state in call.states)
    operands = Operands(call.x, *call.weights, call.states, call.valid)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        if _native.reason():
            _, _, tape = reference.forward(*operands, options=call.options)
            return reference.backward(*operands, tape, dy, none, options=call.options).norms
        y, _, kept = _numpy.forward(call.options, operands, keep_tape=True)
        return _numpy.backward(call.options, operands, y, kept, dy, none, want_dx=False).norms


def _by_lag(norms: Array, valid: Array) -> Array:
    """Norms by valid steps back from the last one; NaN where a row has no more steps."""
    lag = valid[:, ::-1].cumsum(axis=1)[:, ::-1] - 1
    found = np.full(norms.shape, np.nan)
    rows, steps = np.nonzero(valid)
    found[rows, lag[rows, steps]] = norms[rows, steps]
    return found


def _exponent(ratios: Array) -> float:
    """The slope of a row of norms by lag, from behind the lags in which its direction still turns."""
    ended = np.flatnonzero(ratios < _LEAST)
    last = int(ended[0]) - 1 if len(ended) else len(ratios) - 1
    if len(ended) and (last == 0 or ratios[last] > np.sqrt(_LEAST)):
        return -np.inf  # it fell to nothing at once, not below what float64 holds
    skipped = min(_MOST_SKIPPED, last // 4)
    if last - skipped < 1:
        return np.nan
    return float((np.log(ratios[last]) - np.log(ratios[skipped])) / (last - skipped))


def half_life(exponent: float) -> float:
    """Steps in which a difference halves; infinite where it does not shrink."""
    return float(np.log(2) / -exponent) if not exponent >= 0 else float("inf")


def forgetting(call: Call, seed: int = 0) -> list[float]:
    """The distance between the states from two beginnings under the same input, after 1, 2, ... valid steps.

    Over the distance at first, the median over examples; the second beginning is a random state in [-1, 1]. That it
    goes to zero is the echo state property (Jaeger 2001).
    """
    rng = np.random.default_rng(seed)
    other = tuple(rng.uniform(-1, 1, state.shape) for state in call.states)
    first, second = call.forward()[0], call._replace(states=other).forward()[0]
    with np.errstate(all="ignore"):  # NaN and infinities are told by first_nonfinite
        distance = np.linalg.norm(first - second, axis=2)
        distance /= np.linalg.norm(call.states[0] - other[0], axis=1)[:, None]
    step = call.valid.cumsum(axis=1) - 1
    found = np.full(distance.shape, np.nan)
    rows, steps = np.nonzero(call.valid)
    found[rows, step[rows, steps]] = distance[rows, steps]
    count = int(((~np.isnan(found)).sum(axis=0) >= max(1, len(found) / 2)).sum())
    return np.nanmedian(found[:, :count], axis=0).tolist() if count else []
