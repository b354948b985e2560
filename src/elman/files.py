# SPDX-License-Identifier: Apache-2.0
"""Writes whole files or none: to another name in the same folder, to the disk, then renamed.

In: a path and bytes, or something that writes a file. Out: the file. A process that is killed leaves the old file or
the new one, and at most a name that begins with `.writing-`, which the next run removes. A full disk or a folder that
cannot be written is a `DataError`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from elman.errors import DataError

PREFIX = ".writing-"


def write(path: Path, content: bytes | str) -> None:
    """Writes a file; text as UTF-8."""
    data = content.encode() if isinstance(content, str) else content
    write_with(path, lambda to: _write_all(to, data))


def write_with(path: Path, writer: Callable[[Path], object]) -> None:
    """Lets `writer` write to a path of the same suffix, and puts that in the place of `path`."""
    temporary = path.with_name(f"{PREFIX}{path.name}")
    with telling(path):
        try:
            writer(temporary)
            _to_disk(temporary)
            temporary.replace(path)
            _to_disk(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def clear(folder: Path) -> None:
    """Removes what a killed process left half-written."""
    with telling(folder):
        for path in folder.glob(f"{PREFIX}*"):
            path.unlink()


@contextlib.contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turns the file system's errors into sentences."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DataError(
                f"{path} cannot be written: the disk is full. Free some space, or choose out (--out)."
            ) from error
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}. Choose another folder with out (--out)."
        ) from error


def _write_all(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
