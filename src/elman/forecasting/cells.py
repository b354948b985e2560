# SPDX-License-Identifier: Apache-2.0
"""Numbers as people write them: what a cell of text is worth, and whether its marks can be trusted.

In: Polars series, where a CSV file's cells are text. Out: float64 arrays, and the first cell that does not fit, which
the caller reports, as it has the row.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import polars as pl

_MISSING = ("", "na", "n/a", "nan", "nat", "<na>", "null", "none", "-", "?", "#n/a")  # an empty cell in other programs
LOOK = 1000  # cells that decide what a column is
MOST = 0.5  # share of those cells; if more are numbers, or times, then any other cell is an error
_LONGEST = 40  # characters of a cell in a sentence

_DECIMAL_COMMA = r"^([-+]?\d*),(\d+(?:[eE][-+]?\d+)?)$"
_GROUPS = {mark: rf"^[-+]?[1-9]\d{{0,2}}(?:{re.escape(mark)}\d{{3}})+$" for mark in (",", ".")}  # 1,002 or 1.002
_GROUPED = {  # a number with a thousands separator that is not also a fraction, by its decimal mark
    ".": r"^[-+]?\d{1,3}(?:[,' \u00A0\u202F]\d{3})+(?:\.\d*)?$",
    ",": r"^[-+]?\d{1,3}(?:[.' \u00A0\u202F]\d{3})+(?:,\d*)?$",
}
_WITH_UNIT = r"^(?:[-+]?(?:\d[\d.,' ]*)\s*[^\d\s.,:/+-]\S{0,9}(?: \S{1,9})?|[$€£¥]\s*[-+]?\d[\d.,' ]*)$"


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


def cleaned(series: pl.Series) -> pl.Series:
    """Text without blanks around it; missing cells are null."""
    text = series.cast(pl.String).str.strip_chars()
    return text.set(text.str.to_lowercase().is_in(_MISSING).fill_null(value=False), None)


def is_text(series: pl.Series) -> bool:
    """Whether the cells are text, stored as it is or as categories, so that numbers and times must be parsed."""
    return isinstance(series.dtype, pl.String | pl.Categorical | pl.Enum)


def shown(cell: object) -> str:
    """A cell in a sentence: quoted, and only the beginning of a long one."""
    text = str(cell)
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


def numbers(series: pl.Series, decimal_comma: bool, known: bool = False, decimal: str | None = None) -> Numbers:
    """The numbers of a column. True and false are 1 and 0.

    Args:
        series: The cells.
        decimal_comma: Whether 1,5 can be a number. Then 1,002 is one only if another cell shows that commas are
            decimal: it may be 1002.
        known: Whether an earlier part of the column has shown that.
        decimal: The decimal mark that the user named; the other mark separates thousands then.
    """
    if series.dtype.is_numeric() or isinstance(series.dtype, pl.Boolean | pl.Null):
        return Numbers(series.cast(pl.Float64).fill_null(np.nan).to_numpy(), None)
    if not is_text(series):
        return Numbers(np.full(len(series), np.nan), 0)
    text = cleaned(series).str.replace("^\u2212", "-")  # the sign that typesetters use
    unclear = None
    if decimal is not None:
        text = _plain(text, decimal)
    else:
        unclear, known = _unclear(text, decimal_comma=decimal_comma, known=known)
        if decimal_comma:
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


def _plain(text: pl.Series, decimal: str) -> pl.Series:
    """Numbers without thousands separators, and with a point as decimal mark."""
    grouped = text.str.contains(_GROUPED[decimal]).fill_null(value=False)
    if grouped.any():
        marks = r"[,' \u00A0\u202F]" if decimal == "." else r"[.' \u00A0\u202F]"
        text = text.zip_with(~grouped, text.str.replace_all(marks, ""))
    if decimal == ".":
        return text
    # A point that does not separate thousands is not part of a number here.
    text = text.set(text.str.contains(r"\d\.\d").fill_null(value=False), "not a number here")
    return text.str.replace(_DECIMAL_COMMA, "${1}.${2}").str.replace(r"^([-+]?\d+),$", "${1}")


def _unclear(text: pl.Series, *, decimal_comma: bool, known: bool) -> tuple[int | None, bool]:
    """The first cell that may be a fraction or a number with its thousands separated, and whether commas are decimal.

    A comma is decimal if some cell has it where no thousands end: 0,5 or 12,50. Points separate thousands if they
    always end them and other cells are integers too short for a separator: 998 and 1.002.
    """
    comma, point = (text.str.contains(mark, literal=True).fill_null(value=False) for mark in (",", "."))
    grouped = {mark: text.str.contains(form).fill_null(value=False) for mark, form in _GROUPS.items()}
    if decimal_comma:
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
    return any(re.match(form, str(cell).strip()) for form in (*_GROUPS.values(), *_GROUPED.values()))


def has_unit(cell: object) -> bool:
    """Whether a cell looks like a number with a unit, such as 39.4 F, 12 % or $5."""
    return re.match(_WITH_UNIT, str(cell).strip()) is not None
