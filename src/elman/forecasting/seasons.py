# SPDX-License-Identifier: Apache-2.0
"""The period of the seasonal baseline: that of the calendar, or the one at which the series is most like itself.

In: a table and the windows of each origin. Out: a number of rows. No held-out row is looked at.
"""

from __future__ import annotations

import numpy as np

from elman.forecasting import baselines
from elman.forecasting.clock import DAY
from elman.forecasting.table import Table
from elman.forecasting.windows import Windows

_CALENDAR = (DAY, 7 * DAY, 365.25 * DAY)
_CLEAR = 0.1  # rise of the autocorrelation from half a period to a period
_NEAR = 0.1  # of a period of the calendar, which the autocorrelation finds with that error
_ABOUT = 1.2  # times the smallest mean squared error, up to which a shorter period is taken
_MOST_WINDOWS = 4096  # on which candidates are compared


def calendar_periods(table: Table) -> list[int]:
    """A day, a week and a year in rows, those that are two rows or more; none if the table has no times.

    Monthly rows have 12 a year and quarterly ones 4. A period that is not a whole number of rows is rounded.
    """
    if table.times is None or not table.clock.temporal:
        return []
    first, end = max(table.segments.tolist(), key=lambda segment: segment[1] - segment[0])
    if end - first < 2:
        return []
    step = (table.times[end - 1] - table.times[first]) / (end - first - 1)
    return [rows for length in _CALENDAR if (rows := round(length / step)) >= 2]


def seasonal_periods(table: Table, series: np.ndarray) -> list[int]:
    """The periods of the calendar at which a series is more like itself than half a period before.

    Args:
        table: The rows.
        series: The longest stretch of the target to learn from; a period has to be there twice.
    """
    periods = [period for period in calendar_periods(table) if 2 * period <= len(series)]
    correlation = baselines.autocorrelation(series, max(periods)) if periods else None
    if correlation is None:
        return []
    return [each for each in periods if correlation[each] > max(correlation[each // 2], 0) + _CLEAR]


def chosen(table: Table, origins: list[Windows], found: list[int], series: list[list[np.ndarray]]) -> int | None:
    """The period whose repeat has about the smallest error before the first origin; the shortest one of several.

    Args:
        table: The rows.
        origins: The windows of each.
        found: The periods at which the autocorrelation of a target is strongest.
        series: Of each target the stretches to learn from at the first origin.
    """
    windows = origins[0]
    held_out = min(int(rows_before(table, each, each.starts["test"]).min()) for each in origins)
    candidates = {period for each in series for period in seasonal_periods(table, max(each, key=len))}
    for period in found:
        if all(abs(period - other) > _NEAR * other for other in candidates):
            candidates.add(period)
    periods = sorted(period for period in candidates if period <= held_out)  # where every repeat has a value
    starts = np.concatenate([windows.starts["train"], windows.starts["validation"]])
    starts = starts[rows_before(table, windows, starts) >= max(periods, default=0)]
    if len(periods) < 2 or not len(starts):
        return periods[0] if periods else None
    some = starts[np.linspace(0, len(starts) - 1, min(len(starts), _MOST_WINDOWS), dtype=int)]
    truth = windows.targets(some)
    spread = truth.reshape(len(some), -1, windows.ahead).std((0, 2))  # of each target
    scale = np.repeat(np.where(spread > 0, spread, 1), windows.ahead)
    errors = [float((((baselines.seasonal(windows, some, period) - truth) / scale) ** 2).mean()) for period in periods]
    return next(period for period, error in zip(periods, errors, strict=True) if error <= _ABOUT * min(errors))


def rows_before(table: Table, windows: Windows, starts: np.ndarray) -> np.ndarray:
    """`(len(starts),)`: how many rows without a gap there are before the targets of each window."""
    begins = table.segments[np.searchsorted(table.segments[:, 0], starts, "right") - 1, 0]
    return starts + windows.window - begins
