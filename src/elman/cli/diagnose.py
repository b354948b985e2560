# SPDX-License-Identifier: Apache-2.0
"""`elman diagnose`: reads a model and data, calls `elman.diagnose`, prints the report and writes the page."""

from __future__ import annotations

import functools
import json
import zipfile
from pathlib import Path
from tokenize import TokenError  # from the header of a .npy file
from typing import Annotated, Any

import numpy as np
import typer

import elman
from elman import datasets
from elman.cli.help import RECORDING, option
from elman.cli.screen import say, screen, table_of, usage_errors
from elman.files import ARCHIVE_ERRORS
from elman.forecasting.predict import examples
from elman.forecasting.verdict import NETWORK

_option = functools.partial(option, "Options")
_DATA = (
    "What to measure on. For a folder of elman fit a table as its own; for a file arrays, as a .npz file with x and y, "
    "or as a .npy file with x alone."
)
_LOSS = "How wrong an output is.  [default: that of a compiled model, else mse]"


def diagnose(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A folder of elman fit, or a .keras or .safetensors file.")
    ],
    table: Annotated[Path | None, typer.Argument(metavar="DATA", help=_DATA)] = None,
    data: Annotated[str | None, _option("NAME", RECORDING, words=datasets.names())] = None,
    against: Annotated[Path | None, _option("MODEL", "A second model, to compare the first with.")] = None,
    layer: Annotated[str | None, _option("NAME", "Measure only this recurrent layer.  [default: all]")] = None,
    loss: Annotated[str | None, _option("NAME", _LOSS)] = None,
    out: Annotated[
        Path | None, _option("FILE", "The page to write.  [default: MODEL-memory.html]", "--out", "--html")
    ] = None,
    json_: Annotated[bool, _option(None, "Print the figures as JSON.", "--json")] = False,
) -> None:
    """Measure how far back a model remembers, and say what to change.

    The report is printed, and written with its curves as one HTML page.

    \b
    elman fit --data walk --out my-run
    elman diagnose my-run --data walk --out memory.html
    """
    from elman.diagnosis import report

    with usage_errors():
        if (table is None) == (data is None):
            raise ValueError("elman diagnose takes either DATA, a file, or --data with the name of a recording.")
        rows = table if data is None else datasets.arguments(data)["table"]
        shown: Any = elman.diagnose(*_given(model, rows), layer, loss=loss)
        if against is not None:
            shown = shown.compare(elman.diagnose(*_given(against, rows), layer, loss=loss))
        page = shown.to_html(out or Path(f"{model.stem}-memory.html"), source=_source(model, against, table, data))
    if json_:
        typer.echo(json.dumps({"page": str(page), **shown.to_dict()}, indent=2))
        return
    console = screen()
    say(console, shown.lines())
    columns = report.COLUMNS if against is None else report.COMPARED_COLUMNS
    console.print(table_of(columns, shown.rows()))
    say(console, [f"The page is {page}."])


def _source(model: Path, against: Path | None, table: Path | None, data: str | None) -> str:
    """What the page says that it is about: the names of the models and of the data."""
    models = model.name if against is None else f"{model.name} and {against.name}"
    return f"{models} on {data if table is None else table.name}"


def _given(model: Path, data: Any) -> tuple[Any, Any, Any]:
    """A model, x, and y or `None`."""
    if isinstance(data, Path) and data.suffix in {".npz", ".npy"}:
        x, y = _arrays(data)
        return _model(model, with_loss=y is not None), x, y
    if not model.is_dir():
        raise elman.DataError(
            f"{model} is not a folder that elman fit wrote, so it is not known which windows of a table it reads; "
            "expected DATA to be a .npz file, as numpy.savez('data.npz', x=..., y=...) writes it."
        )
    return examples(model, data)


def _model(path: Path, *, with_loss: bool) -> Any:
    """The model of a run, of a `.safetensors` file or of a `.keras` file.

    The last one is loaded without being compiled: a diagnosis does not train, and a file that was saved under another
    backend may name an optimizer class of that backend, which cannot be imported here.

    Args:
        path: A file, or a folder of elman fit.
        with_loss: Whether to restore the loss and the learning rate of a `.keras` file.

    Raises:
        elman.DataError: If there is none, or its loss is not known here.
    """
    if path.is_dir():
        return elman.Run.load(path).models[NETWORK]
    if not path.exists():
        raise elman.DataError(
            f"{path} does not exist; expected a .keras or .safetensors file, or a folder that elman fit wrote."
        )
    if path.suffix == ".safetensors":
        return elman.Network.load(path)
    if path.suffix != ".keras":
        raise elman.DataError(
            f"{path} is not a .keras file; expected one, a .safetensors file, or a folder that elman fit wrote."
        )
    if not zipfile.is_zipfile(path):
        raise elman.DataError(
            f"{path} cannot be read as a .keras file: it is damaged, or of another kind. Save it again."
        )
    model = elman.load_model(path, compile=False)
    if with_loss:
        _set_loss(model, path)
    return model


def _set_loss(model: Any, file: Path) -> None:
    """Sets the loss of a file, and the optimizer without its state if Keras has it.

    Raises:
        elman.DataError: If the loss is not known here.
    """
    import keras

    with zipfile.ZipFile(file) as archive:
        settings = json.loads(archive.read("config.json")).get("compile_config")
    if not settings:
        return
    try:
        model.loss = keras.saving.deserialize_keras_object(settings["loss"])
    except (TypeError, ValueError) as error:
        raise elman.DataError(
            f"{file} was compiled with a loss that is not known here; expected one of Keras's own. Leave y out of the "
            "data, or call elman.diagnose in a program that defines the loss."
        ) from error
    optimizer = settings["optimizer"]
    while "inner_optimizer" in optimizer["config"]:  # of a LossScaleOptimizer
        optimizer = optimizer["config"]["inner_optimizer"]
    kind = getattr(keras.optimizers, optimizer["class_name"], None)
    if kind is not None:
        model.optimizer = kind.from_config(optimizer["config"])


def _arrays(path: Path) -> tuple[Any, Any]:
    """x, and y or `None`.

    Raises:
        elman.DataError: If they cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            arrays = {"x": content} if path.suffix == ".npy" else dict(content)
    except (*ARCHIVE_ERRORS, ValueError, TypeError, SyntaxError, TokenError, MemoryError) as error:
        raise elman.DataError(f"{path} cannot be read: {error}. Write it with numpy.save or numpy.savez.") from error
    if "x" not in arrays:
        raise elman.DataError(
            f"{path} has the arrays {', '.join(map(repr, arrays)) or 'none'}; expected 'x', and 'y' if there are "
            "targets."
        )
    return arrays["x"], arrays.get("y")
