# SPDX-License-Identifier: Apache-2.0
"""A table that was read: rows of float32 in order of time, group by group, cut into segments.

Only data is here. `reading` makes a `RawTable` of a source, `gaps` makes a `Table` of that.
"""

from __future__ import annotations

import tempfile
from typing import NamedTuple

import numpy as np

from elman import files
from elman.forecasting.clock import Clock
from elman.forecasting.columns import Chosen

IN_MEMORY = 1 << 30  # bytes of rows, beyond which they go to a file
CHUNK = 1 << 18  # rows that are worked on at a time


class RawTable(NamedTuple):
    """What was read, in the order of the source.

    Attributes:
        rows: `(rows, features)`, float32, NaN where a cell is empty. A memory map if they are many.
        times: `(rows,)`, float64, NaN where a cell is empty; `None` without a time column.
        clock: What the times are.
        groups: `(rows,)`, indices into `group_names`, -1 where the cell is empty.
        group_names: In order of their first row.
        marks: For a column, the numbers that mark its missing values, and how often each is there.
        future: `(rows,)`: whether the row has no target yet, and only its known columns count; `None` without them.
    """

    rows: np.ndarray
    times: np.ndarray | None
    clock: Clock
    groups: np.ndarray
    group_names: list[str]
    marks: dict[str, list[tuple[float, int]]] = {}  # noqa: RUF012
    future: np.ndarray | None = None


class Table(NamedTuple):
    """A table without empty cells.

    Attributes:
        rows: `(rows, features)`, float32.
        chosen: The columns used; `chosen.features` are those of `rows`.
        times: `(rows,)`, microseconds since 1970 or the numbers of the time column; `None` without one.
        clock: What the times are.
        groups: `(rows,)`, indices into `group_names`; one group without a group column.
        group_names: As the table has them.
        segments: `(segments, 2)`, first row and the row after the last of each stretch without a break.
        filled: How many rows were filled or added.
        notes: Sentences about what was decided.
        form: How the times are written, a key of `times.FORMS` or `COMPACT`; `None` if they are not text.
        interpolated: `(rows,)`: whether a cell of the row was filled by the value after it; `None` if none was.
        made: `(rows, targets)`: whether the target of the row was filled; `None` if none was.
        source_rows: `(rows,)`: which row of the source, from 0, each one is; `None` with a time column, whose times say
            it.
        future: As in a `RawTable`, until `leads` takes these rows out.
        known_ahead: `(rows,)`: of how many rows after each one the known columns are there, up to those that are
            forecast; `None` without known columns.
        later_times: By the row after the last of each segment, the times of the rows of the future that follow; `None`
            without known columns, and without times.
    """

    rows: np.ndarray
    chosen: Chosen
    times: np.ndarray | None
    clock: Clock
    groups: np.ndarray
    group_names: list[str]
    segments: np.ndarray
    filled: int
    notes: list[str]
    form: str | None = None
    interpolated: np.ndarray | None = None
    made: np.ndarray | None = None
    source_rows: np.ndarray | None = None
    future: np.ndarray | None = None
    known_ahead: np.ndarray | None = None
    later_times: dict[int, np.ndarray] | None = None

    @property
    def targets(self) -> tuple[int, ...]:
        """The targets' columns in `rows`."""
        return self.chosen.target_places()

    def segment_of(self, row: int) -> tuple[int, int]:
        """First row and the row after the last of the segment that a row is in."""
        first, end = self.segments[np.searchsorted(self.segments[:, 0], row, "right") - 1].tolist()
        return first, end


def joined(parts: list[np.ndarray]) -> np.ndarray:
    """Parts of rows one after another: in memory, or in a file if one of them is."""
    if len(parts) == 1:
        return parts[0]
    return in_file(parts) if isinstance(parts[0], np.memmap) else np.concatenate(parts)


def in_file(parts: list[np.ndarray]) -> np.ndarray:
    """The parts one after another in a file without a name, which the system deletes when the process ends."""
    with files.temporary_errors(), tempfile.TemporaryFile() as file:
        for part in parts:
            for start in range(0, len(part), CHUNK):
                file.write(np.ascontiguousarray(part[start : start + CHUNK]).data)
        file.flush()
        return np.memmap(file, "float32", "r+", shape=(sum(map(len, parts)), parts[0].shape[1]))
