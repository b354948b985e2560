# SPDX-License-Identifier: Apache-2.0
"""Where a table comes from: a CSV or Parquet file, NumPy, pandas or Polars, all as a stream of Polars frames.

In: a path or an object in memory. Out: a `Source`: the columns' names, the frames one after another, and the hash of
the data. The cells of a CSV file stay text here, so that `reading` can name the cell that is not a number.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import os
import re
import stat
import zoneinfo
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from elman.checks import did_you_mean
from elman.errors import DataError
from elman.forecasting.columns import fixed_zone
from elman.forecasting.words import counted, listed

_BATCH = 50_000  # rows
_BLOCK = 1 << 20  # bytes
_SEPARATORS = (",", ";", "\t", "|")
_DATE = r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:\D.*)?$"
_VALUE = rf"{_DATE}|[-+]?\d*[.,]?\d+(?:[eE][-+]?\d+)?$"
_EXPECTED = "expected a CSV file in UTF-8, or a Parquet file"
_OTHERS = {  # how files of other kinds begin
    b"PK\3\4": "a ZIP archive, as .xlsx files are; {}. Save the sheet as CSV, or unpack the archive",
    b"\x1f\x8b": "compressed with gzip; {}. Unpack it",
    b"\xd0\xcf\x11\xe0": "an old Excel file; {}. Save the sheet as CSV",
    b"{": "JSON; {}. Convert it",
    b"[": "JSON; {}. Convert it",
}


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
    """

    name: str
    columns: list[str]
    frames: Callable[[Sequence[str]], Iterator[pl.DataFrame]]
    sha256: str
    first_row: int = 0
    decimal_comma: bool = False
    check_rows: Callable[[], None] = lambda: None

    def row(self, index: int) -> str:
        """A row as the user counts it."""
        return f"row {index + self.first_row}" if self.first_row else f"row {index} (counted from 0)"


def open_table(table: Any) -> Source:
    """Opens a table.

    Raises:
        DataError: If it is not a table, or cannot be read.
    """
    if isinstance(table, str | os.PathLike):
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/+", str(table)):
            raise DataError(f"{table} is a web address; {_EXPECTED}. Download it first.")
        return _open_file(Path(table))
    if isinstance(table, pl.LazyFrame):
        table = table.collect()
    if isinstance(table, pl.Series):
        table = table.to_frame()
    if isinstance(table, np.ndarray):
        table = _from_numpy(table)
    elif type(table).__module__.partition(".")[0] == "pandas":
        table = _from_pandas(table)
    if not isinstance(table, pl.DataFrame):
        raise DataError(
            f"table is {type(table).__name__}; expected the path of a .csv or .parquet file, a NumPy array, or a "
            "pandas or Polars frame."
        )
    _check_header(list(table.columns), "the table")
    return Source("table", list(table.columns), lambda names: _slices(table, names), _hash_of(table))


# --- files -----------------------------------------------------------------------------------------------------------


def _open_file(path: Path) -> Source:
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder; expected a .csv or .parquet file.")
        if not path.exists():
            siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            raise DataError(f"{path} does not exist.{did_you_mean(path.name, siblings)}")
        if not stat.S_ISREG(path.stat().st_mode):  # it would be read several times
            raise DataError(f"{path} is a pipe or a device, which can be read only once; {_EXPECTED}. Save it first.")
        with path.open("rb") as file:
            beginning = file.read(4)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if not beginning:
        raise DataError(f"{path} is empty; expected a header and rows.")
    for mark, kind in _OTHERS.items():
        if beginning.startswith(mark):
            raise DataError(f"{path} is {kind.format(_EXPECTED)}.")
    return _open_parquet(path) if beginning == b"PAR1" else _open_csv(path)


def _open_parquet(path: Path) -> Source:
    digest = hashlib.sha256()
    for block in _blocks(path):
        digest.update(block)
    try:
        # The very file: Polars takes [1] and * for patterns, ~ for a home, and a folder's a=1 for a column.
        scan = pl.scan_parquet(path.absolute(), glob=False, hive_partitioning=False)
        columns = scan.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {_first_line(error)}.") from error
    _check_header(columns, str(path))
    return Source(path.stem, columns, lambda names: _batches(scan, names, path), digest.hexdigest())


def _open_csv(path: Path) -> Source:
    sha256 = _check_text(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        if first.endswith("\r"):
            raise DataError(f"{path} ends its rows with CR alone; expected LF or CR LF. Save it again.")
        separator = max(_SEPARATORS, key=_outside_quotes(first).count)  # a comma, if no other is more frequent
        file.seek(0)
        columns = next(csv.reader(file, delimiter=separator), [])
    _check_header(columns, str(path))
    if {bool(re.match(_DATE, name)) for name in columns} == {True, False} and all(re.match(_VALUE, n) for n in columns):
        raise DataError(f"{path} starts with values ({listed(columns)}); expected a header. Add a row of column names.")
    scan = pl.scan_csv(path.absolute(), separator=separator, infer_schema=False, glob=False)

    def check_rows() -> None:
        _check_fields(path, separator, columns)

    def frames(names: Sequence[str]) -> Iterator[pl.DataFrame]:
        try:
            yield from _batches(scan, names, path)
        except DataError:
            check_rows()  # names the row, which Polars does not
            raise

    return Source(path.stem, columns, frames, sha256, 2, separator != ",", check_rows)


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _check_text(path: Path) -> str:
    """Reads a file once: its hash, if it is UTF-8 text.

    Raises:
        DataError: If it is not; the row is named.
    """
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    row = 1
    for block in _blocks(path):
        digest.update(block)
        try:
            text = decoder.decode(block)
        except UnicodeDecodeError as error:
            row += error.object[: error.start].count(b"\n")
            if row == 1 and error.object[:2] in {b"\xff\xfe", b"\xfe\xff"}:
                raise DataError(f"{path} is UTF-16 text; expected UTF-8. Save it as UTF-8.") from error
            raise DataError(
                f"{path}, row {row}: byte 0x{error.object[error.start]:02x} is not UTF-8. Save the file as UTF-8."
            ) from error
        if "\0" in text:
            raise DataError(f"{path} is not text; {_EXPECTED}.")
        row += block.count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, row {row}: it ends inside a UTF-8 character. Save the file as UTF-8.") from error
    return digest.hexdigest()


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])


def _check_header(columns: list[str], what: str) -> None:
    if not any(name.strip() for name in columns):
        raise DataError(f"{what} has no column names in its first row; expected a header.")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise DataError(f"{what} has the column {twice[0]!r} {columns.count(twice[0])} times; expected distinct names.")


def _check_fields(path: Path, separator: str, columns: list[str]) -> None:
    """Raises DataError for the first row that is longer or shorter than the header."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator)
        try:
            for fields in reader:
                if len(fields) != len(columns) and fields:
                    raise DataError(
                        f"{path}, row {reader.line_num} has {counted(len(fields), 'field')}, the header has "
                        f"{len(columns)}; expected as many in every row."
                    )
        except csv.Error as error:
            raise DataError(f"{path}, row {reader.line_num}: {error}.") from error


def _batches(scan: pl.LazyFrame, names: Sequence[str], path: Path) -> Iterator[pl.DataFrame]:
    try:
        yield from scan.select(names).collect_batches(chunk_size=_BATCH, maintain_order=True)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} cannot be read: {_first_line(error)}.") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].removesuffix(".")


# --- tables in memory ------------------------------------------------------------------------------------------------


def _slices(frame: pl.DataFrame, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    yield from frame.select(names).iter_slices(_BATCH)


def _hash_of(frame: pl.DataFrame) -> str:
    """A hash of names, types and values. The values of nested columns, which are not used, are left out."""
    digest = hashlib.sha256(repr(list(frame.schema.items())).encode())
    flat = [n for n, kind in frame.schema.items() if not kind.is_nested() and kind not in {pl.Binary, pl.Object}]
    for part in frame.select(flat).iter_slices(_BATCH):
        digest.update(part.write_csv(include_header=False).encode())
    return digest.hexdigest()


def _from_numpy(array: np.ndarray) -> pl.DataFrame:
    if array.dtype.names:
        if array.ndim != 1:
            raise DataError(f"table is a structured array of {array.ndim} dimensions; expected 1.")
        return pl.DataFrame({name: _series(name, array[name]) for name in array.dtype.names})
    if array.ndim not in {1, 2}:
        raise DataError(f"table has the shape {array.shape}; expected (rows, columns).")
    columns = array[:, None] if array.ndim == 1 else array
    if not columns.shape[1]:
        raise DataError(f"table has the shape {array.shape}; expected at least one column.")
    return pl.DataFrame([_series(f"x{i}", columns[:, i]) for i in range(columns.shape[1])])


def _from_pandas(table: Any) -> pl.DataFrame:
    """Converts through NumPy, so that pyarrow is not needed. An index with a name or times becomes a column."""
    frame = table.to_frame() if not hasattr(table, "columns") else table
    if type(frame.index).__name__ == "PeriodIndex":
        frame = frame.set_axis(frame.index.to_timestamp(), axis=0)
    named = any(name is not None for name in frame.index.names)
    if named or type(frame.index).__name__ == "DatetimeIndex":
        frame = frame.reset_index(names=None if named else "time")
    names = [str(name) for name in frame.columns]
    _check_header(names, "the table")
    return pl.DataFrame([_pandas_series(name, frame.iloc[:, i]) for i, name in enumerate(names)])


def _pandas_series(name: str, series: Any) -> pl.Series:
    kind = getattr(series.dtype, "kind", "O")
    if kind == "M":
        zone = getattr(series.dt, "tz", None)
        if zone is None:
            return pl.Series(name, series.to_numpy().astype("datetime64[us]"))
        moments = series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[us]")
        return pl.Series(name, moments).dt.replace_time_zone("UTC").dt.convert_time_zone(_zone_name(zone))
    if kind in "biuf":
        return _series(name, series.to_numpy(dtype="float64", na_value=np.nan))
    return _series(
        name,
        np.asarray(
            [
                None if missing else value
                for value, missing in zip(series.tolist(), series.isna().tolist(), strict=True)
            ],
            dtype=object,
        ),
    )


def _zone_name(zone: Any) -> str:
    """A zone's name in the time zone database, or that of its fixed offset; UTC for a zone without either."""
    offset = zone.utcoffset(None)
    if offset is not None:
        hours, rest = divmod(offset.total_seconds(), 3600)
        return fixed_zone(int(hours)) if not rest else "UTC"
    name = str(getattr(zone, "key", None) or getattr(zone, "zone", None))
    return name if name in zoneinfo.available_timezones() else "UTC"


def _series(name: str, values: np.ndarray) -> pl.Series:
    if values.ndim != 1:
        raise DataError(f"column {name!r} has the shape {values.shape}; expected one number a row.")
    values = np.ma.filled(values.astype("float64"), np.nan) if isinstance(values, np.ma.MaskedArray) else values
    if values.dtype.kind == "M":
        return pl.Series(name, values.astype("datetime64[us]"))
    if values.dtype.kind == "f":
        return pl.Series(name, np.ascontiguousarray(values, "float64"))
    if values.dtype.kind in "biu":
        return pl.Series(name, np.ascontiguousarray(values))
    if values.dtype.kind in "OUS":
        texts = [None if v is None else v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()]
        return pl.Series(name, texts, dtype=pl.String)
    raise DataError(f"column {name!r} holds {values.dtype}; expected numbers.")
