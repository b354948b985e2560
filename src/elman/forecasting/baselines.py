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
    """`(len(starts), ahead)`: the target's last value, at every step."""
    return np.repeat(windows.last(starts).astype("float64"), windows.ahead, axis=1)


def seasonal(windows: Windows, starts: np.ndarray, period: int) -> np.ndarray:
    """`(len(starts), ahead)`: the value a period before, or as many periods as are needed to be in the past."""
    steps = np.arange(windows.ahead)
    back = steps - period * (steps // period + 1)
    return windows.rows[(starts + windows.window)[:, None] + back, windows.target].astype("float64")


class Linear(NamedTuple):
    """A linear model of the standardized window, for the standardized change from the last value.

    Attributes:
        weights: `(rows * features, ahead)`, of the window's latest rows.
        bias: `(ahead,)`.
        penalty: The ridge penalty chosen.
        mean: `(features,)`.
        std: `(features,)`.
    """

    weights: np.ndarray
    bias: np.ndarray
    penalty: float
    mean: np.ndarray
    std: np.ndarray

    def __call__(self, windows: Windows, starts: np.ndarray) -> np.ndarray:
        """`(len(starts), ahead)` forecasts in the target's units."""
        rows = len(self.weights) // len(self.mean)
        forecasts = [
            _inputs(windows, part, rows, self.mean, self.std) @ self.weights
            for part in chunks(starts, len(self.weights))
        ]
        change = (np.concatenate(forecasts) + self.bias) * self.std[windows.target]
        return windows.last(starts) + change

    def of_values(self, target: int) -> np.ndarray:
        """The weights that forecast the standardized value itself, and not its change from the last one."""
        weights = self.weights.copy()
        weights[len(weights) - len(self.mean) + target] += 1
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
    xx, xy = np.zeros((size, size)), np.zeros((size, windows.ahead))
    x_sum, y_sum = np.zeros(size), np.zeros(windows.ahead)
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
    held_out = windows.starts["validation"]
    truth = windows.targets(held_out)
    return min(found, key=lambda linear: float(((linear(windows, held_out) - truth) ** 2).mean()))


def _inputs(windows: Windows, starts: np.ndarray, rows: int, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    latest = gathered(windows.rows, starts + windows.window - rows, rows)
    return ((latest - mean) / std).reshape(len(starts), -1)


def _changes(windows: Windows, starts: np.ndarray, std: np.ndarray) -> np.ndarray:
    return (windows.targets(starts).astype("float64") - windows.last(starts)) / std[windows.target]
