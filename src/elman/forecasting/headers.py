# SPDX-License-Identifier: Apache-2.0
"""Column names: whether a table has them, and whether they are distinct.

In: names, and the first cells below them. Out: nothing, or a `DataError`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Container, Sequence

from elman.errors import DataError
from elman.forecasting.words import listed

_DATE = r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:\D.*)?$"
_NUMBER = r"[-+]?\d*[.,]?\d+(?:[eE][-+]?\d+)?$"
_VALUE = rf"{_DATE}|{_NUMBER}"


def free_name(name: str, taken: Container[object]) -> str:
    """A name that no other column has: with `_` at its end, as often as is needed."""
    while name in taken:
        name += "_"
    return name


def check_header(columns: list[str], what: str) -> None:
    """Raises DataError if a table has no column names, or one twice."""
    if not any(name.strip() for name in columns):
        raise DataError(f"{what} has no column names in its first row; expected a header.")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise DataError(f"{what} has the column {twice[0]!r} {columns.count(twice[0])} times; expected distinct names.")


def check_is_header(columns: list[str], rows: Sequence[Sequence[str]], what: str) -> None:
    """Raises DataError if the first row holds values: dates and numbers, or numbers like those below them.

    Args:
        columns: The cells of the first row.
        rows: Those of some rows below it.
        what: The table, for the sentence.
    """
    if not all(re.match(_VALUE, name) for name in columns):
        return
    dates = {bool(re.match(_DATE, name)) for name in columns}
    if dates == {True, False} or _are_like(columns, rows):
        raise DataError(f"{what} starts with values ({listed(columns)}); expected a header. Add a row of column names.")


def _are_like(columns: list[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether every name is a number within twice the range of its column, and they are not 0, 1, 2 or the like."""
    cells = [[row[i] for row in rows if len(row) == len(columns)] for i in range(len(columns))]
    if not all(re.match(_NUMBER, text) for text in columns) or not cells[0]:
        return False
    names = [_value(name) for name in columns]
    if len(names) > 1 and all(b - a == 1 for a, b in itertools.pairwise(names)):
        return False
    for name, below in zip(names, cells, strict=True):
        if not all(re.match(_NUMBER, cell.strip()) for cell in below):
            return False
        values = [_value(cell.strip()) for cell in below]
        middle, half = (max(values) + min(values)) / 2, (max(values) - min(values)) / 2
        if abs(name - middle) > 2 * half:
            return False
    return True


def _value(text: str) -> float:
    return float(text.replace(",", "."))
