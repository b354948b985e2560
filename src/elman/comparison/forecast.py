# SPDX-License-Identifier: Apache-2.0
"""The task *forecast*: a table whose rows are steps of time, cut into folds whose origin rolls forward.

In: a `Table`. Out: `Forecasting`, whose folds hold windows, and everything that was estimated on the training part of
the fold alone: moments, period, drift. Nothing of a fold depends on a row after its end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from elman.assessment import Origin, rolling_origins
from elman.errors import DataError
from elman.forecasting import baselines, checks
from elman.forecasting.forecast import forecasts_of
from elman.forecasting.table import Table
from elman.forecasting.windows import Windows, moments_of, training_series, windows_of
from elman.forecasting.words import counted

Array = np.ndarray
_HELD_OUT = 0.3  # share of the rows that the test parts of all folds have together
_VALIDATION = 0.2  # share of the rows before a fold's origin on which its candidates decide
_LONGEST, _FITS = 64, 8  # rows of a window that is chosen here, and how often it fits into the first training part
_MOST_TRAIN, _MOST_TEST = 20_000, 2_000  # windows of a part; more are thinned out evenly
_LEAST = 8  # windows of a part


class Fold(NamedTuple):
    """One origin: what is known before it, and the windows after it.

    Attributes:
        table: The rows.
        windows: Windows of the parts train, validation and test.
        mean: `(features,)`, of the training part.
        std: `(features,)`, likewise.
        period: In rows, by the first fold; or `None`.
        drift: Mean change of the target from row to row.
        scale: Mean absolute change of the target over a period, or from row to row: what MASE divides by.
        moment: Order of each test window in time; windows of several series may share one.
    """

    table: Table
    windows: Windows
    mean: Array
    std: Array
    period: int | None
    drift: float
    scale: float
    moment: Array

    @property
    def held_out(self) -> Array:
        """What a model is asked to predict: the first row of each test window."""
        return self.windows.starts["test"]

    def truth(self) -> Array:
        """`(windows, ahead)`: the values to forecast, in the target's units; NaN where one was filled."""
        return self.windows.truth(self.held_out)


def folds_of(table: Table, window: int, ahead: int, count: int) -> list[Fold]:
    """The folds of a table, the earliest first.

    Raises:
        DataError: If the table is too short for them.
    """
    parts = parts_of(table, ahead, count)
    series = training_series(table, parts[0])
    period = baselines.period_of(series, max(map(len, series))) if series else None
    return [fold_of(table, part, window, ahead, period) for part in parts]


def parts_of(table: Table, ahead: int, count: int) -> list[Array]:
    """For each fold the part of each row: 0 train, 1 validation, 2 test, -1 none.

    Several series are cut at the same times, where there are times; else each by its rows.

    Raises:
        DataError: If there are too few rows.
    """
    found = [np.full(len(table.rows), -1, "int8") for _ in range(count)]
    common = np.unique(table.times) if table.times is not None and len(table.group_names) > 1 else None
    for group in range(len(table.group_names)):
        own = np.flatnonzero(table.groups == group)
        steps = np.arange(len(own)) if common is None else np.searchsorted(common, table.times[own])  # type: ignore[index]
        origins = _origins_of(len(own) if common is None else len(common), ahead, count)
        for part, origin in zip(found, origins, strict=True):
            inner = _origins_of(origin.train.stop, ahead, 1, _VALIDATION)[0]
            part[own[steps < inner.train.stop]] = 0
            part[own[(steps >= inner.test.start) & (steps < inner.test.stop)]] = 1
            part[own[(steps >= origin.test.start) & (steps < origin.test.stop)]] = 2
    return found


def _origins_of(rows: int, ahead: int, count: int, share: float = _HELD_OUT) -> list[Origin]:
    try:
        origins = rolling_origins(rows, count, gap=ahead, held_out=share)
    except ValueError as error:
        raise DataError(f"the series is too short: {error} Choose a smaller ahead, or pass a longer table.") from error
    if len(origins) < count:
        raise DataError(
            f"{counted(rows, 'row')} are too few for {counted(count, 'fold')}. Choose fewer folds (--folds)."
        )
    return origins


def longest_window(table: Table, ahead: int, count: int) -> int:
    """The longest window that the first fold has enough rows for."""
    part = parts_of(table, ahead, count)[0]
    longest = max(map(len, training_series(table, part)), default=0)
    return max(1, min(_LONGEST, (longest - ahead) // _FITS))


def fold_of(table: Table, part: Array, window: int, ahead: int, period: int | None) -> Fold:
    """One fold.

    Args:
        table: The rows.
        part: The part of each row, as `parts_of` returns it.
        window: Rows of a window.
        ahead: Rows to forecast.
        period: In rows, or `None`.

    Raises:
        DataError: If a part has too few windows, or a column is constant in the training part.
    """
    windows = windows_of(table, part, window, ahead)
    most = {"train": _MOST_TRAIN, "validation": _MOST_TEST, "test": _MOST_TEST}
    windows = windows._replace(
        starts={
            name: _thinned(each, moments_of(table, each, window), most[name]) for name, each in windows.starts.items()
        }
    )
    for name, each in windows.starts.items():
        if len(each) < _LEAST:
            raise DataError(
                f"the {name} part of a fold has {counted(len(each), 'window')}; expected {_LEAST} or more. Choose "
                "fewer folds, a smaller window or a smaller ahead, or pass a longer table."
            )
    _, mean, std = checks.moments(table, part)
    series = training_series(table, part)
    starts = np.concatenate([windows.starts["validation"], windows.starts["test"]])
    begins = table.segments[np.searchsorted(table.segments[:, 0], starts, "right") - 1, 0]
    if period is not None and period > (starts + window - begins).min():
        period = None  # some window has no value a period ago
    changes = np.concatenate([np.diff(values) for values in series])
    seasonal = [np.abs(values[period:] - values[:-period]) for values in series if period and len(values) > period]
    scale = float(np.concatenate(seasonal or [np.abs(changes)]).mean())
    moments = moments_of(table, windows.starts["test"], window)
    return Fold(table, windows, mean, std, period, float(changes.mean()), scale, moments)


def _thinned(starts: Array, moments: Array, most: int) -> Array:
    """Those of every so manieth moment, so that about `most` are left; all series keep the same moments."""
    return starts[np.isin(moments, np.unique(moments)[:: -(-len(starts) // most)])]


def shortened(windows: Windows, rows: int) -> Windows:
    """The same forecasts from the latest rows of each window."""
    cut = windows.window - rows
    return windows._replace(window=rows, starts={name: starts + cut for name, starts in windows.starts.items()})


def lengths(longest: int) -> list[int]:
    """1, 2, 4, ... and the longest: how many rows back a model may look."""
    return [*(2**i for i in range(longest.bit_length()) if 2**i < longest), longest]


def predicted(model: object, fold: Fold, starts: Array) -> Array:
    """Forecasts of a network in units, float64."""
    windows = fold.windows
    return forecasts_of(model, fold.table, starts, windows.window, windows.ahead).astype("float64")  # type: ignore[arg-type]
