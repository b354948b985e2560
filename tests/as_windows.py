# SPDX-License-Identifier: Apache-2.0
"""Runs code in a Linux process that refuses what Windows refuses, as far as elman could meet it.

In: Python code, as the program's only argument. Out: what it prints. Modules and functions of POSIX are missing, and
frameworks as well; an open file is not renamed or removed, a folder is not opened, and some names are not allowed. The
functions of Windows that elman calls do what their documentation says. Other packages are imported before all this.
"""

import csv
import ctypes
import errno
import fcntl
import importlib
import os
import re
import shutil
import struct
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace

FRAMEWORKS = ("keras", "tensorflow", "jax", "jaxlib", "torch", "sklearn", "optuna", "ray", "onnx", "onnxruntime")
OTHERS = ("fastexcel", "matplotlib.backends.backend_agg", "polars", "rich.progress", "safetensors.numpy", "typer")
MODULES = ("fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty")
FUNCTIONS = (
    *("O_DIRECTORY", "O_NONBLOCK", "chown", "fchmod", "fork", "getegid", "geteuid", "getgid", "getloadavg", "getuid"),
    *("killpg", "mkfifo", "nice", "openpty", "sched_getaffinity", "set_blocking", "setsid", "statvfs", "sysconf"),
)
MEMORY = 3 << 40  # bytes
RESERVED = re.compile(r'[<>:"|?*\\]|[ .]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)
_kill, _flock, _field_size_limit, _fsync = os.kill, fcntl.flock, csv.field_size_limit, os.fsync


def is_open(path) -> bool:
    """Whether this process has a file open, or in memory."""
    real = os.path.realpath(path)
    handles, mapped = list(Path("/proc/self/fd").iterdir()), Path("/proc/self/maps").read_text(encoding="utf-8")
    return any(os.path.realpath(each) == real for each in handles) or f" {real}\n" in mapped


def refuse(event: str, arguments: tuple) -> None:
    """What Windows refuses."""
    if event == "open" and isinstance(arguments[0], str | Path) and not str(arguments[0]).startswith("/proc"):
        path, mode, flags = arguments
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        if flags & os.O_CREAT and RESERVED.search(Path(path).name):
            raise OSError(errno.EINVAL, "Invalid argument", str(path))
    elif event == "os.mkdir" and RESERVED.search(Path(arguments[0]).name):
        raise OSError(errno.EINVAL, "Invalid argument", str(arguments[0]))
    elif event in {"os.rename", "os.remove"}:
        for path in arguments[: 2 if event == "os.rename" else 1]:
            if Path(path).exists() and is_open(path):
                raise PermissionError(errno.EACCES, "The file is used by another process", str(path))


def fsync(handle: int) -> None:
    """FlushFileBuffers refuses a handle that cannot write."""
    if Path(f"/proc/self/fdinfo/{handle}").read_text(encoding="utf-8").split("flags:")[1].split()[0][-1] == "0":
        raise OSError(errno.EBADF, "Bad file descriptor")
    _fsync(handle)


def kill(number: int, sent: int) -> None:
    """A signal 0 would be a Ctrl-C, and any other one would end the process."""
    raise AssertionError(f"os.kill({number}, {sent})")


def field_size_limit(*limit: int) -> int:
    """A C long has 32 bits."""
    if limit and limit[0] >= 2**31:
        raise OverflowError("Python int too large to convert to C long")
    return _field_size_limit(*limit)


def locking(handle: int, mode: int, _: int) -> None:
    """Of msvcrt."""
    try:
        _flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB if mode == 2 else fcntl.LOCK_UN)
    except BlockingIOError as error:
        raise PermissionError(errno.EACCES, "Permission denied") from error


def open_process(_access: int, _inherit: int, number: int) -> int | None:
    """Of kernel32."""
    try:
        _kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return None
    return number


def memory_status(status) -> None:
    """Of kernel32."""
    assert struct.unpack_from("I", status)[0] == len(status) == 64
    struct.pack_into("Q", status, 8, MEMORY)


def begin() -> None:
    """Turns this process into such a one."""
    for name in OTHERS:
        importlib.import_module(name)
    from elman import _native

    library = _native.library_path()
    kernel = SimpleNamespace(OpenProcess=open_process, WaitForSingleObject=lambda *_: 0x102, CloseHandle=lambda _: 1)
    kernel.GlobalMemoryStatusEx = memory_status
    for target, replaced in (
        (_native, {"library_path": lambda name="elman": library}),
        (csv, {"field_size_limit": field_size_limit}),
        (ctypes, {"WinDLL": lambda *_, **__: kernel, "get_last_error": lambda: 87}),
        (os, {"fsync": fsync, "kill": kill}),
        (shutil, {"_use_fd_functions": False}),
        (subprocess, {"CREATE_NEW_PROCESS_GROUP": 0x200}),
        (sys, {"platform": "win32"}),
    ):
        for name, value in replaced.items():
            setattr(target, name, value)
    sys.modules |= dict.fromkeys((*MODULES, *FRAMEWORKS))
    sys.modules["msvcrt"] = ModuleType("msvcrt")
    vars(sys.modules["msvcrt"]).update(LK_UNLCK=0, LK_NBLCK=2, locking=locking)
    for name in FUNCTIONS:
        delattr(os, name)
    warnings.filterwarnings("error", category=EncodingWarning, module="elman")
    sys.addaudithook(refuse)


if __name__ == "__main__":
    begin()
    exec(sys.argv[1])
