# SPDX-License-Identifier: Apache-2.0
"""`elman.fit`: a table in, a trained forecaster and an honest report out, in a folder of their own.

The order is: arguments, table, checks, folder, and only then Keras; training; scores on the held-out end; files, the
metrics last, whose presence means that the run is finished.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import elman
from elman import files
from elman.forecasting import baselines, checks, folder, report
from elman.forecasting import table as tables
from elman.forecasting import windows as of_windows
from elman.forecasting.forecast import forecast, last_forecast
from elman.forecasting.run import (
    CHECKPOINT,
    FORECAST,
    FORECAST_PICTURE,
    LEARNING_PICTURE,
    METRICS,
    MODEL,
    Run,
)
from elman.forecasting.scores import Bootstrap
from elman.forecasting.source import Source, open_table
from elman.forecasting.table import Table
from elman.forecasting.windows import Windows
from elman.plain_values import plain

_LEAST_EXAMPLES, _EXAMPLES = 16, 1024  # held-out windows on which memory is measured


class _Prepared(NamedTuple):
    """A table that passed all checks, and what was decided on it."""

    table: Table
    windows: Windows
    mean: np.ndarray
    std: np.ndarray
    period: int | None


def fit(
    table: Any,
    target: str | None = None,
    window: int | None = None,
    ahead: int = 1,
    features: Sequence[str] | None = None,
    time: str | None = None,
    group: str | None = None,
    units: int | Sequence[int] = 32,
    layer: str = "SimpleRNN",
    epochs: int = 200,
    seed: int = 0,
    *,
    bidirectional: bool = False,
    fill: str | None = None,
    unit: str | None = None,
    batch_size: int | None = None,
    learning_rate: float = 3e-3,
    out: Any = None,
    fresh: bool = False,
    tell: Callable[[Any], None] | None = None,
) -> Run:
    """Trains a small recurrent network to forecast a column of a table, and says whether it is worth having.

    The last 15 % of the rows are held out, the 15 % before them end training early. The network begins as a linear
    model of the window (ridge regression) and learns what that misses. Its error is compared with those of the last
    value, the value one period ago and the linear model. After every epoch all is saved: a run that was killed goes on
    where it was when the same call is made again, to the same numbers.

    Args:
        table: Path of a `.csv` or `.parquet` file, a NumPy array `(rows, columns)` (columns `x0`, `x1`, ... unless it
            is structured), or a pandas or Polars frame. Rows are in order of time.
        target: The column to forecast; may be left out if there is one column of numbers.
        window: Rows that the network sees. Chosen by the period found, if `None`: 8 to 64.
        ahead: Rows that it forecasts, all at once.
        features: Columns that it sees; every column of numbers, if `None`. The target is always among them.
        time: The column of times or row numbers; the first that looks so, if `None`.
        group: The column that tells several series apart, which windows do not straddle.
        units: Size of the recurrent layer, or sizes of several.
        layer: Name of the recurrent layer, `"SimpleRNN"`, `"LSTM"` or `"GRU"`.
        epochs: Most passes over the data. Training ends after 15 without a better error on the validation part.
        seed: Of the initial weights and the order of windows.
        bidirectional: Whether each layer reads the window from both of its ends.
        fill: What to do with empty cells and gaps in time: `"linear"` and `"previous"` fill them, `"split"` leaves
            their rows out and cuts the series there, `"keep"` takes rows as they come, whatever their times; `None` is
            an error.
        unit: The target's unit, to be printed.
        batch_size: Windows per step; a power of two from 32 to 1024 by their number, if `None`.
        learning_rate: Of Adam; halved after every 5 epochs without a better error.
        out: The run's folder; `elman-runs/<name>-<hash>` by the data and the arguments, if `None`.
        fresh: Begin anew, even if the folder holds this run, finished or not.
        tell: Called with an `elman.forecasting.Progress` after every step.

    Returns:
        The run.

    Raises:
        elman.DataError: If the table, an argument or the folder cannot be used; a `ValueError`.

    Example:

        run = elman.fit("beach.csv", target="temp", ahead=24)
        run.metrics["errors"]["verdict"]
    """
    checks.check_arguments(
        window=window,
        ahead=ahead,
        units=units,
        layer=layer,
        epochs=epochs,
        seed=seed,
        bidirectional=bidirectional,
        fill=fill,
        batch_size=batch_size,
        learning_rate=learning_rate,
    )
    sizes = [int(size) for size in ([units] if isinstance(units, int | np.integer) else units)]
    source = open_table(table)
    names = [features] if isinstance(features, str) else features
    asked = {"target": target, "features": None if names is None else list(names), "time": time, "group": group}
    config = {
        **asked,
        "window": window,
        "ahead": ahead,
        "units": sizes,
        "layer": layer,
        "epochs": epochs,
        "seed": seed,
        "bidirectional": bidirectional,
        "fill": fill,
        "unit": unit,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "sha256": source.sha256,
        "elman": elman.__version__,
    }
    path = folder.path_for(source.name, config, out)
    if (run := folder.finished(path, config, fresh=fresh)) is not None:
        return run
    prepared = _prepare(source, asked, window, int(ahead), fill)
    with folder.held(path, config, fresh=fresh):
        return _run(prepared, source, config, path, tell)


def _prepare(source: Source, asked: dict[str, Any], window: int | None, ahead: int, fill: str | None) -> _Prepared:
    """Reads and checks the table, and chooses the window."""
    table = tables.read(source, asked, fill)
    part = of_windows.parts_of(table)
    series = of_windows.training_series(table, part)
    longest = max(map(len, series), default=0)
    period = baselines.period_of(series, longest) if longest else None
    if window is None:
        window = of_windows.default_window(longest, ahead, period)
    windows = of_windows.windows(table, part, int(window), ahead)
    mean, std = checks.moments(table, part)
    checks.check_leakage(table, part, windows.window, ahead)
    held_out = windows.starts["test"]
    begins = table.segments[np.searchsorted(table.segments[:, 0], held_out, "right") - 1, 0]
    if period is not None and period > (held_out + windows.window - begins).min():
        period = None  # some held-out window has no value a period ago
    return _Prepared(table, windows, mean, std, period)


class _Trained(NamedTuple):
    """What training came to.

    Attributes:
        linear: What the network began as.
        network: With elman's layers, standardized.
        stock: The same with Keras's own.
        model: `network` in the target's units.
        handed_on: `stock` in the target's units: what the file holds.
        batches: What it was trained on.
        outcome: The history.
        difference: Largest, of the outputs of elman's layers and Keras's on what was learned.
    """

    linear: baselines.Linear
    network: Any
    stock: Any
    model: Any
    handed_on: Any
    batches: Any
    outcome: Any
    difference: float


def _run(
    prepared: _Prepared, source: Source, config: dict[str, Any], path: Path, tell: Callable[[Any], None] | None
) -> Run:
    """Trains, scores and writes."""
    try:
        import keras
    except ModuleNotFoundError as error:
        if error.name != "keras":
            raise
        raise ImportError(
            "elman.fit needs Keras and a backend, and Keras is not installed. Install one of elman[tensorflow], "
            "elman[jax] and elman[torch]."
        ) from error
    from elman.forecasting import network, pictures, speed

    trained = _train(prepared, config, path, tell)
    table, windows = prepared.table, prepared.windows
    forecasts = _forecasts(prepared, trained)
    truth = windows.targets(windows.starts["test"]).astype("float64")
    errors = report.errors({name: (values - truth) ** 2 for name, values in forecasts.items()}, windows.ahead)
    later, short = last_forecast(trained.model, table, windows.window, source.first_row)
    if short:
        table.notes.append(f"Too short for a forecast: {', '.join(short)}.")
    files.write_with(path / MODEL, trained.handed_on.save)
    files.write(path / FORECAST, later.write_csv())
    data = plain(
        {
            **_facts(prepared, source, config),
            "errors": errors,
            "penalty": trained.linear.penalty,
            "training": _training(trained.outcome, trained.batches.batch_size, float(prepared.std[windows.target])),
            "route": dict(network.first_recurrent(trained.network).route._asdict()),
            "seconds_per_epoch": speed.seconds_per_epoch(
                {"elman": trained.network, "stock": trained.stock}, trained.batches
            ),
            "difference_from_stock": trained.difference,
            "memory": _memory(trained.model, windows),
            "versions": _versions(keras),
        }
    )
    files.write(path / FORECAST_PICTURE, pictures.forecast(data, table, windows, forecasts, later))
    files.write(path / LEARNING_PICTURE, pictures.learning(data))
    files.write(path / METRICS, json.dumps(data, indent=2, allow_nan=False) + "\n")
    if not trained.outcome.interrupted:
        (path / CHECKPOINT).unlink(missing_ok=True)
    return Run(path, data)


def _train(prepared: _Prepared, config: dict[str, Any], path: Path, tell: Callable[[Any], None] | None) -> _Trained:
    """Builds the network as the linear model and trains it; it stays that where it learns no more than chance."""
    from elman.forecasting import network, training

    table, windows, mean, std, _ = prepared
    linear = baselines.fit_linear(windows, mean, std)
    built = network.build(
        window=windows.window,
        ahead=windows.ahead,
        target=windows.target,
        linear=linear,
        units=config["units"],
        layer=config["layer"],
        bidirectional=config["bidirectional"],
        seed=config["seed"],
    )
    scale = float(mean[windows.target]), float(std[windows.target])
    size = config["batch_size"] or training.batch_size_for(len(windows.starts["train"]))
    batches = training.Batches(windows, windows.starts["train"], size, scale, config["seed"])
    validation = training.Batches(windows, windows.starts["validation"], training.EVALUATION_BATCH, scale)
    training.compile_for(built, config["learning_rate"], len(batches))
    begun = training.weights_of(built)
    outcome = training.train(built, batches, validation, epochs=config["epochs"], folder=path, tell=tell)
    stock = elman.to_stock(built)
    model, handed_on = network.in_units(built, *scale), network.in_units(stock, *scale)
    few = windows.starts["test"][: training.EVALUATION_BATCH]
    ours, theirs = (forecast(each, table, few, windows.window) for each in (model, handed_on))
    if outcome.best_epoch > 0 and not _learned(model, table, windows, linear):
        built.set_weights(begun)
        stock.set_weights(begun)
        outcome = outcome._replace(best_epoch=0)
        table.notes.append(
            "What the network learned is no more than chance on the validation part, so it stays the linear model."
        )
    difference = float(np.abs(ours - theirs).max())
    return _Trained(linear, built, stock, model, handed_on, batches, outcome, difference)


def _forecasts(prepared: _Prepared, trained: _Trained) -> dict[str, np.ndarray]:
    """For each model its forecasts of the held-out windows, `(windows, ahead)`."""
    windows = prepared.windows
    held_out = windows.starts["test"]
    found = {"last_value": baselines.last_value(windows, held_out)}
    if prepared.period is not None:
        found["seasonal"] = baselines.seasonal(windows, held_out, prepared.period)
    found["linear"] = trained.linear(windows, held_out)
    found[report.NETWORK] = forecast(trained.model, prepared.table, held_out, windows.window)
    return found


def _memory(model: Any, windows: Windows) -> dict[str, Any] | None:
    """How far back the recurrent layers look, on held-out windows; `None` where nothing can be told.

    The linear path beside them keeps the whole window, whatever they forget.
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


def _learned(model: Any, table: Table, windows: Windows, linear: baselines.Linear) -> bool:
    """Whether the trained network is better than the linear model it began as, by more than chance.

    The best of many epochs is better by chance alone, and where one outlier makes up the error, much so.
    """
    starts = windows.starts["validation"]
    truth = windows.targets(starts)
    now, then = (forecast(model, table, starts, windows.window) - truth) ** 2, (linear(windows, starts) - truth) ** 2
    return Bootstrap(len(starts), windows.ahead).surely_better(now, then)


def _facts(prepared: _Prepared, source: Source, config: dict[str, Any]) -> dict[str, Any]:
    """What was fitted, on what, as asked and as decided."""
    table, windows, *_, period = prepared
    times = table.times
    ends = (None, None) if times is None else (tables.time_text(t, table.temporal) for t in (times.min(), times.max()))
    first, last = ends
    found = None
    if period is not None:
        text = f"{period} rows"
        if times is not None:
            steps = np.diff(times)[np.diff(table.groups) == 0]
            text += f" ({tables.step_text(period * float(np.median(steps)), table.temporal)})" if table.temporal else ""
        found = {"rows": period, "text": text}
    return {
        "command": sys.argv,
        "seed": config["seed"],
        "arguments": config,
        "table": {
            "name": source.name,
            "sha256": source.sha256,
            "rows": len(table.rows),
            "filled": table.filled,
            "features": table.chosen.features,
            "time": table.chosen.time,
            "group": table.chosen.group,
            "groups": len(table.group_names),
            "first": first,
            "last": last,
        },
        "target": table.chosen.target,
        "unit": config["unit"],
        "layer": config["layer"],
        "bidirectional": config["bidirectional"],
        "units": config["units"],
        "window": windows.window,
        "ahead": windows.ahead,
        "windows": {name: len(starts) for name, starts in windows.starts.items()},
        "period": found,
        "notes": table.notes,
    }


def _training(outcome: Any, batch_size: int, std: float) -> dict[str, Any]:
    """What came of training; errors as RMSE in the target's units."""

    def rmse(value: float | None) -> float | None:
        return None if value is None else float(np.sqrt(value)) * std

    history = [
        {**epoch, "train": rmse(epoch["train"]), "validation": rmse(epoch["validation"])} for epoch in outcome.history
    ]
    return {
        "batch_size": batch_size,
        "epochs": len(history) - 1,
        "best_epoch": outcome.best_epoch,
        "interrupted": outcome.interrupted,
        "history": history,
    }


def _versions(keras: Any) -> dict[str, str]:
    backend = keras.config.backend()
    return {
        "elman": elman.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "polars": metadata.version("polars"),
        "keras": keras.__version__,
        "backend": backend,
        backend: sys.modules[backend].__version__,
    }
