# SPDX-License-Identifier: Apache-2.0
"""A finished run that classifies: its folder, and what is in it.

In: a folder. Out: the report, the models and their predictions, each read when it is asked for. `classify` writes it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from elman.checks import did_you_mean
from elman.comparison.sequences import Known, Sequences
from elman.errors import DataError
from elman.fitting import portable, report
from elman.forecasting.forecast import from_csv
from elman.forecasting.report import as_html
from elman.forecasting.run import HELD_OUT, MODEL, load_metrics, model_file, network_of
from elman.network import Network

MODELS = ("majority", "linear", "network")
_AT_ONCE = 1024  # sequences that a network gets in one call


class ClassifierRun:
    """What `elman.fit` returns if it has learned labels.

    Attributes:
        folder: A `pathlib.Path` with `model.safetensors`, the model that the run predicts with; every model under its
            own name, `model-majority.safetensors`, `model-linear.safetensors` and `model-network.safetensors`;
            `metrics.json`; and `held-out.csv`, the predictions of the sequences that were held out.
        metrics: Everything that `metrics.json` has, as a dictionary. `errors` has a row for each of its `models`, `use`
            (the smallest of those that cannot be told apart from the best), and `verdict`, the reason; `model` is the
            name of the model of `model.safetensors`.

    Example:

        run = elman.ClassifierRun.load("elman-runs/gestures-1f2e3d4c")
        run.metrics["errors"]["models"]["network"]["accuracy"]
    """

    def __init__(self, folder: Path, metrics: dict[str, Any]) -> None:
        self.folder = folder
        self.metrics = metrics

    @classmethod
    def load(cls, folder: Any) -> ClassifierRun:
        """Opens a run's folder.

        Args:
            folder: Its path.

        Raises:
            elman.DataError: If it does not hold a finished run that classifies, or `metrics.json` is damaged.
        """
        path = Path(folder)
        metrics = load_metrics(path)
        if "task" not in metrics:
            raise DataError(f"{path} holds a run that forecasts. Open it with elman.Run.load.")
        return cls(path, metrics)

    @property
    def task(self) -> str:
        """`"classify"` or `"text"`."""
        return self.metrics["task"]

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the model's outputs."""
        return self.metrics["table"]["classes"]

    @property
    def name(self) -> str:
        """The name of `model`: `"majority"`, `"linear"` or `"network"`."""
        return self.metrics["model"]

    @functools.cached_property
    def model(self) -> Network:
        """The model that the run predicts with: sequences in the form of `metrics["models"][run.name]` to
        `(batch, classes)` probabilities.

        Raises:
            elman.DataError: If `model.safetensors` is missing or damaged.
        """
        return network_of(self.folder / MODEL)

    @functools.cached_property
    def models(self) -> Mapping[str, Network]:
        """Every model of the run by its name.

        Raises:
            elman.DataError: If a file is missing or damaged.
        """
        return {name: network_of(self.folder / model_file(name)) for name in self.metrics["models"]}

    def named(self, model: str | None) -> tuple[str, Network]:
        """A model of the run and its name.

        Args:
            model: Its name, or `None` for the one that the run predicts with.

        Raises:
            elman.DataError: If the run has no such model, or its file is missing or damaged.
        """
        if model is None:
            return self.name, self.model
        if model not in self.metrics["models"]:
            names = list(self.metrics["models"])
            raise DataError(f"model is {model!r}; expected one of {', '.join(names)}.{did_you_mean(model, names)}")
        return model, self.models[model]

    @property
    def known(self) -> Known:
        """How new sequences are read."""
        return Known(**self.metrics["known"])

    def probabilities(self, data: Sequences, model: str | None = None) -> np.ndarray:
        """`(sequences, classes)`, float64.

        Args:
            data: Sequences that were read as those of the run were.
            model: The name of a model; `None` for the one that the run predicts with.
        """
        name, network = self.named(model)
        x, mask = portable.inputs(network, portable.Form(*self.metrics["models"][name]["form"]), data)
        parts = (slice(first, first + _AT_ONCE) for first in range(0, len(x), _AT_ONCE))
        return np.concatenate([network(x[part], None if mask is None else mask[part]) for part in parts]).astype(float)

    @functools.cached_property
    def predictions(self) -> pl.DataFrame:
        """What the model predicted for each sequence while it was held out: its name, its label, the prediction and the
        probabilities.

        Raises:
            elman.DataError: If `held-out.csv` is missing or damaged.
        """
        return from_csv(self.folder / HELD_OUT, None, self.metrics["texts"])

    def to_dict(self) -> dict[str, Any]:
        """Returns `metrics`."""
        return self.metrics

    def __repr__(self) -> str:
        return f"<elman.ClassifierRun {str(self.folder)!r}: {report.use(self.metrics)}>"

    def __str__(self) -> str:
        return f"{report.text(self.metrics)}\nThe run is in {self.folder}."

    def _repr_html_(self) -> str:
        return as_html(
            report.COLUMNS, report.rows(self.metrics), report.before(self.metrics), report.after(self.metrics)
        )
