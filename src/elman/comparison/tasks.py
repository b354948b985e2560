# SPDX-License-Identifier: Apache-2.0
"""Which task some data are for, and the problem that it makes of them: folds, facts and scores.

In: what the user passed. Out: a `Given`, which knows its task and its hash, and makes its `Problem` when it is wanted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from elman.comparison import classify, forecast, history, labelled, text
from elman.comparison.asked import OF_FORECASTS, Asked
from elman.comparison.forecast_scores import Scores
from elman.comparison.problem import Problem
from elman.errors import DataError
from elman.forecasting import checks, reading
from elman.forecasting.source import Form, Source, open_table
from elman.forecasting.words import counted, listed

FOLDS = 3
_SYMBOLS = 8  # categories of a window


class Given:
    """What was passed, and its task.

    Args:
        task: The task.
        name: A word for the data.
        sha256: Of them.
        make: Makes the problem.
    """

    def __init__(self, task: str, name: str, sha256: str, make: Callable[[], Problem]) -> None:
        self.task, self.name, self.sha256, self._make = task, name, sha256, make

    @functools.cached_property
    def problem(self) -> Problem:
        """The folds and all else.

        Raises:
            DataError: If the data cannot be used.
        """
        return self._make()


def given(data: Any, asked: Asked) -> Given:
    """What was passed, opened and checked as far as its task.

    Raises:
        DataError: If it is not data, or cannot be read.
    """
    if isinstance(data, tuple) and not isinstance(data, Source):
        return _arrays(data, asked)
    source = data if isinstance(data, Source) else open_table(data, Form(asked.sep, asked.encoding, asked.decimal))
    task = asked.task
    if task == "auto":
        task = "text" if asked.text is not None else "classify" if asked.label is not None else "forecast"
    symbols = task != "text" and asked.label is None and labelled.is_text(source, asked.target)
    if task != "forecast" or symbols:
        _check_no_options_of_forecasts(asked, "forecast of a category" if symbols else task)
    if symbols:
        return Given("classify", source.name, source.sha256, lambda: _symbols(source, asked))
    if task == "forecast":
        return Given("forecast", source.name, source.sha256, lambda: _forecast(source, asked))
    if asked.label is None or (task == "text" and asked.text is None):
        raise DataError(f"task is {task!r}; expected label{' and text' if task == 'text' else ''}, names of columns.")
    return Given(task, source.name, source.sha256, lambda: _labelled(task, source, asked))


def _check_no_options_of_forecasts(asked: Asked, task: str) -> None:
    """Raises DataError if an argument is set that this task does not have."""
    for name in OF_FORECASTS:
        if getattr(asked, name):
            raise DataError(f"{name} (--{name}) is for forecasts of numbers, and the task is {task!r}. Leave it out.")


def _arrays(data: tuple[Any, ...], asked: Asked) -> Given:
    """Arrays (x, y): sequences or texts, and labels."""
    if len(data) not in {2, 3} or not all(hasattr(part, "__len__") for part in data):
        raise DataError(f"got a tuple of {len(data)}; expected (x, y), or (x, y, groups), or a table.")
    x, y = (np.asarray(part) if hasattr(part, "__array__") else part for part in data[:2])  # frames and series, too
    data = (x, y, *data[2:])
    task = "text" if len(x) and isinstance(x[0], str) else "classify"
    _check_no_options_of_forecasts(asked, task)
    if asked.task not in {"auto", task}:
        raise DataError(f"task is {asked.task!r}, and (x, y) are for {task!r}. Leave task out, or pass a table.")
    sha256 = labelled.hash_of(x, y, *data[2:])
    if task == "text":
        return Given(task, "texts", sha256, lambda: text.problem("texts", sha256, list(x), y, asked, "text"))
    said = "classify sequences"
    return Given(
        task,
        "arrays",
        sha256,
        lambda: classify.problem(task, "arrays", sha256, labelled.of_arrays(*data), asked, said),
    )


def _symbols(source: Source, asked: Asked) -> Problem:
    """A table whose target is a column of categories: which one comes next?"""
    if asked.ahead != 1 or asked.group is not None:
        raise DataError(f"target {asked.target!r} holds categories; expected ahead 1 and no group. Leave them out.")
    assert isinstance(asked.target, str)
    data = labelled.of_symbols(source, asked.target, asked.time, asked.window or _SYMBOLS)
    said = f"forecast the next {asked.target!r}, a category, from the last {data.steps}"
    return classify.problem("classify", source.name, source.sha256, data, asked, said, in_time=True)


def _labelled(task: str, source: Source, asked: Asked) -> Problem:
    """A table with a column of labels."""
    assert asked.label is not None
    if task == "text":
        assert asked.text is not None
        frame = labelled.read(source, [asked.text, asked.label])
        texts, labels = (labelled.texts_of(source, frame[name]) for name in (asked.text, asked.label))
        said = f"text {asked.text!r}, label {asked.label!r}"
        return text.problem(source.name, source.sha256, texts.tolist(), labels, asked, said)
    data = labelled.of_table(source, asked.label, asked.group, asked.time, asked.features)
    rows = f"the rows of each {asked.group!r}" if asked.group is not None else "a row each"
    said = f"classify sequences, {rows}, label {asked.label!r}"
    return classify.problem(task, source.name, source.sha256, data, asked, said)


def _forecast(source: Source, asked: Asked) -> Problem:
    table = reading.read(source, asked)
    if len(table.targets) > 1:
        raise DataError(
            f"target is {table.chosen.target!r}; expected one column, since elman compare forecasts one at a time. "
            "Name one (--target), or forecast all of them with elman fit."
        )
    count = FOLDS if asked.folds is None else asked.folds
    longest = asked.window or forecast.longest_window(table, asked.ahead, count)
    if asked.known and asked.window is None:
        longest = max(longest, asked.ahead)  # which holds the known values of every row ahead
    first = forecast.parts_of(table, asked.ahead, count)[0]
    table = checks.moments(table, first)[0]  # without columns that say nothing in the first fold
    checks.check_leakage(table, first, longest, asked.ahead)
    memory = history.of_forecast(forecast.folds_of(table, longest, asked.ahead, count)[0], asked.seed)
    window = asked.window or memory.window
    folds = forecast.folds_of(table, window, asked.ahead, count)
    windows = [{name: len(each) for name, each in fold.windows.starts.items()} for fold in folds]
    chosen, period = table.chosen, folds[0].period
    train, held_out = (listed(each[name] for each in windows) for name in ("train", "test"))
    rows = counted(asked.ahead, "row")
    about = [
        f"{source.name}: {counted(len(table.rows), 'row')}, {counted(len(chosen.features), 'column')}",
        f"Task: forecast of {chosen.target!r}, {rows} ahead, from a window of {counted(window, 'row')}.",
        f"{counted(count, 'origin')}; what is learned from ends {rows} before what is judged.",
        f"Windows to train: {train}; held out: {held_out}.",
        "No period found, so there is no seasonal repeat." if period is None else f"Period: {counted(period, 'row')}.",
    ]
    facts = {
        "name": source.name,
        "sha256": source.sha256,
        "rows": len(table.rows),
        "target": chosen.target,
        "features": chosen.features,
        "time": chosen.time,
        "group": chosen.group,
        "window": window,
        "ahead": asked.ahead,
        "period": period,
        "windows": windows,
    }
    return Problem(
        "forecast", folds, lambda predictions: Scores(folds, predictions), memory.to_dict, about, table.notes, facts
    )
