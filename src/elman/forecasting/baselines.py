# SPDX-License-Identifier: Apache-2.0
"""What a network has to beat: the last value, the value one period ago, and a linear model of the same window.

In: windows. Out: forecasts in the target's units, float64. The linear model is ridge regression from the standardized
window to the change from the last value. Its normal equations are summed chunk by chunk, since the windows of a large
table do not fit into memory at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from elman.forecasting.windows import Windows, chunks, gathered

_PENALTIES = 10.0 ** np.arange(-6, 3)  # of a standardized input's variance
_MOST_INPUTS = 2000  # of the linear model, which sees only the latest rows of a window with more
_CLEAR = 0.1  # smallest rise of the autocorrelation at a period above its lowest value at shorter lags
_SURE = 4  # standard deviations of the autocorrelation of noise; that of a period is larger
_NEARLY = 0.8  # share of the highest rise; the shortest period that reaches it is taken


def period_of(series: list[np.ndarray], longest: int) -> int | None:
    """The period of a series in rows: where its autocorrelation rises most above its lowest value at shorter lags.

    Args:
        series: Stretches of the training part, float64; the longest one is used.
        longest: Largest period allowed.

    Returns:
        Rows, or `None` if there is no clear period.
    """
    values = max(series, key=len)
    n = len(values)
    longest = min(longest, n // 2)  # two periods at least
    correlation = autocorrelation(values, longest + 1) if longest >= 2 else None
    if correlation is None:
        return None
    peaks = np.flatnonzero((correlation[1:-1] >= correlation[:-2]) & (correlation[1:-1] > correlation[2:])) + 1
    peaks = peaks[(peaks > 1) & (correlation[peaks] > _SURE / np.sqrt(n - peaks))]
    rises = correlation[peaks] - np.minimum.accumulate(correlation)[peaks]
    if rises.max(initial=0) < _CLEAR:
        return None
    return int(peaks[rises >= _NEARLY * rises.max()][0])


def autocorrelation(values: np.ndarray, longest: int) -> np.ndarray | None:
    """`(longest + 1,)`: the autocorrelation of a series without its trend at each lag; `None` if it is constant."""
    n = len(values)
    t = np.linspace(-1, 1, n)
    values = values - np.polynomial.Polynomial.fit(t, values, 2)(t)  # a trend is not a period
    spectrum = np.abs(np.fft.rfft(values, 2 * n)) ** 2
    correlation = np.fft.irfft(spectrum)[: longest + 1]
    if not correlation[0] > 0:
        return None
    return correlation / correlation[0] * n / (n - np.arange(len(correlation)))


def last_value(windows: Windows, starts: np.ndarray) -> np.ndarray:
    """`(len(starts), outputs)`: the targets' last values, at every step."""
    return windows.last(starts).astype("float64")


def seasonal(windows: Windows, starts: np.ndarray, period: int) -> np.ndarray:
    """`(len(starts), outputs)`: the value a period before, or as many periods as are needed to be in the past."""
    steps = np.arange(windows.ahead)
    back = steps - period * (steps // period + 1)
    rows = (starts + windows.window)[:, None] + back
    values = windows.rows[rows[:, None], np.array(windows.columns)[:, None]]
    return values.reshape(len(starts), windows.outputs).astype("float64")


class Linear(NamedTuple):
    """A linear model of the standardized window, for the standardized change from the last value.

    Attributes:
        weights: `(rows * features, outputs)`, of the window's latest rows.
        bias: `(outputs,)`.
        penalty: The ridge penalty chosen, or that of each target if there are several.
        mean: `(features,)`.
        std: `(features,)`.
    """

    weights: np.ndarray
    bias: np.ndarray
    penalty: float | list[float]
    mean: np.ndarray
    std: np.ndarray

    def __call__(self, windows: Windows, starts: np.ndarray) -> np.ndarray:
        """`(len(starts), outputs)` forecasts in the targets' units."""
        rows = len(self.weights) // len(self.mean)
        forecasts = [
            _inputs(windows, part, rows, self.mean, self.std) @ self.weights
            for part in chunks(starts, len(self.weights))
        ]
        change = (np.concatenate(forecasts) + self.bias) * windows.of_outputs(self.std)
        return windows.last(starts) + change

    def of_values(self, windows: Windows) -> np.ndarray:
        """The weights that forecast the standardized value itself, and not its change from the last one."""
        weights = self.weights.copy()
        columns = np.repeat(windows.columns, windows.ahead)
        weights[len(weights) - len(self.mean) + columns, np.arange(windows.outputs)] += 1
        return weights


def fit_linear(windows: Windows, mean: np.ndarray, std: np.ndarray) -> Linear:
    """Fits the linear model on the training part, its penalty on the validation part.

    Args:
        windows: The windows.
        mean: `(features,)`, of the training part.
        std: `(features,)`, of the training part.

    The formula is that of Hoerl and Kennard, "Ridge regression: biased estimation for nonorthogonal problems", 1970.
    """
    features = windows.rows.shape[1]
    rows = min(windows.window, max(1, _MOST_INPUTS // features))
    size = rows * features
    xx, xy = np.zeros((size, size)), np.zeros((size, windows.outputs))
    x_sum, y_sum = np.zeros(size), np.zeros(windows.outputs)
    starts = windows.starts["train"]
    for part in chunks(starts, size):
        x = _inputs(windows, part, rows, mean, std)
        y = _changes(windows, part, std)
        xx, xy, x_sum, y_sum = xx + x.T @ x, xy + x.T @ y, x_sum + x.sum(0), y_sum + y.sum(0)
    n = len(starts)
    x_mean, y_mean = x_sum / n, y_sum / n
    values, vectors = np.linalg.eigh(xx / n - np.outer(x_mean, x_mean))
    projected = vectors.T @ (xy / n - np.outer(x_mean, y_mean))
    found = []
    for penalty in _PENALTIES:
        weights = vectors @ (projected / (np.maximum(values, 0) + penalty)[:, None])
        found.append(Linear(weights, y_mean - x_mean @ weights, float(penalty), mean, std))
    return _best(found, windows)


def _best(found: list[Linear], windows: Windows) -> Linear:
    """The one of several linear models with the smallest validation error; of each target its own, as one model."""
    held_out, targets = windows.starts["validation"], len(windows.columns)
    truth = windows.truth(held_out)
    squares = [((linear(windows, held_out) - truth) ** 2).reshape(len(held_out), targets, -1) for linear in found]
    best = [found[i] for i in np.argmin([np.nanmean(each, (0, 2)) for each in squares], axis=0)]
    own = [slice(i * windows.ahead, (i + 1) * windows.ahead) for i in range(targets)]
    return best[0]._replace(
        weights=np.hstack([linear.weights[:, part] for linear, part in zip(best, own, strict=True)]),
        bias=np.hstack([linear.bias[part] for linear, part in zip(best, own, strict=True)]),
        penalty=best[0].penalty if targets == 1 else [linear.penalty for linear in best],
    )


def _inputs(windows: Windows, starts: np.ndarray, rows: int, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    latest = gathered(windows.rows, starts + windows.window - rows, rows)
    return ((latest - mean) / std).reshape(len(starts), -1)


def _changes(windows: Windows, starts: np.ndarray, std: np.ndarray) -> np.ndarray:
    return (windows.targets(starts).astype("float64") - windows.last(starts)) / windows.of_outputs(std)
