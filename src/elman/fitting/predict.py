# SPDX-License-Identifier: Apache-2.0
"""`elman.predict`: a finished run and new data in; forecasts, or labels with their probabilities, out.

The run says which: a forecast is passed on to `elman.forecasting`.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from elman.errors import DataError
from elman.fitting import folders
from elman.forecasting.headers import free_name
from elman.forecasting.intervals import LEVELS
from elman.forecasting.predict import predict as forecast
from elman.forecasting.run import Run, classifies
from elman.forecasting.source import Form, Source, open_table

if TYPE_CHECKING:
    from elman.fitting.run import ClassifierRun


def predict(
    run: Any,
    table: Any,
    every: bool = False,
    *,
    model: str | None = None,
    interval: Any = LEVELS,
    sep: str | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    ray: str | None = None,
) -> pl.DataFrame:
    """Forecasts the rows that follow a table's last ones, or says which label each sequence or text has.

    Args:
        run: What `fit` returned, or the path of its folder.
        table: To forecast, new rows, in order of time, with the columns that the run was trained on; as many as the
            model reads, or more: `run.rows(run.name)`. If the run has known columns, `ahead` more rows follow, with
            their values and an empty target. To classify, sequences or texts as those that were learned from,
            with or without labels; x alone of arrays. Any kind of table that `fit` takes,
            or a folder of Parquet files, each a table of its own.
        every: Of a forecast: whether to forecast after every window of the table, and not only after the last one of
            each series.
        model: A model of the run, `"last_value"`, `"seasonal"`, `"linear"` or `"network"`, or `"majority"` of one that
            classifies. `None` takes the one that the run uses: the one that won.
        interval: The level of the forecasts' intervals, as 0.9, or several; `None` for none. An interval of 0.9 holds
            90 % of the values, if the new rows are like those that were held out from the run.
        sep: The separator of a text file. `None` is that of the run.
        encoding: Of a text file. `None` is that of the run.
        decimal: The decimal mark of numbers. `None` is that of the run.
        ray: Of a folder: the address of a Ray cluster, or `"local"` to start Ray here, which reads the files and
            predicts for them. Each node must see them, and the folder of the run, under the same paths. The
            predictions are the same.

    Returns:
        A Polars frame. Of a run that classifies it has a row for each sequence or text: its group or the number of its
        row, the most probable label, and the probability of each label as `p_LABEL`; of a series of categories one row,
        for the row that follows.
        Of a forecast it has one row for each step ahead: the group, if there are several; `after`, the time or row that
        the window ends with; the time of the step, if times are regular; `ahead`, from 1; the target, in its units; and
        for each level the ends of the interval, as `lower_90` and `upper_90`, empty where too few windows were held
        out. Of several targets each has its column, and the ends are `NAME_lower_90` and `NAME_upper_90`.
        Of a folder the first column, `file`, is the name of the file.
        Times are in the table's zone. If a column of the table is called `after` or `ahead`, elman's own column of that
        name ends with `_`.

    Raises:
        elman.DataError: If the run is not finished, a file of it is damaged, or the table does not fit it; a
            `ValueError`.
        ImportError: If `ray` is passed, and Ray is not installed.

    Example:

        elman.predict("elman-runs/beach-1f2e3d4c", "today.csv")
        elman.predict("elman-runs/gestures-2a3b4c5d", "new.csv")
    """
    given = {"sep": sep, "encoding": encoding, "decimal": decimal}
    form: dict[str, str | None] = {name: value for name, value in given.items() if value is not None}
    options = (every, model, interval, form)
    if isinstance(table, str | os.PathLike) and Path(table).is_dir():
        run = run if isinstance(run, str | os.PathLike) else run.folder
        return folders.predicted(Path(table), functools.partial(_predicted, str(Path(run).absolute()), *options), ray)
    if ray is not None:
        raise DataError("ray (--ray) is for a folder of Parquet files; expected the path of one. Leave it out.")
    return _predicted(run, *options, table)


def _predicted(
    run: Any, every: bool, model: str | None, interval: Any, form: dict[str, str | None], table: Any
) -> pl.DataFrame:
    """The predictions for one table."""
    if isinstance(run, Run) or (isinstance(run, str | os.PathLike) and not classifies(run)):
        return forecast(run, table, every, model=model, interval=interval, form=form)
    if every or interval != LEVELS:
        raise DataError(f"{'every' if every else 'interval'} is of forecasts, and this run classifies. Leave it out.")
    return _labels(run, table, model, form)


def _labels(run: Any, table: Any, model: str | None, form: dict[str, str | None]) -> pl.DataFrame:
    """A label and probabilities for each sequence."""
    from elman.comparison import labelled, text
    from elman.fitting.classify import labelled_columns
    from elman.fitting.run import ClassifierRun

    found: ClassifierRun = run if isinstance(run, ClassifierRun) else ClassifierRun.load(run)
    asked, known = found.metrics["arguments"], found.known
    source = _source(table, Form(**{name: form.get(name, asked[name]) for name in Form._fields}), found)
    if found.task == "text":
        texts = (
            table
            if source is None
            else labelled.texts_of(source, labelled.read(source, [asked["text"]])[asked["text"]])
        )
        data = text.unlabelled(list(texts), known)
        if source is not None:
            data = data._replace(names=data.names + source.first_row)
    else:
        data = labelled.unlabelled_arrays(table, known) if source is None else labelled.unlabelled(source, known)
        if data.x is not None and data.x.shape[2] != (features := found.metrics["table"]["features"]):
            raise DataError(f"x has {data.x.shape[2]} features; expected {features}, as in training.")
    label = found.metrics["label"] or "label"
    first = known.group or free_name("row", {label})
    names = [str(name) if known.group is not None else int(name) for name in data.names]
    return pl.DataFrame(
        {first: names} | labelled_columns(label, found.probabilities(data, model), found.classes, {first})
    )


def _source(table: Any, form: Form, run: ClassifierRun) -> Source | None:
    """The table; `None` for arrays, if the run has learned from such."""
    if run.metrics["label"] is not None:
        return open_table(table, form)
    if isinstance(table, tuple) or not hasattr(table, "__len__") or isinstance(table, str):
        raise DataError(f"got {type(table).__name__}; expected x alone, as the run has learned from (x, y).")
    return None
