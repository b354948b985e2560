# SPDX-License-Identifier: Apache-2.0
"""What each operating system does in its own way: locks on folders, other processes, memory and processors.

In: a folder, or the number of a process. Out: a lock, or a fact. The rest of elman asks here, so that Windows has its
branches in one place.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOCK = ".elman-lock"  # the file that is locked where a folder cannot be

if sys.platform == "win32":
    import msvcrt

    # So that Ctrl-C in the terminal does not reach a child process: arguments of `subprocess.Popen`.
    APART: dict[str, Any] = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    _SYNCHRONIZE, _ACCESS_DENIED, _STILL_RUNS = 0x00100000, 5, 0x102
    _MEMORY_STATUS = struct.Struct("2I7Q")  # MEMORYSTATUSEX
    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel.OpenProcess.argtypes = [ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32]
    _kernel.OpenProcess.restype = ctypes.c_void_p
    _kernel.WaitForSingleObject.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    _kernel.CloseHandle.argtypes = [ctypes.c_void_p]

    @contextlib.contextmanager
    def _locked(folder: Path) -> Iterator[None]:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
        try:
            try:
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            except PermissionError as error:
                raise BlockingIOError(errno.EAGAIN, "it is locked") from error
            yield
            msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
        finally:
            os.close(handle)
            with contextlib.suppress(OSError):  # another process has it open
                (folder / LOCK).unlink()

    def _lives(number: int) -> bool:
        if number >= 2**32:
            return False
        handle = _kernel.OpenProcess(_SYNCHRONIZE, False, number)
        if not handle:
            return ctypes.get_last_error() == _ACCESS_DENIED
        try:
            return bool(_kernel.WaitForSingleObject(handle, 0) == _STILL_RUNS)
        finally:
            _kernel.CloseHandle(handle)

    def _memory() -> int:
        status = ctypes.create_string_buffer(_MEMORY_STATUS.pack(_MEMORY_STATUS.size, *[0] * 8), _MEMORY_STATUS.size)
        _kernel.GlobalMemoryStatusEx(status)
        return int(_MEMORY_STATUS.unpack(status.raw)[2])

else:
    import fcntl

    APART: dict[str, Any] = {"process_group": 0}

    @contextlib.contextmanager
    def _locked(folder: Path) -> Iterator[None]:
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(handle)

    def _lives(number: int) -> bool:
        try:
            os.kill(number, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:  # it is somebody else's
            return True
        return True

    def _memory() -> int:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def locked(folder: Path) -> contextlib.AbstractContextManager[None]:
    """A lock on a folder against others who lock it. It ends with the context, or with the process, however that ends.

    On Windows the folder holds a file `LOCK` meanwhile.

    Raises:
        BlockingIOError: When the context is entered, if the folder is locked.
    """
    return _locked(folder)


def lives(number: int) -> bool:
    """Whether there is a process of this number."""
    return _lives(number)


def memory() -> int:
    """The bytes of this machine's memory."""
    return _memory()


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
