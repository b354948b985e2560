# SPDX-License-Identifier: Apache-2.0
"""The plain data of a run's report: what was fitted on which data, how training went, and what the network remembers.

In: the table, the arguments and the models. Out: dictionaries that JSON can hold. The verdict is in `verdict`.
"""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import Any

import numpy as np

import elman
from elman.forecasting import models
from elman.forecasting.fitted import Fitted
from elman.forecasting.prepared import Prepared
from elman.forecasting.settings import Settings
from elman.forecasting.source import Source
from elman.forecasting.table import Table
from elman.forecasting.windows import LEAST_EXAMPLES, Windows, examples_of
from elman.forecasting.words import counted
from elman.network import History, Network


def facts(prepared: Prepared, source: Source, settings: Settings) -> dict[str, Any]:
    """What was fitted, on which data, as asked and as decided."""
    table, windows = prepared.table, prepared.windows
    times = table.times
    return {
        "command": sys.argv,
        "seed": settings.seed,
        "arguments": settings.to_dict() | {"sha256": source.sha256, "elman": elman.__version__},
        "table": {
            "name": source.name,
            "sha256": source.sha256,
            "rows": len(table.rows),
            "filled": table.filled,
            "features": table.chosen.features,
            "inputs": table.chosen.inputs,
            "categories": table.chosen.categories,
            "known": table.chosen.known,
            "time": table.chosen.time,
            "time_form": table.form,
            "time_parts": None if table.chosen.parts is None else table.chosen.parts.cells,
            "zone": table.clock.zone,
            "group": table.chosen.group,
            "groups": len(table.group_names),
            "first": None if times is None else table.clock.text(times.min()),
            "last": None if times is None else table.clock.text(times.max()),
        },
        "target": table.chosen.targets if len(table.targets) > 1 else table.chosen.target,
        "unit": settings.unit,
        "cell": settings.cell,
        "bidirectional": settings.bidirectional,
        "units": settings.units,
        "window": windows.window,
        "ahead": windows.ahead,
        "windows": {name: len(starts) for name, starts in windows.starts.items()},
        "origins": len(prepared.origins),
        "seeds": settings.seeds,
        "period": _period(table, prepared.period),
        "notes": table.notes,
    }


def _period(table: Table, rows: int | None) -> dict[str, Any] | None:
    """The period in rows, and as text with its length in time."""
    if rows is None:
        return None
    first, end = max(table.segments.tolist(), key=lambda segment: segment[1] - segment[0])
    length = "" if table.times is None else table.clock.period_text(table.times[first:end], rows)
    return {"rows": rows, "text": counted(rows, "row") + (f" ({length})" if length else "")}


def trained(prepared: Prepared, fitted: list[Fitted]) -> dict[str, Any]:
    """How training went. Errors are RMSE in the target's units, or in standard deviations if there are several targets;
    epoch 0 is before training.

    The history is that of the first seed at the last origin. `trainings` has a row for each seed at each origin.
    """
    last = fitted[-1]
    history = last.histories[0]
    std = prepared.origins[-1].scale[1] if len(prepared.table.targets) == 1 else 1.0
    train, validation = ([std * float(np.sqrt(loss)) for loss in each] for each in _losses(history))
    epochs = [
        {"epoch": i, "train": train[i - 1] if i else None, "validation": error, "seconds": seconds}
        for i, (error, seconds) in enumerate(zip(validation, [0.0, *history.seconds], strict=True))
    ]
    every = [
        {"origin": i + 1, "seed": k, "epochs": len(history.loss), "best_epoch": history.best_epoch}
        for i, each in enumerate(fitted)
        for k, history in enumerate(each.histories)
    ]
    return {
        "batch_size": prepared.batch_size,
        "epochs": len(history.loss),
        "best_epoch": history.best_epoch if last.learned else 0,
        "interrupted": any(history.stopped for each in fitted for history in each.histories),
        "learned": [each.learned for each in fitted],
        "trainings": every,
        "history": epochs,
    }


def _losses(history: History) -> tuple[list[float], list[float]]:
    """The training losses, and the validation losses with the one from before training first."""
    assert history.untrained_loss is not None
    return history.loss, [history.untrained_loss, *history.validation_loss]


def versions() -> dict[str, str]:
    """Of what a run depends on."""
    return {
        "elman": elman.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "polars": metadata.version("polars"),
    }


def memory(model: Network, windows: Windows) -> dict[str, Any]:
    """How far back the recurrent layers remember, on windows that the network has not learned from.

    The linear path next to them sees the whole window, whatever they forget.

    Args:
        model: The network of the last origin.
        windows: Of the last origin. The held-out windows before its block are among those that the network learned
            from.

    Returns:
        `horizon`, `verdict` and `because`. If the held-out windows are too few or constant, the horizon is `None`, and
        `because` says so.
    """
    held_out = windows.measured(windows.starts["test"])
    some = examples_of(held_out)
    if windows.window < 2:
        return _not_measured("A window of one row has nothing to remember.")
    if some is None:
        return _not_measured(
            f"The last block holds out {counted(len(held_out), 'window')}, and {LEAST_EXAMPLES} are needed."
        )
    targets = windows.targets(some)
    if not np.ptp(targets, axis=0).any():
        return _not_measured("The values that the last block holds out are all the same.")
    if len(windows.columns) > 1:
        model, targets = models.in_deviations(model, targets)
    found = elman.diagnose(model, windows.inputs(some), targets)
    return {"horizon": found.horizon, "verdict": found.verdict, "because": found.because}


def _not_measured(because: str) -> dict[str, Any]:
    return {"horizon": None, "verdict": "not measured", "because": because}
