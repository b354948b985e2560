# SPDX-License-Identifier: Apache-2.0
"""CSV files as tables: the separator, the header, the rows, and what is wrong with any of them.

In: a path of a text file. Out: its columns, and its rows as Polars frames of text, so that `reading` can name the cell
that is not a number. Other encodings, and blanks between columns, are made UTF-8 and tabs first, by `unpacked`.
"""

from __future__ import annotations

import codecs
import csv
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from elman.errors import DataError
from elman.forecasting import unpacked
from elman.forecasting.headers import check_header, check_is_header
from elman.forecasting.words import counted, listed

BATCH = 50_000  # rows
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_BLOCK = 1 << 20  # bytes
_LOOK = 20  # rows that are compared with the header
_BLANKS = " "
# The largest that Windows takes. A cell that is too long is an unclosed quote, which is reported as such.
csv.field_size_limit(2**31 - 1)


class CsvTable(NamedTuple):
    """An opened CSV file.

    Attributes:
        columns: The names.
        separator: Between columns.
        frames: Yields the rows as frames of text.
        check_rows: Raises if a row has more or fewer fields than the header, or a quote is not closed.
    """

    columns: list[str]
    separator: str
    frames: Callable[[Sequence[str]], Iterator[pl.DataFrame]]
    check_rows: Callable[[], None]


def open_csv(path: Path, shown: Path, sep: str | None, encoding: str | None) -> CsvTable:
    """Opens a CSV file.

    Args:
        path: The file.
        shown: Its name in sentences.
        sep: The separator, or `None` to find it in the header.
        encoding: As Python names it; `None` for UTF-8, and for UTF-16 with a mark.

    Raises:
        DataError: If it is not text with a header.
    """
    with path.open("rb") as raw:
        encoding = encoding or unpacked.encoding_of(raw.read(4))
    kept: list[unpacked.Kept] = []  # temporary files, which last as long as `frames` has them
    if encoding is not None and codecs.lookup(encoding).name != "utf-8":
        kept.append(unpacked.as_utf8(path, encoding, shown))
        path = kept[-1].path
    _check_text(path, shown)
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        if first.endswith("\r"):
            raise DataError(f"{shown} ends its rows with CR alone; expected LF or CR LF. Save it again.")
        lines = [first, *itertools.islice(file, _LOOK)]
    separator = sep or _separator(lines)
    if separator == _BLANKS:
        kept.append(unpacked.with_tabs(path, shown))
        path, separator = kept[-1].path, "\t"
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(itertools.islice(csv.reader(file, delimiter=separator), _LOOK + 1))
    columns = rows[0] if rows else []
    check_header(columns, str(shown))
    check_is_header(columns, rows[1:], str(shown))
    if sep is None:
        _check_separator(separator, lines, shown)
    scan = pl.scan_csv(
        path.absolute(), separator=separator, infer_schema=False, glob=False, with_column_names=lambda _: columns
    )

    def check_rows() -> None:
        check_fields(path, separator, columns, shown)

    def frames(names: Sequence[str], _kept: list[unpacked.Kept] = kept) -> Iterator[pl.DataFrame]:
        try:
            yield from scan.select(names).collect_batches(chunk_size=BATCH, maintain_order=True)
        except pl.exceptions.PolarsError as error:
            check_rows()  # names the row, which Polars does not
            raise DataError(f"{shown} cannot be read: {first_line(error)}.") from error

    return CsvTable(columns, separator, frames, check_rows)


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, and only its beginning if it is long."""
    text = str(error).strip().partition("\n")[0].removesuffix(".")
    return text if len(text) <= 200 else f"{text[:200]}..."


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])


def _separator(lines: Sequence[str]) -> str:
    """The most frequent separator of the header, a comma if there is none; blanks if they make as many columns in every
    row."""
    first = _outside_quotes(lines[0])
    if not any(first.count(mark) for mark in SEPARATORS):
        fields = {len(line.split()) for line in lines if line.strip()}
        if len(fields) == 1 and fields != {1} and '"' not in "".join(lines):
            return _BLANKS
    return max(SEPARATORS, key=first.count)


def _check_separator(separator: str, lines: Sequence[str], shown: Path) -> None:
    """Raises DataError if the rows have another separator than the header."""
    header = _outside_quotes(lines[0])
    rows = [_outside_quotes(line) for line in lines[1:] if line.strip()]
    for other, name in SEPARATORS.items():
        if other in {separator, ","} or other in header:  # a comma may be decimal
            continue
        if {row.count(other) for row in rows} == {header.count(separator)} - {0}:
            raise DataError(
                f"{shown} has {SEPARATORS.get(separator, separator)} between the column names and {name} between the "
                f"cells below them; expected the same. Correct the header, or name the separator with sep (--sep)."
            )


def _check_text(path: Path, shown: Path) -> None:
    """Raises DataError if a file is not UTF-8 text; the row is named."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    row = 1
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            try:
                text = decoder.decode(block)
            except UnicodeDecodeError as error:
                row += error.object[: error.start].count(b"\n")
                raise DataError(
                    f"{shown}, row {row}: byte 0x{error.object[error.start]:02x} is not UTF-8. Save the file as UTF-8, "
                    "or name its encoding with encoding (--encoding latin-1)."
                ) from error
            if "\0" in text:
                raise DataError(f"{shown} is not text; expected a table. Export it as CSV.")
            row += block.count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise DataError(f"{shown}, row {row}: it ends inside a UTF-8 character. Save the file as UTF-8.") from error


def check_fields(path: Path, separator: str, columns: list[str], shown: Path) -> None:
    """Raises DataError for the first row that is longer or shorter than the header, and for a quote that never ends."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        begins = 1
        try:
            for fields in reader:
                if len(fields) != len(columns) and fields:
                    raise DataError(
                        f"{shown}, row {begins} has {counted(len(fields), 'field')}, the header has {len(columns)} "
                        f"({listed(columns, 4)}); expected as many in every row. Correct the row."
                    )
                begins = reader.line_num + 1
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise DataError(f'{shown}, row {begins}: a quote (") is opened and never closed. Close it.') from error
            raise DataError(f"{shown}, row {begins}: {error}. Correct the row.") from error
