# SPDX-License-Identifier: Apache-2.0
"""A time that several columns hold: date and time of day; year, month and day; year and quarter.

In: the first rows of a table. Out: the columns and how their cells are joined into one text, which `times` reads; and a
`Source` with that text as one more column. Whether the text is a time is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from elman.errors import DataError
from elman.forecasting.cells import cleaned, is_text, numbers
from elman.forecasting.source import Source
from elman.forecasting.times import TIME_OF_DAY, is_temporal, time_format, times

_DAY = 86_400_000_000  # microseconds
_NAMES = {  # how columns of parts are called, in lower case
    "year": ("year", "yr", "yyyy"),
    "quarter": ("quarter", "qtr", "q"),
    "month": ("month", "mon", "mo", "mm"),
    "day": ("day", "dy", "dd", "dom", "mday"),
    "hour": ("hour", "hr", "hh"),
    "minute": ("minute", "min", "mi"),
    "second": ("second", "sec", "ss"),
}
_RANGES = {
    "year": (1000, 9999),
    "quarter": (1, 4),
    "month": (1, 12),
    "day": (1, 31),
    "hour": (0, 24),
    "minute": (0, 59),
    "second": (0, 60),
}
_MONTH_NAME = r"(?i)^(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?$"


class Parts(NamedTuple):
    """Columns whose cells make up a time.

    Attributes:
        name: Of the column that they become.
        cells: Each column with the text that comes before its cell.
    """

    name: str
    cells: tuple[tuple[str, str], ...]

    @property
    def columns(self) -> list[str]:
        """The columns, in the order of the text."""
        return [column for column, _ in self.cells]


def found_in(head: pl.DataFrame, free: Sequence[str], temporal: Sequence[str]) -> Parts | None:
    """The columns that make up the time of a table, if no single one is its time.

    Args:
        head: The first rows.
        free: Columns that the user did not name for something else.
        temporal: Those of them that hold times.
    """
    named = _by_name(head, free)
    for date in (name for name in temporal if _is_date(head[name])):
        of_day = next((name for name in free if name != date and _is_time_of_day(head[name])), None)
        if of_day is not None:
            return Parts(f"{date} {of_day}", ((date, ""), (of_day, " ")))
        if "hour" in named and head[date].n_unique() < len(head):
            return _joined([(date, ""), *_hours(named)])
    if temporal or "year" not in named:
        return None
    if "month" in named:
        days = [(named["day"], "-"), *_hours(named)] if "day" in named else []
        return _joined([(named["year"], ""), (named["month"], "-"), *days])
    return _joined([(named["year"], ""), (named["quarter"], " Q")]) if "quarter" in named else None


def asked_for(names: Sequence[str], head: pl.DataFrame) -> Parts:
    """The columns that the user named as the time, joined by what they are called, else by blanks."""
    named = _by_name(head, names)
    by_name = [(named[part], mark) for part, mark in (("year", ""), ("month", "-"), ("day", "-")) if part in named]
    if "quarter" in named:
        by_name.append((named["quarter"], " Q"))
    if by_name and by_name[0][0] == named.get("year"):
        by_name += _hours(named)
    else:
        rest = [name for name in names if name not in {named.get(part) for part in ("hour", "minute", "second")}]
        by_name = [*((name, " " if i else "") for i, name in enumerate(rest)), *_hours(named)]
    if {column for column, _ in by_name} == set(names):
        return _joined(by_name)
    return _joined([(name, " " if i else "") for i, name in enumerate(names)])


def with_time(source: Source, parts: Parts) -> Source:
    """The source with one more column, the text of the time."""

    def frames(names: Sequence[str]) -> Iterator[pl.DataFrame]:
        if parts.name not in names:
            yield from source.frames(names)
            return
        needed = list(dict.fromkeys([*(n for n in names if n != parts.name), *parts.columns]))
        for frame in source.frames(needed):
            text = [pl.lit(before) + _text(frame[name], name == parts.cells[0][0]) for name, before in parts.cells]
            joined = pl.select(pl.concat_str(text).alias(parts.name)).to_series()
            yield frame.with_columns(joined).select(names)

    return source._replace(columns=[*source.columns, parts.name], frames=frames)


def _text(series: pl.Series, first: bool) -> pl.Series:
    """A part as text: a date or a time without the zeros that its type adds, a whole number without a point."""
    if series.dtype == pl.Time:
        return series.dt.to_string("%H:%M:%S%.f")
    text = cleaned(series.dt.date() if is_temporal(series.dtype) and first else series)
    text = text.str.replace(r"^1899-12-3[01] ", "").str.replace(r"(\d)\.0+$", "$1").str.replace(r" 00:00:00$", "")
    return text.str.replace(r"^(\d)$", "0$1")


def _joined(cells: list[tuple[str, str]]) -> Parts:
    return Parts(" ".join(column for column, _ in cells), tuple(cells))


def _hours(named: dict[str, str]) -> list[tuple[str, str]]:
    """The columns of hour, minute and second, as far as there are any. An hour alone gets no minutes."""
    found = []
    for part, mark in (("hour", " "), ("minute", ":"), ("second", ":")):
        if part not in named:
            break
        found.append((named[part], mark))
    return found


def _by_name(head: pl.DataFrame, names: Sequence[str]) -> dict[str, str]:
    """The columns that are called like parts of a time and hold such numbers."""
    found: dict[str, str] = {}
    for part, words in _NAMES.items():
        for name in names:
            if name.strip().lower() in words and part not in found and _holds(head[name], part):
                found[part] = name
    return found


def _holds(series: pl.Series, part: str) -> bool:
    if part == "month" and is_text(series) and cleaned(series).str.contains(_MONTH_NAME).all():
        return True
    values = numbers(series, False).values
    low, high = _RANGES[part]
    return bool(len(values)) and bool(((values == values.round()) & (values >= low) & (values <= high)).all())


def _is_date(series: pl.Series) -> bool:
    """Whether a column of times holds dates without a time of day."""
    try:
        form = None if is_temporal(series.dtype) else time_format(series)
    except DataError:  # day and month are not clear, and may be with the time of day
        return not series.cast(pl.String).str.contains(":", literal=True).any()
    return not np.nan_to_num(times(series, form).values % _DAY).any()


def repeated(head: pl.DataFrame, moments: np.ndarray, names: Sequence[str]) -> list[str]:
    """Columns of the calendar that say no more than the times do: year, quarter, month, day, hour, minute, second.

    Args:
        head: The first rows.
        moments: Their times, in microseconds since 1970.
        names: The columns to look at.
    """
    local = pl.Series(moments).cast(pl.Int64).cast(pl.Datetime("us")).dt
    found = []
    for part, name in _by_name(head, names).items():
        if not is_text(head[name]) or part != "month":
            same = np.array_equal(numbers(head[name], False).values, getattr(local, part)().to_numpy())
            found += [name] * same
    return found


def _is_time_of_day(series: pl.Series) -> bool:
    if series.dtype == pl.Time:
        return True
    text = cleaned(series).drop_nulls() if is_text(series) else pl.Series([], dtype=pl.String)
    return bool(len(text)) and bool(text.str.contains(TIME_OF_DAY).all())
