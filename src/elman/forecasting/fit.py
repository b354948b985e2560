# SPDX-License-Identifier: Apache-2.0
"""Fits a forecaster: a table in, trained models and an honest report out, in a folder of their own.

The order is: arguments, table, checks, folder; training; scores on the held-out end; files. The pictures are drawn
after the metrics, whose presence means that the run has its result, and the checkpoint is removed last. No framework.
"""

from __future__ import annotations

import json
from collections.abc import Callable
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
    Run,
    model_file,
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
    settings: Settings,
    *,
    out: Any,
    fresh: bool,
    verbose: int | str,
    tell: Callable[[Progress], None] | None,
) -> Run:
    """Trains a forecaster; the arguments are those of `elman.fit`, which has their documentation."""
    with progress.shown("elman.fit", verbose) as show:
        stages = Stages(show, tell)
        stages.begin("reading the table")
        form = Form(settings.sep, settings.encoding, settings.decimal)
        source = table if isinstance(table, Source) else open_table(table, form)
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
        network.save(path / model_file(name))
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
