# SPDX-License-Identifier: Apache-2.0
"""Forecasts as a table, one row for each step after a window, and as a CSV file.

In: a model, a `Table`, first rows of windows. Out: a Polars frame with the columns [group], `after` (the time, or the
row of the source, that the window ends with), [the time column], `ahead`, the target, and the ends of its intervals; or
its text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from elman.errors import DataError
from elman.forecasting import leads
from elman.forecasting.headers import free_name
from elman.forecasting.intervals import columns as interval_columns
from elman.forecasting.table import Table
from elman.forecasting.windows import gathered

Model = Callable[[np.ndarray], np.ndarray]  # (batch, window, features) -> (batch, ahead), as a Network is
AFTER, AHEAD = "after", "ahead"
_AT_ONCE = 1024  # windows of a call
_LOOK = 1000  # rows by which the times are judged to be regular
# Text that begins so is a formula to a spreadsheet; an apostrophe in front makes it text. Text with apostrophes before
# such a beginning gets one more, so that `from_csv` can take exactly one away. A number is harmless.
_FORMULA = r"'*\s*[=+\-@\uFF0B\uFF0D\uFF1D\uFF20]|'*[\t\r\n]"
_ESCAPED = rf"^'({_FORMULA})"
_NUMBER = r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?"


def last_windows(table: Table, window: int) -> tuple[np.ndarray, list[str]]:
    """The first row of the last window of each group, and the groups that are too short for one."""
    starts, short = [], []
    for group, name in enumerate(table.group_names):
        own = table.segments[table.groups[table.segments[:, 0]] == group].tolist()
        first, end = max(own, key=lambda segment: segment[1], default=(0, 0))  # no row of it may be left after a split
        if end - first < window:
            short.append(name)
        else:
            starts.append(end - window)
    return np.array(starts, "int64"), short


def forecasts_of(model: Model, table: Table, starts: np.ndarray, window: int, ahead: int) -> np.ndarray:
    """`(len(starts), outputs)`: the output of a model from raw rows to target units."""
    found = np.empty((len(starts), ahead * len(table.targets)), "float32")
    for first in range(0, len(starts), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        found[part] = model(gathered(table.rows, starts[part], window))
    return found


def as_frame(
    table: Table,
    starts: np.ndarray,
    window: int,
    values: np.ndarray,
    first_row: int,
    widths: Mapping[float, np.ndarray] | None = None,
) -> pl.DataFrame:
    """Forecasts as a table.

    A column of the table may be called `after` or `ahead`. Then elman's own column of that name ends with `_`.

    Args:
        table: Where the windows are.
        starts: First row of each.
        window: Rows of each.
        values: `(len(starts), outputs)`: for each target, one after the other, the rows ahead.
        first_row: How the user counts the first row.
        widths: `(outputs,)` half widths of the interval of each level; where one is infinite, its cells are empty.
    """
    chosen = table.chosen
    ahead = values.shape[1] // len(chosen.targets)
    last = np.repeat(starts + window - 1, ahead)
    theirs = {*chosen.targets, chosen.group} | ({chosen.time} if table.times is not None else set())
    after, step = (free_name(name, theirs) for name in (AFTER, AHEAD))
    columns: dict[str, Any] = {}
    if chosen.group is not None:
        columns[chosen.group] = pl.Series([table.group_names[g] for g in table.groups[last]], dtype=pl.String)
    if table.source_rows is None:
        columns |= _times(table, starts + window - 1, ahead, after)
    else:
        columns[after] = table.source_rows[last] + first_row
    columns[step] = np.tile(np.arange(1, ahead + 1), len(starts))
    columns |= dict.fromkeys(chosen.targets)  # which keep their names
    for i, target in enumerate(chosen.targets):
        own = slice(i * ahead, (i + 1) * ahead)
        of = target if len(chosen.targets) > 1 else None
        columns[target] = values[:, own].reshape(-1).astype("float64")
        for level, width in (widths or {}).items():
            for name, sign in zip(interval_columns(level, of), (-1, 1), strict=True):
                ends = (values[:, own] + sign * width[own]).reshape(-1).astype("float64")
                columns[free_name(name, set(columns))] = pl.Series(ends).replace([-np.inf, np.inf], [None, None])
    return pl.DataFrame(columns)


def _times(table: Table, last: np.ndarray, ahead: int, after: str) -> dict[str, pl.Series]:
    """The time that each window ends with, and the times of the steps after it if all of them are known."""
    assert table.times is not None
    dates = table.clock.whole_days(table.times)
    columns = {after: table.clock.series(np.repeat(table.times[last], ahead), dates=dates)}
    later: list[np.ndarray | None] = []
    for row in last.tolist():
        first, end = table.segment_of(row)
        if table.later_times is not None:
            later.append(np.r_[table.times[row + 1 : end], table.later_times[end]][:ahead])
        else:
            later.append(table.clock.later(table.times[max(first, row - _LOOK) : row + 1], ahead))
    known = [times for times in later if times is not None]
    if known and len(known) == len(later):
        columns[str(table.chosen.time)] = table.clock.series(np.concatenate(known), dates=dates)
    return columns


def last_forecast(
    model: Model,
    table: Table,
    window: int,
    ahead: int,
    first_row: int,
    widths: Mapping[float, np.ndarray] | None = None,
) -> tuple[pl.DataFrame, list[str]]:
    """The forecast after each group's last row if its known columns are there, and the groups that are too short."""
    starts, short = last_windows(table, window)
    starts = starts[leads.sees_ahead(table, starts + window - 1, ahead)]
    values = forecasts_of(model, table, starts, window, ahead)
    return as_frame(table, starts, window, values, first_row, widths), short


# --- as a file -------------------------------------------------------------------------------------------------------


def to_csv(frame: pl.DataFrame) -> str:
    """A frame as CSV text in which no text is a formula to a spreadsheet."""
    return _replaced(frame, _escaped).write_csv()


def from_csv(path: Path, zone: str | None, texts: Sequence[str] = ()) -> pl.DataFrame:
    """Reads what `to_csv` wrote.

    Args:
        path: The file.
        zone: The zone of its times, or `None`.
        texts: Columns whose values are text even if they look like numbers or dates, such as that of the group.

    Raises:
        DataError: If it cannot be read.
    """
    as_text = dict.fromkeys(map(_escaped, texts), pl.String)
    try:
        frame = pl.read_csv(io.BytesIO(path.read_bytes()), try_parse_dates=True, schema_overrides=as_text)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} is missing or damaged. Run elman fit again with fresh (--fresh).") from error
    if zone is not None:
        frame = frame.with_columns(pl.col(pl.Datetime("us", "*")).dt.convert_time_zone(zone))
    return _replaced(frame, lambda text: re.sub(_ESCAPED, r"\1", text))


def _escaped(text: str) -> str:
    return f"'{text}" if re.match(_FORMULA, text) and not re.fullmatch(_NUMBER, text) else text


def _replaced(frame: pl.DataFrame, replace: Callable[[str], str]) -> pl.DataFrame:
    """The frame with its names and its text replaced."""
    text = {
        name: frame[name].replace(each := frame[name].drop_nulls().unique(), [replace(cell) for cell in each])
        for name, kind in frame.schema.items()
        if kind == pl.String
    }
    return frame.with_columns(**text).rename({name: replace(name) for name in frame.columns})
