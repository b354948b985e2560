# SPDX-License-Identifier: Apache-2.0
"""The time column's unit and zone: times as text and as Polars columns, and the times that follow a regular series.

In: float64 times as a `Table` holds them. Out: text, a series, or later times. Nothing is read or checked here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

DAY = 86_400_000_000  # microseconds
# The years that Python's datetime can hold, less a day at each end, so that every zone can be applied.
EARLIEST = float(np.datetime64("0001-01-02", "us").astype("int64"))
LATEST = float(np.datetime64("9999-12-31", "us").astype("int64"))
_LATEST_DAY = 28  # every month has as many days
_EVEN = 1e-6  # relative difference of steps that count as equal


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
        if (months := _months(self._local(times))) is not None:
            return f"{rows * months} months"
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
        local = self._local(times)
        ahead = np.arange(1, count + 1)
        step = local[-1] - local[-2]
        if _even(np.diff(local)) and (self.zone is None or step % DAY == 0):
            found = self._utc(local[-1] + step * ahead)
        elif _even(np.diff(times)):  # every so many hours, also where clocks change
            found = times[-1] + (times[-1] - times[-2]) * ahead
        elif (months := _months(local)) is not None:
            first = _month_of(local[-1:]).astype("datetime64[D]")
            later = (_month_of(local[-1:]) + months * ahead).astype("datetime64[D]").astype("datetime64[us]")
            found = self._utc(later.astype("int64") + (local[-1] - first.astype("datetime64[us]").astype("int64")))
        else:
            return None
        beyond = self.temporal and found is not None and bool((found > LATEST).any())
        return None if beyond else found

    def _local(self, times: np.ndarray) -> np.ndarray:
        """What the clocks of the zone show, as microseconds."""
        if not self.temporal or self.zone is None:
            return times
        return self.series(times).dt.replace_time_zone(None).to_physical().cast(pl.Float64).to_numpy()

    def _utc(self, local: np.ndarray) -> np.ndarray | None:
        """The inverse of `_local`: the first of two moments that clocks show twice, and `None` for one never shown."""
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


def _months(times: np.ndarray) -> int | None:
    """The months between rows, if they are as many everywhere and the day and hour are always the same."""
    months = _month_of(times)
    within = times - months.astype("datetime64[us]").astype("int64")
    steps = np.diff(months.astype("int64"))
    regular = len(steps) > 0 and (steps == steps[-1]).all() and steps[-1] >= 1
    if not regular or (within != within[0]).any() or within[0] >= _LATEST_DAY * DAY:
        return None
    return int(steps[-1])
