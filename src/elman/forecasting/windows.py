# SPDX-License-Identifier: Apache-2.0
"""Windows over a table: their first rows, the part that each belongs to, and the arrays of some of them.

In: a `Table`, the rows of a window and of a forecast. Out: the first row of each window of a part, as integers. A batch
is gathered from the rows when it is used, since all windows at once may not fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from elman.errors import DataError
from elman.forecasting.parts import LATER, PARTS
from elman.forecasting.table import Table

_SHORTEST, _LONGEST = 8, 64  # rows of a window that is chosen here
_WITHOUT_PERIOD = 24
_STEPS = 100  # of an epoch, at least, if there are windows enough
LEAST_EXAMPLES, _EXAMPLES = 16, 1024  # held-out windows on which memory is measured
_MOSTLY = 0.5  # share of the rows
_LONG_ENOUGH = 8  # how often a window that is chosen here fits into the series, at least


class Windows(NamedTuple):
    """The windows of a table.

    Attributes:
        rows: `(rows, features)`, float32.
        columns: The targets' columns.
        window: Rows of input.
        ahead: Rows of forecast.
        starts: For each part, the first row of each of its windows, in order.
        made: `(rows, targets)`: whether the target of a row was filled, as in the `Table`; `None` if none was.
    """

    rows: np.ndarray
    columns: tuple[int, ...]
    window: int
    ahead: int
    starts: dict[str, np.ndarray]
    made: np.ndarray | None = None

    def inputs(self, starts: np.ndarray) -> np.ndarray:
        """`(len(starts), window, features)`: the raw rows of some windows."""
        return gathered(self.rows, starts, self.window)

    @property
    def outputs(self) -> int:
        """How many numbers a forecast has: for each target, one after the other, one for each row ahead."""
        return self.ahead * len(self.columns)

    def targets(self, starts: np.ndarray) -> np.ndarray:
        """`(len(starts), outputs)`: the values that follow."""
        rows = rows_ahead(starts, self.window, self.ahead)
        return self.rows[rows[:, None], np.array(self.columns)[:, None]].reshape(len(starts), self.outputs)

    def filled(self, starts: np.ndarray) -> np.ndarray:
        """`(len(starts), outputs)`: whether each value that follows was filled, so that nobody measured it."""
        if self.made is None:
            return np.zeros((len(starts), self.outputs), bool)
        made = self.made[rows_ahead(starts, self.window, self.ahead)]
        return made.transpose(0, 2, 1).reshape(len(starts), self.outputs)

    def measured(self, starts: np.ndarray) -> np.ndarray:
        """Those of the given windows that have no filled target."""
        return starts if self.made is None else starts[~self.filled(starts).any(1)]

    def truth(self, starts: np.ndarray) -> np.ndarray:
        """`(len(starts), outputs)`: the values that follow, float64; NaN where one was filled."""
        return np.where(self.filled(starts), np.nan, self.targets(starts).astype("float64"))

    def last(self, starts: np.ndarray) -> np.ndarray:
        """`(len(starts), outputs)`: the targets in the last row of each."""
        return np.repeat(self.rows[(starts + self.window - 1)[:, None], list(self.columns)], self.ahead, axis=1)

    def of_outputs(self, values: np.ndarray) -> Any:
        """A number of each column as one of each output `(outputs,)`; one number if there is one target."""
        if len(self.columns) == 1:
            return float(values[self.columns[0]])
        return np.repeat(values[list(self.columns)], self.ahead)


def rows_ahead(starts: np.ndarray, window: int, ahead: int) -> np.ndarray:
    """`(len(starts), ahead)`: the rows that some windows forecast."""
    return starts[:, None] + np.arange(window, window + ahead)


def gathered(rows: np.ndarray, starts: np.ndarray, window: int) -> np.ndarray:
    """`(len(starts), window, features)`: the rows from each start on."""
    return blocks(rows, window)[starts].reshape(len(starts), window, rows.shape[1])


def blocks(rows: np.ndarray, window: int) -> np.ndarray:
    """`(windows, window * features)`: a view of the rows from every start on.

    Each window is one block of memory, which is several times as fast to copy as its rows one by one.
    """
    features = rows.shape[1]
    return np.lib.stride_tricks.sliding_window_view(rows.reshape(-1), window * features)[::features]


def chunks(starts: np.ndarray, values_each: int) -> Iterator[np.ndarray]:
    """The windows in chunks, so that the arrays of each stay small."""
    size = max(1, (1 << 23) // values_each)
    for first in range(0, len(starts), size):
        yield starts[first : first + size]


def training_series(table: Table, part: np.ndarray, target: int = 0) -> list[np.ndarray]:
    """A target in each stretch of the training part, float64; the first one if none is named."""
    series, column = [], table.targets[target]
    for first, end in table.segments.tolist():
        last = first + int((part[first:end] == 0).sum())
        series.append(table.rows[first:last, column].astype("float64"))
    return [values for values in series if len(values)]


def default_window(longest: int, ahead: int, period: int | None, *, known: bool = False) -> int:
    """A window of one and a quarter periods, from 8 to 64 rows, and short enough to leave windows to learn from.

    With known columns it has as many rows more as are forecast, since it holds the known values of these.

    Args:
        longest: Rows of the longest stretch of the training part.
        ahead: Rows of forecast.
        period: Rows, or `None` if there is none.
        known: Whether there are known columns.
    """
    wanted = _WITHOUT_PERIOD if period is None else min(max(period + -(-period // 4), _SHORTEST), _LONGEST)
    least, more = (ahead, ahead) if known else (1, 0)
    return max(least, min(wanted + more, (longest - ahead) // _LONG_ENOUGH))


def batch_size_for(windows: int) -> int:
    """A power of two from 32 to 1024, so that an epoch has a hundred steps or more if there are windows enough."""
    return int(min(1024, max(32, 2 ** int(np.log2(max(windows / _STEPS, 1))))))


def windows_of(table: Table, part: np.ndarray, window: int, ahead: int) -> Windows:
    """All windows of a table, by their part. Inputs may reach back into the part before, and targets may not.

    No window ends in a row that was filled by the value after it, which is what is to be forecast.

    The targets of a held-out window may reach into the block of the next origin, which no model has learned from yet. A
    window whose targets were all filled is used neither to validate nor to judge.

    Raises:
        DataError: If a part has none.
    """
    n = len(table.rows)
    index = np.int32 if n < 2**31 else np.int64
    found: dict[str, list[np.ndarray]] = {name: [] for name in PARTS}
    for first, end in table.segments.tolist():
        starts = np.arange(first, end - window - ahead + 1, dtype=index)
        if table.interpolated is not None:
            starts = starts[~table.interpolated[starts + window - 1]]
        begins, ends = part[starts + window], part[starts + window + ahead - 1]
        for i, name in enumerate(PARTS):
            last = LATER if name == "test" else i
            found[name].append(starts[(begins == i) & (ends >= i) & (ends <= last)])
    parted = {name: np.concatenate(each) for name, each in found.items()}
    windows = Windows(table.rows, table.targets, window, ahead, parted, table.made)
    for name in PARTS[1:]:
        parted[name] = _judged(windows, parted[name], name, table.chosen.targets)
    for name, each in parted.items():
        if not len(each):
            share = 0.0 if table.interpolated is None else float(table.interpolated.mean())
            if share > _MOSTLY:
                raise DataError(
                    f"fill is 'linear', which reads the value after an empty cell, and {100 * share:.0f} % of the rows "
                    "have such a cell, so that too few windows end in a row whose values were known then. Use "
                    "'previous' (--fill previous)."
                )
            raise DataError(_too_short(table, window, ahead, name))
    return windows


def _judged(windows: Windows, starts: np.ndarray, part: str, targets: list[str]) -> np.ndarray:
    """Those windows of a part on which a forecast can be judged: with a target that was measured.

    Raises:
        DataError: If every value of a target was filled.
    """
    filled = windows.filled(starts)
    for name, each in zip(targets, np.split(filled, len(targets), axis=1), strict=True):
        if len(starts) and each.all():
            which = "held-out value" if part == "test" else "value to validate by"
            raise DataError(
                f"every {which} of {name!r} was empty and is filled, so that no forecast can be judged; expected some "
                "at the end of the table. Leave out the rows there that have none."
            )
    return starts[~filled.all(1)]


def _too_short(table: Table, window: int, ahead: int, part: str) -> str:
    longest = int(np.diff(table.segments).max())
    several = f" in {len(table.segments)} stretches, the longest of {longest}" if len(table.segments) > 1 else ""
    enough = max(-(-ahead * 100 // 15) + 1, -(-(window + ahead) * 100 // 55) + 1)
    return (
        f"the table has {len(table.rows):,} rows{several}, and a window of {window} with {ahead} ahead leaves none for "
        f"the {part} part; about {enough:,} rows without a gap are needed. Choose a smaller window or ahead."
    )


def moments_of(table: Table, starts: np.ndarray, window: int) -> np.ndarray:
    """When each of some windows ends: the time of its last row, or the number of that row in its series."""
    last = starts + window - 1
    if table.times is not None:
        return table.times[last]
    return (last - np.searchsorted(table.groups, table.groups[last])).astype("float64")


def evenly(starts: np.ndarray, most: int) -> np.ndarray:
    """At most so many of some windows, evenly spaced."""
    return starts[np.linspace(0, len(starts) - 1, min(len(starts), most), dtype=int)]


def examples_of(held_out: np.ndarray) -> np.ndarray | None:
    """The held-out windows on which the memory of a network is measured; `None` if there are too few."""
    return evenly(held_out, _EXAMPLES) if len(held_out) >= LEAST_EXAMPLES else None
