# SPDX-License-Identifier: Apache-2.0
"""A finished run: its folder, and what is in it.

In: a folder. Out: the report, the forecast, the model, each read when it is asked for. `fit` writes the folder.
"""

from __future__ import annotations

import functools
import hashlib
import html
import json
from pathlib import Path
from typing import Any

from elman.errors import DataError
from elman.forecasting import report
from elman.forecasting.forecast import from_csv
from elman.forecasting.words import counted
from elman.network import Network

CONFIG, METRICS, MODEL, FORECAST = "run.json", "metrics.json", "model.safetensors", "forecast.csv"
KERAS_MODEL = "model.keras"  # written by the command `elman fit` if Keras is installed, and not by the function
FORECAST_PICTURE, LEARNING_PICTURE, CHECKPOINT = "forecast.png", "learning.png", "checkpoint.safetensors"
# What a new start removes, in this order: first the file whose presence means that the run is finished.
FILES = (METRICS, CHECKPOINT, MODEL, FORECAST, FORECAST_PICTURE, LEARNING_PICTURE)
_CHECKSUM, _TIMES = "checksum", {"seconds", "seconds_per_epoch"}  # the latter in runs of elman 0.1


def read_json(path: Path) -> dict[str, Any] | None:
    """The object that a JSON file holds; `None` if it holds anything else, or cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def signed(metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics with a checksum, which is the same whenever the numbers of a run are."""
    return metrics | {_CHECKSUM: _checksum(metrics)}


def _checksum(metrics: dict[str, Any]) -> str:
    rest = {name: value for name, value in metrics.items() if name not in {_CHECKSUM, "command"}}
    return hashlib.sha256(json.dumps(_without_times(rest), sort_keys=True).encode()).hexdigest()


def _without_times(value: Any, *, timed: bool = False) -> Any:
    """The same with every number of seconds replaced by `None`."""
    if isinstance(value, dict):
        return {key: _without_times(each, timed=timed or key in _TIMES) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_times(each, timed=timed) for each in value]
    return None if timed and isinstance(value, int | float) else value


def _is_intact(metrics: dict[str, Any]) -> bool:
    try:
        return metrics.get(_CHECKSUM) == _checksum(metrics)
    except RecursionError:  # lists in lists in lists
        return False


class Run:
    """What `elman.fit` returns.

    Attributes:
        folder: A `pathlib.Path` with `model.safetensors`, `metrics.json`, `forecast.csv`, `forecast.png` and
            `learning.png`.
        metrics: Everything that `metrics.json` has, as a dictionary.

    Example:

        run = elman.Run.load("elman-runs/beer-1f2e3d4c")
        run.metrics["errors"]["models"]["network"]["rmse"]
    """

    def __init__(self, folder: Path, metrics: dict[str, Any]) -> None:
        self.folder = folder
        self.metrics = metrics

    @classmethod
    def load(cls, folder: Any) -> Run:
        """Opens a run's folder.

        Args:
            folder: Its path.

        Raises:
            elman.DataError: If it does not hold a finished run, or `metrics.json` is damaged.
        """
        path = Path(folder)
        if not (path / METRICS).exists():
            raise DataError(f"{path} does not hold a finished run ({METRICS} is missing); expected a folder of fit.")
        metrics = read_json(path / METRICS)
        if metrics is None or not _is_intact(metrics):
            raise DataError(
                f"{path / METRICS} is damaged, or was not written by this version of elman. Run elman fit again with "
                "fresh (--fresh), or in another folder (--out)."
            )
        return cls(path, metrics)

    @functools.cached_property
    def model(self) -> Network:
        """The `elman.Network`: raw rows `(batch, window, features)` to `(batch, ahead)` in the target's units.

        A run of an earlier elman has a `model.keras` alone, which needs Keras.

        Raises:
            elman.DataError: If `model.safetensors` is missing or damaged.
        """
        path, older = self.folder / MODEL, self.folder / KERAS_MODEL
        if not path.exists() and older.exists() and "keras" in self.metrics["versions"]:
            from elman.forecasting.older import network_of

            return network_of(older, self.metrics)
        if not path.exists():
            raise DataError(f"{path} is missing. Run elman fit again with fresh (--fresh).")
        return Network.load(path)

    @functools.cached_property
    def forecast(self) -> Any:
        """The forecast after the last row, a Polars frame.

        Raises:
            elman.DataError: If `forecast.csv` is missing or damaged.
        """
        return from_csv(self.folder / FORECAST, self.metrics["table"]["zone"])

    @property
    def history(self) -> list[dict[str, Any]]:
        """One dictionary per epoch: `epoch`, `train` and `validation` (RMSE in the target's units), `seconds`."""
        return self.metrics["training"]["history"]

    def to_dict(self) -> dict[str, Any]:
        """Returns `metrics`."""
        return self.metrics

    def __repr__(self) -> str:
        ahead = counted(self.metrics["ahead"], "row")
        verdict = self.metrics["errors"]["verdict"]
        return f"<elman.Run {str(self.folder)!r}: {self.metrics['target']!r}, {ahead} ahead. {verdict}>"

    def __str__(self) -> str:
        return f"{report.text(self.metrics)}\nThe run is in {self.folder}."

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in row)}</tr>" for row in report.rows(self.metrics)
        )
        text = [f"<p>{html.escape(line)}</p>" for line in (*report.before(self.metrics), *report.after(self.metrics))]
        head = f"<tr>{''.join(f'<th>{name}</th>' for name in report.COLUMNS)}</tr>"
        return f"{''.join(text[:1])}<table>{head}{cells}</table>{''.join(text[1:])}"
