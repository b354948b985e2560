# SPDX-License-Identifier: Apache-2.0
"""Numbers that mark missing values, such as -9999 and 999, in columns where they stand far outside all others.

In: rows as they were read. Out: the marks, and the rows with NaN in their place. What is done about empty cells is the
business of `gaps`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from elman.forecasting.table import CHUNK

MARKS = np.array(
    [
        *(sign * float("9" * nines) for sign in (-1, 1) for nines in range(2, 7)),
        *(
            sign * value
            for sign in (-1, 1)
            for value in (99.9, 999.9, 9999.9, 99.99, 999.99, 9999.99, 1e20, 1e30, 1e35)
        ),
        *(-7777.0, -8888.0, -6999.0, -32768.0, 32767.0, -2147483648.0, 2147483647.0, 9.96921e36),
    ],
    "float32",
)
_FEWEST = 3  # different values beside the mark, by which the range of a column is known


class Mark(NamedTuple):
    """A mark of one column.

    Attributes:
        column: The place of the column.
        value: The number.
        cells: How many there are.
    """

    column: int
    value: float
    cells: int


def found_in(rows: np.ndarray, places: list[int]) -> list[Mark]:
    """The marks of some columns of `(rows, features)`.

    A number of MARKS is one if it is the smallest or the largest of its column, and is further from the nearest other
    value than the others are apart, or is the only negative one.
    """
    found = []
    for place in places:
        column = rows[:, place]
        for _ in range(2):  # -9999 below and 9999 above
            mark = _of(column, place)
            if mark is None:
                break
            found.append(mark)
            column = np.where(column == np.float32(mark.value), np.nan, column)
    return found


def _of(column: np.ndarray, place: int) -> Mark | None:
    low, high = (float(f(column)) if not np.isnan(column).all() else np.nan for f in (np.nanmin, np.nanmax))
    for value in (low, high):
        if np.float32(value) not in MARKS:
            continue
        is_mark = column == np.float32(value)
        rest = column[~is_mark & ~np.isnan(column)]
        if len(np.unique(rest[:1000])) < _FEWEST:
            continue
        least, most = float(rest.min()), float(rest.max())
        distance = least - value if value == low else value - most
        if distance > most - least or (value < 0 <= least and value <= -99):
            return Mark(place, value, int(is_mark.sum()))
    return None


def emptied(rows: np.ndarray, marks: list[Mark]) -> None:
    """Makes the cells with marks empty, in place."""
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        for mark in marks:
            part[part[:, mark.column] == np.float32(mark.value), mark.column] = np.nan
