# SPDX-License-Identifier: Apache-2.0
"""Forecasts as a table: one row for each step after a window.

In: a Keras model, a `Table`, first rows of windows. Out: a Polars frame with the columns [group], `after` (the time or
row that the window ends with), [the time column], `ahead` and the target. No checks of columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from elman.forecasting.table import Table
from elman.forecasting.windows import chunks

_DAY = 86_400_000_000  # microseconds
_LOOK = 1000  # rows by which the times are judged to be regular


def last_windows(table: Table, window: int) -> tuple[np.ndarray, list[str]]:
    """The first row of the last window of each group, and the groups that are too short for one."""
    starts, short = [], []
    for group, name in enumerate(table.group_names):
        first, end = max(table.segments[table.groups[table.segments[:, 0]] == group].tolist(), key=lambda s: s[1])
        if end - first < window:
            short.append(name)
        else:
            starts.append(end - window)
    return np.array(starts, "int64"), short


def forecast(model: Any, table: Table, starts: np.ndarray, window: int) -> np.ndarray:
    """`(len(starts), ahead)`: what a model from raw rows to target units says."""
    found = []
    for part in chunks(starts, window * table.rows.shape[1]):
        rows = table.rows[part[:, None] + np.arange(window)]
        found.append(np.asarray(model.predict(rows, batch_size=1024, verbose=0)))
    return np.concatenate(found)


def as_frame(table: Table, starts: np.ndarray, window: int, values: np.ndarray, first_row: int) -> pl.DataFrame:
    """Forecasts as a table.

    Args:
        table: Where the windows are.
        starts: First row of each.
        window: Rows of each.
        values: `(len(starts), ahead)`.
        first_row: How the user counts the first row.
    """
    ahead = values.shape[1]
    last = np.repeat(starts + window - 1, ahead)
    steps = np.tile(np.arange(1, ahead + 1), len(starts))
    columns: dict[str, Any] = {}
    chosen = table.chosen
    if chosen.group:
        columns[chosen.group] = [table.group_names[g] for g in table.groups[last]]
    if table.times is None:
        if not chosen.group:
            columns["after"] = last + first_row
    else:
        columns["after"] = _readable(table.times[last], temporal=table.temporal)
        found = [_later(table, table.times, int(start) + window - 1, ahead) for start in starts]
        later = [times for times in found if times is not None]
        if len(later) == len(found):
            columns[str(chosen.time)] = _readable(np.concatenate(later), temporal=table.temporal)
    return pl.DataFrame(columns | {"ahead": steps, chosen.target: values.reshape(-1).astype("float64")})


def _later(table: Table, all_times: np.ndarray, last: int, ahead: int) -> np.ndarray | None:
    """The times after a row, where the times before it are regular: an even step, or so many months."""
    first = max(int(table.segments[np.searchsorted(table.segments[:, 0], last, "right") - 1, 0]), last - _LOOK)
    times = all_times[first : last + 1]
    if len(times) < 2:
        return None
    steps = np.diff(times)
    if np.allclose(steps, steps[-1], rtol=1e-6, atol=0):
        return times[-1] + steps[-1] * np.arange(1, ahead + 1)
    if not table.temporal or (times % _DAY).any():
        return None
    dates = times.astype("int64").astype("datetime64[us]").astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    of_month = (dates - months).astype("int64")
    step = np.diff(months.astype("int64"))
    if (step != step[-1]).any() or step[-1] < 1 or of_month.min() != of_month.max() or of_month[0] > 27:
        return None
    later = months[-1] + step[-1] * np.arange(1, ahead + 1)
    return (later.astype("datetime64[D]") + of_month[0]).astype("datetime64[us]").astype("int64").astype("float64")


def _readable(times: np.ndarray, *, temporal: bool) -> pl.Series:
    if not temporal:
        whole = bool((times == np.rint(times)).all())
        return pl.Series(times.astype("int64") if whole else times)
    series = pl.Series(np.rint(times).astype("int64").astype("datetime64[us]"))
    return series.cast(pl.Date) if not (times % _DAY).any() else series


def last_forecast(model: Any, table: Table, window: int, first_row: int) -> tuple[pl.DataFrame, list[str]]:
    """The forecast after each group's last row, and the groups that are too short for one."""
    starts, short = last_windows(table, window)
    return as_frame(table, starts, window, forecast(model, table, starts, window), first_row), short
