# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: which it is, whether it holds this run already, and its making.

In: what was asked for. Out: a path whose `run.json` says the same, or a `DataError`. What a folder holds that is not of
this run is never touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elman import files
from elman.errors import DataError
from elman.forecasting.run import CONFIG, FILES, METRICS, Run

RUNS = "elman-runs"


def path_for(name: str, config: dict[str, Any], out: Any) -> Path:
    """The folder that was asked for, or one that is named by the table and the hash of all that was asked."""
    if out is not None:
        return Path(out)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    return Path(RUNS) / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-.') or 'table'}-{digest[:8]}"


def finished(folder: Path, config: dict[str, Any], *, fresh: bool) -> Run | None:
    """The run that the folder holds, if it is this one and ran to its end.

    Raises:
        DataError: If the folder holds another run, or other files.
    """
    with files.telling(folder):
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{folder} is a file; expected a folder for the run. Choose another with out (--out).")
        there = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    begun = CONFIG in there
    foreign = [name for name in there if name not in FILES and not name.startswith(files.PREFIX)]
    if foreign and not begun:
        raise DataError(f"{folder} holds other files ({foreign[0]}); expected an empty or new folder, or this run's.")
    if not begun or fresh:
        return None
    differing = _differing(folder, config)
    if differing:
        raise DataError(
            f"{folder} holds a run with another {' and '.join(differing)}. Choose another folder with out (--out), or "
            "begin anew in this one with fresh (--fresh)."
        )
    if not (folder / METRICS).exists():
        return None
    run = Run.load(folder)
    return None if run.metrics["training"]["interrupted"] else run


def _differing(folder: Path, config: dict[str, Any]) -> list[str]:
    try:
        before = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / CONFIG} cannot be read; choose another folder with out (--out).") from error
    words = {"sha256": "table", "elman": "version of elman"}
    return [words.get(key, key) for key in config if before.get(key) != config[key]]


@contextlib.contextmanager
def held(folder: Path, config: dict[str, Any], *, fresh: bool) -> Iterator[None]:
    """Makes the folder and keeps other processes out of it; a process that is killed lets go of it.

    Raises:
        DataError: If another one is at work in it, or it cannot be written.
    """
    new = not folder.exists()
    with files.telling(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    try:
        with files.telling(folder):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataError(
                    f"another elman fit is at work in {folder}; expected one at a time. Wait until it has ended, or "
                    "choose another folder with out (--out)."
                ) from error
        _begin(folder, config, new=new, fresh=fresh)
        yield
    finally:
        os.close(handle)


def _begin(folder: Path, config: dict[str, Any], *, new: bool, fresh: bool) -> None:
    """Clears out what `fresh` or a killed process leaves there, and says whose folder it is."""
    files.clear(folder)
    if fresh:
        with files.telling(folder):
            for name in FILES:
                (folder / name).unlink(missing_ok=True)
    try:
        files.write(folder / CONFIG, json.dumps(config, indent=2) + "\n")
    except DataError:
        if new:
            folder.rmdir()
        raise
