# SPDX-License-Identifier: Apache-2.0
"""`elman fit`: calls `elman.fit` with the options and prints the report as a table or as JSON."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from elman import datasets
from elman.cli.help import CALENDAR, DECIMAL, ENCODING, EXCLUDE, KNOWN, RECORDING, REPEATED, SEP, SORT, TABLE, option
from elman.cli.keras_model import keras_model
from elman.cli.screen import say, screen, table_of, usage_errors
from elman.comparison.asked import BY, TASKS
from elman.fitting import fit as fit_data
from elman.fitting import report as of_labels
from elman.fitting.run import ClassifierRun
from elman.forecasting import Run
from elman.forecasting import report as of_forecasts
from elman.forecasting.settings import CELLS, DUPLICATES, FILLS, MODELS, NAMES, Settings

_table = functools.partial(option, "The table")
_labels = functools.partial(option, "To classify")
_model = functools.partial(option, "The forecasts and the model")
_run = functools.partial(option, "The run")

_TARGET = (
    "The column to forecast, or several with commas between them. Only a table with one column of numbers needs no "
    "target."
)
_FEATURES = (
    "The columns that forecasts are made from, as well as the target.  [default: all columns of numbers and of "
    "categories]"
)
_TIME = (
    "The column with the times of the rows, or several with parts of it and commas between them, such as date,hour.  "
    "[default: the first that looks so]"
)
_GROUP = (
    "The column that names the series of each row, if the table holds several, of shops or sensors; to classify, the "
    "sequence of each row."
)
_LABEL = (
    "The column of labels, to classify. With --group a sequence is the rows of a group; without it a row, whose "
    "columns are the steps."
)
_BY = "Whether texts are words or characters: words or characters.  [default: by the texts]"
_TASK = "What to learn: forecast, classify or text.  [default: by the options]"
_FOLDS = "On how many parts, one after the other, models that classify are judged.  [default: 5]"
_FILL = (
    "What to do with empty cells and missing rows. linear: a straight line between the neighbours; previous: the value "
    "before; split: cut the series there; keep: ignore gaps in time.  [default: stop]"
)
_WINDOW = "How many of the latest rows a forecast is made from.  [default: 8 to 64, by the period]"
_CELL = f"The kind of recurrent layer: {', '.join(CELLS[:-1])} or {CELLS[-1]}."
_EPOCHS = "The most passes over the data. Training ends earlier when the error no longer falls."
_SEEDS = "How many networks are trained, from different first weights. The forecast is their mean."
_ORIGINS = "How many times the models are fitted, each time on more rows, and judged on the rows that follow."
_MODEL = (
    f"The model to forecast with: {', '.join(MODELS[:-1])} or {MODELS[-1]}; to classify with: majority, linear or "
    "network.  [default: the one that won]"
)
_MLFLOW = "Log the arguments, the figures and the report with MLflow, where its own settings say."
_FRESH = (
    "Start again, even if the folder holds a run, which is replaced. Without it an interrupted run is resumed, and a "
    "finished one is shown."
)


def fit(
    table: Annotated[str | None, typer.Argument(metavar="DATA", help=TABLE)] = None,
    data: Annotated[str | None, _table("NAME", RECORDING, words=datasets.names())] = None,
    target: Annotated[str | None, _table("A,B,...", _TARGET)] = None,
    features: Annotated[str | None, _table("A,B,...", _FEATURES)] = None,
    time: Annotated[str | None, _table("COLUMN", _TIME)] = None,
    group: Annotated[str | None, _table("COLUMN", _GROUP)] = None,
    fill: Annotated[str | None, _table("HOW", _FILL, words=FILLS)] = None,
    exclude: Annotated[str | None, _table("A,B,...", EXCLUDE)] = None,
    sort: Annotated[bool, _table(None, SORT, "--sort")] = False,
    duplicates: Annotated[str | None, _table("WHICH", REPEATED, words=DUPLICATES)] = None,
    sep: Annotated[str | None, _table("MARK", SEP)] = None,
    encoding: Annotated[str | None, _table("NAME", ENCODING)] = None,
    decimal: Annotated[str | None, _table("MARK", DECIMAL, words=(".", ","))] = None,
    known: Annotated[str | None, _table("A,B,...", KNOWN)] = None,
    calendar: Annotated[bool, _table(None, CALENDAR, "--calendar")] = False,
    unit: Annotated[str | None, _table("TEXT", "The target's unit, for the report and the pictures.")] = None,
    label: Annotated[str | None, _labels("COLUMN", _LABEL)] = None,
    text: Annotated[str | None, _labels("COLUMN", "The column of texts to classify, with --label.")] = None,
    by: Annotated[str, _labels("HOW", _BY, words=BY)] = "auto",
    task: Annotated[str, _labels("NAME", _TASK, words=TASKS)] = "auto",
    folds: Annotated[int | None, _labels("N", _FOLDS)] = None,
    ahead: Annotated[int | None, _model("ROWS", "How many rows to forecast.  [default: 1]")] = None,
    window: Annotated[int | None, _model("ROWS", _WINDOW)] = None,
    cell: Annotated[str, _model("NAME", _CELL, words=CELLS)] = Settings.cell,
    units: Annotated[str, _model("N,...", "The size of the recurrent layer, or the sizes of several.")] = "32",
    bidirectional: Annotated[bool, _model(None, "Read the window from both of its ends.", "--bidirectional")] = False,
    epochs: Annotated[int, _model("N", _EPOCHS)] = Settings.epochs,
    seed: Annotated[int, _model("N", "Start of the random numbers: first weights, order of windows.")] = Settings.seed,
    seeds: Annotated[int, _model("N", _SEEDS)] = Settings.seeds,
    origins: Annotated[int, _model("N", _ORIGINS)] = Settings.origins,
    model: Annotated[str | None, _model("NAME", _MODEL, words=(*MODELS, "majority"))] = None,
    mlflow: Annotated[bool, _run(None, _MLFLOW, "--mlflow")] = False,
    out: Annotated[Path | None, _run("FOLDER", "Where the run is kept.  [default: a folder in elman-runs]")] = None,
    fresh: Annotated[bool, _run(None, _FRESH, "--fresh")] = False,
    json_: Annotated[bool, _run(None, "Print the report as JSON.", "--json")] = False,
    layer: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Learn to forecast from a table, or to classify, and judge that.

    The last rows are held out, and the errors of the forecasts there are
    compared with those of simple methods. The model, the forecast after the
    last row, the report and pictures are kept in a folder. With --label,
    sequences or texts are classified, and each fold of them is held out once.

    \b
    elman fit beach.csv --target temp --ahead 24
    elman fit gestures.csv --group person --label gesture
    elman fit reviews.csv --text review --label stars
    elman fit --data walk
    """
    taken = {*NAMES, "label", "text", "by", "task", "folds"}
    given: dict[str, Any] = {name: value for name, value in locals().items() if name in taken and value is not None}
    if layer is not None:
        typer.echo("elman: --layer is now --cell; --layer will be removed.", err=True)
        given["cell"] = layer
    with usage_errors():
        if (table is None) == (data is None):
            raise ValueError("elman fit takes either DATA, a file, or --data with the name of a recording.")
        given["units"] = _sizes(units)
        for role, names in (("features", features), ("exclude", exclude), ("known", known)):
            if names is not None:
                given[role] = [name.strip() for name in names.split(",")]
        named = {"table": table} if data is None else datasets.arguments(data)
        with keras_model() as write:
            run = fit_data(**named | given, mlflow=mlflow, out=out, fresh=fresh)
            _print(run, data, json_=json_)
            write(run.folder)


def _print(run: Run | ClassifierRun, data: str | None, *, json_: bool) -> None:
    """The report of a run."""
    if json_:
        typer.echo(json.dumps({"folder": str(run.folder), **run.to_dict()}, indent=2))
        return
    console: Console = screen()
    report: Any = of_forecasts if isinstance(run, Run) else of_labels
    title, *source = datasets.described(data) if data is not None else [None]
    say(console, [*([title] if title else []), *report.before(run.metrics)])
    console.print(table_of(report.COLUMNS, report.rows(run.metrics)))
    say(console, [*report.after(run.metrics), *source, f"The run is in {run.folder}."])


def _sizes(text: str) -> list[int]:
    try:
        return [int(size) for size in text.split(",")]
    except ValueError as error:
        raise ValueError(
            f"units is {text!r}; expected a positive integer, or several with commas between them."
        ) from error
