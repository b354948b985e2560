# SPDX-License-Identifier: Apache-2.0
"""Writes whole files or none: under another name in the same folder, to the disk, then renamed.

In: a path and bytes, or a function that writes a file. Out: the file. If the process is killed, the path holds the old
file or the new one, and at most a file whose name begins with `.writing-` is left, which the next run removes. A full
disk, or a folder or file that cannot be written, is a `DataError`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from elman import system
from elman.errors import DataError

PREFIX = ".writing-"
_WAITS = (0.01, 0.05, 0.2, 0.5)  # seconds between tries
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # without it, opening a pipe that has no reader would wait for ever
ARCHIVE_ERRORS = (  # what zipfile raises if a bit of an archive has changed
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(KeyError, NotImplementedError, RuntimeError, UnicodeDecodeError),
)


def write(path: Path, content: bytes | str) -> None:
    """Writes a file; text as UTF-8."""
    data = content.encode() if isinstance(content, str) else content
    write_with(path, lambda to: _write_all(to, data))


def write_with(path: Path, writer: Callable[[Path], object]) -> None:
    """Lets `writer` write to a path of the same suffix, and then puts that file where `path` is.

    A symbolic link stays, and the file that it names is replaced. A replaced file keeps its mode and, where this
    process may set it, its owner. A pipe or a device is written to, and not replaced.

    Raises:
        DataError: If the path cannot be written.
    """
    with file_errors(path):
        target = Path(os.path.realpath(path))
        old = _replaced(target)
        if old is not None and not stat.S_ISREG(old.st_mode):
            _write_through(path, writer)
            return
        # No other process or thread writes to this name.
        temporary = target.with_name(f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}-{target.name}")
        try:
            writer(temporary)
            if old is not None:
                _keep_rights(temporary, old)
            _to_disk(temporary)
            _replace(temporary, target)
            _to_disk(target.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def check(path: Path) -> None:
    """Raises DataError if a file cannot be written, before the work whose result it is to hold."""
    with file_errors(path):
        target = Path(os.path.realpath(path))
        old = _replaced(target)
        if old is None or stat.S_ISREG(old.st_mode):
            with tempfile.TemporaryFile(dir=target.parent):
                pass


def _replaced(target: Path) -> os.stat_result | None:
    """What is there, if anything is and may be written to."""
    try:
        old = target.stat()
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISREG(old.st_mode) and not (old.st_mode & 0o222 and os.access(target, os.W_OK)):
        raise PermissionError(errno.EACCES, "the file is read-only")
    return old


def clear(folder: Path) -> None:
    """Removes what a killed process left half-written, and nothing that a living one writes."""
    with file_errors(folder, done="read"):
        found = list(folder.iterdir())
    with file_errors(folder):
        for path in found:
            if path.name.startswith(PREFIX) and not _is_being_written(path):
                path.unlink(missing_ok=True)


def _is_being_written(path: Path) -> bool:
    """Whether the process lives that began a file; it may be another one with its number."""
    number = path.name.removeprefix(PREFIX).partition("-")[0]
    if not number.isdigit() or int(number) == os.getpid():
        return False
    return system.lives(int(number))


@contextlib.contextmanager
def file_errors(path: Path, option: str = "", *, done: str = "written") -> Iterator[None]:
    """Turns the file system's errors into sentences.

    Args:
        path: What is read or written.
        option: The caller's argument that chooses another place, for the sentence.
        done: What is done with it: "written" or "read".
    """
    try:
        yield
    except OSError as error:
        place = f"another place with {option}" if option else "another path"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DataError(
                f"{path} cannot be written: the disk is full. Free some space, or choose {place}."
            ) from error
        raise DataError(f"{path} cannot be {done}: {error.strerror or error}. Choose {place}.") from error


@contextlib.contextmanager
def temporary_errors() -> Iterator[None]:
    """Turns errors of the folder for temporary files into sentences."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DataError(
                f"the folder for temporary files ({_temporary_folder()}) is full. Free some space, or name another one "
                "in the environment variable TMPDIR."
            ) from error
        if error.errno in {errno.ENOENT, errno.EACCES, errno.EROFS}:
            raise DataError(
                f"there is no folder for temporary files ({error.strerror or error}). Name one in the environment "
                "variable TMPDIR."
            ) from error
        raise


def _temporary_folder() -> str:
    return os.environ.get("TMPDIR") or tempfile.tempdir or "/tmp"


def _replace(temporary: Path, target: Path) -> None:
    """Puts a file where another one is. Windows refuses that while another program, a virus scanner say, reads one."""
    for wait in _WAITS if sys.platform == "win32" else ():
        try:
            temporary.replace(target)
        except PermissionError:
            time.sleep(wait)
        else:
            return
    temporary.replace(target)


def _write_all(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)


def _write_through(path: Path, writer: Callable[[Path], object]) -> None:
    """Writes to a pipe or a device: first a whole file elsewhere, then its bytes."""
    with temporary_errors(), tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder, path.name)
        writer(temporary)
        data = temporary.read_bytes()
    try:
        handle = os.open(path, os.O_WRONLY | _AT_ONCE)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "nothing reads from it") from error
        raise
    if _AT_ONCE:
        os.set_blocking(handle, True)
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def _keep_rights(path: Path, old: os.stat_result) -> None:
    """Gives a file the owner and the mode of the one that it replaces."""
    now = path.stat()
    if sys.platform != "win32" and (now.st_uid, now.st_gid) != (old.st_uid, old.st_gid):
        with contextlib.suppress(PermissionError):  # only root may give files away
            os.chown(path, old.st_uid, old.st_gid)
    path.chmod(stat.S_IMODE(old.st_mode))


def _to_disk(path: Path) -> None:
    folder = path.is_dir()
    if folder and sys.platform == "win32":  # which opens no folder
        return
    handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)  # Windows flushes only what it may write
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
