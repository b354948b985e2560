# SPDX-License-Identifier: Apache-2.0
"""Forecasts by a run: a finished run and new rows in, forecasts out.

The table must have the columns that the run was trained on. Its rows are read and checked as in `fit`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from elman.checks import did_you_mean
from elman.errors import DataError
from elman.forecasting import folder, leads, models, reading
from elman.forecasting.forecast import as_frame, forecasts_of, last_windows
from elman.forecasting.intervals import checked
from elman.forecasting.parts import parts_at_origins
from elman.forecasting.run import Run
from elman.forecasting.settings import TableSettings
from elman.forecasting.source import Form, Source, open_table
from elman.forecasting.table import Table
from elman.forecasting.verdict import NAMES, NETWORK
from elman.forecasting.windows import Windows, evenly, examples_of, windows_of
from elman.forecasting.words import listed

FORM = Form._fields  # the arguments that say how a text file is written
_MOST = 4096  # windows that `examples` returns


def predict(
    run: Any,
    table: Any,
    every: bool,
    *,
    model: str | None,
    interval: Any,
    form: dict[str, str | None],
) -> pl.DataFrame:
    """Forecasts; the arguments are those of `elman.predict`, which has their documentation. `form` has those of a text
    file."""
    levels = checked(interval)
    run = _opened(run)
    folder.check_keras_model(run.folder)
    read, source = _read(run, table, form)
    name, network = run.named(model)
    rows, ahead = run.rows(name), run.metrics["ahead"]
    starts = _every(read, rows, NAMES[name]) if every else _last(read, rows, NAMES[name])
    starts = _with_known(read, starts, rows, ahead, every=every)
    widths = {level: run.half_widths(level, name) for level in levels if run.has_intervals}
    return as_frame(read, starts, rows, forecasts_of(network, read, starts, rows, ahead), source.first_row, widths)


def examples(run: Any, table: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """A run's network, whichever model won, and windows of a table with the values that follow each.

    Args:
        run: What `fit` returned, or the path of its folder.
        table: A table with the columns that the run was trained on.

    Returns:
        The network, `(windows, window, features)` and `(windows, ahead)`; of several targets all in standard
        deviations, `(windows, targets * ahead)`. Of the table that the run was made from
        these are the held-out windows on which `fit` measured the memory; of another one, or if they are too few, up
        to 4,096 evenly spaced.

    Raises:
        elman.DataError: If the run is not finished, or the table does not fit it.
    """
    run = _opened(run)
    read, source = _read(run, table)
    window, ahead = run.metrics["window"], run.metrics["ahead"]
    of = Windows(read.rows, read.targets, window, ahead, {}, read.made)
    starts = _held_out(run, read) if source.sha256 == run.metrics["table"]["sha256"] else None
    if starts is None:
        starts = _every(read, window + ahead, f"a window of {window} with its targets")
        starts = evenly(of.measured(starts), _MOST)
    network, targets = run.models[NETWORK], of.targets(starts)
    if len(of.columns) > 1:
        network, targets = models.in_deviations(network, targets)
    return network, of.inputs(starts), targets


def _opened(run: Any) -> Run:
    """What `fit` returned, or the run in the folder of that path."""
    return run if isinstance(run, Run) else Run.load(run)


def _read(run: Run, table: Any, form: dict[str, str | None] | None = None) -> tuple[Table, Source]:
    """A table of the columns that a run was trained on, and where it comes from."""
    facts, asked = run.metrics["table"], run.metrics["arguments"]
    own = TableSettings(**{name: asked.get(name) for name in FORM} | (form or {}))
    source = open_table(table, Form(own.sep, own.encoding, own.decimal))
    known = reading.Known.of_run(facts)
    of_time = [facts["time"]] if known.parts is None else known.parts.columns
    needed = [name for name in (*known.inputs, *of_time, facts["group"]) if name is not None]
    if missing := [name for name in needed if name not in source.columns]:
        raise DataError(
            f"the table has no column {missing[0]!r}, which {run.folder} was trained on; it has "
            f"{listed(source.columns)}.{did_you_mean(missing[0], source.columns)}"
        )
    settings = TableSettings(
        target=run.metrics["target"],
        features=known.inputs,
        time=facts["time"],
        group=facts["group"],
        fill=asked["fill"],
        sort=asked.get("sort", False),
        duplicates=asked.get("duplicates"),
        calendar=asked.get("calendar", False),
        known=[name for name in facts.get("known", ()) if name in source.columns],
        ahead=run.metrics["ahead"],
    )
    return reading.read(source, settings, known), source


def _held_out(run: Run, table: Table) -> np.ndarray | None:
    """The held-out windows on which `fit` measured the memory, if it did."""
    window, ahead = run.metrics["window"], run.metrics["ahead"]
    last = parts_at_origins(table, run.metrics.get("origins", 1))[-1]
    windows = windows_of(table, last, window, ahead)
    return examples_of(windows.measured(windows.starts["test"]))


def _last(table: Table, rows: int, what: str) -> np.ndarray:
    """The last window of each series; `what` needs so many rows."""
    starts, short = last_windows(table, rows)
    if short:
        of_group = (
            f"group {short[0]!r} of the table ends with" if table.chosen.group is not None else "the table ends with"
        )
        raise DataError(f"{of_group} fewer than {rows} rows without a gap; {what} needs {rows}. Pass more rows.")
    return starts


def _with_known(table: Table, starts: np.ndarray, rows: int, ahead: int, *, every: bool) -> np.ndarray:
    """The windows that have the known columns of every row ahead: of all windows some, of the last ones all.

    Raises:
        DataError: If one of the last has not, or none of all.
    """
    last = starts + rows - 1
    seen = leads.sees_ahead(table, last, ahead)
    lacking = leads.missing(table, last, ahead)
    if lacking is not None and not (every and seen.any()):
        raise DataError(lacking)
    return starts[seen]


def _every(table: Table, rows: int, what: str) -> np.ndarray:
    """All windows; `what` needs so many rows."""
    starts = [np.arange(first, end - rows + 1) for first, end in table.segments.tolist() if end - first >= rows]
    if not starts:
        raise DataError(f"the table has no {rows} rows without a gap; {what} needs as many. Pass more rows.")
    return np.concatenate(starts)
