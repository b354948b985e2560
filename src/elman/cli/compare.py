# SPDX-License-Identifier: Apache-2.0
"""`elman compare`: calls `elman.compare` with the options, prints the table or JSON, and writes the page."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from elman import datasets
from elman.cli.help import CALENDAR, DECIMAL, ENCODING, EXCLUDE, KNOWN, RECORDING, REPEATED, SEP, SORT, TABLE, option
from elman.cli.progress import count
from elman.cli.screen import say, screen, table_of, usage_errors
from elman.comparison import Comparison, report
from elman.comparison import compare as compare_models
from elman.comparison.asked import BY, FILLS, NAMES, TASKS, Asked
from elman.forecasting.settings import DUPLICATES

_table = functools.partial(option, "The data")
_models = functools.partial(option, "The comparison")
_run = functools.partial(option, "The run")

_TARGET = "The column to forecast. Only a table with one column of numbers needs no target."
_FEATURES = "The columns that forecasts are made from, as well as the target.  [default: all columns of numbers]"
_TIME = "The column with the times of the rows.  [default: the first that looks so]"
_GROUP = "The column that names the series of each row, if the table holds several."
_FILL = (
    "What to do with empty cells and missing rows. previous: the value before; split: cut the series there; keep: "
    "ignore gaps in time.  [default: stop]"
)
_LABEL = (
    "The column of labels, to classify. With --group a sequence is the rows of a group; without it a row, whose "
    "columns are the steps."
)
_BY = "Whether texts are words or characters: words or characters.  [default: by the texts]"
_TASK = "What to do: forecast, classify or text.  [default: by the options]"
_WINDOW = "How many of the latest rows a forecast is made from.  [default: as many as help]"
_FOLDS = "On how many parts, one after the other, the models are judged.  [default: 3 or 5]"
_SEEDS = "How often each model is fitted to each part, with seeds one after the other."
_TRIALS = "How many sizes and learning rates are tried for each network. 1 takes the usual ones."
_ONLY = "The models to compare, by the names in the report.  [default: all]"
_RAY = "Fit the models as tasks of the Ray cluster at this address; local starts Ray here."
_MLFLOW = "Log the arguments, the figures and the report with MLflow, where its own settings say."
_FRESH = (
    "Start again, even if the folder holds a comparison, which is replaced. Without it an interrupted one is resumed, "
    "and a finished one is shown."
)


def compare(
    table: Annotated[Path | None, typer.Argument(metavar="DATA", help=TABLE)] = None,
    data: Annotated[str | None, _table("NAME", RECORDING, words=datasets.names())] = None,
    target: Annotated[str | None, _table("COLUMN", _TARGET)] = None,
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
    label: Annotated[str | None, _table("COLUMN", _LABEL)] = None,
    text: Annotated[str | None, _table("COLUMN", "The column of texts to classify, with --label.")] = None,
    by: Annotated[str, _table("HOW", _BY, words=BY)] = Asked.by,
    task: Annotated[str, _models("NAME", _TASK, words=TASKS)] = Asked.task,
    ahead: Annotated[int | None, _models("ROWS", "How many rows to forecast.  [default: 1]")] = None,
    window: Annotated[int | None, _models("ROWS", _WINDOW)] = None,
    folds: Annotated[int | None, _models("N", _FOLDS)] = None,
    seeds: Annotated[int, _models("N", _SEEDS)] = Asked.seeds,
    trials: Annotated[int, _models("N", _TRIALS)] = Asked.trials,
    only: Annotated[str | None, _models("A,B,...", _ONLY)] = None,
    seed: Annotated[int, _models("N", "Start of the random numbers: first weights, order, searches.")] = Asked.seed,
    ray: Annotated[str | None, _run("ADDRESS", _RAY)] = None,
    mlflow: Annotated[bool, _run(None, _MLFLOW, "--mlflow")] = False,
    out: Annotated[Path | None, _run("FOLDER", "Where the run is kept.  [default: a folder in elman-runs]")] = None,
    fresh: Annotated[bool, _run(None, _FRESH, "--fresh")] = False,
    json_: Annotated[bool, _run(None, "Print the report as JSON.", "--json")] = False,
) -> None:
    """Find out which of many models is worth having for some data.

    Simple methods, a linear model, boosted trees and recurrent networks are
    fitted to the rows before some moments and judged on the rows after them.
    Of those that cannot be told apart from the best, the smallest is
    recommended. The report is kept in a folder, as a page and as JSON.

    \b
    elman compare beach.csv --target temp --ahead 24
    elman compare gestures.csv --group person --label gesture
    elman compare reviews.csv --text review --label stars
    elman compare --data walk
    """
    given: dict[str, Any] = {name: value for name, value in locals().items() if name in NAMES and value is not None}
    with usage_errors():
        if (table is None) == (data is None):
            raise ValueError("elman compare takes either DATA, a file, or --data with the name of a recording.")
        for name in ("features", "exclude", "known", "only"):
            if name in given:
                given[name] = [each.strip() for each in given[name].split(",")]
        named = {"table": table} if data is None else datasets.arguments(data)
        named = {name: value for name, value in named.items() if name == "table" or name in NAMES}
        with count("fits") as tell:
            found = compare_models(**named | given, ray=ray, mlflow=mlflow, out=out, fresh=fresh, tell=tell)
        page = found.to_html(found.folder / "report.html")
    _print(found, page, json_=json_)


def _print(found: Comparison, page: Path, *, json_: bool) -> None:
    if json_:
        typer.echo(json.dumps({"folder": str(found.folder), "page": str(page), **found.to_dict()}, indent=2))
        return
    console = screen()
    data = found.to_dict()
    say(console, report.before(data))
    console.print(table_of(*report.table(data)))
    say(console, [*report.after(data), f"The page is {page}."])
