# SPDX-License-Identifier: Apache-2.0
"""`elman predict`: calls `elman.predict` with a run and a table, and prints or writes the forecasts."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from elman import datasets, files
from elman.cli.screen import screen, table_of, usage_errors
from elman.forecasting import predict as predict_rows
from elman.forecasting.forecast import to_csv


def predict(
    run: Annotated[Path, typer.Argument(help="Folder that elman fit wrote.")],
    table: Annotated[Path | None, typer.Argument(metavar="DATA", help="CSV or Parquet; the same columns.")] = None,
    data: Annotated[str | None, typer.Option(help="A recording that ships, instead of DATA.")] = None,
    every: Annotated[bool, typer.Option("--every", help="Forecast after every window, not only the last.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write a .csv or .parquet file instead of printing.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
) -> None:
    """Forecast the rows that follow DATA, with a model that elman fit made.

    \b
    elman fit --data walk --out my-run
    elman predict my-run --data walk --out forecasts.csv
    """
    with usage_errors():
        if (table is None) == (data is None):
            raise ValueError("elman predict takes either DATA, a file, or --data with the name of a recording.")
        rows = table if data is None else datasets.arguments(data)["table"]
        forecasts = predict_rows(run, rows, every=every)
        if out is not None:
            _write(forecasts, out)
            return
    if json_:
        typer.echo(forecasts.write_json())
        return
    texts = [[f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in row] for row in forecasts.rows()]
    screen().print(table_of(forecasts.columns, texts))


def _write(forecasts: pl.DataFrame, path: Path) -> None:
    """Writes Parquet if the path ends so, else CSV."""
    if path.suffix != ".parquet":
        files.write(path, to_csv(forecasts))
        return
    content = io.BytesIO()
    forecasts.write_parquet(content)
    files.write(path, content.getvalue())
