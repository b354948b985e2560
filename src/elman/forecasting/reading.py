# SPDX-License-Identifier: Apache-2.0
"""Reads a source into numbers: float32 rows, in memory or, if they are many, in a file that is mapped into it.

In: a `Source` and the user's `TableSettings`. Out: a `Table`; its order and its gaps are the business of `ordering` and
`gaps`. Text where a number should be, and infinities, are found here; what is wrong with the values as a whole, in
`checks`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from elman.errors import DataError
from elman.forecasting import calendar, columns, gaps, leads, marks, table, time_parts, times, zones
from elman.forecasting.cells import LOOK, cleaned, has_unit, is_text, may_be_thousands, numbers, shown
from elman.forecasting.clock import EARLIEST, LATEST, Clock
from elman.forecasting.columns import Chosen, of_category
from elman.forecasting.moments import Moments
from elman.forecasting.settings import TableSettings
from elman.forecasting.source import Source
from elman.forecasting.table import RawTable, Table
from elman.forecasting.time_parts import Parts
from elman.forecasting.words import listed

LARGEST = float(np.finfo("float32").max)
_COARSE = 1e-3  # largest spacing of float32, in standard deviations of a column
_CHOOSE = "Correct it, or choose other columns with target and features (--target, --features)."


class Known(NamedTuple):
    """What a run knows of its table, so that another one is read in the same way.

    Attributes:
        features: What the network sees, in order.
        inputs: The columns that they are made of.
        categories: The values of each column of categories.
        parts: How the column of times is joined from several, or `None`.
        form: How the times are written, or `None`.
    """

    features: list[str]
    inputs: list[str]
    categories: dict[str, list[str]]
    parts: Parts | None
    form: str | None

    @classmethod
    def of_run(cls, facts: dict[str, Any]) -> Known:
        """Of a run's metrics of its table; runs of earlier versions know the features alone."""
        cells = facts.get("time_parts")
        parts = None if cells is None else Parts(facts["time"], tuple((name, before) for name, before in cells))
        inputs = facts.get("inputs", facts["features"])
        return cls(facts["features"], inputs, facts.get("categories", {}), parts, facts.get("time_form"))


def read(source: Source, settings: TableSettings, known: Known | None = None) -> Table:
    """Reads a table.

    Args:
        source: Where it comes from.
        settings: The columns that the user named, and what to do with empty cells and gaps.
        known: What a run knows of its table, if this is another table for it.

    Raises:
        DataError: If a cell, a row or a column is not as it should be.
    """
    if known is not None and known.parts is not None:
        source = time_parts.with_time(source, known.parts)
    head = next(source.frames(source.columns), None)
    if head is None or not head.height:
        raise DataError(f"{source.name} has a header and no rows.")
    chosen = columns.choose(head, source, settings)
    if chosen.parts is not None:
        source = time_parts.with_time(source, chosen.parts)
        head = next(source.frames(source.columns))
    chosen = _with_categories(source, chosen, known, with_calendar=settings.calendar)
    form = None if chosen.time is None else time_form(source, head[chosen.time].head(LOOK), known)
    raw = _Reader(source, chosen, head, form).read()
    notes = [*source.notes, *_notes(chosen, settings, raw.clock, form)]
    if settings.fill != "keep":
        raw = _without_marks(raw, chosen)
    found = gaps.arranged(source, chosen, raw, settings, notes)._replace(form=form)
    found = leads.led(found, settings.ahead)
    if not settings.calendar:
        return found
    return calendar.with_calendar(found, None if known is None else calendar.names_in(known.features))


def _notes(chosen: Chosen, settings: TableSettings, clock: Clock, form: str | None) -> list[str]:
    """What was decided on the columns."""
    notes = []
    if chosen.parts is not None:
        notes.append(f"The time is made of the columns {listed(map(repr, chosen.parts.columns))}.")
    elif chosen.time is not None and settings.time is None:
        notes.append(f"Column {chosen.time!r} is taken for the time.")
    if form == times.EXCEL:
        notes.append(f"Column {chosen.time!r} holds the day numbers of Excel; they are shown as dates.")
    if (sentence := zones.sentence(clock.zone)) is not None:
        notes.append(sentence)
    if chosen.categories:
        each = [f"{name} ({listed(values, 4)})" for name, values in chosen.categories.items()]
        notes.append(f"Categories: {listed(each, 6)}.")
    if chosen.left_out and settings.features is None:
        reasons = [f"{name} ({reason})" for name, reason in chosen.left_out.items()]
        notes.append(f"Left out: {listed(reasons, 6)}.")
    return notes


def _with_categories(source: Source, chosen: Chosen, known: Known | None, *, with_calendar: bool) -> Chosen:
    """The columns with a feature for each value of the categories, of which the first of two has none."""
    if known is not None:
        of_calendar = set(calendar.names_in(known.features)) if with_calendar else set()
        features = [name for name in known.features if name not in of_calendar]
        return chosen._replace(features=features, inputs=known.inputs, categories=known.categories)
    if not chosen.categories:
        return chosen
    values: dict[str, set[str]] = {name: set() for name in chosen.categories}
    for frame in source.frames(list(values)):
        for name, each in values.items():
            each.update(cleaned(frame[name]).drop_nulls().unique())
            if len(each) > columns.CATEGORIES:
                raise DataError(
                    f"column {name!r} has more than {columns.CATEGORIES} different texts; expected numbers, or as many "
                    f"categories at most. Leave it out with exclude (--exclude {name!r})."
                )
    categories = {name: sorted(each) for name, each in values.items() if len(each) > 1}
    constant = {name: f"always {shown(min(each))}" for name, each in values.items() if len(each) == 1}
    inputs = [name for name in chosen.inputs if name not in constant]
    features = []
    for name in inputs:
        if name not in categories:
            features.append(name)
            continue
        seen = categories[name]
        features += [of_category(name, value) for value in (seen[1:] if len(seen) == 2 else seen)]
    left_out = chosen.left_out | constant
    return chosen._replace(features=features, inputs=inputs, categories=categories, left_out=left_out)


def _without_marks(raw: RawTable, chosen: Chosen) -> RawTable:
    """The rows with empty cells where a number such as -9999 marks a missing value."""
    places = [i for i, name in enumerate(chosen.features) if name in chosen.inputs]
    found = marks.found_in(raw.rows, places)
    marks.emptied(raw.rows, found)
    by_name: dict[str, list[tuple[float, int]]] = {}
    for mark in found:
        by_name.setdefault(chosen.features[mark.column], []).append((mark.value, mark.cells))
    return raw._replace(marks=by_name)


class _Reader:
    """Reads the chosen columns of one source, frame by frame."""

    def __init__(self, source: Source, chosen: Chosen, head: pl.DataFrame, form: str | None) -> None:
        self.source, self.chosen, self.form = source, chosen, form
        first = head.head(LOOK)
        self.clock = Clock(False)
        if chosen.time is not None and (form is not None or times.is_temporal(head[chosen.time].dtype)):
            self.clock = Clock(True, zones.time_zone(head[chosen.time], form))
        text = [series for series in first if source.decimal_comma and is_text(series)]
        self.decimal_comma = any(numbers(series, True).decimal_comma for series in text)

    def read(self) -> RawTable:
        """Reads all rows.

        Raises:
            DataError: If a cell cannot be read.
        """
        chosen = self.chosen
        used = list(dict.fromkeys(n for n in (*chosen.inputs, chosen.time, chosen.group) if n is not None))
        parts, found_times, groups = [], [], []
        codes: dict[str, int] = {}
        moments = Moments(len(chosen.features))
        row = 0
        for frame in self.source.frames(used):
            values = self._values(frame, row)
            moments.add(values)
            parts.append(values.astype("float32"))
            if chosen.time is not None:
                found_times.append(self._times(frame[chosen.time], row))
            if chosen.group is not None:
                groups.append(_codes(frame[chosen.group], codes))
            row += frame.height
            if sum(part.nbytes for part in parts if not isinstance(part, np.memmap)) > table.IN_MEMORY:
                parts = [table.in_file(parts)]
        _check_precision(chosen.features, moments)
        return RawTable(
            table.joined(parts),
            np.concatenate(found_times) if found_times else None,
            self.clock,
            np.concatenate(groups) if groups else np.zeros(row, "int32"),
            list(codes) or [""],
        )

    def _values(self, frame: pl.DataFrame, first: int) -> np.ndarray:
        """`(rows, features)`, float64; `first` is the row of the first one."""
        places = self.chosen.places()
        values = np.empty((frame.height, len(places)))
        for name in self.chosen.inputs:
            if name not in self.chosen.categories:
                values[:, places[name]] = self._numbers(frame[name], first)
                continue
            text = self._category(frame[name], first)
            for value in self.chosen.categories[name]:
                if (place := places.get(of_category(name, value))) is not None:
                    values[:, place] = (text == value).cast(pl.Float64).fill_null(np.nan).to_numpy()
        return values

    def _category(self, series: pl.Series, first: int) -> pl.Series:
        text = cleaned(series)
        known = self.chosen.categories[series.name]
        strange = text.is_not_null() & ~text.is_in(known).fill_null(value=False)
        if strange.any():
            at = int(strange.arg_max() or 0)
            raise DataError(
                f"{self.source.row(first + at)}, column {series.name!r}: {shown(series[at])} is a category that the "
                f"table of the run does not have; expected one of {listed(known)}. Correct it, or fit again."
            )
        return text

    def _numbers(self, series: pl.Series, first: int) -> np.ndarray:
        """A column's float64 values; `first` is the row of its first cell."""
        source = self.source
        found = numbers(series, source.decimal_comma, self.decimal_comma, source.decimal)
        self.decimal_comma = self.decimal_comma or found.decimal_comma
        if found.wrong is not None and not is_text(series):
            raise DataError(f"column {series.name!r} holds {series.dtype}; expected numbers. Choose other columns.")
        if found.wrong is not None:
            source.check_rows()
            place = f"{source.row(first + found.wrong)}, column {series.name!r}: {shown(series[found.wrong])}"
            raise DataError(wrong_number(place, series[found.wrong], source.decimal, comma=source.decimal_comma))
        too_large = np.abs(found.values) > LARGEST
        if too_large.any():
            at = int(too_large.argmax())
            raise DataError(
                f"{source.row(first + at)}, column {series.name!r}: {beyond(found.values[at])} "
                "Or leave the cell empty and fill it."
            )
        return found.values

    def _times(self, series: pl.Series, first: int) -> np.ndarray:
        found = times.times(series, self.form)
        beyond = (found.values < EARLIEST) | (found.values > LATEST) if self.clock.temporal else np.zeros(1, bool)
        if found.wrong is None and not beyond.any():
            return found.values
        self.source.check_rows()
        at = int(beyond.argmax()) if found.wrong is None else found.wrong
        place = f"{self.source.row(first + at)}, column {series.name!r}"
        if found.wrong is None:
            raise DataError(f"{place}: {Clock(True).text(found.values[at])} is not within the years 1 to 9999.")
        like = f"a time like the ones before it ({self.form})" if self.form else "a number like the ones before it"
        raise DataError(f"{place}: {shown(series[at])} is not {like}. Correct it, or delete the row.")


def beyond(value: float) -> str:
    """The sentence for a number that float32 does not hold, without its place."""
    return f"{value:g} is beyond float32; expected finite numbers up to {LARGEST:.2g}. Correct it."


def wrong_number(place: str, cell: object, decimal: str | None, *, comma: bool) -> str:
    """The sentence for a cell that is not a number, or not certainly one; `comma` if commas may be decimal."""
    if decimal is not None:
        return f"{place} is not a number with the decimal mark {decimal!r}. {_CHOOSE}"
    if may_be_thousands(cell):
        write = (
            "Name the decimal mark with decimal (--decimal . or --decimal ,), or write it without a thousands separator"
        )
        may = (
            "may be a fraction or a number with a thousands separator"
            if comma or "." in str(cell)
            else "is not a number"
        )
        return f"{place} {may}. {write}."
    if has_unit(cell):
        return f"{place} is a number with a unit; expected the number alone. Write the unit in the name of the column."
    return f"{place} is not a number. {_CHOOSE}"


def time_form(source: Source, series: pl.Series, known: Known | None = None) -> str | None:
    """The form of a time column that is text or numbers such as 20240131: the one that a run knows, if it fits.

    Args:
        source: The table.
        series: The first cells of the column.
        known: What a run knows of its table.

    Raises:
        DataError: If the cells are text, and not times or numbers.
    """
    if not (is_text(series) or series.dtype.is_numeric()):
        return None
    if known is not None and known.form is not None and times.times(series, known.form).wrong is None:
        return known.form
    form = times.time_format(series)
    if form is None and numbers(series.head(100), source.decimal_comma, decimal=source.decimal).wrong is not None:
        raise DataError(
            f"column {series.name!r} has times such as {shown(cleaned(series).drop_nulls()[0])}; expected dates as "
            "2024-01-31, with a time as 2024-01-31 12:30, or numbers. Write them so."
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
                f"network computes, has steps of {spacing:.3g} there. Subtract a constant from it, or leave it out "
                f"with exclude (--exclude {name!r})."
            )
