# SPDX-License-Identifier: Apache-2.0
"""A table that passed every check, with what was decided on it before a model is fitted.

In: a source and the arguments. Out: the rows, the windows of each origin, the period, the window and the batch size.
Nothing that is decided here depends on a held-out row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from elman.errors import DataError
from elman.forecasting import baselines, checks, reading, seasons
from elman.forecasting.parts import parts_at_origins
from elman.forecasting.settings import Settings
from elman.forecasting.source import Source
from elman.forecasting.table import Table
from elman.forecasting.windows import Windows, batch_size_for, default_window, training_series, windows_of


class Origin(NamedTuple):
    """A moment at which the models are fitted.

    Attributes:
        windows: Those to train on, to validate and to forecast.
        mean: `(features,)`, of the rows to train on.
        std: `(features,)`, likewise.
    """

    windows: Windows
    mean: np.ndarray
    std: np.ndarray

    @property
    def scale(self) -> tuple[Any, Any]:
        """Mean and standard deviation of the target; of each output, `(outputs,)`, if there are several targets."""
        return self.windows.of_outputs(self.mean), self.windows.of_outputs(self.std)


class Prepared(NamedTuple):
    """What `prepare` returns.

    Attributes:
        table: The rows.
        origins: In order of time. The models of the last one are kept.
        period: Of the seasonal repeat in rows, or `None`.
        batch_size: Windows per training step.
    """

    table: Table
    origins: list[Origin]
    period: int | None
    batch_size: int

    @property
    def windows(self) -> Windows:
        """The windows of the last origin, but with the held-out windows of all of them."""
        last = self.origins[-1].windows
        test = np.concatenate([origin.windows.starts["test"] for origin in self.origins])
        return last._replace(starts=last.starts | {"test": test})


def prepare(source: Source, settings: Settings) -> Prepared:
    """Reads and checks the table, and chooses the window, the period and the batch size.

    Raises:
        DataError: If something is wrong with the table or an argument.
    """
    table = reading.read(source, settings)
    parts = parts_at_origins(table, settings.origins)
    series = [training_series(table, parts[0], target) for target in range(len(table.targets))]
    longest = max(map(len, series[0]), default=0)
    found = [period for each in series if longest and (period := baselines.period_of(each, longest)) is not None]
    window = settings.window or default_window(
        longest, settings.ahead, max(found, default=None), known=bool(settings.known)
    )
    parts = _with_windows(table, parts, window, settings.ahead)
    table = checks.moments(table, parts[0])[0]  # without columns that say nothing at the first origin
    windows = [windows_of(table, part, window, settings.ahead) for part in parts]
    moments = [checks.moments(table, part)[1:] for part in parts]
    checks.check_leakage(table, parts[0], window, settings.ahead)
    batch_size = settings.batch_size or batch_size_for(len(windows[-1].starts["train"]))
    checks.check_memory(settings, windows[-1], batch_size)
    period = seasons.chosen(table, windows, found, series)
    if settings.model == "seasonal" and period is None:
        raise DataError("model is 'seasonal', and no period was found in the table. Choose another model (--model).")
    origins = [Origin(each, *moment) for each, moment in zip(windows, moments, strict=True)]
    return Prepared(table, origins, period, batch_size)


def _with_windows(table: Table, parts: list[np.ndarray], window: int, ahead: int) -> list[np.ndarray]:
    """The parts at as many origins as have windows of every part."""
    while True:
        try:
            for part in parts:
                windows_of(table, part, window, ahead)
        except DataError:
            if len(parts) == 1:
                raise
            parts = parts_at_origins(table, len(parts) - 1)
        else:
            return parts
