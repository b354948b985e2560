# SPDX-License-Identifier: Apache-2.0
"""Reads a source into numbers: float32 rows, in memory or, if they are many, in a file that is mapped into it.

In: a `Source` and the user's `Settings`. Out: a `Table`; its order and its gaps are the business of `gaps`. Text where
a number should be, and infinities, are found here; what is wrong with the values as a whole, in `checks`.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from elman.errors import DataError
from elman.forecasting import columns, gaps, table
from elman.forecasting.clock import EARLIEST, LATEST, Clock
from elman.forecasting.columns import Chosen
from elman.forecasting.moments import Moments
from elman.forecasting.settings import Settings
from elman.forecasting.source import Source
from elman.forecasting.table import RawTable, Table
from elman.forecasting.words import listed

_LARGEST = float(np.finfo("float32").max)
_COARSE = 1e-3  # largest spacing of float32, in standard deviations of a column


def read(source: Source, settings: Settings) -> Table:
    """Reads a table.

    Args:
        source: Where it comes from.
        settings: The columns that the user named, and what to do with empty cells and gaps.

    Raises:
        DataError: If a cell, a row or a column is not as it should be.
    """
    head = next(source.frames(source.columns), None)
    if head is None or not head.height:
        raise DataError(f"{source.name} has a header and no rows.")
    chosen = columns.choose(head, source.decimal_comma, settings)
    raw = _Reader(source, chosen, head).read()
    notes = []
    if chosen.time is not None and settings.time is None:
        notes.append(f"Column {chosen.time!r} is taken for the time.")
    if chosen.left_out and settings.features is None:
        reasons = [f"{name} ({reason})" for name, reason in chosen.left_out.items()]
        notes.append(f"Left out: {listed(reasons, 6)}.")
    return gaps.arranged(source, chosen, raw, settings.fill, notes)


class _Reader:
    """Reads the chosen columns of one source, frame by frame."""

    def __init__(self, source: Source, chosen: Chosen, head: pl.DataFrame) -> None:
        self.source, self.chosen = source, chosen
        first = head.head(columns.LOOK)
        self.form = _form(source, chosen.time, first)
        self.clock = Clock(False)
        if chosen.time is not None and (self.form is not None or columns.is_temporal(head[chosen.time].dtype)):
            self.clock = Clock(True, columns.time_zone(first[chosen.time], self.form))
        text = [series for series in first if source.decimal_comma and columns.is_text(series)]
        self.decimal_comma = any(columns.numbers(series, True).decimal_comma for series in text)

    def read(self) -> RawTable:
        """Reads all rows.

        Raises:
            DataError: If a cell cannot be read.
        """
        chosen = self.chosen
        used = list(dict.fromkeys(n for n in (*chosen.features, chosen.time, chosen.group) if n is not None))
        parts, times, groups = [], [], []
        codes: dict[str, int] = {}
        moments = Moments(len(chosen.features))
        row = 0
        for frame in self.source.frames(used):
            values = np.column_stack([self._numbers(frame[name], row) for name in chosen.features])
            moments.add(values)
            parts.append(values.astype("float32"))
            if chosen.time is not None:
                times.append(self._times(frame[chosen.time], row))
            if chosen.group is not None:
                groups.append(_codes(frame[chosen.group], codes))
            row += frame.height
            if sum(part.nbytes for part in parts if not isinstance(part, np.memmap)) > table.IN_MEMORY:
                parts = [table.in_file(parts)]
        _check_precision(chosen.features, moments)
        return RawTable(
            table.joined(parts),
            np.concatenate(times) if times else None,
            self.clock,
            np.concatenate(groups) if groups else np.zeros(row, "int32"),
            list(codes) or [""],
        )

    def _numbers(self, series: pl.Series, first: int) -> np.ndarray:
        """A column's float64 values; `first` is the row of its first cell."""
        found = columns.numbers(series, self.source.decimal_comma, self.decimal_comma)
        self.decimal_comma = self.decimal_comma or found.decimal_comma
        if found.wrong is not None and not columns.is_text(series):
            raise DataError(f"column {series.name!r} holds {series.dtype}; expected numbers. Choose other columns.")
        if found.wrong is not None:
            self.source.check_rows()
            raise DataError(self._wrong_number(series, found.wrong, first))
        beyond = np.abs(found.values) > _LARGEST
        if beyond.any():
            at = int(beyond.argmax())
            raise DataError(
                f"{self.source.row(first + at)}, column {series.name!r}: {found.values[at]:g} is beyond float32; "
                f"expected finite numbers up to {_LARGEST:.2g}. Correct it, or leave the cell empty and fill it."
            )
        return found.values

    def _wrong_number(self, series: pl.Series, at: int, first: int) -> str:
        cell = series[at]
        place = f"{self.source.row(first + at)}, column {series.name!r}: {cell!r}"
        if not columns.may_be_thousands(cell):
            return (
                f"{place} is not a number. Correct it, or choose other columns with target and features (--target, "
                "--features)."
            )
        if not self.source.decimal_comma:
            return f"{place} is not a number. Write it without a thousands separator."
        return (
            f"{place} may be a fraction or a number with a thousands separator. Write numbers without thousands "
            "separators, and save the file with commas between columns."
        )

    def _times(self, series: pl.Series, first: int) -> np.ndarray:
        found = columns.times(series, self.form)
        beyond = (found.values < EARLIEST) | (found.values > LATEST) if self.clock.temporal else np.zeros(1, bool)
        if found.wrong is None and not beyond.any():
            return found.values
        self.source.check_rows()
        at = int(beyond.argmax()) if found.wrong is None else found.wrong
        place = f"{self.source.row(first + at)}, column {series.name!r}"
        if found.wrong is None:
            raise DataError(f"{place}: {Clock(True).text(found.values[at])} is not within the years 1 to 9999.")
        like = f"a time like the ones before it ({self.form})" if self.form else "a number like the ones before it"
        raise DataError(f"{place}: {series[at]!r} is not {like}.")


def _form(source: Source, time: str | None, head: pl.DataFrame) -> str | None:
    """The format of a time column that is text, or integers such as 20240131."""
    if time is None or not (columns.is_text(head[time]) or head[time].dtype.is_integer()):
        return None
    form = columns.time_format(head[time])
    if form is None and columns.numbers(head[time].head(100), source.decimal_comma).wrong is not None:
        cell = head[time].drop_nulls()[0]
        raise DataError(
            f"column {time!r} has times such as {cell!r}; expected dates as 2024-01-31, with a time as 2024-01-31 "
            "12:30, or numbers."
        )
    return form


def _codes(series: pl.Series, codes: dict[str, int]) -> np.ndarray:
    """The groups as indices in order of their first row; -1 where the cell is empty."""
    text = series.cast(pl.String)
    for name in text.drop_nulls().unique(maintain_order=True):
        codes.setdefault(name, len(codes))
    return text.replace_strict(codes, default=-1, return_dtype=pl.Int32).fill_null(-1).to_numpy()


def _check_precision(names: list[str], moments: Moments) -> None:
    """Raises DataError where float32, in which the network computes, is too coarse for how little a column varies."""
    for name, largest, std in zip(names, moments.largest, moments.std, strict=True):
        spacing = float(np.spacing(np.float32(largest)))
        if std > 0 and spacing > _COARSE * std:
            raise DataError(
                f"column {name!r} goes up to {largest:.6g} and varies by {std:.3g}, and float32, in which the "
                f"network computes, has steps of {spacing:.3g} there. Subtract a constant from it, or leave it out."
            )
