# SPDX-License-Identifier: Apache-2.0
"""Where the rows of a table, and the steps after its last one, are on the horizontal axis of a picture.

In: a table. Out: times, or row numbers where there are none or Matplotlib cannot draw them.
"""

from __future__ import annotations

import numpy as np

from elman.forecasting.clock import DAY
from elman.forecasting.table import Table

_BEFORE = 100  # rows whose times decide the usual step
_YEAR = 365.2425 * DAY
_MIDDLE, _SPAN = 5000, 4000  # Matplotlib's ticks need a margin within the years 1 to 9999


class Axis:
    """The horizontal axis: times, or row numbers if there are none or Matplotlib cannot draw them.

    Args:
        table: The rows.
        first: The first row shown.
        last: The last row shown.
        ahead: Steps that follow it.
    """

    def __init__(self, table: Table, first: int, last: int, ahead: int) -> None:
        self._table = table
        self.dates, self._times = False, table.times
        self.label, self.later = "row", last + np.arange(1, ahead + 1)
        if table.times is None:
            return
        later = self._later(table.times, last, ahead)
        years = np.array([table.times[first], later[-1]]) / _YEAR + 1970
        self.dates = table.clock.temporal and bool((abs(years - _MIDDLE) < _SPAN).all())
        if table.clock.temporal and not self.dates:
            self._times = None
        else:
            zone = f" ({table.clock.zone})" if table.clock.zone else ""
            self.label, self.later = f"{table.chosen.time}{zone}", self._shown(later)

    def places(self, rows: np.ndarray) -> np.ndarray:
        """Where rows are on the axis."""
        return rows if self._times is None else self._shown(self._times[rows])

    def _later(self, times: np.ndarray, last: int, ahead: int) -> np.ndarray:
        """The times after a row, a usual step apart if they do not follow from those before it."""
        before = times[max(self._table.segment_of(last)[0], last - _BEFORE) : last + 1]
        if (later := self._table.clock.later(before, ahead)) is not None:
            return later
        step = float(np.median(np.diff(before))) if len(before) > 1 else 1.0
        return times[last] + step * np.arange(1, ahead + 1)

    def _shown(self, times: np.ndarray) -> np.ndarray:
        return times.astype("int64").astype("datetime64[us]") if self.dates else times
