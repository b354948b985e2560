# SPDX-License-Identifier: Apache-2.0
"""Where a table comes from: a file of any kind, NumPy, pandas or Polars, all as a stream of Polars frames.

In: a path or an object in memory. Out: a `Source`: the columns' names, the frames one after another, and the hash of
the data. Each kind of file has its own module; here its first bytes decide which one opens it.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from elman.checks import did_you_mean
from elman.errors import DataError
from elman.forecasting import csv_files, other_files, unpacked
from elman.forecasting.headers import check_header
from elman.forecasting.in_memory import from_numpy, from_pandas, hash_of

_BLOCK = 1 << 20  # bytes
_BEGINNING = 16  # bytes by which a file is recognized
_DEEPEST = 3  # archives in archives


class Form(NamedTuple):
    """What the user said of a text file.

    Attributes:
        sep: The separator between columns, a blank for any number of blanks; `None` to find it.
        encoding: As Python names it; `None` for UTF-8.
        decimal: The decimal mark, `.` or `,`; the other one separates thousands then. `None` to find it.
    """

    sep: str | None = None
    encoding: str | None = None
    decimal: str | None = None


class Source(NamedTuple):
    """A table that can be read from its beginning.

    Attributes:
        name: A word for it, for the run's folder.
        columns: The names, in order.
        frames: Yields the rows as Polars frames of these columns.
        sha256: Of the file, or of the values.
        first_row: How the user counts the first row: 2 in a CSV file, below the header, else 0.
        decimal_comma: Whether text such as 1,5 can be a number.
        check_rows: Raises if a row has more or fewer fields than the header.
        decimal: The decimal mark that the user named, or `None`.
        notes: Sentences for the report.
    """

    name: str
    columns: list[str]
    frames: Callable[[Sequence[str]], Iterator[pl.DataFrame]]
    sha256: str
    first_row: int = 0
    decimal_comma: bool = False
    check_rows: Callable[[], None] = lambda: None
    decimal: str | None = None
    notes: tuple[str, ...] = ()

    def row(self, index: int) -> str:
        """A row as the user counts it."""
        return f"row {index + self.first_row}" if self.first_row else f"row {index} (counted from 0)"


def open_table(table: Any, form: Form = Form()) -> Source:
    """Opens a table.

    Args:
        table: A path, an array or a frame.
        form: What the user said of the file.

    Raises:
        DataError: If it is not a table, or cannot be read.
    """
    if isinstance(table, str | os.PathLike):
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/+", str(table)):
            raise DataError(f"{table} is a web address; {other_files.EXPECTED}. Download it first.")
        return _open_file(Path(table), form)
    if isinstance(table, pl.LazyFrame):
        table = table.collect()
    if isinstance(table, pl.Series):
        table = table.to_frame()
    if isinstance(table, np.ndarray):
        table = from_numpy(table)
    elif type(table).__module__.partition(".")[0] == "pandas":
        table = from_pandas(table)
    if not isinstance(table, pl.DataFrame):
        raise DataError(
            f"table is {type(table).__name__}; expected the path of a file, a NumPy array, or a pandas or Polars frame."
        )
    check_header(list(table.columns), "the table")
    columns = list(table.columns)
    return Source(
        "table", columns, lambda names: other_files.slices(table, names), hash_of(table), decimal=form.decimal
    )


def _open_file(path: Path, form: Form) -> Source:
    _check_form(form)
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder; expected a file. Name a file in it.")
        if not path.exists():
            siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            raise DataError(f"{path} does not exist.{did_you_mean(path.name, siblings)}")
        if not stat.S_ISREG(path.stat().st_mode):  # it would be read several times
            raise DataError(
                f"{path} is a pipe or a device, which can be read only once; {other_files.EXPECTED}. Save it first."
            )
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return _opened(path, path, form, 0)._replace(sha256=digest.hexdigest())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _opened(path: Path, shown: Path, form: Form, depth: int) -> Source:
    """A file, by its first bytes. The file in an archive goes the same way."""
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING)
    if not beginning:
        raise DataError(f"{shown} is empty; expected a header and rows.")
    for mark, kind in other_files.REFUSED.items():
        begins = beginning.removeprefix(codecs.BOM_UTF8)
        if begins.startswith(mark) and not re.match(other_files.NAMES_IN_BRACKETS, begins):
            raise DataError(f"{shown} is {kind.format(other_files.EXPECTED)}.")
    name = shown.name.partition(".")[0] if depth else shown.stem
    if beginning.startswith((b"PAR1", b"ARROW1")):
        return _source(name, other_files.open_parquet(path, shown), form)
    if beginning.startswith(other_files.OLD_EXCEL) or (beginning.startswith(b"PK") and unpacked.is_workbook(path)):
        return _source(name, other_files.open_workbook(path, shown), form, decimal_comma=True)
    if unpacked.is_packed(beginning):
        if depth == _DEEPEST:
            raise DataError(f"{shown} holds archives in archives; expected one table. Unpack it.")
        inside = unpacked.unpacked(path, beginning)
        source = _opened(inside.path, shown, form, depth + 1)

        def frames(names: Sequence[str], kept: unpacked.Kept = inside) -> Iterator[pl.DataFrame]:
            yield from source.frames(names)  # the file lasts as long as this function has it

        return source._replace(frames=frames)
    if beginning.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in {b"{", b"["} and form.sep is None:
        return _source(name, other_files.open_json(path, shown), form)
    csv = csv_files.open_csv(path, shown, form.sep, form.encoding)
    comma = csv.separator != ","
    return Source(name, csv.columns, csv.frames, "", 2, comma, csv.check_rows, form.decimal)


def _source(name: str, found: other_files.Found, form: Form, *, decimal_comma: bool = False) -> Source:
    return Source(
        name,
        found.columns,
        found.frames,
        "",
        found.first_row,
        decimal_comma,
        decimal=form.decimal,
        notes=found.notes,
    )


def _check_form(form: Form) -> None:
    if form.encoding is not None:
        try:
            codecs.lookup(form.encoding)
        except LookupError as error:
            raise DataError(
                f"encoding is {form.encoding!r}, which Python does not know; expected a name such as latin-1, cp1252 "
                "or utf-16."
            ) from error
