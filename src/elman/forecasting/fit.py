# SPDX-License-Identifier: Apache-2.0
"""`elman.fit`: a table in, a trained forecaster and an honest report out, in a folder of their own.

The order is: arguments, table, checks, folder; training; scores on the held-out end; files. The pictures are drawn
after the metrics, whose presence means that the run has its result, and the checkpoint is removed last. No framework.
"""

from __future__ import annotations

import json
import platform
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import elman
from elman import files, progress
from elman.forecasting import baselines, checks, folder, forecaster, reading, report, training
from elman.forecasting.drawing import draw
from elman.forecasting.forecast import forecasts_of, last_forecast, to_csv
from elman.forecasting.run import (
    CHECKPOINT,
    FORECAST,
    METRICS,
    MODEL,
    Run,
    signed,
)
from elman.forecasting.scores import Bootstrap
from elman.forecasting.settings import Settings
from elman.forecasting.source import Form, Source, open_table
from elman.forecasting.stages import Stages
from elman.forecasting.table import Table
from elman.forecasting.windows import (
    Windows,
    batch_size_for,
    default_window,
    parts_of,
    training_series,
    windows_of,
)
from elman.forecasting.words import counted, listed
from elman.network import History, Network, Progress
from elman.plain_values import plain

_LEAST_EXAMPLES, _EXAMPLES = 16, 1024  # held-out windows on which memory is measured


class _Prepared(NamedTuple):
    """A table that passed all checks, and what was decided on it.

    Attributes:
        table: The rows.
        windows: The windows of each part.
        mean: `(features,)`, of the training part.
        std: `(features,)`, likewise.
        period: In rows, or `None`.
        batch_size: Windows per training step.
    """

    table: Table
    windows: Windows
    mean: np.ndarray
    std: np.ndarray
    period: int | None
    batch_size: int


def fit(
    table: Any,
    target: str | None = None,
    window: int | None = None,
    ahead: int = 1,
    features: Sequence[str] | None = None,
    time: str | None = None,
    group: str | None = None,
    units: int | Sequence[int] = 32,
    cell: str = "SimpleRNN",
    epochs: int = 200,
    seed: int = 0,
    *,
    bidirectional: bool = False,
    fill: str | None = None,
    unit: str | None = None,
    batch_size: int | None = None,
    learning_rate: float = 3e-3,
    exclude: Sequence[str] | None = None,
    sort: bool = False,
    duplicates: str | None = None,
    sep: str | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    out: Any = None,
    fresh: bool = False,
    verbose: int | str = "auto",
    tell: Callable[[Progress], None] | None = None,
    layer: str | None = None,
) -> Run:
    """Trains a small recurrent network to forecast a column of a table, and says whether it is worth having.

    The last 15 % of the rows are held out; the 15 % before them decide when training ends. The network starts as a
    linear model of the window (ridge regression) and learns what that misses. Its error is compared with those of the
    last value, the value one period ago and the linear model. Everything is saved after every epoch. If a run is
    killed, the same call resumes it and ends with the same numbers. No framework is needed, and none is imported.

    Args:
        table: Path of a file (CSV, Parquet, Arrow, Excel or JSON, also packed with gzip or ZIP), a NumPy array
            `(rows, columns)` (columns `x0`, `x1`, ... unless it is structured), or a pandas or Polars frame. Rows are
            in order of time.
        target: The column to forecast. It may be left out if the table has one column of numbers.
        window: Rows that the network sees. `None` chooses 8 to 64 of them by the period that is found.
        ahead: Rows that it forecasts, all at once.
        features: Columns that it sees. `None` takes every column of numbers, true and false, and categories (text with
            at most 20 different values). The target is always one of them.
        time: The column of times or row numbers, or several that hold its parts, with commas between them. `None` takes
            the first one that looks so, or date and time, or year, month and day.
        group: The column that tells several series apart. No window contains rows of two series.
        units: Size of the recurrent layer, or sizes of several.
        cell: `"SimpleRNN"`, `"LSTM"` or `"GRU"`.
        epochs: Largest number of passes over the data. Training ends earlier after 15 passes without a smaller error
            on the validation part.
        seed: Seed of the initial weights and of the order of windows.
        bidirectional: Whether each layer reads the window from both of its ends.
        fill: What to do with empty cells and gaps in time: `"linear"` and `"previous"` fill them, `"split"` leaves
            their rows out and cuts the series there, `"keep"` takes rows as they come, whatever their times; `None`
            raises an error.
        unit: The target's unit, for the report.
        batch_size: Windows per step. `None` chooses a power of two from 32 to 1024 by their number.
        learning_rate: Of Adam. It is halved after every 5 epochs without a smaller error.
        exclude: Columns that are left out.
        sort: Whether to sort the rows by time first.
        duplicates: Which row to keep of several with one time: `"first"`, `"last"`, or the `"mean"` of all; `None`
            raises an error.
        sep: The separator of a text file, `" "` for any number of blanks. `None` finds it in the header.
        encoding: Of a text file, such as `"latin-1"`. `None` is UTF-8.
        decimal: The decimal mark of numbers, `"."` or `","`; the other one then separates thousands. `None` finds it,
            and raises an error where it is not certain.
        out: The run's folder. `None` names it `elman-runs/<name>-<hash>`, by the data and the arguments.
        fresh: Whether to start again, even if the folder holds this or another run of elman, finished or not. Files of
            other programs whose names the run needs are renamed, `metrics.json` to `metrics.json.before`.
        verbose: What is shown while it works. 0: nothing. 1: a bar on a terminal or in a notebook, else lines. 2: a
            line for each epoch. `"auto"`: a bar on a terminal or in a notebook, else nothing.
        tell: Called with an `elman.network.Progress` after every step.
        layer: The former name of `cell`, accepted for one release with a warning.

    Returns:
        The run. Its folder holds the model as `model.safetensors`; `elman.export` writes it as `model.keras`.

    Raises:
        elman.DataError: If the table, an argument or the folder cannot be used; a `ValueError`.

    Example:

        run = elman.fit("beach.csv", target="temp", ahead=24)
        run.metrics["errors"]["verdict"]
    """
    if layer is not None:
        warnings.warn("elman.fit(layer=...) is now cell=...; layer will be removed.", FutureWarning, stacklevel=2)
        cell = layer
    settings = Settings(
        target=target,
        window=window,
        ahead=ahead,
        features=features,
        time=time,
        group=group,
        units=[units] if isinstance(units, int) else units,
        cell=cell,
        epochs=epochs,
        seed=seed,
        bidirectional=bidirectional,
        fill=fill,
        unit=unit,
        batch_size=batch_size,
        learning_rate=learning_rate,
        exclude=exclude,
        sort=sort,
        duplicates=duplicates,
        sep=sep,
        encoding=encoding,
        decimal=decimal,
    )
    with progress.shown("elman.fit", verbose) as show:
        stages = Stages(show, tell)
        stages.begin("reading the table")
        source = open_table(table, Form(settings.sep, settings.encoding, settings.decimal))
        config = settings.to_dict() | {"sha256": source.sha256, "elman": elman.__version__}
        path = folder.path_for(source.name, config, out)
        if (run := folder.finished(path, config, fresh=fresh)) is not None:
            return run
        prepared = _prepare(source, settings)
        with folder.held(path, config, fresh=fresh) as finished:
            return finished or _run(prepared, source, settings, path, stages)


def _prepare(source: Source, settings: Settings) -> _Prepared:
    """Reads and checks the table, and chooses the window and the batch size."""
    table = reading.read(source, settings)
    part = parts_of(table)
    series = training_series(table, part)
    longest = max(map(len, series), default=0)
    period = baselines.period_of(series, longest) if longest else None
    window = settings.window or default_window(longest, settings.ahead, period)
    windows_of(table, part, window, settings.ahead)  # enough rows, before anything else is said of them
    table, mean, std = checks.moments(table, part)
    windows = windows_of(table, part, window, settings.ahead)
    checks.check_leakage(table, part, window, settings.ahead)
    batch_size = settings.batch_size or batch_size_for(len(windows.starts["train"]))
    checks.check_memory(settings, windows, batch_size)
    held_out = windows.starts["test"]
    begins = table.segments[np.searchsorted(table.segments[:, 0], held_out, "right") - 1, 0]
    if period is not None and period > (held_out + window - begins).min():
        period = None  # some held-out window has no value a period ago
    return _Prepared(table, windows, mean, std, period, batch_size)


class _Trained(NamedTuple):
    """What training came to.

    Attributes:
        linear: The linear model that the network started as.
        model: The network in the target's units.
        history: What `Network.fit` returned.
        best_epoch: The epoch whose weights the network has; 0 if it stays the linear model.
    """

    linear: baselines.Linear
    model: Network
    history: History
    best_epoch: int


def _run(prepared: _Prepared, source: Source, settings: Settings, path: Path, stages: Stages) -> Run:
    """Trains, scores and writes: first the metrics, then the pictures, which may fail without harm to the run."""
    trained = _train(prepared, settings, path, stages)
    stages.begin("judging on the held-out rows")
    table, windows = prepared.table, prepared.windows
    forecasts = _forecasts(prepared, trained)
    truth = windows.targets(windows.starts["test"]).astype("float64")
    errors = report.errors({name: (values - truth) ** 2 for name, values in forecasts.items()}, windows.ahead)
    later, short = last_forecast(trained.model, table, windows.window, windows.ahead, source.first_row)
    if short and table.chosen.group is not None:
        table.notes.append(f"Too short for a forecast: {listed(short)}.")
    elif short:
        table.notes.append(f"No forecast: the table ends with fewer than {windows.window} rows without a gap.")
    folder.remove_keras_model(path)  # of an interrupted run
    trained.model.save(path / MODEL)
    files.write(path / FORECAST, to_csv(later))
    data = plain(
        {
            **_facts(prepared, source, settings),
            "errors": errors,
            "penalty": trained.linear.penalty,
            "training": _training(trained, prepared.batch_size, float(prepared.std[windows.target])),
            "memory": _memory(trained.model, windows),
            "versions": _versions(),
        }
    )
    run = Run(path, signed(data))
    files.write(path / METRICS, json.dumps(run.metrics, indent=2, allow_nan=False) + "\n")
    stages.begin("drawing")
    draw(path, data, table, windows, forecasts, later)
    stages.end()
    if not trained.history.stopped:
        (path / CHECKPOINT).unlink(missing_ok=True)
    return run


def _train(prepared: _Prepared, settings: Settings, path: Path, stages: Stages) -> _Trained:
    """Builds the network as the linear model and trains it.

    It stays the linear model if it learns no more than chance.
    """
    table, windows, mean, std, _, batch_size = prepared
    stages.begin("fitting the linear model")
    linear = baselines.fit_linear(windows, mean, std)
    network = forecaster.build(windows, linear, settings)
    scale = float(mean[windows.target]), float(std[windows.target])
    untrained = forecaster.in_units(network, *scale)
    history = training.train(
        network, windows, scale, settings, batch_size=batch_size, folder=path, tell=stages.training()
    )
    model = forecaster.in_units(network, *scale)
    if history.best_epoch == 0 or _learned(model, table, windows, linear):
        return _Trained(linear, model, history, history.best_epoch)
    table.notes.append(
        "What the network learned is no more than chance on the validation part, so it stays the linear model."
    )
    return _Trained(linear, untrained, history, 0)


def _forecasts(prepared: _Prepared, trained: _Trained) -> dict[str, np.ndarray]:
    """The forecasts of the held-out windows by each model, `(windows, ahead)`."""
    windows = prepared.windows
    held_out = windows.starts["test"]
    found = {"last_value": baselines.last_value(windows, held_out)}
    if prepared.period is not None:
        found["seasonal"] = baselines.seasonal(windows, held_out, prepared.period)
    found["linear"] = trained.linear(windows, held_out)
    found[report.NETWORK] = forecasts_of(trained.model, prepared.table, held_out, windows.window, windows.ahead)
    return found


def _memory(model: Network, windows: Windows) -> dict[str, Any] | None:
    """How far back the recurrent layers remember, on held-out windows; `None` if these are too few or constant.

    The linear path next to them sees the whole window, whatever they forget.
    """
    starts = windows.starts["test"]
    if len(starts) < _LEAST_EXAMPLES or windows.window < 2:
        return None
    some = starts[np.linspace(0, len(starts) - 1, min(len(starts), _EXAMPLES), dtype=int)]
    targets = windows.targets(some)
    if not np.ptp(targets, axis=0).any():
        return None
    found = elman.diagnose(model, windows.inputs(some), targets)
    return {"horizon": found.horizon, "verdict": found.verdict, "because": found.because}


def _learned(model: Network, table: Table, windows: Windows, linear: baselines.Linear) -> bool:
    """Whether the trained network is better than the linear model that it started as, by more than chance.

    The best of many epochs is better by chance alone, and much better if one outlier makes up most of the error.
    """
    starts = windows.starts["validation"]
    truth = windows.targets(starts)
    network = (forecasts_of(model, table, starts, windows.window, windows.ahead) - truth) ** 2
    return Bootstrap(len(starts), windows.ahead).surely_better(network, (linear(windows, starts) - truth) ** 2)


def _facts(prepared: _Prepared, source: Source, settings: Settings) -> dict[str, Any]:
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
            "time": table.chosen.time,
            "time_form": table.form,
            "time_parts": None if table.chosen.parts is None else table.chosen.parts.cells,
            "zone": table.clock.zone,
            "group": table.chosen.group,
            "groups": len(table.group_names),
            "first": None if times is None else table.clock.text(times.min()),
            "last": None if times is None else table.clock.text(times.max()),
        },
        "target": table.chosen.target,
        "unit": settings.unit,
        "cell": settings.cell,
        "bidirectional": settings.bidirectional,
        "units": settings.units,
        "window": windows.window,
        "ahead": windows.ahead,
        "windows": {name: len(starts) for name, starts in windows.starts.items()},
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


def _training(trained: _Trained, batch_size: int, std: float) -> dict[str, Any]:
    """How training went. Errors are RMSE in the target's units; epoch 0 is before training."""
    history = trained.history
    train, validation = ([std * float(np.sqrt(loss)) for loss in each] for each in _losses(history))
    epochs = [
        {"epoch": i, "train": train[i - 1] if i else None, "validation": error, "seconds": seconds}
        for i, (error, seconds) in enumerate(zip(validation, [0.0, *history.seconds], strict=True))
    ]
    return {
        "batch_size": batch_size,
        "epochs": len(history.loss),
        "best_epoch": trained.best_epoch,
        "interrupted": history.stopped,
        "history": epochs,
    }


def _losses(history: History) -> tuple[list[float], list[float]]:
    """The training losses, and the validation losses with the one from before training first."""
    assert history.untrained_loss is not None
    return history.loss, [history.untrained_loss, *history.validation_loss]


def _versions() -> dict[str, str]:
    return {
        "elman": elman.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "polars": metadata.version("polars"),
    }
