# SPDX-License-Identifier: Apache-2.0
"""Where each row stands in the hour, the day, the week and the year, as sine and cosine: features of the calendar.

In: a `Table` with times, as the clocks of its zone show them. Out: the same with two more features for each cycle
that rows resolve and the table covers. The places of the next rows follow from those of a window, so nothing of the
future is read.
"""

from __future__ import annotations

import numpy as np

from elman.errors import DataError
from elman.forecasting.clock import DAY
from elman.forecasting.table import CHUNK, Table, in_file

_MONDAY = 4 * DAY  # 1970-01-05, in microseconds since 1970
_YEAR = 365.25 * DAY
_CYCLES = {"hour": DAY / 24, "day": DAY, "week": 7 * DAY, "year": _YEAR}  # microseconds
_FEWEST = 2  # rows of a cycle; fewer cannot be told from one another
_SHAPES = {"sine": np.sin, "cosine": np.cos}


def names_in(features: list[str]) -> list[str]:
    """Those features that are of the calendar."""
    return [name for name in features if name in {_name(cycle, shape) for cycle in _CYCLES for shape in _SHAPES}]


def with_calendar(table: Table, names: list[str] | None = None) -> Table:
    """The table with features of the calendar.

    Args:
        table: The rows.
        names: Those that a run has; `None` for all that the times allow.

    Raises:
        DataError: If the table has no times, or none of the cycles fits them.
    """
    if table.times is None or not table.clock.temporal:
        raise DataError(
            "calendar needs a column of dates or times, and the table has none. Name it with time (--time), or leave "
            "calendar (--calendar) out."
        )
    local = table.clock.local(table.times)
    if names is None:
        names = [_name(cycle, shape) for cycle in _allowed(table, local) for shape in _SHAPES]
    if not names:
        raise DataError(
            "calendar finds no cycle that the table covers once; expected a day or more of rows. Leave it out."
        )
    more = np.column_stack([_feature(local, name) for name in names]).astype("float32")
    if isinstance(table.rows, np.memmap):
        chunks = [slice(start, start + CHUNK) for start in range(0, len(more), CHUNK)]
        rows = in_file([np.column_stack([table.rows[each], more[each]]) for each in chunks])
    else:
        rows = np.column_stack([table.rows, more])
    chosen = table.chosen._replace(features=[*table.chosen.features, *names])
    cycles = dict.fromkeys(name.partition(" ")[2].partition(",")[0] for name in names)
    note = f"Features of the calendar: {', '.join(cycles)}."
    return table._replace(rows=rows, chosen=chosen, notes=[*table.notes, note])


def _name(cycle: str, shape: str) -> str:
    return f"calendar {cycle}, {shape}"


def _allowed(table: Table, local: np.ndarray) -> list[str]:
    """The cycles that have rows enough and that the table covers."""
    steps = np.diff(local)
    steps = steps[steps > 0]
    if not len(steps):
        return []
    step, span = float(np.median(steps)), float(local.max() - local.min())
    return [cycle for cycle, length in _CYCLES.items() if _FEWEST * step < length <= span]


def _feature(local: np.ndarray, name: str) -> np.ndarray:
    cycle, shape = name.removeprefix("calendar ").split(", ")
    return _SHAPES[shape](2 * np.pi * _place(local, cycle))


def _place(local: np.ndarray, cycle: str) -> np.ndarray:
    """The place in a cycle, from 0 to 1."""
    if cycle != "year":
        length = _CYCLES[cycle]
        return (local - (_MONDAY if cycle == "week" else 0)) % length / length
    years = local.astype("int64").astype("datetime64[us]").astype("datetime64[Y]")
    begins, ends = (each.astype("datetime64[us]").astype("int64") for each in (years, years + 1))
    return (local - begins) / (ends - begins)
