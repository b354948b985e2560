# SPDX-License-Identifier: Apache-2.0
"""A finished run: its folder, and what is in it.

In: a folder. Out: the report, the forecast, the model, each read when it is asked for. `fit` writes the folder.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from elman.errors import DataError
from elman.forecasting import intervals, report, settings
from elman.forecasting.forecast import from_csv
from elman.forecasting.intervals import INTERVALS
from elman.forecasting.verdict import NETWORK
from elman.forecasting.words import counted
from elman.network import Network


def model_file(name: str) -> str:
    """The file of a model of a run."""
    return f"model-{name}.safetensors"


CONFIG, METRICS, MODEL, FORECAST = "run.json", "metrics.json", "model.safetensors", "forecast.csv"
KERAS_MODEL = "model.keras"  # written by the command `elman fit` if Keras is installed, and not by the function
FORECAST_PICTURE, LEARNING_PICTURE = "forecast.png", "learning.png"
HELD_OUT = "held-out.csv"  # the predictions of a run that classifies
CHECKPOINTS = "checkpoint*.safetensors"  # one of each training
OUTCOMES = "outcomes"  # the folder of fits to folds, of a comparison and of a run that classifies
# What a new start removes, in this order: first the file whose presence means that the run is finished.
FILES = (
    METRICS, MODEL, *map(model_file, (*settings.MODELS, "majority")), INTERVALS, FORECAST, HELD_OUT,
    FORECAST_PICTURE, LEARNING_PICTURE,
)  # fmt: skip
_CHECKSUM, _TIMES = "checksum", {"seconds", "seconds_per_epoch"}  # the latter in runs of elman 0.1


def checkpoint_name(training: int) -> str:
    """The checkpoint of a training, by its number from 1: `checkpoint.safetensors`, `checkpoint-2.safetensors`, ..."""
    return "checkpoint.safetensors" if training == 1 else f"checkpoint-{training}.safetensors"


def read_json(path: Path) -> dict[str, Any] | None:
    """The object that a JSON file holds; `None` if it holds anything else, or cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def signed(metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics, or what `elman compare` found, with a checksum, which is the same whenever the numbers are."""
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


def is_intact(metrics: dict[str, Any]) -> bool:
    """Whether the content of `signed` is what was written."""
    try:
        return metrics.get(_CHECKSUM) == _checksum(metrics)
    except RecursionError:  # lists in lists in lists
        return False


def load_metrics(folder: Path) -> dict[str, Any]:
    """The metrics of a finished run.

    Raises:
        DataError: If there is none, or `metrics.json` is damaged.
    """
    path = folder / METRICS
    if not path.exists():
        raise DataError(f"{folder} does not hold a finished run ({METRICS} is missing); expected a folder of fit.")
    metrics = read_json(path)
    if metrics is None or not is_intact(metrics):
        raise DataError(
            f"{path} is damaged, or was not written by this version of elman. Run elman fit again with fresh "
            "(--fresh), or in another folder (--out)."
        )
    return metrics


def classifies(folder: Any) -> bool:
    """Whether the folder of a run, by its metrics, holds one that classifies."""
    return "task" in (read_json(Path(folder) / METRICS) or {})


def network_of(path: Path) -> Network:
    """The network of a file of a run.

    Raises:
        DataError: If the file is missing or damaged.
    """
    if not path.exists():
        raise DataError(f"{path} is missing. Run elman fit again with fresh (--fresh).")
    return Network.load(path)


class Run:
    """What `elman.fit` returns.

    Attributes:
        folder: A `pathlib.Path` with `model.safetensors`, the model that the run forecasts with; every model under its
            own name, `model-last_value.safetensors`, `model-seasonal.safetensors`, `model-linear.safetensors` and
            `model-network.safetensors`; `intervals.safetensors`, `metrics.json`, `forecast.csv`, `forecast.png` and
            `learning.png`.
        metrics: Everything that `metrics.json` has, as a dictionary. `errors` has `winner` (a name, or `None` if the
            held-out windows are too few to name one), `use` (the winner, or else the best baseline) and `verdict`;
            `model` is the name of the model of `model.safetensors`; `intervals` has the measured coverage of each
            level; `next` is the next thing to try.

    `forecast` has the columns `lower_80`, `upper_80`, `lower_95` and `upper_95`; `half_widths(level)` gives the width
    of an interval of any level on each side of a forecast, and is infinite where too few windows were held out.

    Example:

        run = elman.Run.load("elman-runs/beer-1f2e3d4c")
        run.metrics["errors"]["models"]["network"]["rmse"]
        run.models["linear"]  # an elman.Network, as run.model is
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
        metrics = load_metrics(path)
        if "task" in metrics:
            raise DataError(
                f"{path} holds a run that classifies, and not a forecast. Open it with elman.ClassifierRun.load, or "
                f"pass its {model_file(NETWORK)} alone."
            )
        return cls(path, metrics)

    @functools.cached_property
    def model(self) -> Network:
        """The model that the run forecasts with, an `elman.Network`: raw rows `(batch, rows, features)` to
        `(batch, ahead)` in the target's units, or `(batch, targets * ahead)`, the steps of one target after those of
        the other. `rows` is `self.rows(self.name)`.

        A run of an earlier elman has a `model.keras` alone, which needs Keras.

        Raises:
            elman.DataError: If `model.safetensors` is missing or damaged.
        """
        path, older = self.folder / MODEL, self.folder / KERAS_MODEL
        if not path.exists() and older.exists() and "keras" in self.metrics["versions"]:
            from elman.forecasting.older import network_of as older_network

            return older_network(older, self.metrics)
        return network_of(path)

    @property
    def name(self) -> str:
        """The name of `model`: `"last_value"`, `"seasonal"`, `"linear"` or `"network"`."""
        return self.metrics.get("model", NETWORK)

    @functools.cached_property
    def models(self) -> Mapping[str, Network]:
        """Every model of the run by its name.

        Raises:
            elman.DataError: If a file is missing or damaged.
        """
        if "models" not in self.metrics:  # of an earlier elman
            return {NETWORK: self.model}
        return {name: network_of(self.folder / model_file(name)) for name in self.metrics["models"]}

    def named(self, model: str | None) -> tuple[str, Network]:
        """A model of the run and its name.

        Args:
            model: Its name, or `None` for the one that the run forecasts with.

        Raises:
            elman.DataError: If the run has no such model, or its file is missing or damaged.
        """
        if model is None:
            return self.name, self.model
        name = settings.model_name(model)
        if name not in self.models:
            raise DataError(f"{self.folder} has no model {name!r}; expected one of {', '.join(self.models)}.")
        return name, self.models[name]

    def rows(self, model: str) -> int:
        """How many rows a model reads."""
        return self.metrics["models"][model]["rows"] if "models" in self.metrics else self.metrics["window"]

    @property
    def has_intervals(self) -> bool:
        """Whether the run has intervals; one of an earlier elman has none."""
        return "intervals" in self.metrics

    def half_widths(self, level: float, model: str | None = None) -> np.ndarray:
        """`(ahead,)`: how far above and below each step of a forecast its interval reaches, in the target's units; with
        several targets `(targets * ahead,)`, the steps of one after those of the other.

        Args:
            level: Share of values that the interval holds, as 0.9.
            model: The model of the forecast; `None` for the one that the run forecasts with.

        Raises:
            elman.DataError: If the level is not between 0 and 1, or the file of the intervals is missing or damaged.
        """
        (checked,) = intervals.checked(level)
        name = self.name if model is None else settings.model_name(model)
        return intervals.load(self.folder, name).half_width(checked)

    @functools.cached_property
    def forecast(self) -> Any:
        """The forecast after the last row, a Polars frame.

        Raises:
            elman.DataError: If `forecast.csv` is missing or damaged.
        """
        table = self.metrics["table"]
        return from_csv(self.folder / FORECAST, table["zone"], [] if table["group"] is None else [table["group"]])

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
        return f"<elman.Run {str(self.folder)!r}: {report.target_text(self.metrics)}, {ahead} ahead. {verdict}>"

    def __str__(self) -> str:
        return f"{report.text(self.metrics)}\nThe run is in {self.folder}."

    def _repr_html_(self) -> str:
        return report.as_html(
            report.COLUMNS, report.rows(self.metrics), report.before(self.metrics), report.after(self.metrics)
        )
