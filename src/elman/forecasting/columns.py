# SPDX-License-Identifier: Apache-2.0
"""What the columns of a table are (numbers, times, categories, or none of them), and which of them a run uses.

In: the first rows of a table, and what the user named. Out: a `Chosen`, or a `DataError` for a name that is not a
column of the table, and for a column of times that cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from elman.checks import did_you_mean
from elman.errors import DataError
from elman.forecasting import time_parts
from elman.forecasting.cells import LOOK, MOST, cleaned, has_unit, is_text, may_be_thousands, numbers, shown
from elman.forecasting.settings import TableSettings
from elman.forecasting.source import Source
from elman.forecasting.time_parts import Parts
from elman.forecasting.times import COMPACT, EXCEL, TIME_OF_DAY, is_temporal, time_format, times
from elman.forecasting.words import listed

CATEGORIES = 20  # most values of a column of text that is taken for categories
_JITTER = 0.3  # of the median step, up to which rising numbers count as a clock
_MONTH = r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_LIKE_A_DATE = rf"(?i)\d.*{_MONTH}|{_MONTH}.*\d|\d[-/.: ]\d+[-/.: ]\d|\d:\d\d|\d\s?q[1-4]\b"

_NAME_OF_A_TIME = r"(?i)(?:date|time|month|week|quarter|period|stamp)"


class Chosen(NamedTuple):
    """The columns of one run.

    Attributes:
        targets: The columns to be forecast.
        features: What the network sees of them: the columns of numbers, the targets among them, and `weather = rain`
            for a value of a column of categories.
        time: The column of times, or `None`.
        group: The column that tells series apart, or `None`.
        left_out: What is neither, with the reason.
        inputs: The columns of the table that the features are made of.
        categories: The values of each column of categories.
        parts: How the column of times is joined from several, or `None`.
        known: Columns whose values are known before: of the inputs, and of what was left out of them as constant.
    """

    targets: list[str]
    features: list[str]
    time: str | None
    group: str | None
    left_out: dict[str, str]
    inputs: list[str]
    categories: dict[str, list[str]] = {}  # noqa: RUF012
    parts: Parts | None = None
    known: list[str] = []  # noqa: RUF012

    @property
    def target(self) -> str:
        """The target, or all of them with commas between them, for sentences."""
        return ", ".join(self.targets)

    def target_places(self) -> tuple[int, ...]:
        """The places of the targets in a row."""
        return tuple(self.features.index(name) for name in self.targets)

    def places(self) -> dict[str, int]:
        """The place of each feature in a row."""
        return {name: i for i, name in enumerate(self.features)}


def of_category(column: str, value: str) -> str:
    """The feature that is 1 where a column of categories has a value, else 0."""
    return f"{column} = {value}"


# --- kinds -----------------------------------------------------------------------------------------------------------


def kinds(head: pl.DataFrame, decimal_comma: bool, decimal: str | None = None) -> dict[str, str]:
    """Each column's kind by its first cells: numbers, times, a count (numbers that rise evenly), categories, empty, or
    text."""
    return {series.name: _kind(series, decimal_comma, decimal) for series in head}


def _kind(column: pl.Series, decimal_comma: bool, decimal: str | None = None) -> str:
    if is_empty(column):
        return "empty"
    series = column.head(LOOK)
    if is_temporal(series.dtype) or is_compact(series):
        return "times"
    if not is_text(series):
        if not (series.dtype.is_numeric() or isinstance(series.dtype, pl.Boolean | pl.Null)):
            return "text"
        return "count" if _rises_evenly(numbers(series, False).values) else "numbers"
    found = numbers(series, decimal_comma, decimal=decimal).values
    present = len(cleaned(series).drop_nulls())
    if present and np.isfinite(found).sum() < MOST * present:
        try:
            return "times" if time_format(series) else _kind_of_text(column)
        except DataError:  # these are times too; their order matters only if the column is used
            return "times"
    return "count" if _rises_evenly(found) else "numbers"


def is_empty(series: pl.Series) -> bool:
    """Whether no cell has a value."""
    return (cleaned(series) if is_text(series) else series).null_count() == len(series)


def is_compact(series: pl.Series) -> bool:
    """Whether the cells are numbers that are dates, such as 20240131."""
    if not (is_text(series) or series.dtype.is_numeric()):
        return False
    try:
        return time_format(series) in {*COMPACT, EXCEL}
    except DataError:
        return False


def _kind_of_text(column: pl.Series) -> str:
    """Whether text has so few values that they are categories."""
    text = cleaned(column).drop_nulls()
    few = text.n_unique() <= min(CATEGORIES, len(text) // 2)
    return "categories" if few and not all(map(has_unit, text.unique())) else "text"


def _rises_evenly(values: np.ndarray) -> bool:
    """Whether values look like row numbers, or like a clock that may jitter."""
    if len(values) < 8 or not np.isfinite(values).all():
        return False
    steps = np.diff(values)
    return bool((np.abs(steps - np.median(steps)) <= _JITTER * np.median(steps)).all() and steps.min() > 0)


# --- which of them ---------------------------------------------------------------------------------------------------


def choose(head: pl.DataFrame, source: Source, settings: TableSettings) -> Chosen:
    """Settles which columns are used. Categories are found, and their values are left to `reading`.

    Args:
        head: The first rows of the table.
        source: The table.
        settings: The columns that the user named.

    Raises:
        DataError: If a name is not a column of the table, or none can be chosen.
    """
    names = settings.time if settings.time is None or settings.time in head.columns else _several(settings.time, head)
    parts = time_parts.asked_for(names, head) if isinstance(names, list) else None
    time = parts.name if parts is not None else settings.time
    kind = kinds(head, source.decimal_comma, source.decimal)
    group, features, known = settings.group, settings.features, list(dict.fromkeys(settings.known or ()))
    targets = _targets(settings, head)
    of_time = parts.columns if parts is not None else [time]
    asked = {"target": targets, "time": of_time, "group": [group], "features": features, "known": known}
    asked["exclude"] = settings.exclude
    _check_names(kind, asked)
    kind = {name: each for name, each in kind.items() if name not in (settings.exclude or ())}
    _check_exclude(kind, asked)
    given = {*targets, group, *(features or ()), *known}
    if not targets and "numbers" not in kind.values():
        kind = {n: "numbers" if k == "count" else k for n, k in kind.items()}
    if time is None:
        free = {k: [n for n in kind if kind[n] == k and n not in given] for k in ("times", "count")}
        parts = time_parts.found_in(head.head(LOOK), [n for n in kind if n not in given], free["times"])
        time = parts.name if parts is not None else next(iter(free["times"] or free["count"]), None)
    if time is None:
        _check_unread(head, {name: each for name, each in kind.items() if name not in given})
    taken = {time, group, *(parts.columns if parts is not None else ())}
    numeric = [n for n, k in kind.items() if k == "numbers" and n not in taken]
    targets = targets or [_only(numeric, kind, head)]
    if taken & set(targets) or (time is not None and time == group):
        named = next((name for name in targets if name in taken), targets[0])
        raise DataError(f"target, time and group are {named!r}, {time!r} and {group!r}; expected different columns.")
    if wrong := [name for name in features or () if name in taken]:
        raise DataError(f"features has {wrong[0]!r}, the column of the {'group' if wrong[0] == group else 'time'}.")
    if wrong := [name for name in known if name in {*taken, *targets}]:
        role = "target" if wrong[0] in targets else "group" if wrong[0] == group else "time"
        raise DataError(
            f"known has {wrong[0]!r}, the column of the {role}; expected other columns. Leave it out there."
        )
    calendar = _calendar(head, time, kind, [n for n in numeric if n not in given]) if features is None else []
    seen = [n for n, k in kind.items() if k in {"numbers", "categories"} and n not in {*taken, *calendar}]
    inputs = list(dict.fromkeys([*(seen if features is None else features), *known, *targets]))
    if features is None:
        inputs.sort(key=list(kind).index)
    for name in targets:
        _check_target(head[name], kind[name])
    categories: dict[str, list[str]] = {
        name: [] for name in inputs if kind[name] in {"categories", "text"} and name not in targets
    }
    reasons = dict.fromkeys(calendar, "calendar")
    left_out = {
        name: _reason(head[name], reasons.get(name, each))
        for name, each in kind.items()
        if name not in {*inputs, *taken}
    }
    return Chosen(targets, inputs, time, group, left_out, inputs, categories, parts, known)


def _targets(settings: TableSettings, head: pl.DataFrame) -> list[str]:
    """The columns to forecast that the user named; none for the only column of numbers."""
    target = settings.target
    if target is None:
        return []
    found = target if isinstance(target, list) else _several(target, head) if target not in head.columns else target
    targets = found if isinstance(found, list) else [found]
    if len(targets) > 1 and settings.unit is not None:
        raise DataError(
            f"unit is {settings.unit!r}, and there are {len(targets)} targets; expected one target with a unit. Write "
            "the units in the names of the columns, and leave unit (--unit) out."
        )
    return list(dict.fromkeys(targets))


def _several(text: str, head: pl.DataFrame) -> list[str] | str:
    """The columns that a text with commas names, if all of them are columns of the table."""
    names = [name.strip() for name in text.split(",")]
    return names if len(names) > 1 and all(name in head.columns for name in names) else text


def _calendar(head: pl.DataFrame, time: str | None, kind: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """The columns of numbers that repeat what a single column of times says."""
    if time is None or kind.get(time) != "times":
        return []
    first = head.head(LOOK)
    form = None if is_temporal(first[time].dtype) else time_format(first[time])
    moments = times(first[time], form).values
    return [] if np.isnan(moments).any() else time_parts.repeated(first, moments, names)


def _reason(series: pl.Series, kind: str) -> str:
    """Why a column is left out."""
    known = {
        "times": "times",
        "count": "a count of rows",
        "numbers": "not asked for",
        "categories": "not asked for",
        "calendar": "the time says as much",
        "empty": "empty",
    }
    if kind != "text":
        return known[kind]
    text = cleaned(series.head(LOOK)).drop_nulls() if is_text(series) else pl.Series([], dtype=pl.String)
    if not len(text):
        return str(series.dtype) if not is_text(series) else "text"
    cell = text[0]
    if _are_mostly(text, has_unit):
        return f"numbers with units, such as {shown(cell)}; write them without"
    if _are_mostly(text, may_be_thousands):
        return f"numbers with thousands separators, such as {shown(cell)}; write them without, or name the decimal mark"
    dates = text.str.contains(_LIKE_A_DATE).sum() > MOST * len(text)
    return "text; if these are times, write them as 2024-01-31" if dates else "text"


def _are_mostly(text: pl.Series, what: object) -> bool:
    assert callable(what)
    return sum(map(what, text)) > MOST * len(text)


# --- checks ----------------------------------------------------------------------------------------------------------


def _check_names(kind: Mapping[str, str], asked: Mapping[str, Sequence[str | None] | None]) -> None:
    for role, names in asked.items():
        for name in names or ():
            if name is not None and name not in kind:
                raise DataError(
                    f"{role} is {name!r}, which is not a column of the table; the columns are "
                    f"{listed(kind)}.{did_you_mean(name, kind)}"
                )


def _check_exclude(kind: Mapping[str, str], asked: Mapping[str, Sequence[str | None] | None]) -> None:
    for role in ("target", "time", "group", "features", "known"):
        for name in asked[role] or ():
            if name is not None and name not in kind:
                raise DataError(f"exclude has {name!r}, which {role} names as well. Name it once.")


def _check_target(series: pl.Series, kind: str) -> None:
    """Raises DataError if the target is certainly not numbers. A single wrong cell is found while reading."""
    if kind == "empty":
        raise DataError(f"column {series.name!r}, the target, is empty; expected numbers.")
    if holds_classes(series, kind):
        raise DataError(
            f"column {series.name!r}, the target, holds text such as {shown(series.drop_nulls()[0])}; expected numbers "
            "to forecast. Choose another target (--target). Which category comes next is learned by elman.fit if it is "
            "the only target, and the task is 'auto'."
        )


def holds_classes(series: pl.Series, kind: str) -> bool:
    """Whether a column is certainly not numbers, with units or separators of thousands either."""
    if kind not in {"categories", "text"} or not is_text(series):
        return False
    text = cleaned(series.head(LOOK)).drop_nulls()
    return not _are_mostly(text, has_unit) and not _are_mostly(text, may_be_thousands)


def _check_unread(head: pl.DataFrame, kind: Mapping[str, str]) -> None:
    """Raises DataError if a column of text looks like the time of the table and cannot be read."""
    for name, each in kind.items():
        series = head[name].head(LOOK)
        if each not in {"text", "categories"} or not is_text(series):
            continue
        text = cleaned(series).drop_nulls()
        if text.n_unique() <= CATEGORIES and text.n_unique() < len(text):
            continue
        if not (re.search(_NAME_OF_A_TIME, name) or text.str.contains(_LIKE_A_DATE).sum() > MOST * len(text)):
            continue
        cure = f"or leave the column out with exclude (--exclude {name!r})."
        if text.str.contains(TIME_OF_DAY).all():
            raise DataError(
                f"column {name!r} has times of day, such as {text[0]!r}, and no column has the date; expected times as "
                f"2024-01-31 12:30. Add the date, {cure}"
            )
        raise DataError(
            f"column {name!r} looks like times, such as {shown(text[0])}, which cannot be read; expected dates as "
            f"2024-01-31, with a time as 2024-01-31 12:30. Write them so, {cure}"
        )


def _only(numeric: Sequence[str], kind: Mapping[str, str], head: pl.DataFrame) -> str:
    """The one column of numbers, where nothing is named to forecast."""
    if len(numeric) == 1:
        return numeric[0]
    found = f": {listed(numeric)}. Name the one to forecast."
    if not numeric:
        reasons = {name: _reason(head[name], each) for name, each in kind.items() if each == "text"}
        names = [f"{name} ({reasons[name]})" if name in reasons else name for name in kind]
        found = f"; the columns are {listed(names)}. Name one to forecast, or write its cells as numbers."
    raise DataError(f"target is not given, and the table has {len(numeric)} columns of numbers{found}")
