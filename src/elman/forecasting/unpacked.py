# SPDX-License-Identifier: Apache-2.0
"""Packed files, and text in other encodings, as plain UTF-8 files that last as long as they are used.

In: a path. Out: a temporary file, which the system deletes with the object. Which file is which is decided by its first
bytes, not by its name.
"""

from __future__ import annotations

import atexit
import bz2
import codecs
import contextlib
import gzip
import lzma
import os
import re
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from elman import files
from elman.errors import DataError
from elman.forecasting.words import listed

_BLOCK = 1 << 20  # characters
_STREAMS: dict[bytes, tuple[str, Callable[[Path], Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZh": ("bzip2", bz2.open),
    b"\xfd7zXZ\0": ("xz", lzma.open),
}
_DAMAGED = (*files.ARCHIVE_ERRORS, lzma.LZMAError)
_SHEETS = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")


def is_packed(beginning: bytes) -> bool:
    """Whether a file holds another one."""
    return beginning.startswith((*_STREAMS, b"PK\3\4", b"PK\5\6"))


def is_workbook(path: Path) -> bool:
    """Whether a ZIP archive is a workbook of Excel or LibreOffice."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name in _SHEETS for name in archive.namelist())
    except _DAMAGED as error:
        raise DataError(f"{path} is a damaged ZIP archive ({error}). Save or download it again.") from error


class Kept:
    """A temporary file that is deleted with this object, or when Python ends.

    Attributes:
        path: Where it is.
    """

    def __init__(self, write: Callable[[IO[bytes]], None]) -> None:
        with files.temporary_errors():
            handle, name = tempfile.mkstemp(prefix="elman-", suffix=".table")
        self.path = Path(name)
        self._delete = weakref.finalize(self, _delete, self.path)
        with os.fdopen(handle, "wb") as file:
            write(file)


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except PermissionError:  # Polars has it open, which matters on Windows alone
        atexit.register(_delete_at_last, path)


def _delete_at_last(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def unpacked(path: Path, beginning: bytes) -> Kept:
    """The file inside a packed one.

    Raises:
        DataError: If the archive is damaged or holds several files, or if there is no room.
    """
    zipped: tuple[str, Callable[[Path], Any]] = ("ZIP", _member)
    name, opened = next((row for mark, row in _STREAMS.items() if beginning.startswith(mark)), zipped)

    def write(file: IO[bytes]) -> None:
        with opened(path) as source:
            while block := source.read(_BLOCK):
                with files.temporary_errors():
                    file.write(block)
        with files.temporary_errors():
            file.flush()

    try:
        return Kept(write)
    except _DAMAGED as error:
        raise DataError(f"{path} is a damaged {name} file ({error}). Save or download it again.") from error


@contextlib.contextmanager
def _member(path: Path) -> Iterator[IO[bytes]]:
    """The only file of a ZIP archive."""
    with zipfile.ZipFile(path) as archive:
        inside = [i for i in archive.infolist() if not i.is_dir() and not i.filename.startswith(("__MACOSX/", "."))]
        if len(inside) != 1:
            names = f": {listed((i.filename for i in inside), 4)}" if inside else ""
            raise DataError(f"{path} holds {len(inside)} files{names}; expected one table. Unpack it.")
        with archive.open(inside[0]) as source:
            yield source


def encoding_of(beginning: bytes) -> str | None:
    """The encoding that the first bytes of a text name: UTF-16 or UTF-32; `None` for none of these."""
    if beginning.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    return "utf-16" if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else None


def as_utf8(path: Path, encoding: str, shown: Path) -> Kept:
    """A text file in UTF-8.

    Args:
        path: The file.
        encoding: As Python names it.
        shown: The file's name in sentences.

    Raises:
        DataError: If it is not text in this encoding.
    """

    def blocks() -> Iterable[str]:
        with path.open(encoding=encoding, newline="") as file:
            while block := file.read(_BLOCK):
                yield block

    try:
        return _written(blocks())
    except UnicodeError as error:
        raise DataError(f"{shown} is not text in {encoding} ({error}). Name its encoding (--encoding).") from error


def with_tabs(path: Path, shown: Path) -> Kept:
    """A file whose columns blanks separate, with one tab between columns.

    Raises:
        DataError: If it is not UTF-8 text.
    """

    def lines() -> Iterable[str]:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line in file:
                yield re.sub(r"[ \t]+", "\t", line.strip()) + "\n"

    try:
        return _written(lines())
    except UnicodeDecodeError as error:
        raise DataError(f"{shown} is not UTF-8 text. Name its encoding with encoding (--encoding latin-1).") from error


def _written(blocks: Iterable[str]) -> Kept:
    def write(file: IO[bytes]) -> None:
        for block in blocks:
            with files.temporary_errors():
                file.write(block.encode())
        with files.temporary_errors():
            file.flush()

    return Kept(write)
