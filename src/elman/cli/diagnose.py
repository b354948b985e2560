# SPDX-License-Identifier: Apache-2.0
"""`elman diagnose`: a model and data in, `elman.diagnose` called, its report printed and its page written."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import elman
from elman import datasets
from elman.cli.screen import say, screen, table_of, usage_errors
from elman.forecasting.predict import examples


def diagnose(
    model: Annotated[Path, typer.Argument(help="A .keras file, or a folder of elman fit.")],
    table: Annotated[
        Path | None, typer.Argument(metavar="DATA", help=".npz (x, y), .npy (x); of a folder CSV, Parquet.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="A recording that ships, in DATA's place.")] = None,
    against: Annotated[Path | None, typer.Option(help="A second model, to compare with.")] = None,
    layer: Annotated[str | None, typer.Option(help="The one layer to measure.")] = None,
    out: Annotated[Path | None, typer.Option(help="The page; else MODEL-memory.html here.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Measure how far back a model remembers, and say what to change.

    \b
    elman fit --data walk --out my-run
    elman diagnose my-run --data walk --out memory.html
    """
    from elman.diagnosis import compare, report

    with usage_errors():
        if (table is None) == (data is None):
            raise ValueError("elman diagnose takes either DATA, a file, or --data with the name of a recording.")
        rows = table if data is None else datasets.arguments(data)["table"]
        shown: Any = elman.diagnose(*_given(model, rows), layer)
        if against is not None:
            shown = shown.compare(elman.diagnose(*_given(against, rows), layer))
        page = shown.to_html(out or Path(f"{model.stem}-memory.html"))
    if json_:
        typer.echo(json.dumps({"page": str(page), **shown.to_dict()}, indent=2))
        return
    console = screen()
    say(console, shown.lines())
    columns = report.COLUMNS if against is None else compare.COLUMNS
    console.print(table_of(columns, shown.rows()))
    say(console, [f"The page is {page}."])


def _given(model: Path, data: Any) -> tuple[Any, Any, Any]:
    """A model, x, and y or `None`."""
    if isinstance(data, Path) and data.suffix in {".npz", ".npy"}:
        return _model(model), *_arrays(data)
    if not model.is_dir():
        raise elman.DataError(
            f"{model} is no folder that elman fit wrote, and a table has no windows of its own; expected DATA to be a "
            ".npz file, as numpy.savez('data.npz', x=..., y=...) writes it."
        )
    return examples(model, data)


def _model(path: Path) -> Any:
    """The model of a `.keras` file, or of a run.

    Raises:
        elman.DataError: If there is none.
    """
    file = path / "model.keras" if path.is_dir() else path
    if not file.exists():
        raise elman.DataError(f"{file} does not exist; expected a .keras file, or a folder that elman fit wrote.")
    if file.suffix != ".keras":
        raise elman.DataError(f"{file} is no .keras file; expected one, or a folder that elman fit wrote.")
    if not zipfile.is_zipfile(file):
        raise elman.DataError(f"{file} cannot be read as a .keras file: it is damaged, or no such file. Save it anew.")
    return elman.load_model(file)


def _arrays(path: Path) -> tuple[Any, Any]:
    """x, and y or `None`.

    Raises:
        elman.DataError: If they cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            arrays = {"x": content} if path.suffix == ".npy" else dict(content)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise elman.DataError(f"{path} cannot be read: {error}. Write it with numpy.save or numpy.savez.") from error
    if "x" not in arrays:
        raise elman.DataError(
            f"{path} has the arrays {', '.join(map(repr, arrays)) or 'none'}; expected 'x', and 'y' if there are "
            "targets."
        )
    return arrays["x"], arrays.get("y")
