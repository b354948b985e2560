# SPDX-License-Identifier: Apache-2.0
"""Files that are not CSV: Parquet, Arrow, workbooks, JSON; and the sentences for kinds that cannot be read.

In: a path. Out: columns and frames. The cells of a workbook are text, as in a CSV file. Polars and fastexcel do the
reading.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from elman.errors import DataError
from elman.forecasting.csv_files import BATCH, first_line
from elman.forecasting.headers import check_header, free_name
from elman.forecasting.words import counted, listed

EXPECTED = "expected a table as CSV, Parquet, Excel or JSON, also packed as .gz or .zip"
REFUSED = {  # how files of other kinds begin
    b"SQLite format 3": "an SQLite database; {}. Export the table as CSV",
    b"\x89HDF": "an HDF5 or NetCDF file; {}. Write its columns as CSV or Parquet",
    b"CDF\x01": "a NetCDF file; {}. Write its columns as CSV or Parquet",
    b"CDF\x02": "a NetCDF file; {}. Write its columns as CSV or Parquet",
    b"CDF\x05": "a NetCDF file; {}. Write its columns as CSV or Parquet",
    b"\x93NUMPY": "a NumPy file; {}. Open it with numpy.load, and pass the array to elman.fit",
    b"MATLAB": "a MATLAB file; {}. Write its columns as CSV or Parquet",
    b"%PDF": "a PDF file; {}. Copy the table to a spreadsheet and save it as CSV",
    b"\x80\x04": "a Python pickle; {}. Write the frame with to_csv or to_parquet",
    b"\x80\x05": "a Python pickle; {}. Write the frame with to_csv or to_parquet",
    b"(\xb5/\xfd": "packed with zstd; {}. Unpack it",
    b"7z\xbc\xaf": "a 7z archive; {}. Unpack it",
    b"Rar!": "a RAR archive; {}. Unpack it",
    b"<": "HTML or XML; {}. Download the table itself, or save it as CSV",
}
_MILLISECONDS = 10**10  # since 1970, from April of that year on; smaller names of rows are their numbers
NAMES_IN_BRACKETS = rb"<\w+>[,;\t|]"  # <DATE>,<TIME>,<OPEN>: a header of programs for prices, and not HTML
OLD_EXCEL = b"\xd0\xcf\x11\xe0"
_PACKAGE = "fastexcel"


class Found(NamedTuple):
    """What a file holds.

    Attributes:
        columns: The names.
        frames: Yields the rows as frames.
        first_row: How the user counts the first row; 0 if from 0.
        notes: Sentences for the report.
    """

    columns: list[str]
    frames: Callable[[Sequence[str]], Iterator[pl.DataFrame]]
    first_row: int = 0
    notes: tuple[str, ...] = ()


def slices(frame: pl.DataFrame, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """A frame in memory, part by part."""
    yield from frame.select(names).iter_slices(BATCH)


def _of_frame(frame: pl.DataFrame, shown: Path, first_row: int = 0, notes: tuple[str, ...] = ()) -> Found:
    check_header(frame.columns, str(shown))
    return Found(frame.columns, lambda names: slices(frame, names), first_row, notes)


def open_parquet(path: Path, shown: Path) -> Found:
    """A Parquet file, or an Arrow file, which begins with ARROW1."""
    with path.open("rb") as file:
        arrow = file.read(6) == b"ARROW1"
    kind = "Arrow" if arrow else "Parquet"
    try:
        if arrow:
            return _of_frame(pl.read_ipc(path.absolute()), shown)
        # The very file: Polars takes [1] and * for patterns, ~ for a home, and a folder's a=1 for a column.
        scan = pl.scan_parquet(path.absolute(), glob=False, hive_partitioning=False)
        columns = scan.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{shown} is not a readable {kind} file: {first_line(error)}. Write it again.") from error
    check_header(columns, str(shown))

    def frames(names: Sequence[str]) -> Iterator[pl.DataFrame]:
        try:
            yield from scan.select(names).collect_batches(chunk_size=BATCH, maintain_order=True)
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{shown} cannot be read: {first_line(error)}. Write it again.") from error

    return Found(columns, frames)


def open_workbook(path: Path, shown: Path) -> Found:
    """The first sheet of a workbook that has cells, all as text."""
    if importlib.util.find_spec(_PACKAGE) is None:
        raise DataError(
            f"{shown} is a workbook, and {_PACKAGE}, which reads it, is not installed. Install elman[cli], or save the "
            "sheet as CSV."
        )
    import fastexcel

    try:
        book = fastexcel.read_excel(str(path))
        for name in book.sheet_names:
            sheet = book.load_sheet(name, header_row=None, skip_rows=0, dtypes="string")
            frame = sheet.to_polars()
            if frame.height:
                break
        else:
            raise DataError(f"{shown} has no sheet with cells; expected a header and rows.")
    except (fastexcel.FastExcelError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{shown} is not a readable workbook: {first_line(error)}. Save it again.") from error
    columns = ["" if cell is None else cell for cell in frame.row(0)]
    rows = frame.slice(1)
    kept = [i for i, column in enumerate(columns) if column.strip() or rows[:, i].null_count() < rows.height]
    others = [other for other in book.sheet_names if other != name]
    notes = (f"Read the sheet {name!r}; the others ({listed(others, 4)}) are not used.",) if others else ()
    names = [columns[i] for i in kept]
    check_header(names, str(shown))
    return _of_frame(rows[:, kept].rename(dict(zip(rows[:, kept].columns, names, strict=True))), shown, 2, notes)


def open_json(path: Path, shown: Path) -> Found:
    """JSON in one of four forms: an object on each line, a list of objects, or what pandas writes."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if _is_by_lines(text):
            return _of_frame(pl.read_ndjson(text.encode(), infer_schema_length=None), shown, 1)
        return _of_frame(_frame_of(json.loads(text), shown), shown)
    except UnicodeDecodeError as error:
        raise DataError(f"{shown} is not UTF-8 text. Save the file as UTF-8.") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{shown} is not correct JSON: {first_line(error)}. Write it again.") from error
    except (pl.exceptions.PolarsError, TypeError, OverflowError) as error:
        raise DataError(f"{shown} is JSON, but not a table: {first_line(error)}. Write it as CSV.") from error


def _labels(labels: Any, columns: dict[str, Any]) -> dict[str, pl.Series]:
    """The names of rows as a column: the times that pandas writes as milliseconds, or text; none for row numbers.

    Args:
        labels: The names, or `None`.
        columns: The other columns.
    """
    texts = [str(label) for label in labels or ()]
    if all(text.isdigit() and int(text) < _MILLISECONDS for text in texts):
        return {}
    numbers = all(text.isdigit() for text in texts)
    name = free_name("time" if numbers else "index", columns)
    return {name: pl.Series(list(map(int, texts))).cast(pl.Datetime("ms")) if numbers else pl.Series(texts)}


def _is_by_lines(text: str) -> bool:
    """Whether each line is an object of its own."""
    first, _, rest = text.strip().partition("\n")
    try:
        return isinstance(json.loads(first), dict) and rest.lstrip().startswith("{")
    except (json.JSONDecodeError, RecursionError):
        return False


def _frame_of(content: Any, shown: Path) -> pl.DataFrame:
    """A table of a list of objects, of an object with a list or an object for each column (as pandas writes), or of an
    object with `columns` and `data`."""
    labels: Any = None  # of the rows
    if isinstance(content, dict) and isinstance(content.get("data"), list):
        names = content.get("columns")
        if isinstance(names, list) and all(isinstance(row, list) for row in content["data"]):
            if wrong := [i for i, row in enumerate(content["data"]) if len(row) != len(names)]:
                raise DataError(
                    f"{shown}, row {wrong[0]} (counted from 0) has {counted(len(content['data'][wrong[0]]), 'cell')}, "
                    f"and there are {counted(len(names), 'column')}; expected as many in every row. Correct the row."
                )
            check_header([str(name) for name in names], str(shown))
            labels = content.get("index")
            content = {str(name): [row[i] for row in content["data"]] for i, name in enumerate(names)}
        else:
            content = content["data"]
    if isinstance(content, list) and content and all(isinstance(row, dict) for row in content):
        return pl.from_dicts(content, infer_schema_length=None, strict=False)
    if isinstance(content, dict) and content:
        if all(isinstance(cells, dict) for cells in content.values()):
            labels = list(next(iter(content.values())))
            if other := [name for name, cells in content.items() if list(cells) != labels]:
                raise DataError(
                    f"{shown} names the rows of column {other[0]!r} otherwise than those of the first column; expected "
                    "the same rows in the same order. Write it again."
                )
            content = {name: list(cells.values()) for name, cells in content.items()}
        if all(isinstance(cells, list) for cells in content.values()):
            return pl.DataFrame(_labels(labels, content) | content, strict=False)
    raise DataError(
        f"{shown} is JSON, but not a table; expected a list of objects, one object on each line, or what pandas writes "
        "with to_json. Write it so, or as CSV."
    )
