# SPDX-License-Identifier: Apache-2.0
"""What the columns of a table are (numbers, times, or neither), and which of them a run uses.

In: Polars series, where a CSV file's cells are text. Out: float64 arrays, or times in microseconds since 1970, in UTC
where the cells have a zone. A cell that does not fit is reported by the caller, which has its row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from elman.checks import did_you_mean
from elman.errors import DataError
from elman.forecasting.settings import Settings
from elman.forecasting.words import listed

_MISSING = ("", "na", "n/a", "nan", "null", "none", "-")  # as spreadsheets and databases write an empty cell
LOOK = 1000  # cells that decide what a column is
_MOST = 0.5  # share of those cells; if more are numbers, or times, then any other cell is an error
_JITTER = 0.3  # of the median step, up to which rising numbers count as a clock

# Year first, or a day and a month that cannot be confused. T is read as a space. A year has four digits: of 13.01.24
# it is not certain which part is the year.
_YEAR_FIRST, _YEAR_LAST, _COMPACT = r"^\d{4}\D", r"\D\d{4}(?:\D|$)", r"^(?:19|20)\d{6}$"
_FORMATS = {
    "%Y-%m-%d": _YEAR_FIRST,
    "%Y-%m-%d %H:%M": _YEAR_FIRST,
    "%Y-%m-%d %H:%M:%S%.f": _YEAR_FIRST,
    "%Y-%m-%d %H:%M%#z": _YEAR_FIRST,
    "%Y-%m-%d %H:%M:%S%.f%#z": _YEAR_FIRST,
    "%Y/%m/%d": _YEAR_FIRST,
    "%Y/%m/%d %H:%M": _YEAR_FIRST,
    "%Y/%m/%d %H:%M:%S%.f": _YEAR_FIRST,
    "%Y-%m-%d-01": _YEAR_FIRST,
    "%d.%m.%Y": _YEAR_LAST,
    "%d.%m.%Y %H:%M": _YEAR_LAST,
    "%d.%m.%Y %H:%M:%S%.f": _YEAR_LAST,
    "%Y%m%d": _COMPACT,
}
# 01/02/2024 may be January or February: the first of a pair is taken only if the second does not fit as well.
_EITHER = {f"{date}{rest}": _YEAR_LAST for rest in (" %H:%M:%S%.f", " %H:%M", "") for date in ("%d/%m/%Y", "%m/%d/%Y")}
_ZONE = r"(Z|[-+]\d\d(?::?\d\d)?)$"  # at the end of a time
_LIKE_A_DATE = r"(?i)\d.*[-/.: ].*\d|\d.*(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)|\d.*q[1-4]"

_DECIMAL_COMMA = r"^([-+]?\d*),(\d+(?:[eE][-+]?\d+)?)$"
_GROUPS = {mark: rf"^[-+]?[1-9]\d{{0,2}}(?:{re.escape(mark)}\d{{3}})+$" for mark in (",", ".")}  # 1,002 or 1.002


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
    """The values of a column.

    Attributes:
        values: float64, NaN where a cell is missing.
        wrong: Index of the first cell that cannot be read, or `None`.
        decimal_comma: Whether some cell shows that the column's commas are decimal.
    """

    values: np.ndarray
    wrong: int | None
    decimal_comma: bool = False


# --- cells -----------------------------------------------------------------------------------------------------------


def _cleaned(series: pl.Series) -> pl.Series:
    """Text without blanks around it; missing cells are null."""
    text = series.cast(pl.String).str.strip_chars()
    return text.set(text.str.to_lowercase().is_in(_MISSING).fill_null(value=False), None)


def is_text(series: pl.Series) -> bool:
    """Whether the cells are text, stored as it is or as categories, so that numbers and times must be parsed."""
    return isinstance(series.dtype, pl.String | pl.Categorical | pl.Enum)


def is_temporal(dtype: Any) -> bool:
    """Whether the cells are dates or dates with a time."""
    return isinstance(dtype, pl.Date | pl.Datetime)


def numbers(series: pl.Series, decimal_comma: bool, known: bool = False) -> Numbers:
    """The numbers of a column. True and false are 1 and 0.

    Args:
        series: The cells.
        decimal_comma: Whether 1,5 can be a number. Then 1,002 is one only if another cell shows that commas are
            decimal: it may be 1002.
        known: Whether an earlier part of the column has shown that.
    """
    if series.dtype.is_numeric() or isinstance(series.dtype, pl.Boolean | pl.Null):
        return Numbers(series.cast(pl.Float64).fill_null(np.nan).to_numpy(), None)
    if not is_text(series):
        return Numbers(np.full(len(series), np.nan), 0)
    text = _cleaned(series)
    unclear = None
    if decimal_comma:
        unclear, known = _unclear(text, known=known)
        text = text.str.replace(_DECIMAL_COMMA, "${1}.${2}")
    parsed = text.cast(pl.Float64, strict=False)
    failed = parsed.is_null() & text.is_not_null()
    if failed.any():
        text = text.set(text.str.to_lowercase() == "true", "1").set(text.str.to_lowercase() == "false", "0")
        parsed = text.cast(pl.Float64, strict=False)
        failed = parsed.is_null() & text.is_not_null()
    wrong = [unclear] if unclear is not None else []
    if failed.any():
        wrong.append(int(failed.arg_max() or 0))
    return Numbers(parsed.fill_null(np.nan).to_numpy(), min(wrong, default=None), known)


def _unclear(text: pl.Series, *, known: bool) -> tuple[int | None, bool]:
    """The first cell that may be a fraction or a number with its thousands separated, and whether commas are decimal.

    A comma is decimal if some cell has it where no thousands end: 0,5 or 12,50. Points separate thousands if they
    always end them and other cells are integers too short for a separator: 998 and 1.002.
    """
    comma, point = (text.str.contains(mark, literal=True).fill_null(value=False) for mark in (",", "."))
    grouped = {mark: text.str.contains(form).fill_null(value=False) for mark, form in _GROUPS.items()}
    known = known or bool((text.str.contains(_DECIMAL_COMMA).fill_null(value=False) & ~grouped[","]).any())
    if comma.any() and not known:
        return int(comma.arg_max() or 0), known
    short = text.str.contains(r"^[-+]?\d{1,3}$").fill_null(value=False)
    long = text.str.contains(r"^[-+]?\d{4,}$").fill_null(value=False)
    if point.any() and not (point & ~grouped["."]).any() and (known or (short.any() and not long.any())):
        return int(point.arg_max() or 0), known
    return None, known


def may_be_thousands(cell: object) -> bool:
    """Whether a cell looks like a number whose thousands are separated."""
    return any(re.match(form, str(cell).strip()) for form in _GROUPS.values())


def time_format(series: pl.Series) -> str | None:
    """The format of a column of text or of integers (20240131) that holds times, by its first cells.

    Returns:
        The format, or `None` if most cells are not times.

    Raises:
        DataError: If day and month cannot be told apart.
    """
    text = _cleaned(series).drop_nulls().head(LOOK)
    forms = _FORMATS | _EITHER if is_text(series) else {"%Y%m%d": _COMPACT}
    fitting = {form: len(text) - _parsed(text, form).null_count() for form in forms}
    most = max(fitting.values())
    best = [form for form, cells in fitting.items() if cells == most]
    if most == 0 or most < _MOST * len(text):
        return None
    if best[0] in _EITHER and len(best) > 1:
        raise DataError(
            f"column {series.name!r} has times such as {text[0]!r}, in which day and month cannot be told apart. Write "
            "them as 2024-01-31."
        )
    return best[0]


def times(series: pl.Series, form: str | None) -> Numbers:
    """Microseconds since 1970 of dates, or of text or integers in a format; without a format, the numbers."""
    if form is not None:
        text = _cleaned(series)
        parsed = _parsed(text, form)
        failed = parsed.is_null() & text.is_not_null()
        wrong = int(failed.arg_max() or 0) if failed.any() else None
    elif is_temporal(series.dtype):
        parsed, wrong = series.cast(pl.Datetime("us", getattr(series.dtype, "time_zone", None))), None
    else:
        return numbers(series, False)
    return Numbers(parsed.to_physical().cast(pl.Float64).fill_null(np.nan).to_numpy(), wrong)


def time_zone(series: pl.Series, form: str | None) -> str | None:
    """The zone of a column of times, as Polars names it; `None` if its cells have none.

    Text with the same offset of whole hours in its first cells is in that zone, other text with offsets in UTC.
    """
    if form is None:
        return getattr(series.dtype, "time_zone", None)
    if not form.endswith("%#z"):
        return None
    offsets = _cleaned(series).drop_nulls().head(LOOK).str.extract(_ZONE).unique().to_list()
    hours = re.fullmatch(r"([-+])(\d\d)(?::?00)?", offsets[0] or "") if len(offsets) == 1 else None
    return fixed_zone(int(hours[1] + hours[2])) if hours else "UTC"


def fixed_zone(hours: int) -> str:
    """The zone that is always so many hours ahead of UTC. Its name counts the other way, as POSIX does."""
    return f"Etc/GMT{-hours:+d}" if hours and -12 <= hours <= 14 else "UTC"


def _parsed(text: pl.Series, form: str) -> pl.Series:
    fits = text.str.contains((_FORMATS | _EITHER)[form])
    text = text.set(~fits.fill_null(value=True), None).str.replace(r"^(\d{4}-\d\d-\d\d)T", "${1} ")
    if form == "%Y-%m-%d-01":  # a month, 2024-01
        text, form = text + "-01", "%Y-%m-%d"
    found = text.str.to_datetime(form, strict=False, time_unit="us")
    return found.dt.replace_time_zone(None)


# --- kinds -----------------------------------------------------------------------------------------------------------


def kinds(head: pl.DataFrame, decimal_comma: bool) -> dict[str, str]:
    """Each column's kind by its first cells: numbers, times, a count (numbers that rise evenly), or text."""
    return {series.name: _kind(series, decimal_comma) for series in head.head(LOOK)}


def _kind(series: pl.Series, decimal_comma: bool) -> str:
    if is_temporal(series.dtype) or _is_compact(series):
        return "times"
    found = numbers(series, decimal_comma).values
    present = len(_cleaned(series).drop_nulls()) if is_text(series) else len(series)
    if is_text(series) and not np.isfinite(found).any() and present:
        try:
            return "times" if time_format(series) else "text"
        except DataError:  # these are times too; their order matters only if the column is used
            return "times"
    if not is_text(series) and not (series.dtype.is_numeric() or isinstance(series.dtype, pl.Boolean | pl.Null)):
        return "text"
    if is_text(series) and present and np.isfinite(found).sum() < _MOST * present:
        return "text"
    return "count" if _rises_evenly(found) else "numbers"


def _is_compact(series: pl.Series) -> bool:
    """Whether all cells are dates such as 20240131, and not all the same one."""
    if not (is_text(series) or series.dtype.is_integer()):
        return False
    text = _cleaned(series).drop_nulls()
    return text.n_unique() > 1 and not _parsed(text, "%Y%m%d").null_count()


def _rises_evenly(values: np.ndarray) -> bool:
    """Whether values look like row numbers, or like a clock that may jitter."""
    if len(values) < 8 or not np.isfinite(values).all():
        return False
    steps = np.diff(values)
    return bool((np.abs(steps - np.median(steps)) <= _JITTER * np.median(steps)).all() and steps.min() > 0)


# --- which of them ---------------------------------------------------------------------------------------------------


def choose(head: pl.DataFrame, decimal_comma: bool, settings: Settings) -> Chosen:
    """Settles which columns are used.

    Args:
        head: The first rows of the table.
        decimal_comma: Whether text such as 1,5 can be a number.
        settings: The columns that the user named.

    Raises:
        DataError: If a name is not a column of the table, or none can be chosen.
    """
    kind = kinds(head, decimal_comma)
    target, time, group, features = settings.target, settings.time, settings.group, settings.features
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
    left_out = {name: _reason(head[name], each) for name, each in kind.items() if name not in used}
    return Chosen(target, inputs, time, group, left_out)


def _reason(series: pl.Series, kind: str) -> str:
    """Why a column is left out."""
    if kind != "text":
        return {"times": "times", "count": "a count of rows", "numbers": "not asked for"}[kind]
    text = _cleaned(series).drop_nulls() if is_text(series) else pl.Series([], dtype=pl.String)
    dates = len(text) > 0 and text.str.contains(_LIKE_A_DATE).sum() > _MOST * len(text)
    return "text; if these are times, write them as 2024-01-31" if dates else "text"


def _check_names(kind: Mapping[str, str], asked: Mapping[str, Sequence[str | None]]) -> None:
    for role, names in asked.items():
        for name in names:
            if name is not None and name not in kind:
                raise DataError(
                    f"{role} is {name!r}, which is not a column of the table; the columns are "
                    f"{listed(kind)}.{did_you_mean(name, kind)}"
                )


def _only(numeric: Sequence[str], kind: Mapping[str, str]) -> str:
    """The one column of numbers, where nothing is named to forecast."""
    if len(numeric) == 1:
        return numeric[0]
    found = f": {listed(numeric)}. Name the one to forecast." if numeric else f"; the columns are {listed(kind)}."
    raise DataError(f"target is not given, and the table has {len(numeric)} columns of numbers{found}")
