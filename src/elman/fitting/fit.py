# SPDX-License-Identifier: Apache-2.0
"""`elman.fit`: data in, a trained model and an honest report out, in a folder of their own.

In: the arguments, of every task. Out: a run. Here the task is found and the arguments of other tasks are refused; the
work is done in `elman.forecasting` and in `classify`. No framework.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from elman import tracking
from elman.errors import DataError
from elman.forecasting.columns import holds_classes, kinds
from elman.forecasting.fit import fit as fit_forecast
from elman.forecasting.run import FILES, Run
from elman.forecasting.settings import Settings
from elman.forecasting.source import Form, Source, open_table
from elman.forecasting.training import Progress
from elman.forecasting.words import listed

if TYPE_CHECKING:
    from elman.fitting.run import ClassifierRun

# Arguments that only a forecast has.
_OF_FORECASTS = (
    "ahead", "epochs", "origins", "bidirectional", "fill", "unit", "batch_size", "exclude", "sort",
    "duplicates", "calendar", "known",
)  # fmt: skip
_USUAL = Settings()


def fit(
    table: Any,
    target: str | list[str] | None = None,
    window: int | None = None,
    ahead: int = 1,
    features: Sequence[str] | None = None,
    time: str | None = None,
    group: str | None = None,
    units: int | Sequence[int] = 32,
    cell: str = "SimpleRNN",
    epochs: int = 200,
    seed: int = 0,
    *,
    task: str = "auto",
    label: str | None = None,
    text: str | None = None,
    by: str = "auto",
    folds: int | None = None,
    seeds: int = 3,
    origins: int = 3,
    model: str | None = None,
    bidirectional: bool = False,
    fill: str | None = None,
    unit: str | None = None,
    batch_size: int | None = None,
    learning_rate: float = 3e-3,
    exclude: Sequence[str] | None = None,
    sort: bool = False,
    duplicates: str | None = None,
    sep: str | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    calendar: bool = False,
    known: Sequence[str] | None = None,
    mlflow: bool = False,
    out: Any = None,
    fresh: bool = False,
    verbose: int | str = "auto",
    tell: Callable[[Progress], None] | None = None,
    layer: str | None = None,
) -> Run | ClassifierRun:
    """Trains a small recurrent network to forecast a column of a table, or to classify, and says whether it is worth
    having.

    *Forecast.* The end of the table is held out: 15 % of the rows, and up to 30 % of a short table. It is cut into
    blocks, one for each origin: models are fitted on all rows before a block and forecast the block. The 15 % of the
    rows before a block decide when training ends. The network starts as a linear model of the window (ridge regression)
    and learns what that misses; it is the mean of several, trained from different seeds. Its error is compared with
    those of the last value, the value one period ago and the linear model. The run forecasts with the model that won,
    whichever it is, and each forecast has intervals.

    *Classify*, with `label`: sequences have a label each; with `text` as well, texts have. Where `target` is a column
    of categories, the label is the one that comes next. The most frequent class, logistic regression and the network
    are fitted to folds and judged as `elman.compare` does it. The smallest of those that cannot be told apart from the
    best predicts. It is fitted again to all sequences, and saved.

    Everything is saved as it is found. If a run is killed, the same call resumes it and ends with the same numbers. No
    framework is needed, and none is imported.

    Arguments of forecasts alone, such as `ahead`, `origins`, `epochs` and `fill`, are refused where labels are learned.

    Args:
        table: Path of a file (CSV, Parquet, Arrow, Excel or JSON, also packed with gzip or ZIP), a NumPy array
            `(rows, columns)` (columns `x0`, `x1`, ... unless it is structured), or a pandas or Polars frame. Rows are
            in order of time. To classify also `(x, y)`, as `elman.compare` takes it.
        target: The column to forecast. It may be left out if the table has one column of numbers. A list of columns is
            forecast by one network: their errors and intervals are measured each by itself, and the model that wins is
            the one with the smallest error over all of them, each in units of its standard deviation.
        window: Rows that the network sees. `None` chooses 8 to 64 of them by the period that is found.
        ahead: Rows that it forecasts, all at once.
        features: Columns that it sees. `None` takes every column of numbers, true and false, and categories (text with
            at most 20 different values). The target is always one of them.
        time: The column of times or row numbers, or several that hold its parts, with commas between them. `None` takes
            the first one that looks so, or date and time, or year, month and day.
        group: The column that tells several series apart. No window contains rows of two series. To classify, a
            sequence is the rows of a group; without it, a row, whose columns are the steps.
        units: Size of the recurrent layer, or sizes of several, which only a forecast takes.
        cell: `"SimpleRNN"`, `"LSTM"` or `"GRU"`.
        epochs: Largest number of passes over the data. Training ends earlier after 15 passes without a smaller error
            on the validation part.
        seed: Seed of the initial weights and of the order of windows, of the first network.
        task: `"forecast"`, `"classify"` or `"text"`; `"auto"` finds it by what is passed.
        label: The column of labels, to classify.
        text: The column of texts, to classify them.
        by: `"words"` or `"characters"` of texts, or `"auto"`.
        folds: Parts on which a classifier is judged, one after another; `None` for 5.
        seeds: How many networks are trained, with `seed`, `seed + 1` and so on. Their mean is one network, which is
            what is judged and saved.
        origins: How many times the models are fitted and judged, each time on more rows. A short table has fewer. The
            models of the last one are saved.
        model: The model that the run uses: `"last_value"`, `"seasonal"`, `"linear"` or `"network"` of a forecast,
            `"majority"`, `"linear"` or `"network"` of a classifier. `None` takes the one that won, or the best baseline
            of a forecast if none did. The others are in the run as well.
        bidirectional: Whether each layer reads the window from both of its ends.
        fill: What to do with empty cells and gaps in time: `"linear"` and `"previous"` fill them, `"split"` leaves
            their rows out and cuts the series there, `"keep"` takes rows as they come, whatever their times; `None`
            raises an error.
        unit: The target's unit, for the report.
        batch_size: Windows per step. `None` chooses a power of two from 32 to 1024 by their number.
        learning_rate: Of Adam. It is halved after every 5 epochs without a smaller error.
        exclude: Columns that are left out.
        sort: Whether to sort the rows by time first.
        duplicates: Which row to keep of several with one time: `"first"`, `"last"`, or the `"mean"` of all; `None`
            raises an error.
        sep: The separator of a text file, `" "` for any number of blanks. `None` finds it in the header.
        encoding: Of a text file, such as `"latin-1"`. `None` is UTF-8.
        decimal: The decimal mark of numbers, `"."` or `","`; the other one then separates thousands. `None` finds it,
            and raises an error where it is not certain.
        calendar: Whether the place of each row in the hour, the day, the week and the year is seen too, as sine and
            cosine, as far as the times allow.
        known: Columns whose values are known before, such as a price, a plan or the weather forecast. All models but
            the repeats see their values at the rows ahead. For a forecast after its end, the table holds `ahead` more
            rows there, with these values and an empty target.
        mlflow: Whether the arguments, the errors and the files of the run are logged with MLflow when it has ended,
            where its own settings say.
        out: The run's folder. `None` names it `elman-runs/<name>-<hash>`, by the data and the arguments.
        fresh: Whether to start again, even if the folder holds this or another run of elman, finished or not. Files of
            other programs whose names the run needs are renamed, `metrics.json` to `metrics.json.before`.
        verbose: What is shown while it works. 0: nothing. 1: a bar on a terminal or in a notebook, else lines. 2: a
            line for each epoch. `"auto"`: a bar on a terminal or in a notebook, else nothing.
        tell: Called with an `elman.forecasting.training.Progress` after every step. Several networks train at the same
            time, each in a thread; `tell` is called by one of them at a time.
        layer: The former name of `cell`, accepted for one release with a warning.

    Returns:
        The run: an `elman.Run`, or an `elman.ClassifierRun`. Its folder holds the model as `model.safetensors`, and
        every model under its own name; `elman.export` writes it as `model.keras`.

    Raises:
        elman.DataError: If the table, an argument or the folder cannot be used; a `ValueError`.
        ImportError: If `mlflow` is passed, and MLflow is not installed.

    Example:

        run = elman.fit("beach.csv", target="temp", ahead=24)
        run.metrics["errors"]["verdict"]
        elman.fit("gestures.csv", group="person", label="gesture")
        elman.fit("reviews.csv", text="review", label="stars")
    """
    if layer is not None:
        warnings.warn("elman.fit(layer=...) is now cell=...; layer will be removed.", FutureWarning, stacklevel=2)
        cell = layer
    if mlflow:
        tracking.check()
    labelled = label is not None or text is not None or isinstance(table, tuple)
    forecasts = task == "forecast" or (task == "auto" and not labelled)
    settings = Settings(
        target=target,
        window=window,
        ahead=ahead,
        features=features,
        time=time,
        group=group,
        units=[units] if isinstance(units, int) else units,
        cell=cell,
        epochs=epochs,
        seed=seed,
        seeds=seeds,
        origins=origins,
        bidirectional=bidirectional,
        fill=fill,
        unit=unit,
        batch_size=batch_size,
        learning_rate=learning_rate,
        exclude=exclude,
        sort=sort,
        duplicates=duplicates,
        sep=sep,
        encoding=encoding,
        decimal=decimal,
        calendar=calendar,
        known=known,
    )
    if forecasts and task == "auto" and isinstance(settings.target, str):
        table = open_table(table, Form(settings.sep, settings.encoding, settings.decimal))
        forecasts = not _holds_classes(table, settings.target)
    if forecasts:
        to_classify = {"label": label, "text": text, "folds": folds, "by": None if by == "auto" else by}
        if others := [name for name, value in to_classify.items() if value is not None]:
            raise DataError(f"{listed(others)}: of a classifier alone, and the task is 'forecast'. Leave it out.")
        settings = dataclasses.replace(settings, model=model)
        run: Run | ClassifierRun = fit_forecast(table, settings, out=out, fresh=fresh, verbose=verbose, tell=tell)
        return _logged(run) if mlflow else run
    usual = ("target", *_OF_FORECASTS) if labelled else _OF_FORECASTS
    others = [name for name in usual if getattr(settings, name) != getattr(_USUAL, name)]
    if others or tell is not None:
        raise DataError(
            f"{listed(others or ['tell'])}: of a forecast alone, and labels are to be learned. Leave it out."
        )
    from elman.fitting import classify  # with the candidates of elman.compare, which a forecast does not need

    asked = classify.Classify(settings, task, label, text, by, folds, model)
    run = classify.fit(table, asked, out=out, fresh=fresh, verbose=verbose)
    return _logged(run) if mlflow else run


def _holds_classes(source: Source, target: str) -> bool:
    """Whether the target is a column of categories, so that `fit` learns which comes next."""
    head = next(iter(source.frames([target])), None) if target in source.columns else None
    if head is None:
        return False
    return holds_classes(head[target], kinds(head, source.decimal_comma, source.decimal)[target])


def _logged(run: Run | ClassifierRun) -> Run | ClassifierRun:
    """The run, after it is logged with MLflow."""
    metrics = run.metrics
    figure, key = ("RMSE", "rmse") if isinstance(run, Run) else ("error rate", "error")
    figures = {f"{figure}/{name}": score[key] for name, score in metrics["errors"]["models"].items()}
    tags = {"model": metrics["model"], "verdict": metrics["errors"]["verdict"]}
    kept = [run.folder / name for name in FILES]
    tracking.log(metrics["table"]["name"], metrics["arguments"], figures, tags, kept)
    return run
