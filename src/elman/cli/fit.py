# SPDX-License-Identifier: Apache-2.0
"""`elman fit`: calls `elman.fit` with the options and prints the report as a table or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from elman import datasets
from elman.cli.keras_model import keras_model
from elman.cli.progress import bar
from elman.cli.screen import say, screen, table_of, usage_errors
from elman.forecasting import Run, report
from elman.forecasting import fit as fit_table
from elman.forecasting.settings import CELLS, NAMES, Settings


def fit(
    table: Annotated[Path | None, typer.Argument(metavar="DATA", help="CSV or Parquet.", hidden=True)] = None,
    target: Annotated[str | None, typer.Option(help="Column to forecast.")] = None,
    ahead: Annotated[int | None, typer.Option(help="Rows to forecast; 1.")] = None,
    window: Annotated[int | None, typer.Option(help="Rows to see; chosen by the period.")] = None,
    features: Annotated[str | None, typer.Option(metavar="A,B,...", help="Columns to see; all numbers.")] = None,
    time: Annotated[str | None, typer.Option(help="Column of times.")] = None,
    group: Annotated[str | None, typer.Option(help="Column that tells series apart.")] = None,
    units: Annotated[str, typer.Option(metavar="N,...", help="Sizes of the layers.")] = "32",
    cell: Annotated[str, typer.Option(help=f"{', '.join(CELLS[:-1])} or {CELLS[-1]}.")] = Settings.cell,
    bidirectional: Annotated[bool, typer.Option("--bidirectional", help="Read from both ends.")] = False,
    epochs: Annotated[int, typer.Option(help="Passes over the data, at most.")] = Settings.epochs,
    seed: Annotated[int, typer.Option(help="Seed of weights and order.")] = Settings.seed,
    fill: Annotated[str | None, typer.Option(help="Gaps: linear, previous, split, keep.")] = None,
    unit: Annotated[str | None, typer.Option(help="The target's unit.")] = None,
    data: Annotated[str | None, typer.Option(help="A recording that ships.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start again.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
    layer: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """\b
    Train a forecaster on DATA, a CSV or Parquet file, and judge it honestly:
    elman fit --data walk
    """
    given: dict[str, Any] = {name: value for name, value in locals().items() if name in NAMES and value is not None}
    if layer is not None:
        typer.echo("elman: --layer is now --cell; --layer will be removed.", err=True)
        given["cell"] = layer
    with usage_errors():
        if (table is None) == (data is None):
            raise ValueError("elman fit takes either DATA, a file, or --data with the name of a recording.")
        given["units"] = _sizes(units)
        if features is not None:
            given["features"] = [name.strip() for name in features.split(",")]
        known = {"table": table} if data is None else datasets.arguments(data)
        with keras_model() as write:
            with bar() as tell:
                run = fit_table(**known | given, out=out, fresh=fresh, tell=tell)
            _print(run, data, json_=json_)
            write(run.folder)


def _print(run: Run, data: str | None, *, json_: bool) -> None:
    """The report of a run."""
    if json_:
        typer.echo(json.dumps({"folder": str(run.folder), **run.to_dict()}, indent=2))
        return
    console: Console = screen()
    if data is not None:
        say(console, datasets.described(data))
    say(console, report.before(run.metrics))
    console.print(table_of(("model", "error (RMSE)", "95 % interval"), report.rows(run.metrics)))
    say(console, [*report.after(run.metrics), f"The run is in {run.folder}."])


def _sizes(text: str) -> list[int]:
    try:
        return [int(size) for size in text.split(",")]
    except ValueError as error:
        raise ValueError(
            f"units is {text!r}; expected a positive integer, or several with commas between them."
        ) from error
