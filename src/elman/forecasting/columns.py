# SPDX-License-Identifier: Apache-2.0
"""What the columns of a table are: numbers, times, or neither; and which of them a run uses.

In: Polars series, where a CSV's cells are text. Out: float64 arrays, or times in microseconds since 1970 (UTC where a
zone is given). A cell that does not fit is named by the caller, who knows its row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from elman.checks import did_you_mean
from elman.errors import DataError

_MISSING = ("", "na", "n/a", "nan", "null", "none", "-")  # as spreadsheets and databases write an empty cell
LOOK = 1000  # cells by which a column's kind is told
_MOST = 0.5  # of those, the share of numbers, or of times, from which on what is none is an error
_JITTER = 0.3  # of the median step, up to which numbers that rise are taken for a clock

# Year first, or a day and a month that cannot be taken for each other. T is read as a space.
_FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d %H:%M:%S%.f",
    "%Y-%m-%d-01",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S%.f",
)
_EITHER = (" %H:%M:%S%.f", " %H:%M", "")  # after 01/02/2024, which may be January or February


class Chosen(NamedTuple):
    """The columns of one run.

    Attributes:
        target: The column to be forecast.
        features: The inputs, the target among them.
        time: The column of times, or `None`.
        group: The column that tells series apart, or `None`.
        left_out: What is neither, with the reason.
    """

    target: str
    features: list[str]
    time: str | None
    group: str | None
    left_out: dict[str, str]


class Numbers(NamedTuple):
    """float64 values, NaN where missing; `wrong` is the index of the first cell that is no number, or `None`."""

    values: np.ndarray
    wrong: int | None


# --- cells -----------------------------------------------------------------------------------------------------------


def _cleaned(series: pl.Series) -> pl.Series:
    """Text without blanks around it; missing cells are null."""
    text = series.cast(pl.String).str.strip_chars()
    return text.set(text.str.to_lowercase().is_in(_MISSING).fill_null(value=False), None)


def is_text(series: pl.Series) -> bool:
    """Whether the cells are text, so that numbers and times are to be parsed."""
    return series.dtype in {pl.String, pl.Categorical, pl.Enum}


def is_temporal(dtype: Any) -> bool:
    """Whether the cells are dates or dates with a time."""
    return dtype in (pl.Date, pl.Datetime)


def numbers(series: pl.Series, decimal_comma: bool) -> Numbers:
    """The numbers of a column; true and false are 1 and 0."""
    if series.dtype.is_numeric() or series.dtype in {pl.Boolean, pl.Null}:
        return Numbers(series.cast(pl.Float64).fill_null(np.nan).to_numpy(), None)
    if not is_text(series):
        return Numbers(np.full(len(series), np.nan), 0)
    text = _cleaned(series)
    parsed = text.cast(pl.Float64, strict=False)
    failed = parsed.is_null() & text.is_not_null()
    if failed.any():
        if decimal_comma:
            text = text.str.replace(r"^([-+]?\d*),(\d+(?:[eE][-+]?\d+)?)$", "${1}.${2}")
        text = text.set(text.str.to_lowercase() == "true", "1").set(text.str.to_lowercase() == "false", "0")
        parsed = text.cast(pl.Float64, strict=False)
        failed = parsed.is_null() & text.is_not_null()
    return Numbers(parsed.fill_null(np.nan).to_numpy(), int(failed.arg_max() or 0) if failed.any() else None)


def time_format(series: pl.Series) -> str | None:
    """The format of a column of text that holds times, by its first cells; `None` if most are no times.

    Raises:
        DataError: If day and month cannot be told apart.
    """
    text = _cleaned(series).drop_nulls().head(LOOK)
    either = [f"{date}{rest}" for rest in _EITHER for date in ("%d/%m/%Y", "%m/%d/%Y")]
    fitting = {form: len(text) - _parsed(text, form).null_count() for form in (*_FORMATS, *either)}
    most = max(fitting.values())
    best = [form for form, cells in fitting.items() if cells == most]
    if most == 0 or most < _MOST * len(text):
        return None
    if best[0] in either and len(best) > 1:
        raise DataError(
            f"column {series.name!r} has times such as {text[0]!r}, in which day and month cannot be told apart. Write "
            "them as 2024-01-31."
        )
    return best[0]


def times(series: pl.Series, form: str | None) -> Numbers:
    """Microseconds since 1970 of temporal cells or of text in a format; else the numbers as they are."""
    if is_text(series) and form:
        text = _cleaned(series)
        parsed = _parsed(text, form)
        failed = parsed.is_null() & text.is_not_null()
        wrong = int(failed.arg_max() or 0) if failed.any() else None
    elif is_temporal(series.dtype):
        parsed, wrong = series.cast(pl.Datetime("us")), None
    else:
        return numbers(series, False)
    return Numbers(parsed.to_physical().cast(pl.Float64).fill_null(np.nan).to_numpy(), wrong)


def _parsed(text: pl.Series, form: str) -> pl.Series:
    text = text.str.replace(r"^(\d{4}-\d\d-\d\d)T", "${1} ")
    if form == "%Y-%m-%d-01":  # a month, 2024-01
        text, form = text + "-01", "%Y-%m-%d"
    found = text.str.to_datetime(form, strict=False, time_unit="us")
    return found.dt.replace_time_zone(None)


# --- kinds -----------------------------------------------------------------------------------------------------------


def kinds(head: pl.DataFrame, decimal_comma: bool) -> dict[str, str]:
    """Tells each column's kind by its first cells: numbers, times, a count (numbers that rise evenly), or text."""
    return {series.name: _kind(series, decimal_comma) for series in head.head(LOOK)}


def _kind(series: pl.Series, decimal_comma: bool) -> str:
    if is_temporal(series.dtype):
        return "times"
    found = numbers(series, decimal_comma).values
    present = len(_cleaned(series).drop_nulls()) if is_text(series) else len(series)
    if is_text(series) and not np.isfinite(found).any() and present:
        try:
            return "times" if time_format(series) else "text"
        except DataError:  # times all the same; which ones, only whoever wants them needs to know
            return "times"
    if not is_text(series) and not (series.dtype.is_numeric() or series.dtype in {pl.Boolean, pl.Null}):
        return "text"
    if is_text(series) and present and np.isfinite(found).sum() < _MOST * present:
        return "text"
    return "count" if _rises_evenly(found) else "numbers"


def _rises_evenly(values: np.ndarray) -> bool:
    """Whether they look like row numbers or a clock that may jitter."""
    if len(values) < 8 or not np.isfinite(values).all():
        return False
    steps = np.diff(values)
    return bool((np.abs(steps - np.median(steps)) <= _JITTER * np.median(steps)).all() and steps.min() > 0)


# --- which of them ---------------------------------------------------------------------------------------------------


def choose(
    kind: Mapping[str, str],
    target: str | None,
    features: Sequence[str] | None,
    time: str | None,
    group: str | None,
) -> Chosen:
    """Settles which columns are used.

    Args:
        kind: Of each column, by name.
        target: As the user gave it, as are the others.
        features: The same.
        time: The same.
        group: The same.

    Raises:
        DataError: If a name is not there, or none can be chosen.
    """
    _check_names(kind, {"target": [target], "time": [time], "group": [group], "features": features or []})
    given = {target, group, *(features or ())}
    if target is None and "numbers" not in kind.values():
        kind = {n: "numbers" if k == "count" else k for n, k in kind.items()}
    if time is None:
        free = {k: [n for n in kind if kind[n] == k and n not in given] for k in ("times", "count")}
        time = next(iter(free["times"] or free["count"]), None)
    numeric = [n for n, k in kind.items() if k == "numbers" and n not in {time, group}]
    if target is None:
        target = _only(numeric, kind)
    if len({target, time, group} - {None}) < 1 + (time is not None) + (group is not None):
        raise DataError(f"target, time and group are {target!r}, {time!r} and {group!r}; expected different columns.")
    if wrong := [name for name in features or () if name in {time, group}]:
        raise DataError(f"features has {wrong[0]!r}, the column of the {'time' if wrong[0] == time else 'group'}.")
    inputs = list(dict.fromkeys([*(numeric if features is None else features), target]))
    if features is None:
        inputs.sort(key=list(kind).index)
    used = {*inputs, time, group}
    words = {"text": "text", "times": "times", "count": "a count of rows", "numbers": "not asked for"}
    return Chosen(target, inputs, time, group, {n: words[k] for n, k in kind.items() if n not in used})


def _check_names(kind: Mapping[str, str], asked: Mapping[str, Sequence[str | None]]) -> None:
    for role, names in asked.items():
        for name in names:
            if name is not None and name not in kind:
                raise DataError(
                    f"{role} names {name!r}, which is no column; the columns are "
                    f"{listed(kind)}.{did_you_mean(name, kind)}"
                )


def _only(numeric: Sequence[str], kind: Mapping[str, str]) -> str:
    """The one column of numbers, where nothing is named to forecast."""
    if len(numeric) == 1:
        return numeric[0]
    found = f": {listed(numeric)}. Name the one to forecast." if numeric else f"; the columns are {listed(kind)}."
    raise DataError(f"target is not given, and the table has {len(numeric)} columns of numbers{found}")


def listed(names: Any, most: int = 12) -> str:
    """Names with commas between; of many the first."""
    names = list(names)
    return ", ".join(map(str, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
