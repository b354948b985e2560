# SPDX-License-Identifier: Apache-2.0
"""Reads a table into rows of float32, in memory or, where they are many, in a file that is mapped into it.

In: a `Source` and what the user said of its columns. Out: a `Table`: the rows in order of time, group by group, cut
into segments that a window may not cross. Text where a number should be, infinities, missing cells, gaps and disorder
are found here, on the way; what is wrong with the values as a whole, in `checks`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from elman.errors import DataError
from elman.forecasting import columns as of_columns
from elman.forecasting.columns import Chosen
from elman.forecasting.source import Source

FILLS = ("linear", "previous", "split", "keep")
IN_MEMORY = 1 << 30  # bytes of rows, beyond which they go to a file
CHUNK = 1 << 18  # rows that are worked on at a time
_GAP = 1.5  # median steps
_LARGEST = float(np.finfo("float32").max)
_COARSE = 1e-3  # largest spacing of float32, in standard deviations of a column


class Table(NamedTuple):
    """A table that was read.

    Attributes:
        rows: `(rows, features)`, float32.
        chosen: The columns used; `chosen.features` are those of `rows`.
        times: `(rows,)`, microseconds since 1970 or the numbers of the time column; `None` without one.
        temporal: Whether `times` are microseconds.
        groups: `(rows,)`, indices into `group_names`; one group without a group column.
        group_names: As the table has them.
        segments: `(segments, 2)`, first row and the row after the last of each stretch without a break.
        filled: How many rows were filled or put in.
        notes: Sentences about what was decided.
    """

    rows: np.ndarray
    chosen: Chosen
    times: np.ndarray | None
    temporal: bool
    groups: np.ndarray
    group_names: list[str]
    segments: np.ndarray
    filled: int
    notes: list[str]

    @property
    def target(self) -> int:
        """The target's column in `rows`."""
        return self.chosen.features.index(self.chosen.target)


class _Raw(NamedTuple):
    """What was read, in the order of the table; NaN where a cell is empty."""

    rows: np.ndarray
    times: np.ndarray | None
    temporal: bool
    groups: np.ndarray
    group_names: list[str]


def read(source: Source, asked: dict[str, Any], fill: str | None) -> Table:
    """Reads a table.

    Args:
        source: Where from.
        asked: `target`, `features`, `time` and `group`, as the user gave them.
        fill: What to do with missing cells and gaps in time; one of `FILLS`, or `None` for an error.

    Raises:
        DataError: If a cell, a row or a column is not as it should be.
    """
    head = next(source.frames(source.columns), None)
    if head is None or not head.height:
        raise DataError(f"{source.name} has a header and no rows.")
    kind = of_columns.kinds(head, source.decimal_comma)
    chosen = of_columns.choose(kind, **asked)
    raw = _read(source, chosen, head)
    notes = []
    if chosen.time and asked["time"] is None:
        notes.append(f"Column {chosen.time!r} is taken for the time.")
    if chosen.left_out and asked["features"] is None:
        why = ", ".join(f"{name} ({reason})" for name, reason in list(chosen.left_out.items())[:6])
        notes.append(f"Left out: {why}.")
    return _arranged(source, chosen, raw, fill, notes)


# --- cells to numbers ------------------------------------------------------------------------------------------------


def _read(source: Source, chosen: Chosen, head: pl.DataFrame) -> _Raw:
    used = list(dict.fromkeys(n for n in (*chosen.features, chosen.time, chosen.group) if n is not None))
    form = _form(source, chosen.time, head)
    temporal = chosen.time is not None and (form is not None or of_columns.is_temporal(head[chosen.time].dtype))
    parts, times, groups = [], [], []
    codes: dict[str, int] = {}
    spread = _Spread(len(chosen.features))
    at = 0
    for frame in source.frames(used):
        values = np.column_stack([_numbers(source, frame[name], at) for name in chosen.features])
        spread.add(values)
        parts.append(values.astype("float32"))
        if chosen.time:
            times.append(_times(source, frame[chosen.time], form, at))
        if chosen.group:
            groups.append(_codes(frame[chosen.group], codes))
        at += frame.height
        if sum(part.nbytes for part in parts if not isinstance(part, np.memmap)) > IN_MEMORY:
            parts = [_in_file(parts)]
    spread.check(chosen.features)
    rows = (
        parts[0] if len(parts) == 1 else _in_file(parts) if isinstance(parts[0], np.memmap) else np.concatenate(parts)
    )
    return _Raw(
        rows,
        np.concatenate(times) if times else None,
        temporal,
        np.concatenate(groups) if groups else np.zeros(at, "int32"),
        list(codes) or [""],
    )


class _Spread:
    """Sums over columns as they stream by, about each column's first value so that none is lost to an offset."""

    def __init__(self, columns: int) -> None:
        self.first = np.full(columns, np.nan)
        self.largest, self.count, self.sum, self.squares = np.zeros((4, columns))

    def add(self, values: np.ndarray) -> None:
        """One part more; NaN does not count."""
        there = np.isfinite(values)
        for i in np.flatnonzero(np.isnan(self.first) & there.any(0)):
            self.first[i] = values[there[:, i].argmax(), i]
        shifted = np.where(there, values - self.first, 0)
        self.largest = np.maximum(self.largest, np.where(there, np.abs(values), 0).max(0, initial=0))
        self.count += there.sum(0)
        self.sum += shifted.sum(0)
        self.squares += (shifted**2).sum(0)

    def check(self, names: list[str]) -> None:
        """Raises DataError where float32, in which the network computes, is too coarse for what a column tells."""
        count = np.maximum(self.count, 1)
        deviation = np.sqrt(np.maximum(self.squares / count - (self.sum / count) ** 2, 0))
        for name, largest, std in zip(names, self.largest, deviation, strict=True):
            spacing = float(np.spacing(np.float32(largest)))
            if std > 0 and spacing > _COARSE * std:
                raise DataError(
                    f"column {name!r} goes up to {largest:.6g} and varies by {std:.3g}, and float32, in which the "
                    f"network computes, has steps of {spacing:.3g} there. Subtract a constant from it, or leave it out."
                )


def _in_file(parts: list[np.ndarray]) -> np.ndarray:
    """The parts one after another in a file without a name, which is gone when the process is."""
    with tempfile.TemporaryFile() as file:
        for part in parts:
            for start in range(0, len(part), CHUNK):
                file.write(np.ascontiguousarray(part[start : start + CHUNK]).data)
        file.flush()
        return np.memmap(file, "float32", "r+", shape=(sum(map(len, parts)), parts[0].shape[1]))


def _form(source: Source, time: str | None, head: pl.DataFrame) -> str | None:
    """The format of a time column that is text."""
    if time is None or not of_columns.is_text(head[time]):
        return None
    form = of_columns.time_format(head[time])
    if form is None and of_columns.numbers(head[time].head(100), source.decimal_comma).wrong is not None:
        cell = head[time].drop_nulls()[0]
        raise DataError(
            f"column {time!r} has times such as {cell!r}; expected dates as 2024-01-31, with a time as 2024-01-31 "
            "12:30, or numbers."
        )
    return form


def _numbers(source: Source, series: pl.Series, at: int) -> np.ndarray:
    """A column's float64 values."""
    found = of_columns.numbers(series, source.decimal_comma)
    if found.wrong is not None and not of_columns.is_text(series):
        raise DataError(f"column {series.name!r} holds {series.dtype}; expected numbers. Choose other columns.")
    if found.wrong is not None:
        source.check_rows()
        raise DataError(
            f"{source.row(at + found.wrong)}, column {series.name!r}: {series[found.wrong]!r} is no number. Mend it, "
            "or choose other columns with target and features (--target, --features)."
        )
    beyond = np.abs(found.values) > _LARGEST
    if beyond.any():
        first = int(beyond.argmax())
        raise DataError(
            f"{source.row(at + first)}, column {series.name!r}: {found.values[first]:g} is beyond float32; expected "
            f"finite numbers up to {_LARGEST:.2g}. Mend it, or leave the cell empty and fill it."
        )
    return found.values


def _times(source: Source, series: pl.Series, form: str | None, at: int) -> np.ndarray:
    found = of_columns.times(series, form)
    if found.wrong is not None:
        source.check_rows()
        like = f"a time like the ones before it ({form})" if form else "a number like the ones before it"
        raise DataError(
            f"{source.row(at + found.wrong)}, column {series.name!r}: {series[found.wrong]!r} is not {like}."
        )
    return found.values


def _codes(series: pl.Series, codes: dict[str, int]) -> np.ndarray:
    """The groups as indices in order of their first row; -1 where the cell is empty."""
    text = series.cast(pl.String)
    for name in text.drop_nulls().unique(maintain_order=True):
        codes.setdefault(name, len(codes))
    return text.replace_strict(codes, default=-1, return_dtype=pl.Int32).fill_null(-1).to_numpy()


# --- rows in order ---------------------------------------------------------------------------------------------------


def _arranged(source: Source, chosen: Chosen, raw: _Raw, fill: str | None, notes: list[str]) -> Table:
    """Checks the order, and deals with missing cells and with gaps."""
    raw = _without_blank_end(source, raw)
    lost = np.flatnonzero(raw.groups < 0)
    if len(lost):
        raise DataError(f"{source.row(int(lost[0]))}, column {chosen.group!r} (the group) is empty; expected a name.")
    order = None
    if (np.diff(raw.groups) < 0).any():  # series side by side, row by row: one after the other from here on
        order = np.argsort(raw.groups, kind="stable")
        rows = (
            _in_file([raw.rows[order[i : i + CHUNK]] for i in range(0, len(order), CHUNK)])
            if isinstance(raw.rows, np.memmap)
            else raw.rows[order]
        )
        raw = raw._replace(rows=rows, groups=raw.groups[order], times=None if raw.times is None else raw.times[order])

    def where(index: int) -> str:
        return source.row(index if order is None else int(order[index]))

    same = np.diff(raw.groups) == 0  # whether a row has its predecessor's group
    _check_order(chosen, raw, same, where)
    missing = np.concatenate([np.isnan(raw.rows[i : i + CHUNK]).any(1) for i in range(0, len(raw.rows), CHUNK)])
    if missing.any():
        source.check_rows()
        if fill in {None, "keep"}:
            at = np.flatnonzero(missing)
            first = int(at[0] if order is None else at[order[at].argmin()])
            column = chosen.features[int(np.isnan(raw.rows[first]).argmax())]
            raise DataError(
                f"{where(first)}, column {column!r} is empty. Fill such cells with fill='linear' (--fill linear) or "
                "'previous', or leave their rows out with 'split'."
            )
    extra = np.zeros(len(same), "int64") if fill == "keep" else _gaps(chosen, raw, same, fill, where)
    if fill == "split":
        return _split(chosen, raw, same & (extra == 0), missing, notes)
    if fill in {"linear", "previous"} and (missing.any() or extra.any()):
        return _filled(chosen, raw, same, extra, missing, fill, notes)
    return _table(chosen, raw, same, 0, notes)


def _table(chosen: Chosen, raw: _Raw, joined: np.ndarray, filled: int, notes: list[str]) -> Table:
    """A `Table` whose rows go on where `joined` says so."""
    cuts = np.flatnonzero(~joined) + 1
    segments = np.column_stack([np.r_[0, cuts], np.r_[cuts, len(raw.rows)]])
    return Table(raw.rows, chosen, raw.times, raw.temporal, raw.groups, raw.group_names, segments, filled, notes)


def _without_blank_end(source: Source, raw: _Raw) -> _Raw:
    """Without the empty lines that a file may end with."""
    end = len(raw.rows)
    while end and np.isnan(raw.rows[end - 1]).all() and (raw.times is None or np.isnan(raw.times[end - 1])):
        end -= 1
    if not end:
        raise DataError(f"{source.name} has {len(raw.rows)} rows, and none with a value.")
    times = None if raw.times is None else raw.times[:end]
    return raw._replace(rows=raw.rows[:end], times=times, groups=raw.groups[:end])


def _check_order(chosen: Chosen, raw: _Raw, same: np.ndarray, where: Callable[[int], str]) -> None:
    """Raises DataError unless time rises in every group."""
    if raw.times is None:
        return
    lost = np.flatnonzero(np.isnan(raw.times))
    if len(lost):
        raise DataError(f"{where(int(lost[0]))}, column {chosen.time!r} (the time) is empty; expected a time.")
    back = np.flatnonzero(same & (np.diff(raw.times) <= 0))
    if len(back):
        now, before = (time_text(raw.times[back[0] + i], raw.temporal) for i in (1, 0))
        group = (
            ""
            if chosen.group
            else " If the table holds several series, name the column that tells them apart with group (--group)."
        )
        said = f"{now} again" if now == before else f"{now} after {before}"
        raise DataError(
            f"{where(int(back[0]) + 1)}, column {chosen.time!r} (the time): {said}; expected rows in order of time."
            + group
        )


def _gaps(chosen: Chosen, raw: _Raw, same: np.ndarray, fill: str | None, where: Callable[[int], str]) -> np.ndarray:
    """How many rows are missing before each row but the first, by the time column.

    Raises:
        DataError: If any are, and `fill` is `None`.
    """
    if raw.times is None or not same.any():
        return np.zeros(len(same), "int64")
    steps = np.diff(raw.times)
    median = float(np.median(steps[same]))
    gap = same & (steps > _GAP * median)
    if gap.any() and fill is None:
        first = int(gap.argmax())
        before, now = (time_text(raw.times[first + i], raw.temporal) for i in (0, 1))
        raise DataError(
            f"{where(first + 1)}, column {chosen.time!r} (the time): a gap from {before} to {now}, where rows are "
            f"{step_text(median, raw.temporal)} apart. Fill gaps with fill='linear' (--fill linear) or 'previous', cut "
            "there with 'split', or take the rows as they come with 'keep'."
        )
    return np.where(gap, np.maximum(np.rint(steps / median).astype("int64") - 1, 1), 0)


def _split(chosen: Chosen, raw: _Raw, joined: np.ndarray, missing: np.ndarray, notes: list[str]) -> Table:
    """Without the rows that miss a cell; the series is cut there and at gaps."""
    kept = np.flatnonzero(~missing)
    if not len(kept):
        raise DataError("every row has an empty cell, so that none is left with fill='split'. Choose features.")
    broken = np.r_[0, np.cumsum(~joined)]
    runs = (np.diff(kept) == 1) & (np.diff(broken[kept]) == 0)
    rows = raw.rows if len(kept) == len(raw.rows) else raw.rows[kept]
    times = None if raw.times is None else raw.times[kept]
    notes = [*notes, f"Cut at gaps and empty cells; {int(missing.sum()):,} rows left out."]
    return _table(chosen, raw._replace(rows=rows, times=times, groups=raw.groups[kept]), runs, 0, notes)


def _filled(
    chosen: Chosen, raw: _Raw, same: np.ndarray, extra: np.ndarray, missing: np.ndarray, fill: str, notes: list[str]
) -> Table:
    """With rows put into the gaps, and every empty cell filled from its group's own."""
    more = int(extra.sum())
    if more > max(len(raw.rows), 1000):
        raise DataError(
            f"the gaps in time would take {more:,} rows to fill, more than the {len(raw.rows):,} there are. Use "
            "fill='split' (--fill split)."
        )
    place = np.arange(len(raw.rows)) + np.r_[0, np.cumsum(extra)]  # of each row among the filled ones
    everywhere = np.arange(len(raw.rows) + more)
    rows = np.full((len(everywhere), raw.rows.shape[1]), np.nan, "float32")
    rows[place] = raw.rows
    times = None if raw.times is None else np.interp(everywhere, place, raw.times)
    groups = raw.groups[np.searchsorted(place, everywhere, "right") - 1]
    axis = everywhere.astype("float64") if times is None else times
    for group in np.unique(groups):
        mine = np.flatnonzero(groups == group)
        for column in range(rows.shape[1]):
            there = mine[~np.isnan(rows[mine, column])]
            if not len(there):
                raise DataError(
                    f"column {chosen.features[column]!r} is empty throughout"
                    + (f" in group {raw.group_names[group]!r}" if chosen.group else "")
                    + ", so that nothing can be filled. Leave it out with features (--features)."
                )
            if fill == "linear":
                rows[mine, column] = np.interp(axis[mine], axis[there], rows[there, column])
            else:
                last = np.maximum(np.searchsorted(there, mine, "right") - 1, 0)
                rows[mine, column] = rows[there[last], column]
    notes = [
        *notes,
        f"Filled ({fill}): {int(missing.sum()):,} rows with empty cells, {more:,} rows that were not there.",
    ]
    new = raw._replace(rows=rows, times=times, groups=groups)
    return _table(chosen, new, np.diff(groups) == 0, int(missing.sum()) + more, notes)


# --- times as text ---------------------------------------------------------------------------------------------------


def time_text(value: float, temporal: bool) -> str:
    """A time as people write it, without the parts that are zero."""
    if not temporal:
        return f"{value:.12g}"
    text = str(np.datetime64(int(value), "us")).replace("T", " ")
    return text.removesuffix(".000000").removesuffix(" 00:00:00")


def step_text(step: float, temporal: bool) -> str:
    """A length of time in its natural unit."""
    if not temporal:
        return f"{step:.6g}"
    for size, unit in ((86_400e6, "d"), (3_600e6, "h"), (60e6, "min"), (1e6, "s")):
        if step >= size:
            return f"{step / size:.4g} {unit}"
    return f"{step / 1e3:.4g} ms"
