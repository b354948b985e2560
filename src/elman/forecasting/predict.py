# SPDX-License-Identifier: Apache-2.0
"""`elman.predict`: a finished run and new rows in, forecasts out.

The columns must be those that the run was trained on; the rows are read and checked as in `fit`. Nothing is scored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from elman.checks import did_you_mean
from elman.errors import DataError
from elman.forecasting import table as tables
from elman.forecasting.columns import listed
from elman.forecasting.forecast import as_frame, forecast, last_windows
from elman.forecasting.run import Run
from elman.forecasting.source import open_table
from elman.forecasting.table import Table
from elman.forecasting.windows import Windows

_MOST = 4096  # windows as examples


def predict(run: Any, table: Any, every: bool = False) -> pl.DataFrame:
    """Forecasts the rows that follow a table's last ones, with a run's model.

    Args:
        run: What `fit` returned, or the path of its folder.
        table: New rows, in order of time, of the columns that the run was trained on; as many as its window, or more.
            Anything that `fit` takes.
        every: Whether to forecast after every window of the table, and not only after each series's last.

    Returns:
        A Polars frame with one row for each step ahead: the group, if there are several; `after`, the time or row that
        the window ends with; the time of the step, if times are regular; `ahead`, from 1; and the target, in its units.

    Raises:
        elman.DataError: If the run is not finished, or the table does not fit it; a `ValueError`.

    Example:

        elman.predict("elman-runs/beach-1f2e3d4c", "today.csv")
    """
    run, read, first_row = _read(run, table)
    window = run.metrics["window"]
    starts = _every(read, window) if every else _last(read, window)
    return as_frame(read, starts, window, forecast(run.model, read, starts, window), first_row)


def examples(run: Any, table: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """A run's model, and windows of a table with what follows each: `(windows, window, features)`, `(windows, ahead)`.

    Args:
        run: As `predict`.
        table: As `predict`.

    Raises:
        elman.DataError: As `predict`.
    """
    run, read, _ = _read(run, table)
    window, ahead = run.metrics["window"], run.metrics["ahead"]
    starts = _every(read, window + ahead)
    starts = starts[np.linspace(0, len(starts) - 1, min(len(starts), _MOST), dtype=int)]
    of = Windows(read.rows, read.target, window, ahead, {})
    return run.model, of.inputs(starts), of.targets(starts)


def _read(run: Any, table: Any) -> tuple[Run, Table, int]:
    """A run, a table of the columns that it was trained on, and the number of the table's first row."""
    if not isinstance(run, Run):
        run = Run.load(run)
    facts, arguments = run.metrics["table"], run.metrics["arguments"]
    features = facts["features"]
    source = open_table(table)
    needed = [name for name in (*features, facts["time"], facts["group"]) if name is not None]
    if lost := [name for name in needed if name not in source.columns]:
        raise DataError(
            f"the table has no column {lost[0]!r}, which {run.folder} was trained on; it has {listed(source.columns)}."
            f"{did_you_mean(lost[0], source.columns)}"
        )
    asked = {"target": run.metrics["target"], "features": features, "time": facts["time"], "group": facts["group"]}
    return run, tables.read(source, asked, arguments["fill"]), source.first_row


def _last(table: Table, window: int) -> np.ndarray:
    starts, short = last_windows(table, window)
    if short:
        of_group = f"group {short[0]!r} of the table ends with" if table.chosen.group else "the table ends with"
        raise DataError(f"{of_group} fewer than {window} rows without a break; the run's window needs {window}.")
    return starts


def _every(table: Table, window: int) -> np.ndarray:
    starts = [np.arange(first, end - window + 1) for first, end in table.segments.tolist() if end - first >= window]
    if not starts:
        raise DataError(f"the table has nowhere {window} rows without a break; the run's window needs {window}.")
    return np.concatenate(starts)
