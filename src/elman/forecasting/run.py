# SPDX-License-Identifier: Apache-2.0
"""A finished run: its folder, and what is in it.

In: a folder. Out: the report, the forecast, the model, each read when it is asked for. `fit` writes the folder; here
nothing is written.
"""

from __future__ import annotations

import functools
import html
import json
from pathlib import Path
from typing import Any

from elman.errors import DataError
from elman.forecasting import report

CONFIG, METRICS, MODEL, FORECAST = "run.json", "metrics.json", "model.keras", "forecast.csv"
FORECAST_PICTURE, LEARNING_PICTURE, CHECKPOINT = "forecast.png", "learning.png", "checkpoint.safetensors"
# In the order in which a new start removes them: first what says that there is a finished run.
FILES = (METRICS, CHECKPOINT, MODEL, FORECAST, FORECAST_PICTURE, LEARNING_PICTURE, CONFIG)


class Run:
    """What `elman.fit` returns.

    Attributes:
        folder: A `pathlib.Path` with `model.keras`, `metrics.json`, `forecast.csv`, `forecast.png` and `learning.png`.
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
            elman.DataError: If it holds no finished run.
        """
        path = Path(folder)
        try:
            return cls(path, json.loads((path / METRICS).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path} holds no finished run ({METRICS} is not there or not readable); expected a folder that fit "
                "wrote."
            ) from error

    @functools.cached_property
    def model(self) -> Any:
        """The Keras model: raw rows `(batch, window, features)` to `(batch, ahead)` in the target's units."""
        import keras

        return keras.models.load_model(self.folder / MODEL)

    @functools.cached_property
    def forecast(self) -> Any:
        """The forecast after the last row, a Polars frame."""
        import polars as pl

        return pl.read_csv(self.folder / FORECAST, try_parse_dates=True)

    @property
    def history(self) -> list[dict[str, Any]]:
        """One dictionary per epoch: `epoch`, `train` and `validation` (RMSE in the target's units), `seconds`."""
        return self.metrics["training"]["history"]

    def to_dict(self) -> dict[str, Any]:
        """The same as `metrics`."""
        return self.metrics

    def __repr__(self) -> str:
        score = self.metrics["errors"]["models"][report.NETWORK]["rmse"]
        return f"<elman.Run {str(self.folder)!r}: {self.metrics['target']!r}, RMSE {score:.4g}>"

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in row)}</tr>" for row in report.rows(self.metrics)
        )
        text = [f"<p>{html.escape(line)}</p>" for line in (*report.before(self.metrics), *report.after(self.metrics))]
        head = "<tr><th>model</th><th>RMSE</th><th>95 % interval</th></tr>"
        return f"{''.join(text[:1])}<table>{head}{cells}</table>{''.join(text[1:])}"
