# SPDX-License-Identifier: Apache-2.0
"""Empty cells and gaps in time: makes a `Table` of the rows as they were read.

In: a `RawTable`. Out: the rows group by group, without empty cells, cut into segments that a window may not cross; or a
`DataError` that names the row.
"""

from __future__ import annotations

import numpy as np

from elman.errors import DataError
from elman.forecasting import leads, table
from elman.forecasting.columns import Chosen
from elman.forecasting.ordering import Where, in_order
from elman.forecasting.settings import TableSettings
from elman.forecasting.source import Source
from elman.forecasting.table import RawTable, Table
from elman.forecasting.words import counted, listed

_GAP = 1.5  # median steps, above which rows are missing


def arranged(source: Source, chosen: Chosen, raw: RawTable, settings: TableSettings, notes: list[str]) -> Table:
    """Puts rows in order, and deals with missing cells and with gaps."""
    fill = settings.fill
    raw, order = in_order(source, chosen, raw, settings, notes)
    raw = leads.with_future(chosen, raw)

    def where(index: int) -> str:
        return source.row(int(order[index]))

    same = np.diff(raw.groups) == 0  # whether a row has its predecessor's group
    chunks = (raw.rows[i : i + table.CHUNK] for i in range(0, len(raw.rows), table.CHUNK))
    missing = np.concatenate([np.isnan(rows).any(1) for rows in chunks])
    if missing.any():
        source.check_rows()
        if fill in {None, "keep"}:
            raise DataError(_missing(chosen, raw, missing, order, where))
        for name, marks in raw.marks.items():
            cells = listed(f"{value:.6g} ({counted(count, 'cell')})" for value, count in marks)
            notes.append(f"In column {name!r} missing values are marked: {cells}.")
    extra = np.zeros(len(same), "int64") if fill == "keep" else _gaps(chosen, raw, same, fill, where)
    if fill == "split":
        found, order = _split(chosen, raw, same & (extra == 0), missing, notes), order[~missing]
    elif fill in {"linear", "previous"} and (missing.any() or extra.any()):
        found = _filled(chosen, raw, same, extra, missing, fill, notes)
    else:
        found = _table(chosen, raw, same, 0, notes)
    return found if found.times is not None else found._replace(source_rows=order)


def _missing(chosen: Chosen, raw: RawTable, missing: np.ndarray, order: np.ndarray, where: Where) -> str:
    """The sentence for the first empty cell of the source."""
    at = np.flatnonzero(missing)
    first = int(at[order[at].argmin()])
    column = chosen.features[int(np.isnan(raw.rows[first]).argmax())]
    cure = (
        "Fill such cells with fill='linear' (--fill linear) or 'previous', or leave their rows out with 'split' "
        "(--fill split)"
    )
    if column not in raw.marks:
        column = next((n for n in chosen.categories if column.startswith(f"{n} = ")), column)
        return f"{where(first)}, column {column!r} is empty; expected a value. {cure}."
    value, count = raw.marks[column][0]
    return (
        f"{where(first)}, column {column!r} has no value: {value:.6g}, in {counted(count, 'cell')}, is far from all "
        f"other values, so it is taken for the mark of a missing one. {cure}; 'keep' takes it for a number."
    )


def _table(chosen: Chosen, raw: RawTable, joined: np.ndarray, filled: int, notes: list[str]) -> Table:
    """A `Table`; `joined` is whether each row but the first continues the segment of the row before it."""
    cuts = np.flatnonzero(~joined) + 1
    segments = np.column_stack([np.r_[0, cuts], np.r_[cuts, len(raw.rows)]])
    found = Table(raw.rows, chosen, raw.times, raw.clock, raw.groups, raw.group_names, segments, filled, notes)
    return found._replace(future=raw.future)


def _gaps(chosen: Chosen, raw: RawTable, same: np.ndarray, fill: str | None, where: Where) -> np.ndarray:
    """How many rows are missing before each row but the first, by the time column.

    Raises:
        DataError: If any are, and `fill` is `None`.
    """
    if raw.times is None or not same.any():
        return np.zeros(len(same), "int64")
    axis = raw.clock.axis(raw.times)
    steps = np.diff(axis.values)
    median = float(np.median(steps[same]))
    gap = same & (steps > _GAP * median)
    if gap.any() and fill is None:
        first = int(gap.argmax())
        before, now = (raw.clock.text(raw.times[first + i]) for i in (0, 1))
        raise DataError(
            f"{where(first + 1)}, column {chosen.time!r} (the time): a gap from {before} to {now}, where rows are "
            f"{axis.step_text(median)} apart. Fill gaps with fill='linear' (--fill linear) or 'previous', cut "
            "there with 'split' (--fill split), or take the rows as they come with 'keep'."
        )
    return np.where(gap, np.maximum(np.rint(steps / median).astype("int64") - 1, 1), 0)


def _split(chosen: Chosen, raw: RawTable, joined: np.ndarray, missing: np.ndarray, notes: list[str]) -> Table:
    """The rows without those that lack a cell; the series is cut there and at gaps."""
    kept = np.flatnonzero(~missing)
    if not len(kept):
        raise DataError("every row has an empty cell, so that none is left with fill='split'. Choose features.")
    broken = np.r_[0, np.cumsum(~joined)]
    runs = (np.diff(kept) == 1) & (np.diff(broken[kept]) == 0)
    rows = raw.rows if len(kept) == len(raw.rows) else raw.rows[kept]
    times = None if raw.times is None else raw.times[kept]
    notes = [*notes, f"Cut at gaps and empty cells; {counted(int(missing.sum()), 'row')} left out."]
    future = None if raw.future is None else raw.future[kept]
    return _table(chosen, raw._replace(rows=rows, times=times, groups=raw.groups[kept], future=future), runs, 0, notes)


def _filled(
    chosen: Chosen, raw: RawTable, same: np.ndarray, extra: np.ndarray, missing: np.ndarray, fill: str, notes: list[str]
) -> Table:
    """The rows with others added in the gaps, and every empty cell filled from the cells of its group."""
    more = int(extra.sum())
    if more > max(len(raw.rows), 1000):
        raise DataError(
            f"the gaps in time would take {more:,} rows to fill, more than the {len(raw.rows):,} there are. Use "
            "fill='split' (--fill split)."
        )
    place = np.arange(len(raw.rows)) + np.r_[0, np.cumsum(extra)]  # where each row comes to lie
    everywhere = np.arange(len(raw.rows) + more)
    rows = np.full((len(everywhere), raw.rows.shape[1]), np.nan, "float32")
    rows[place] = raw.rows
    empty_cells = np.isnan(rows)
    times = None
    if raw.times is not None:
        even = raw.clock.axis(raw.times)
        times = np.array(even.back(np.interp(everywhere, place, even.values)))
        times[place] = raw.times
    groups = raw.groups[np.searchsorted(place, everywhere, "right") - 1]
    axis = everywhere.astype("float64") if times is None else times
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        for column in range(rows.shape[1]):
            known = members[~np.isnan(rows[members, column])]
            if not len(known):
                raise DataError(
                    f"column {chosen.features[column]!r} is empty throughout"
                    + (f" in group {raw.group_names[group]!r}" if chosen.group is not None else "")
                    + ", so that nothing can be filled. Leave it out with exclude (--exclude)."
                )
            if fill == "linear" and chosen.features[column] in chosen.inputs:  # categories have nothing in between
                rows[members, column] = np.interp(axis[members], axis[known], rows[known, column])
            else:
                last = np.maximum(np.searchsorted(known, members, "right") - 1, 0)
                rows[members, column] = rows[known[last], column]
    empty = int(missing.sum())
    note = f"Filled ({fill}): {counted(empty, 'row')} with empty cells, {counted(more, 'row')} added in gaps."
    # A row that is added before one of the future is of the future.
    future = None if raw.future is None else raw.future[np.searchsorted(place, everywhere)]
    new = raw._replace(rows=rows, times=times, groups=groups, future=future)
    found = _table(chosen, new, np.diff(groups) == 0, empty + more, [*notes, note])
    unknown = np.setdiff1d(np.arange(rows.shape[1]), leads.places(chosen))
    interpolated = empty_cells[:, unknown].any(1) if fill == "linear" else None
    return found._replace(interpolated=interpolated, made=empty_cells[:, found.targets])
