# SPDX-License-Identifier: Apache-2.0
"""`elman.fit`: a table in, a trained forecaster and an honest report out, in a folder of their own.

The order is: arguments, table, checks, folder; training; scores on the held-out end; files. The pictures are drawn
after the metrics, whose presence means that the run has its result, and the checkpoint is removed last. No framework.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import elman
from elman import files, progress
from elman.assessment import Conformal
from elman.forecasting import advice, facts, folder, intervals, leads, verdict
from elman.forecasting.drawing import draw
from elman.forecasting.fitted import Fitted, fit_all, models_of
from elman.forecasting.fitted import forecasts as fitted_forecasts
from elman.forecasting.forecast import last_forecast, last_windows, to_csv
from elman.forecasting.models import rows_of
from elman.forecasting.parts import PARTS, parts_at_origins
from elman.forecasting.prepared import Prepared, prepare
from elman.forecasting.run import (
    CHECKPOINTS,
    FORECAST,
    METRICS,
    MODEL,
    MODELS,
    Run,
    signed,
)
from elman.forecasting.settings import Settings
from elman.forecasting.source import Form, Source, open_table
from elman.forecasting.stages import Stages
from elman.forecasting.table import Table
from elman.forecasting.training import Progress
from elman.forecasting.verdict import NETWORK
from elman.forecasting.windows import Windows, moments_of
from elman.forecasting.words import listed
from elman.network import Network
from elman.plain_values import plain

if TYPE_CHECKING:
    import polars as pl


def fit(
    table: Any,
    target: str | list[str] | None = None,
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
    seeds: int = 3,
    origins: int = 3,
    model: str | None = None,
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
    calendar: bool = False,
    known: Sequence[str] | None = None,
    out: Any = None,
    fresh: bool = False,
    verbose: int | str = "auto",
    tell: Callable[[Progress], None] | None = None,
    layer: str | None = None,
) -> Run:
    """Trains a small recurrent network to forecast a column of a table, and says whether it is worth having.

    The end of the table is held out: 15 % of the rows, and up to 30 % of a short table. It is cut into blocks, one for
    each origin: models are fitted on all rows before a block and forecast the block. The 15 % of the rows before a
    block decide when training ends. The network starts as a linear model of the window (ridge regression) and learns
    what that misses; it is the mean of several, trained from different seeds. Its error is compared with those of the
    last value, the value one period ago and the linear model. The run forecasts with the model that won, whichever it
    is, and each forecast has intervals. Everything is saved after every epoch. If a run is killed, the same call
    resumes it and ends with the same numbers. No framework is needed, and none is imported.

    Args:
        table: Path of a file (CSV, Parquet, Arrow, Excel or JSON, also packed with gzip or ZIP), a NumPy array
            `(rows, columns)` (columns `x0`, `x1`, ... unless it is structured), or a pandas or Polars frame. Rows are
            in order of time.
        target: The column to forecast. It may be left out if the table has one column of numbers. A list of columns is
            forecast by one network: their errors and intervals are measured each by itself, and the model that wins is
            the one with the smallest error over all of them, each in units of its standard deviation.
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
        seed: Seed of the initial weights and of the order of windows, of the first network.
        seeds: How many networks are trained, with `seed`, `seed + 1` and so on. Their mean is one network, which is
            what is judged and saved.
        origins: How many times the models are fitted and judged, each time on more rows. A short table has fewer. The
            models of the last one are saved.
        model: The model that the run forecasts with: `"last_value"`, `"seasonal"`, `"linear"` or `"network"`. `None`
            takes the one that won, or the best baseline if none did. The others are in the run as well.
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
        calendar: Whether the place of each row in the hour, the day, the week and the year is seen too, as sine and
            cosine, as far as the times allow.
        known: Columns whose values are known before, such as a price, a plan or the weather forecast. All models but
            the repeats see their values at the rows ahead. For a forecast after its end, the table holds `ahead` more
            rows there, with these values and an empty target.
        out: The run's folder. `None` names it `elman-runs/<name>-<hash>`, by the data and the arguments.
        fresh: Whether to start again, even if the folder holds this or another run of elman, finished or not. Files of
            other programs whose names the run needs are renamed, `metrics.json` to `metrics.json.before`.
        verbose: What is shown while it works. 0: nothing. 1: a bar on a terminal or in a notebook, else lines. 2: a
            line for each epoch. `"auto"`: a bar on a terminal or in a notebook, else nothing.
        tell: Called with an `elman.forecasting.training.Progress` after every step. Several networks train at the same
            time, each in a thread; `tell` is called by one of them at a time.
        layer: The former name of `cell`, accepted for one release with a warning.

    Returns:
        The run. Its folder holds the model as `model.safetensors`, and every model under its own name;
        `elman.export` writes it as `model.keras`.

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
        seeds=seeds,
        origins=origins,
        model=model,
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
        calendar=calendar,
        known=known,
    )
    with progress.shown("elman.fit", verbose) as show:
        stages = Stages(show, tell)
        stages.begin("reading the table")
        source = open_table(table, Form(settings.sep, settings.encoding, settings.decimal))
        config = settings.to_dict() | {"sha256": source.sha256, "elman": elman.__version__}
        path = folder.path_for(source.name, config, out)
        if (run := folder.finished(path, config, fresh=fresh)) is not None:
            return run
        prepared = prepare(source, settings)
        with folder.held(path, config, fresh=fresh) as finished:
            return finished or _run(prepared, source, settings, path, stages)


def _run(prepared: Prepared, source: Source, settings: Settings, path: Path, stages: Stages) -> Run:
    """Trains, scores and writes: first the metrics, then the pictures, which may fail without harm to the run."""
    fitted = fit_all(prepared, settings, path, stages)
    stages.begin("judging on the held-out rows")
    table, windows = prepared.table, prepared.windows
    _note_learning(table, fitted)
    _note_made_values(table)
    forecasts, single = fitted_forecasts(prepared, fitted)
    measured = windows.truth(windows.starts["test"])
    left = {name: values - measured for name, values in forecasts.items()}
    judged = _judged(prepared, settings, left, [each - measured for each in single])
    folder.remove_keras_model(path)  # of an interrupted run
    later, kept = _keep(prepared, source, fitted[-1], left, judged["model"], path)
    memory = facts.memory(fitted[-1].network, prepared.origins[-1].windows)
    data = plain(
        {
            **facts.facts(prepared, source, settings),
            **kept,
            **judged,
            "training": facts.trained(prepared, fitted),
            "memory": memory,
            "next": _next(judged["errors"], memory, left, settings, table, windows),
            "versions": facts.versions(),
        }
    )
    run = Run(path, signed(data))
    files.write(path / METRICS, json.dumps(run.metrics, indent=2, allow_nan=False) + "\n")
    stages.begin("drawing")
    draw(path, data, table, windows, forecasts, later)
    stages.end()
    if not data["training"]["interrupted"]:
        for checkpoint in path.glob(CHECKPOINTS):
            checkpoint.unlink()
    return run


def _judged(
    prepared: Prepared, settings: Settings, left: dict[str, np.ndarray], single: list[np.ndarray]
) -> dict[str, Any]:
    """The scores of all models, the model to use, and how often its intervals held the value; of several targets the
    same of each by itself as well.

    Args:
        prepared: The held-out windows.
        settings: The model that was asked for.
        left: For each model `(windows, outputs)` forecasts minus values.
        single: The same of each network.
    """
    table, windows, ahead = prepared.table, prepared.windows, prepared.windows.ahead
    moments = moments_of(table, windows.starts["test"], windows.window)
    squares = {name: each**2 for name, each in left.items()}
    names, std, each_target = table.chosen.targets, prepared.origins[-1].scale[1], list[dict[str, Any]]()
    if len(names) == 1:
        errors, std = verdict.errors(squares, ahead, moments, len(table.rows)), 1.0
    else:
        errors, each_target = verdict.errors_of_targets(squares, std, ahead, moments, len(table.rows))
    errors["models"][NETWORK]["by_seed"] = [verdict.rmse((each / std) ** 2) for each in single]
    use = settings.model or errors["use"]
    in_time = left[use][np.argsort(moments, kind="stable")]
    targets = [
        {"target": name, "errors": found, "intervals": intervals.measured(in_time[:, i * ahead : (i + 1) * ahead])}
        for i, (name, found) in enumerate(zip(names, each_target, strict=False))
    ]
    judged = {"errors": errors, "model": use, "intervals": intervals.measured(in_time)}
    return judged | ({"targets": targets} if targets else {})


def _keep(
    prepared: Prepared, source: Source, last: Fitted, left: dict[str, np.ndarray], use: str, path: Path
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Writes the models, their intervals and the forecast of the one to use; the forecast, and facts of the models."""
    windows = prepared.windows
    networks = models_of(prepared, last)
    rows = {name: rows_of(name, windows, prepared.period) for name in networks}
    for name, network in networks.items():
        network.save(path / MODELS[name])
    networks[use].save(path / MODEL)
    conformal = intervals.save(path, left)
    later = _later(networks[use], rows[use], conformal[use], prepared.table, windows, source)
    files.write(path / FORECAST, to_csv(later))
    return later, {
        "models": {name: {"rows": size} for name, size in rows.items()},
        "penalty": last.linear.penalty,
    }


def _note_learning(table: Table, fitted: list[Fitted]) -> None:
    """Says so if a network stays the linear model."""
    kept = sum(not each.learned and any(history.best_epoch for history in each.histories) for each in fitted)
    if kept:
        where = "" if kept == len(fitted) else f" at {kept} of {len(fitted)} origins"
        table.notes.append(
            f"What the network learned is no more than chance on the validation part{where}, so it stays the linear "
            "model there."
        )


def _note_made_values(table: Table) -> None:
    """Says so if values of the held-out rows were filled."""
    if table.made is None:
        return
    share = table.made[parts_at_origins(table, 1)[0] == PARTS.index("test")].mean()
    if share:
        table.notes.append(
            f"Of the held-out values {100 * share:.2g} % were empty and are filled; they count neither in the errors "
            "nor in the intervals."
        )


def _later(
    network: Network, rows: int, conformal: Conformal, table: Table, windows: Windows, source: Source
) -> pl.DataFrame:
    """The forecast after the last rows, with its intervals."""
    widths = {level: conformal.half_width(level) for level in intervals.LEVELS}
    later, short = last_forecast(network, table, rows, windows.ahead, source.first_row, widths)
    if short and table.chosen.group is not None:
        table.notes.append(f"Too short for a forecast: {listed(short)}.")
    elif short:
        table.notes.append(f"No forecast: the table ends with fewer than {rows} rows without a gap.")
    last = last_windows(table, rows)[0] + rows - 1
    if (lacking := leads.missing(table, last, windows.ahead)) is not None:
        table.notes.append(f"No forecast: {lacking}")
    return later


def _next(
    errors: dict[str, Any],
    memory: dict[str, Any],
    left: dict[str, np.ndarray],
    settings: Settings,
    table: Table,
    windows: Windows,
) -> str:
    first = left[errors["use"]][:, 0]
    return advice.next_step(
        errors,
        memory,
        first[~np.isnan(first)],
        cell=settings.cell,
        units=settings.units,
        window=windows.window,
        features=windows.rows.shape[1],
        targets=table.chosen.targets,
    )
