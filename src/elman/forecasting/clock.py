# SPDX-License-Identifier: Apache-2.0
"""The time column's unit and zone: times as text and as Polars columns, and the times that follow a regular series.

In: float64 times as a `Table` holds them. Out: text, a series, or later times. Nothing is read or checked here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from elman.forecasting.words import counted

DAY = 86_400_000_000  # microseconds
# The years that Python's datetime can hold, less a day at each end, so that every zone can be applied.
EARLIEST = float(np.datetime64("0001-01-02", "us").astype("int64"))
LATEST = float(np.datetime64("9999-12-31", "us").astype("int64"))
_LATEST_DAY = 28  # every month has as many days
_EVEN = 1e-6  # relative difference of steps that count as equal


class Axis(NamedTuple):
    """Numbers on which a series is even where its times are not.

    Attributes:
        values: `(rows,)`.
        back: From such numbers to times.
        step_text: A length on it as text.
    """

    values: np.ndarray
    back: Callable[[np.ndarray], np.ndarray]
    step_text: Callable[[float], str]


class Clock(NamedTuple):
    """How the numbers of a time column are to be understood.

    Attributes:
        temporal: Whether they are microseconds since 1970 in UTC; else they are numbers without a unit.
        zone: The time zone that they are shown in, as Polars names it; `None` if the table gave none.
    """

    temporal: bool
    zone: str | None = None

    def text(self, value: float) -> str:
        """A time as people write it, without the parts that are zero."""
        if not self.temporal:
            return f"{value:.12g}"
        if self.zone is not None:
            return str(self.series(np.array([value]))[0])
        text = str(np.datetime64(int(value), "us")).replace("T", " ")
        return text.removesuffix(".000000").removesuffix(" 00:00:00")

    def step_text(self, step: float) -> str:
        """A length of time in its natural unit."""
        if not self.temporal:
            return f"{step:.6g}"
        for size, unit in ((DAY, "d"), (3_600e6, "h"), (60e6, "min"), (1e6, "s")):
            if step >= size:
                return f"{step / size:.4g} {unit}"
        return f"{step / 1e3:.4g} ms"

    def period_text(self, times: np.ndarray, rows: int) -> str:
        """How long a number of rows of a series is: in months where the series goes by months, else in days or less."""
        if not self.temporal or rows >= len(times):
            return ""
        if (step := _even_months(self.local(times))) is not None:
            return _months_text(rows * step)
        return self.step_text(float(np.median(times[rows:] - times[:-rows])))

    def series(self, times: np.ndarray, *, dates: bool = False) -> pl.Series:
        """Times as a Polars series: integers or floats, or datetimes in the table's zone, or dates."""
        if not self.temporal:
            whole = bool((times == np.rint(times)).all())
            return pl.Series(times.astype("int64") if whole else times, dtype=pl.Int64 if whole else pl.Float64)
        series = pl.Series(np.rint(times).astype("int64").astype("datetime64[us]"))
        if self.zone is not None:
            return series.dt.replace_time_zone("UTC").dt.convert_time_zone(self.zone)
        return series.cast(pl.Date) if dates else series

    def whole_days(self, times: np.ndarray) -> bool:
        """Whether times are dates, so that they are written without hours."""
        return self.temporal and self.zone is None and not (times % DAY).any()

    def later(self, times: np.ndarray, count: int) -> np.ndarray | None:
        """The times that follow the last one.

        Args:
            times: Those of a stretch without a gap, in order.
            count: How many to add.

        Returns:
            `(count,)`, or `None` if the stretch has neither an even step nor a whole number of months as its step, or
            if they lie beyond the year 9999.
        """
        if len(times) < 2:
            return None
        local = self.local(times)
        ahead = np.arange(1, count + 1)
        step = local[-1] - local[-2]
        if _even(np.diff(local)) and (self.zone is None or step % DAY == 0):
            found = self._utc(local[-1] + step * ahead)
        elif _even(np.diff(times)):  # every so many hours, also where clocks change
            found = times[-1] + (times[-1] - times[-2]) * ahead
        elif (months := _even_months(local)) is not None:
            found = self._utc(_monthly(local).back(_month_of(local[-1:]).astype("float64") + months * ahead))
        else:
            return None
        beyond = self.temporal and found is not None and bool((found > LATEST).any())
        return None if beyond else found

    def axis(self, times: np.ndarray) -> Axis:
        """The axis on which a series without gaps is even: months, what clocks show where they change, or `times`."""
        if not self.temporal:
            return Axis(times, lambda values: values, self.step_text)
        local = self.local(times)
        if _has_months(local):
            months = _monthly(local)
            return Axis(months.values, lambda values: self._utc_of(months.back(values)), _months_text)
        if self.zone is not None and not ((local - local[0]) % DAY).any():
            return Axis(local, self._utc_of, self.step_text)
        return Axis(times, lambda values: values, self.step_text)

    def _utc_of(self, local: np.ndarray) -> np.ndarray:
        """The inverse of `local`; where clocks skip a time, an hour later."""
        if self.zone is None:
            return local
        first, after = (
            pl.Series(np.rint(local + wait).astype("int64").astype("datetime64[us]")).dt.replace_time_zone(
                self.zone, ambiguous="earliest", non_existent="null"
            )
            for wait in (0, 3_600e6)
        )
        return first.fill_null(after).to_physical().cast(pl.Float64).to_numpy()

    def local(self, times: np.ndarray) -> np.ndarray:
        """What the clocks of the zone show, as microseconds."""
        if not self.temporal or self.zone is None:
            return times
        return self.series(times).dt.replace_time_zone(None).to_physical().cast(pl.Float64).to_numpy()

    def _utc(self, local: np.ndarray) -> np.ndarray | None:
        """The inverse of `local`: the first of two moments that clocks show twice, and `None` for one never shown."""
        if not self.temporal or self.zone is None:
            return local
        if (local > LATEST).any():
            return local
        shown = pl.Series(np.rint(local).astype("int64").astype("datetime64[us]"))
        moments = shown.dt.replace_time_zone(self.zone, ambiguous="earliest", non_existent="null")
        return None if moments.null_count() else moments.to_physical().cast(pl.Float64).to_numpy()


def _even(steps: np.ndarray) -> bool:
    return bool(np.allclose(steps, steps[-1], rtol=_EVEN, atol=0))


def _month_of(times: np.ndarray) -> np.ndarray:
    return times.astype("int64").astype("datetime64[us]").astype("datetime64[M]")


def _months_text(months: float) -> str:
    if months >= 12 and not months % 12:
        return counted(int(months) // 12, "year")
    return counted(int(months), "month")


def _ends(times: np.ndarray) -> np.ndarray:
    """How long before the end of its month each time is."""
    return (_month_of(times) + 1).astype("datetime64[us]").astype("int64") - times


def _begins(times: np.ndarray) -> np.ndarray:
    """How long after the begin of its month each time is."""
    return times - _month_of(times).astype("datetime64[us]").astype("int64")


def _has_months(times: np.ndarray) -> bool:
    """Whether rows go by months: at the same day and hour of each month before the 29th, or at its last day."""
    begins, ends = _begins(times), _ends(times)
    at_begins = (begins == begins[0]).all() and begins[0] < _LATEST_DAY * DAY
    at_ends = (ends == ends[0]).all() and ends[0] <= DAY
    return len(times) > 1 and bool(at_begins or at_ends) and bool(np.diff(_month_of(times).astype("int64")).all())


def _monthly(times: np.ndarray) -> Axis:
    """The months of times that go by months, counted from 1970."""
    at_ends = (_ends(times) == _ends(times)[0]).all()
    within = -_ends(times)[0] if at_ends else _begins(times)[0]

    def back(months: np.ndarray) -> np.ndarray:
        first = np.rint(months).astype("int64").astype("datetime64[M]") + int(at_ends)
        return first.astype("datetime64[us]").astype("int64").astype("float64") + within

    return Axis(_month_of(times).astype("int64").astype("float64"), back, _months_text)


def _even_months(times: np.ndarray) -> int | None:
    """The months between rows, if they are as many everywhere."""
    if len(times) < 2 or not _has_months(times):
        return None
    steps = np.diff(_month_of(times).astype("int64"))
    return int(steps[-1]) if (steps == steps[-1]).all() and steps[-1] >= 1 else None
