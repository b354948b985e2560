# SPDX-License-Identifier: Apache-2.0
"""Several runs: found in folders, described so that they can be compared, and removed.

In: paths. Out: a row for each run. A folder is a run only if `elman fit` wrote its `run.json`; nothing else is read or
removed. A run that another process works on is left as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from elman import files, system
from elman.errors import DataError
from elman.forecasting.folder import config_of, own_files
from elman.forecasting.run import CHECKPOINTS, METRICS, OUTCOMES, load_metrics

FINISHED, BEGUN, DAMAGED = "finished", "not finished", "damaged"


class Listed(NamedTuple):
    """A run, as a list shows it.

    Attributes:
        folder: Where it is.
        state: One of `FINISHED`, `BEGUN` (it was interrupted, or is at work) and `DAMAGED`.
        table: The name of its table; `None` of a run that is not finished.
        target: The column that it forecasts, or several with commas between them, or that of the labels; or `None`.
        ahead: Rows; 1 of a run that classifies.
        cell: The kind of recurrent layer, with its sizes.
        model: The model that it forecasts with; `None` of a run that is not finished.
        rmse: The error of that model on the held-out rows; `None` of a run that classifies.
        unit: Of the error.
        changed: When it was last written, in ISO 8601, UTC.
        bytes: The size of its files.
        sha256: Of its table: the errors of runs with the same one, target and ahead can be compared.
        task: `"forecast"`, `"classify"` or `"text"`.
        error_rate: The share of held-out sequences whose label that model gets wrong; `None` of a forecast.
    """

    folder: Path
    state: str
    table: str | None
    target: str | None
    ahead: int
    cell: str
    model: str | None
    rmse: float | None
    unit: str | None
    changed: str
    bytes: int
    sha256: str
    task: str
    error_rate: float | None

    @property
    def error(self) -> float | None:
        """By which runs are compared."""
        return self.rmse if self.task == "forecast" else self.error_rate

    @property
    def question(self) -> tuple[str, str | None, int]:
        """What runs have in common whose errors can be compared."""
        return self.sha256, self.target, self.ahead

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return self._asdict() | {"folder": str(self.folder)}


def listed(folders: Sequence[Path]) -> list[Listed]:
    """The runs in some folders, those that can be compared next to each other, the smallest error first.

    Args:
        folders: Folders of runs, or folders that contain such.

    Raises:
        DataError: If a folder is not there.
    """
    found = {path.resolve(): _read(path) for folder in folders for path in _runs_in(folder)}
    names = {each.question: each.table or "" for each in found.values() if each.table}

    def order(run: Listed) -> tuple[Any, ...]:
        sha256, target, ahead = run.question
        return names.get(run.question, ""), target or "", ahead, sha256, run.error is None, run.error or 0.0

    return sorted(found.values(), key=order)


def _runs_in(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected a run of elman fit, or a folder with runs.")
    for path in (folder, *sorted(folder.iterdir())):
        if path.is_dir() and _config(path) is not None:
            yield path


def _config(folder: Path) -> dict[str, Any] | None:
    """The arguments of a run of `elman fit`; `None` if the folder is another one, as of `elman compare`."""
    config = config_of(folder)
    return config if config is not None and "cell" in config else None


def _read(folder: Path) -> Listed:
    config = _config(folder)
    assert config is not None
    own = [path for path in own_files(folder) if path.is_file()]
    changed = datetime.fromtimestamp(max(path.stat().st_mtime for path in own), UTC)
    metrics: dict[str, Any] = {}
    state = BEGUN
    if (folder / METRICS).exists():
        try:
            metrics = load_metrics(folder)
            state = BEGUN if any(folder.glob(CHECKPOINTS)) else FINISHED
        except DataError:
            state = DAMAGED
    model = metrics.get("model", "network") if metrics else None
    task = config.get("task", "forecast")
    score = metrics["errors"]["models"][model] if metrics else {}
    return Listed(
        folder=folder,
        state=state,
        table=metrics["table"]["name"] if metrics else None,
        target=_text_of((metrics or config).get("target") or config["target"] or config.get("label")),
        ahead=config.get("ahead", 1),
        cell=f"{config.get('cell', '')} {'+'.join(map(str, config.get('units', ())))}",
        model=model,
        rmse=score.get("rmse"),
        unit=metrics.get("unit"),
        changed=changed.isoformat(timespec="seconds"),
        bytes=sum(path.stat().st_size for path in own),
        sha256=config["sha256"],
        task=task,
        error_rate=score.get("error"),
    )


def _text_of(target: str | list[str] | None) -> str | None:
    """The target, or all of them with commas between them."""
    return ", ".join(target) if isinstance(target, list) else target


def superfluous(runs: Sequence[Listed], keep: int | None) -> list[Listed]:
    """The runs that are not finished or damaged, and of the finished ones all but the best of each question.

    Args:
        runs: In the order of `listed`.
        keep: How many finished runs to keep for each table, target and number of rows ahead; `None` for all.
    """
    found, seen = [], dict.fromkeys((run.question for run in runs), 0)
    for run in runs:
        if run.state == FINISHED:
            seen[run.question] += 1
        if run.state != FINISHED or (keep is not None and seen[run.question] > keep):
            found.append(run)
    return found


def remove(folder: Path) -> bool:
    """Removes the files of a run, and its folder if nothing else is in it.

    Returns:
        Whether it was removed. It is not if another process works on it.

    Raises:
        DataError: If the folder is not a run, or cannot be changed.
    """
    if _config(folder) is None:
        raise DataError(f"{folder} is not a run of elman fit; expected one. Nothing was removed.")
    with files.file_errors(folder):
        try:
            with system.locked(folder):
                files.clear(folder)
                for path in own_files(folder):
                    path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # not there, or not empty
                    (folder / OUTCOMES).rmdir()
        except BlockingIOError:
            return False
        with contextlib.suppress(OSError):  # not empty: the other files are the user's
            folder.rmdir()
    return True
