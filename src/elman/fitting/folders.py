# SPDX-License-Identifier: Apache-2.0
"""Predictions for a folder of Parquet files, each a table of its own, one after the other or with Ray Data.

In: a folder and a function that predicts for one table. Out: one frame of all, whose first column is the file's name,
in the order of names. Ray reads the files and returns what was predicted, so that both ways give the same frame.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from elman.errors import DataError
from elman.forecasting.headers import free_name

Predict = Callable[[pl.DataFrame], pl.DataFrame]
SUFFIX = ".parquet"


def predicted(folder: Path, predict: Predict, ray: str | None) -> pl.DataFrame:
    """The predictions for all files of a folder.

    Args:
        folder: With the files.
        predict: From a table to a frame.
        ray: The address of a cluster, `"local"`, or `None`.

    Raises:
        DataError: If the folder has no such file, or a file cannot be used; it names the first such file.
        ImportError: If Ray or its Data is needed, and not installed.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    if not paths:
        raise DataError(f"{folder} has no file whose name ends with {SUFFIX}; expected some, each a table.")
    found = _with_ray(paths, predict, ray) if ray is not None else [_of_file(path, predict) for path in paths]
    name = free_name("file", set(found[0].columns))
    return pl.concat(
        [frame.select(pl.lit(path.name).alias(name), *frame.columns) for path, frame in zip(paths, found, strict=True)]
    )


def _of_file(path: Path, predict: Predict) -> pl.DataFrame:
    try:
        return _of_content(path.name, path.read_bytes(), predict)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _of_content(name: str, content: bytes, predict: Predict) -> pl.DataFrame:
    """The predictions for the content of a file.

    Raises:
        DataError: If it is not a table of Parquet, or does not fit the run.
    """
    try:
        return predict(pl.read_parquet(io.BytesIO(content)))
    except (pl.exceptions.PolarsError, DataError) as error:
        raise DataError(f"{name}: {error}") from error


def _with_ray(paths: list[Path], predict: Predict, address: str) -> list[pl.DataFrame]:
    from elman.comparison.on_ray import connected

    with connected(address):
        return _in_order(paths, predict)


def _in_order(paths: list[Path], predict: Predict) -> list[pl.DataFrame]:
    """The predictions by Ray Data, whose rows come back in any order."""
    import ray

    def row(file: dict[str, Any]) -> dict[str, Any]:
        """Of plain columns, since a frame is not one: the name, and the frame or the error."""
        name = Path(file["path"]).name
        try:
            content = io.BytesIO()
            _of_content(name, file["bytes"], predict).write_ipc(content)
        except DataError as error:
            return {"name": name, "frame": b"", "error": str(error)}
        return {"name": name, "frame": content.getvalue(), "error": ""}

    ray.data.DataContext.get_current().enable_progress_bars = False
    files = ray.data.read_binary_files([str(path.absolute()) for path in paths], include_paths=True)
    rows = {each["name"]: each for each in files.map(row).take_all()}
    if errors := [rows[path.name]["error"] for path in paths if rows[path.name]["error"]]:
        raise DataError(errors[0])
    return [pl.read_ipc(io.BytesIO(rows[path.name]["frame"])) for path in paths]
