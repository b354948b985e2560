# SPDX-License-Identifier: Apache-2.0
"""`elman predict`: a run and a table in, `elman.predict` called, its forecasts printed or written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elman import datasets, files
from elman.cli.screen import screen, table_of, usage_errors
from elman.forecasting import predict as predict_rows


def predict(
    run: Annotated[Path, typer.Argument(help="Folder that elman fit wrote.")],
    table: Annotated[Path | None, typer.Argument(metavar="DATA", help="CSV or Parquet; the same columns.")] = None,
    data: Annotated[str | None, typer.Option(help="A recording that ships, in DATA's place.")] = None,
    every: Annotated[bool, typer.Option("--every", help="Forecast after every window, not only the last.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write a CSV file instead of printing.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
) -> None:
    """Forecast what follows the rows of DATA with a model that elman fit made.

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
            files.write(out, forecasts.write_csv())
            return
    if json_:
        typer.echo(forecasts.write_json())
        return
    texts = [[f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in row] for row in forecasts.rows()]
    screen().print(table_of(forecasts.columns, texts))
