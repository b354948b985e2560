# SPDX-License-Identifier: Apache-2.0
"""`elman predict`: calls `elman.predict` with a run and a table, and prints or writes the forecasts."""

from __future__ import annotations

import functools
import io
import json
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from elman import datasets, files
from elman.cli.help import RECORDING, option
from elman.cli.screen import screen, table_of, usage_errors
from elman.fitting import folders
from elman.fitting import predict as predict_data
from elman.forecasting.forecast import to_csv
from elman.forecasting.intervals import LEVELS
from elman.forecasting.settings import MODELS

_option = functools.partial(option, "Options")
_MODEL = f"The model to use: {', '.join(MODELS[:-1])} or {MODELS[-1]}; or majority, to classify.  [default: the run's]"
_INTERVAL = f"Shares of the values that the intervals of the forecasts hold.  [default: {','.join(map(str, LEVELS))}]"
_RAY = "Predict for the files of a folder on the Ray cluster at this address; local starts Ray here."
_EVERY = "Forecast after every window of DATA, and not only after its last row."


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run of elman fit.")],
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA", help="A file with the columns of the run's table, or a folder of Parquet files."
        ),
    ] = None,
    data: Annotated[str | None, _option("NAME", RECORDING, words=datasets.names())] = None,
    every: Annotated[bool, _option(None, _EVERY, "--every")] = False,
    model: Annotated[str | None, _option("NAME", _MODEL, words=(*MODELS, "majority"))] = None,
    interval: Annotated[str | None, _option("SHARE,...", _INTERVAL)] = None,
    sep: Annotated[str | None, _option("MARK", "What separates the columns.  [default: as in the run]")] = None,
    encoding: Annotated[str | None, _option("NAME", "The encoding.  [default: as in the run]")] = None,
    decimal: Annotated[str | None, _option("MARK", "The decimal mark.  [default: as in the run]")] = None,
    ray: Annotated[str | None, _option("ADDRESS", _RAY)] = None,
    out: Annotated[Path | None, _option("FILE", "Write the forecasts to a .csv or .parquet file.")] = None,
    json_: Annotated[bool, _option(None, "Print the forecasts as JSON.", "--json")] = False,
) -> None:
    """Forecast new rows, or say their labels, with a run of elman fit.

    DATA holds new rows, at least as many as the model reads: the window of the
    run, or a period for the seasonal repeat. If the run has known columns, the
    rows to forecast follow, with these columns and an empty target. For a run
    that classifies it holds sequences or texts, and each gets a label and the
    probability of each label.

    \b
    elman fit --data walk --out my-run
    elman predict my-run --data walk --out forecasts.csv
    """
    with usage_errors():
        if (table is None) == (data is None):
            raise ValueError(
                "elman predict takes either DATA, a file or a folder, or --data with the name of a recording."
            )
        if out is not None and table is not None:
            _check_apart(out, Path(table))
        rows: Any = table if data is None else datasets.arguments(data)["table"]
        forecasts = predict_data(
            run,
            rows,
            every=every,
            model=model,
            interval=LEVELS if interval is None else _shares(interval),
            sep=sep,
            encoding=encoding,
            decimal=decimal,
            ray=ray,
        )
        if out is not None:
            _write(forecasts, out)
            if json_:
                typer.echo(json.dumps({"file": str(out), "rows": forecasts.height}))
            return
    if json_:
        typer.echo(json.dumps(json.loads(forecasts.write_json()), separators=(",", ":")))  # in ASCII
        return
    texts = [[f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in row] for row in forecasts.rows()]
    screen().print(table_of(forecasts.columns, texts))


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(share) for share in text.split(","))
    except ValueError as error:
        raise ValueError(
            f"interval is {text!r}; expected a number between 0 and 1, or several with commas between them."
        ) from error


def _check_apart(out: Path, table: Path) -> None:
    """Raises ValueError if the forecasts would replace DATA, or be read with it the next time."""
    path, read = out.resolve(), table.resolve()
    if path == read or (path.parent == read and path.suffix == folders.SUFFIX):
        raise ValueError(f"out (--out) is {out}, of DATA; expected another file. Choose one that is not read.")


def _write(forecasts: pl.DataFrame, path: Path) -> None:
    """Writes Parquet if the path ends so, else CSV."""
    if path.suffix != ".parquet":
        files.write(path, to_csv(forecasts))
        return
    content = io.BytesIO()
    forecasts.write_parquet(content)
    files.write(path, content.getvalue())
