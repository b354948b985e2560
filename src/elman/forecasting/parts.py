# SPDX-License-Identifier: Apache-2.0
"""Which rows a model learns from and which are held out, at each of several origins.

In: a `Table`. Out: the part of each row as an index into PARTS, for each origin. The end of the table is held out. It
is cut into blocks; at each origin a model is fitted again on everything before a block, and forecasts the block.

    rows     ------------- train ------------- | validation | test |  later  |      origin 1
             ---------------- train ------------------ | validation | test |later|  origin 2
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from elman.forecasting.table import Table

PARTS = ("train", "validation", "test")
LATER = len(PARTS)  # the part of rows after the block of an origin
_HELD_OUT, _MOST_HELD_OUT = 0.15, 0.3  # share of the rows
_ENOUGH = 150  # rows, of which as many as `_MOST_HELD_OUT` allows are held out in a small table
_VALIDATION = 0.15
_LEAST_BLOCK = 10  # rows


def share_held_out(rows: int) -> float:
    """The share of a table that is held out: 15 %, and up to 30 % of a table with few rows."""
    return max(_HELD_OUT, min(_MOST_HELD_OUT, _ENOUGH / rows))


def rows_for(held_out: int) -> int:
    """How many rows a table needs for so many to be held out: the inverse of `share_held_out`."""
    share = _MOST_HELD_OUT if held_out < _ENOUGH else _HELD_OUT
    return -(-held_out * 100 // round(100 * share))


def parts_at_origins(table: Table, origins: int) -> list[np.ndarray]:
    """The part of each row at each origin.

    Several series are cut at the same times, where there are times; else each by its rows.

    Args:
        table: The rows.
        origins: How many are wanted. There are fewer if a block would have fewer than 10 rows.

    Returns:
        One array `(rows,)`, int8, for each origin, in order of time.
    """
    place = _places(table)
    share = share_held_out(len(place))
    count = max(1, min(origins, int(share * len(place)) // _LEAST_BLOCK))
    ends = [1 - share + share * i / count for i in range(count + 1)]
    parts = []
    for begin, end in zip(ends, [*ends[1:-1], 1.0], strict=False):
        cuts = np.array([begin - _VALIDATION, begin, end])
        parts.append(np.searchsorted(cuts, place, "right").astype("int8"))
    return parts


def _places(table: Table) -> np.ndarray:
    """`(rows,)`: where each row lies between the first, 0, and the last, 1; no row lies at either end."""
    n = len(table.rows)
    if table.times is not None and len(table.group_names) > 1:
        return (np.searchsorted(np.sort(table.times), table.times, "left") + 0.5) / n
    places = np.empty(n)
    for first, end in _runs(table.groups):
        places[first:end] = (np.arange(end - first) + 0.5) / (end - first)
    return places


def _runs(groups: np.ndarray) -> Iterator[tuple[int, int]]:
    cuts = np.flatnonzero(np.diff(groups)) + 1
    yield from zip([0, *cuts.tolist()], [*cuts.tolist(), len(groups)], strict=True)
