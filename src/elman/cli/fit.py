# SPDX-License-Identifier: Apache-2.0
"""`elman fit`: options in, `elman.fit` called, its report printed as a table or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from elman import datasets
from elman.cells import BY_KERAS
from elman.cli.progress import bar
from elman.cli.screen import say, screen, table_of, usage_errors
from elman.forecasting import fit as fit_table
from elman.forecasting import report


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def fit(
    table: Annotated[Path | None, typer.Argument(metavar="DATA", help="CSV or Parquet.", hidden=True)] = None,
    target: Annotated[str | None, typer.Option(help="Column to forecast.")] = None,
    ahead: Annotated[int | None, typer.Option(help="Rows to forecast; 1.")] = None,
    window: Annotated[int | None, typer.Option(help="Rows to see; chosen by the period.")] = None,
    features: Annotated[str | None, typer.Option(metavar="A,B,...", help="Columns to see; all numbers.")] = None,
    time: Annotated[str | None, typer.Option(help="Column of times.")] = None,
    group: Annotated[str | None, typer.Option(help="Column that tells series apart.")] = None,
    units: Annotated[str, typer.Option(metavar="N,...", help="Sizes of the layers.")] = "32",
    layer: Annotated[str, typer.Option(help=f"One of {', '.join(BY_KERAS)}.")] = "SimpleRNN",
    bidirectional: Annotated[bool, typer.Option("--bidirectional", help="Read from both ends.")] = False,
    epochs: Annotated[int, typer.Option(help="Most of them.")] = 200,
    seed: Annotated[int, typer.Option(help="Of weights and order.")] = 0,
    fill: Annotated[str | None, typer.Option(help="linear, previous, split or keep.")] = None,
    unit: Annotated[str | None, typer.Option(help="The target's unit.")] = None,
    data: Annotated[str | None, typer.Option(help="A recording that ships.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
) -> None:
    """\b
    Train a forecaster on DATA, a CSV or Parquet file, and judge it honestly:
    elman fit --data walk
    """
    given = {"target": target, "ahead": ahead, "window": window, "time": time, "unit": unit}
    with usage_errors():
        known: dict[str, Any] = {} if data is None else datasets.arguments(data)
        if (table is None) == (data is None):
            raise ValueError("elman fit takes either DATA, a file, or --data with the name of a recording.")
        if table is not None:
            known["table"] = table
        known |= {name: value for name, value in given.items() if value is not None}
        with bar() as tell:
            run = fit_table(
                **known,
                features=_names(features),
                group=group,
                units=_sizes(units),
                layer=layer,
                bidirectional=bidirectional,
                epochs=epochs,
                seed=seed,
                fill=fill,
                out=out,
                fresh=fresh,
                tell=tell,
            )
    if json_:
        typer.echo(json.dumps({"folder": str(run.folder), **run.to_dict()}, indent=2))
        return
    console: Console = screen()
    if data is not None:
        say(console, datasets.told(data))
    say(console, report.before(run.metrics))
    console.print(table_of(("model", "error (RMSE)", "95 % interval"), report.rows(run.metrics)))
    say(console, [*report.after(run.metrics), f"The run is in {run.folder}."])


def _sizes(text: str) -> list[int]:
    try:
        return [int(size) for size in text.split(",")]
    except ValueError as error:
        raise ValueError(f"units is {text!r}; expected a positive integer, or several with commas between.") from error
