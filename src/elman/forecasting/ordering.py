# SPDX-License-Identifier: Apache-2.0
"""The order of rows: group by group, each in order of time, with one row for each time.

In: a `RawTable`, as it was read. Out: the rows in order, and the row of the source that each came from; or a
`DataError` that names the row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from elman.errors import DataError
from elman.forecasting import table
from elman.forecasting.columns import Chosen
from elman.forecasting.settings import TableSettings
from elman.forecasting.source import Source
from elman.forecasting.table import RawTable
from elman.forecasting.words import counted

Where = Callable[[int], str]  # a row, as the user counts it


def in_order(
    source: Source, chosen: Chosen, raw: RawTable, settings: TableSettings, notes: list[str]
) -> tuple[RawTable, np.ndarray]:
    """The rows in order, and the number of each in the source. Adds a note for what was changed.

    Raises:
        DataError: If a time or a group is missing, or rows are out of order and the user asked for nothing.
    """
    raw = _without_blank_end(source, raw)
    _check_cells(source, chosen, raw)
    order = np.arange(len(raw.rows))
    if settings.sort and raw.times is None:
        raise DataError("sort needs a column of times, and the table has none. Name it with time (--time).")
    if (
        settings.sort or (np.diff(raw.groups) < 0).any()
    ):  # rows of several series in turn: one after the other from here
        keys = (raw.groups,) if raw.times is None else (raw.times, raw.groups)
        order = np.lexsort(keys) if settings.sort else np.argsort(raw.groups, kind="stable")
        if settings.sort and _are_unsorted(raw):
            notes.append(f"Rows are sorted by {chosen.time!r}.")
        raw = _taken(raw, order)
    if settings.duplicates is not None and raw.times is not None:
        again = np.r_[False, (np.diff(raw.groups) == 0) & (np.diff(raw.times) == 0)]
        if again.any():
            raw, order = _one_each(raw, order, again, settings.duplicates)
            notes.append(f"{counted(int(again.sum()), 'row')} of a time that was there already: {settings.duplicates}.")
    _check_order(chosen, raw, lambda index: source.row(int(order[index])))
    return raw, order


def _taken(raw: RawTable, order: np.ndarray) -> RawTable:
    """Some rows in another order; in a file if they are in one."""
    if isinstance(raw.rows, np.memmap):
        rows = table.in_file([raw.rows[order[i : i + table.CHUNK]] for i in range(0, len(order), table.CHUNK)])
    else:
        rows = raw.rows[order]
    times = None if raw.times is None else raw.times[order]
    return raw._replace(rows=rows, groups=raw.groups[order], times=times)


def _are_unsorted(raw: RawTable) -> bool:
    assert raw.times is not None
    return any((np.diff(raw.times[raw.groups == group]) < 0).any() for group in np.unique(raw.groups))


def _one_each(raw: RawTable, order: np.ndarray, again: np.ndarray, which: str) -> tuple[RawTable, np.ndarray]:
    """One row for each time: the first, the last, or the mean of the numbers that are there."""
    begins = np.flatnonzero(~again)
    ends = np.r_[begins[1:], len(again)]
    if which == "mean":
        present = ~np.isnan(raw.rows)
        sums = np.add.reduceat(np.where(present, raw.rows, 0).astype("float64"), begins)
        counts = np.add.reduceat(present.astype("int64"), begins)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).astype("float32")
        return _taken(raw, begins)._replace(rows=means), order[begins]
    kept = begins if which == "first" else ends - 1
    return _taken(raw, kept), order[kept]


def _without_blank_end(source: Source, raw: RawTable) -> RawTable:
    """The rows without the empty lines that a file may end with."""
    end = len(raw.rows)
    while end and np.isnan(raw.rows[end - 1]).all() and (raw.times is None or np.isnan(raw.times[end - 1])):
        end -= 1
    if not end:
        raise DataError(
            f"{source.name} has {counted(len(raw.rows), 'row')}, and none with a value; expected rows of numbers. Name "
            "other columns with target and features (--target, --features)."
        )
    times = None if raw.times is None else raw.times[:end]
    return raw._replace(rows=raw.rows[:end], times=times, groups=raw.groups[:end])


def _check_cells(source: Source, chosen: Chosen, raw: RawTable) -> None:
    """Raises DataError for a row without a group or a time."""
    lost = np.flatnonzero(np.isnan(raw.times)) if raw.times is not None else np.empty(0, "int64")
    blank = lost[np.isnan(raw.rows[lost]).all(1)]
    if len(blank):
        raise DataError(f"{source.row(int(blank[0]))} is blank; expected a row of values. Delete it.")
    unnamed = np.flatnonzero(raw.groups < 0)
    if len(unnamed):
        raise DataError(
            f"{source.row(int(unnamed[0]))}, column {chosen.group!r} (the group) is empty; expected a name. Fill it "
            "in, or delete the row."
        )
    if len(lost):
        raise DataError(
            f"{source.row(int(lost[0]))}, column {chosen.time!r} (the time) is empty; expected a time. Fill it in, or "
            "delete the row."
        )


def _group(chosen: Chosen, raw: RawTable, last: int) -> str:
    """Which column may tell several series apart, where time goes back after a row."""
    for column in chosen.categories:
        places = [i for i, name in enumerate(chosen.features) if name.startswith(f"{column} = ")]
        if (raw.rows[last, places] != raw.rows[last + 1, places]).any():
            return f" If {column!r} tells several series apart, name it with group (--group {column!r})."
    return " If the table holds several series, name the column that tells them apart with group (--group)."


def _check_order(chosen: Chosen, raw: RawTable, where: Where) -> None:
    """Raises DataError unless time rises in every group."""
    if raw.times is None:
        return
    same = np.diff(raw.groups) == 0  # whether a row has its predecessor's group
    back = np.flatnonzero(same & (np.diff(raw.times) <= 0))
    if not len(back):
        return
    now, before = (raw.clock.text(raw.times[back[0] + i]) for i in (1, 0))
    again = now == before
    found = f"{now} again" if again else f"{now} after {before}"
    cure = (
        "Keep one row for each time with duplicates='first' (--duplicates first), 'last' or 'mean'."
        if again
        else "Sort the rows with sort=True (--sort)."
    )
    group = "" if chosen.group is not None else _group(chosen, raw, int(back[0]))
    raise DataError(
        f"{where(int(back[0]) + 1)}, column {chosen.time!r} (the time): {found}; expected rows in order of time. "
        f"{cure}{group}"
    )
