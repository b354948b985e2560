# SPDX-License-Identifier: Apache-2.0
"""The two pictures of a run, as PNG: the held-out end with the forecast, and the course of training.

In: the report and arrays. Out: bytes. Lines differ by dash and mark as well as by shade, so that they can be told apart
in grey. No screen is needed, and no state of pyplot is touched.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from elman.charts import ACCENT, GREY, INK
from elman.forecasting.report import MODELS, NETWORK
from elman.forecasting.table import Table
from elman.forecasting.windows import Windows

_SHOWN = 200  # rows of the held-out end


def forecast(
    data: dict[str, Any], table: Table, windows: Windows, forecasts: dict[str, np.ndarray], later: pl.DataFrame
) -> bytes:
    """The held-out end: what was, what network and best baseline said at the last of their steps, and what is next."""
    best = data["errors"]["best_baseline"]
    starts = windows.starts["test"]
    group = table.groups[starts[-1]]  # of several series the last
    mine = np.flatnonzero(table.groups[starts] == group)[-_SHOWN:]
    at = starts[mine] + windows.window + windows.ahead - 1
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(_axis(table, at), table.rows[at, windows.target], color=INK, linewidth=1.6, label="actual")
    for name, colour, dash in ((best, GREY, "--"), (NETWORK, ACCENT, "-.")):
        axes.plot(_axis(table, at), forecasts[name][mine, -1], dash, color=colour, linewidth=1.2, label=MODELS[name])
    if later.height:
        values = later[data["target"]].to_numpy()[-windows.ahead :]
        place = _following(table, int(np.flatnonzero(table.groups == group)[-1]), len(values))
        axes.plot(place, values, "o:", color=ACCENT, markersize=4, linewidth=1, label="forecast after the last row")
    ahead = "1 row" if windows.ahead == 1 else f"{windows.ahead} rows"
    of_group = f", {table.group_names[group]}" if table.chosen.group else ""
    axes.set_title(f"{data['target']}{of_group}: the held-out end, forecast {ahead} ahead", loc="left", fontsize=11)
    axes.set_xlabel(table.chosen.time or "row")
    axes.set_ylabel(_with_unit(data))
    if table.temporal:
        figure.autofmt_xdate()
    return _png(figure, axes)


def learning(data: dict[str, Any]) -> bytes:
    """Training and validation error of every epoch."""
    history = data["training"]["history"]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    epochs = [epoch["epoch"] for epoch in history]
    few = "o" if len(history) < 40 else ""
    for name, colour, dash in (("train", GREY, "--"), ("validation", INK, "-")):
        values = [np.nan if epoch[name] is None else epoch[name] for epoch in history]
        axes.plot(epochs, values, dash + few, color=colour, markersize=3, linewidth=1.4, label=name)
    best = data["training"]["best_epoch"]
    axes.plot(best, history[best]["validation"], "D", color=ACCENT, markersize=7, label=f"best, epoch {best}")
    axes.set_title(f"{data['target']}: error while training", loc="left", fontsize=11)
    axes.set_xlabel("epoch (0: before training, the linear model)")
    axes.set_ylabel(f"RMSE of {_with_unit(data)}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _png(figure, axes)


def _axis(table: Table, rows: np.ndarray) -> np.ndarray:
    if table.times is None:
        return rows
    times = table.times[rows]
    return times.astype("int64").astype("datetime64[us]") if table.temporal else times


def _following(table: Table, last: int, count: int) -> np.ndarray:
    """Places on the axis after the last row, a usual step apart."""
    if table.times is None or last < 1:
        return last + np.arange(1, count + 1)
    step = float(np.median(np.diff(table.times[max(0, last - 100) : last + 1])))
    times = table.times[last] + step * np.arange(1, count + 1)
    return times.astype("int64").astype("datetime64[us]") if table.temporal else times


def _with_unit(data: dict[str, Any]) -> str:
    return f"{data['target']} [{data['unit']}]" if data["unit"] else str(data["target"])


def _png(figure: Figure, axes: Any) -> bytes:
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)  # beside the lines, not over them
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=130)
    return content.getvalue()
