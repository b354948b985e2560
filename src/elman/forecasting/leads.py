# SPDX-License-Identifier: Apache-2.0
"""Columns whose future values are known, such as a price, a plan, or the weather forecast.

In: rows in order, and the names of these columns. Out: a `Table` whose rows have the values of these columns `ahead`
rows later, so that a window ends with those of every row ahead. No other column is moved, and the rows that have no
target yet are taken out, so nothing else of the future is seen. Calendar features need none of this: their values at
the rows ahead follow from those of the window.
"""

from __future__ import annotations

import numpy as np

from elman.errors import DataError
from elman.forecasting.columns import Chosen, of_category
from elman.forecasting.table import CHUNK, RawTable, Table, in_file
from elman.forecasting.words import counted, listed


def places(chosen: Chosen) -> list[int]:
    """The places in a row of the features of the known columns."""
    names = {of_category(name, value) for name in chosen.known for value in chosen.categories.get(name, ())}
    return [i for i, name in enumerate(chosen.features) if name in names or name in chosen.known]


def with_future(chosen: Chosen, raw: RawTable) -> RawTable:
    """The rows with a mark on those at the end of each group that have no target yet.

    The columns that are not known have their last value there, so that these rows count as complete and nothing that
    they hold is used.

    Args:
        chosen: The columns.
        raw: The rows in order; their cells are changed in place.

    Raises:
        DataError: If no row has a target.
    """
    if not chosen.known:
        return raw
    measured = np.flatnonzero(~np.isnan(raw.rows[:, chosen.target_places()]).all(1))
    if not len(measured):
        raise DataError(
            f"column {chosen.target!r}, the target, is empty in every row; expected numbers in the rows before "
            "those to forecast. Put them above the rows of the future."
        )
    last = np.full(len(raw.group_names), -1)
    last[raw.groups[measured]] = measured
    future = np.arange(len(raw.rows)) > last[raw.groups]
    unknown = np.setdiff1d(np.arange(len(chosen.features)), places(chosen))
    for group in np.unique(raw.groups[future]):
        own = np.flatnonzero(raw.groups == group)
        for column in unknown:
            values = raw.rows[own[~future[own]], column]
            values = values[~np.isnan(values)]
            raw.rows[own[future[own]], column] = values[-1] if len(values) else 0
    return raw._replace(future=future)


def led(table: Table, ahead: int) -> Table:
    """The rows that have a target, each with the values of the known columns so many rows later.

    The last rows of a stretch, after which these values are not there, have those of its last row. No window ends
    there.
    """
    if table.future is None:
        return table
    known, measured = places(table.chosen), np.flatnonzero(~table.future)
    rows_after = np.repeat(table.segments[:, 1], np.diff(table.segments)[:, 0]) - 1 - np.arange(len(table.rows))
    later = np.arange(len(table.rows)) + np.minimum(ahead, rows_after)

    def moved(part: slice) -> np.ndarray:
        rows = table.rows[measured[part]]
        rows[:, known] = table.rows[later[measured[part]]][:, known]
        return rows

    if isinstance(table.rows, np.memmap):
        rows = in_file([moved(slice(start, start + CHUNK)) for start in range(0, len(measured), CHUNK)])
    else:
        rows = moved(slice(None))
    counts = np.add.reduceat((~table.future).astype("int64"), table.segments[:, 0])
    kept = counts > 0  # others are of the future alone
    begins, counts, ends = table.segments[kept, 0] + counts[kept], counts[kept], table.segments[kept, 1]
    stops = np.cumsum(counts)
    later_times = None
    if (times := table.times) is not None:
        later_times = {stop: times[begin:end] for stop, begin, end in zip(stops.tolist(), begins, ends, strict=True)}
    note = (
        f"Known ahead: {listed(table.chosen.known)}. A row of a window has their values {counted(ahead, 'row')} later."
    )
    return _only(table, measured)._replace(
        rows=rows,
        segments=np.column_stack([stops - counts, stops]),
        notes=[*table.notes, note],
        known_ahead=np.minimum(rows_after, ahead)[measured],
        later_times=later_times,
        future=None,
    )


def _only(table: Table, kept: np.ndarray) -> Table:
    """The table with what it says of some rows alone; `rows` and `segments` are as before."""
    return table._replace(
        groups=table.groups[kept],
        times=None if table.times is None else table.times[kept],
        interpolated=None if table.interpolated is None else table.interpolated[kept],
        made=None if table.made is None else table.made[kept],
        source_rows=None if table.source_rows is None else table.source_rows[kept],
    )


def sees_ahead(table: Table, last: np.ndarray, ahead: int) -> np.ndarray:
    """Whether the windows that end in some rows have the known columns of every row ahead."""
    return np.ones(len(last), bool) if table.known_ahead is None else table.known_ahead[last] >= ahead


def missing(table: Table, last: np.ndarray, ahead: int) -> str | None:
    """What a table lacks for forecasts after some rows, as a sentence; `None` if it lacks nothing.

    Args:
        table: The rows.
        last: The last row of each window.
        ahead: Rows to forecast.
    """
    lacking = last[~sees_ahead(table, last, ahead)]
    if table.known_ahead is None or not len(lacking):
        return None
    chosen = table.chosen
    of_group = f" of group {table.group_names[table.groups[lacking[0]]]!r}" if chosen.group is not None else ""
    columns = listed(map(repr, chosen.known))
    return (
        f"the table has {counted(int(table.known_ahead[lacking[0]]), 'row')} after the last value of "
        f"{chosen.target!r}{of_group}; expected {ahead}, with {columns} known (--known) and {chosen.target!r} empty. "
        "Add them at its end."
    )
