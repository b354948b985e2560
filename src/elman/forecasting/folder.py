# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: its path, whether it holds this run already, and a lock on it.

In: the arguments. Out: a path whose `run.json` holds the same ones, or a `DataError`. Files that no run of elman wrote
are never lost: such a folder is refused, and with `fresh` those whose names a run needs are renamed. `elman.fit` does
not write `model.keras`, so a user's file of this name stays as it is until the command writes its own.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from elman import archives, files, system
from elman.errors import DataError
from elman.forecasting.run import CHECKPOINTS, CONFIG, FILES, KERAS_MODEL, METRICS, OUTCOMES, Run, read_json

RUNS = "elman-runs"
_CHOOSE = "Choose another with out (--out), or rename those files with fresh (--fresh)."
_OUT = "out (--out)"
_FOREIGN = "foreign_keras_model"  # in run.json: whether model.keras is a file that no run of elman wrote
_WORDS = {"sha256": "table", "elman": "version of elman"}


def path_for(name: str, config: dict[str, Any], out: Any) -> Path:
    """The folder that was asked for, or one named by the table and a hash of the arguments."""
    if out is not None:
        return Path(out)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    return Path(RUNS) / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-.') or 'table'}-{digest[:8]}"


def finished(
    folder: Path, config: dict[str, Any], *, fresh: bool, load: Callable[[Path], Any] = Run.load
) -> Any | None:
    """The run that the folder holds, if it is this one and ran to its end.

    Args:
        folder: The folder.
        config: The arguments of the run.
        fresh: Whether to start again, whatever it holds.
        load: Opens a finished run.

    Raises:
        DataError: If the folder holds another run, or other files.
    """
    with files.file_errors(folder, _OUT, done="read"):
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{folder} is a file; expected a folder for the run. Choose another with out (--out).")
        names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    names = [name for name in names if not name.startswith(files.PREFIX) and name != system.LOCK]
    if fresh or not names:
        return None
    if CONFIG not in names:
        raise DataError(
            f"{folder} holds files that are not of a run ({names[0]}); expected an empty or new folder, or the folder "
            f"of this run. {_CHOOSE}"
        )
    before = config_of(folder)
    if before is None:
        raise DataError(
            f"{folder / CONFIG} is damaged, or was not written by elman fit; expected the folder of this run. {_CHOOSE}"
        )
    if differing := [_WORDS.get(key, key) for key in config if before.get(key) != config[key]]:
        raise DataError(
            f"{folder} holds a run with another {' and '.join(differing)}. Choose another folder with out (--out), or "
            "replace that run with fresh (--fresh)."
        )
    if not (folder / METRICS).exists() or any(folder.glob(CHECKPOINTS)):  # interrupted, or killed while it drew
        return None
    return load(folder)


def config_of(folder: Path) -> dict[str, Any] | None:
    """The content of `run.json`; `None` if it is not elman's, or damaged. The other files may be the user's then."""
    config = read_json(folder / CONFIG)
    return config if config is not None and {"sha256", "elman", "target"} <= set(config) else None


@contextlib.contextmanager
def held(
    folder: Path, config: dict[str, Any], *, fresh: bool, load: Callable[[Path], Any] = Run.load
) -> Iterator[Any | None]:
    """Makes the folder and keeps other processes out of it. When a process is killed, its lock ends.

    Yields:
        The run, if another process has finished it since `finished` was asked; else `None`.

    Raises:
        DataError: If another process is at work in the folder or has begun another run there, or if the folder cannot
            be written.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    with files.file_errors(folder, _OUT):
        folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as lock:
        with files.file_errors(folder, _OUT):
            try:
                lock.enter_context(system.locked(folder))
            except BlockingIOError as error:
                raise DataError(
                    f"another elman fit is at work in {folder}; expected one at a time. Wait until it has ended, or "
                    "choose another folder with out (--out)."
                ) from error
        try:
            run = finished(folder, config, fresh=fresh, load=load)  # again: reading the table took time
            if run is None:
                _begin(folder, config, fresh=fresh)
        except BaseException:
            lock.close()  # its file is in the folder
            with contextlib.suppress(OSError):  # not empty: somebody else uses it
                for path in new:
                    path.rmdir()
            raise
        yield run


def _begin(folder: Path, config: dict[str, Any], *, fresh: bool) -> None:
    """Removes files that `fresh` replaces or a killed process left, and writes `run.json`."""
    files.clear(folder)
    if _is_foreign(folder):
        config = config | {_FOREIGN: True}
    if fresh:
        with files.file_errors(folder, _OUT):
            if config_of(folder) is None:
                for path in (*_paths(folder), folder / CONFIG):
                    _set_aside(path)
            for path in _paths(folder):  # not run.json, which marks the others as elman's; it is replaced below
                path.unlink(missing_ok=True)
            remove_keras_model(folder)
    _write_config(folder, config)


def _paths(folder: Path) -> list[Path]:
    """The files of a run other than `run.json`, of which some may not be there."""
    return [
        *(folder / name for name in FILES),
        *folder.glob(CHECKPOINTS),
        *folder.glob(f"{OUTCOMES}/*-seed-*.safetensors"),
    ]


def own_files(folder: Path) -> list[Path]:
    """All files of a run, of which some may not be there. The last is `run.json`, which marks them as elman's."""
    keras = [] if _is_foreign(folder) else [folder / KERAS_MODEL]
    return [*_paths(folder), *keras, folder / CONFIG]


def remove_keras_model(folder: Path) -> None:
    """Removes the `model.keras` of an earlier run. One that no run of elman wrote stays."""
    if not _is_foreign(folder):
        (folder / KERAS_MODEL).unlink(missing_ok=True)


def has_keras_model(folder: Path) -> bool:
    """Whether the folder of a run holds its `model.keras`. One that no run of elman wrote is renamed."""
    path = folder / KERAS_MODEL
    if _is_foreign(folder):
        with files.file_errors(path):
            _set_aside(path)
        config = read_json(folder / CONFIG) or {}
        _write_config(folder, {key: value for key, value in config.items() if key != _FOREIGN})
    return path.exists()


def check_keras_model(folder: Path) -> None:
    """Raises if the `model.keras` of a run is damaged, though forecasts are made with another file: a copy of a folder
    that broke one of its files is not to be trusted."""
    path = folder / KERAS_MODEL
    if not path.exists() or _is_foreign(folder):
        return
    status = path.stat()
    try:
        _read_whole(path, (status.st_ino, status.st_size, status.st_mtime_ns))
    except DataError as error:
        raise DataError(
            f"{error} It was written by elman fit, so other files of this run may be damaged as well. Copy the folder "
            f"again, or remove {KERAS_MODEL}: forecasts are made without it."
        ) from error


@functools.lru_cache(maxsize=64)
def _read_whole(path: Path, unchanged: tuple[int, ...]) -> None:
    """Checks all parts of a `.keras` file, once as long as the file is `unchanged`."""
    archives.read_texts(path)


def _is_foreign(folder: Path) -> bool:
    """Whether `model.keras` is a file that no run of elman wrote."""
    config = config_of(folder)
    return _is_there(folder / KERAS_MODEL) and (config is None or bool(config.get(_FOREIGN)))


def _set_aside(path: Path) -> None:
    """Renames a file: `model.keras` to `model.keras.before`, or to the first free name with a number."""
    if _is_there(path):
        names = (f"{path.name}.before{f'-{n}' if n else ''}" for n in itertools.count())
        path.rename(next(to for to in map(path.with_name, names) if not _is_there(to)))


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _write_config(folder: Path, config: dict[str, Any]) -> None:
    files.write(folder / CONFIG, json.dumps(config, indent=2) + "\n")
