# SPDX-License-Identifier: Apache-2.0
"""The two pictures of a run, as PNG: the held-out end with the forecast, and the course of training.

In: the report and arrays. Out: bytes. Lines differ by dash and mark as well as by shade, so that they can be told apart
in grey. No screen is needed, and no state of pyplot is touched. Names are shown as they are, never as TeX.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from elman.charts import ACCENT, GREY, INK, finish
from elman.forecasting.clock import DAY
from elman.forecasting.report import MODELS
from elman.forecasting.table import Table
from elman.forecasting.verdict import NETWORK
from elman.forecasting.windows import Windows
from elman.forecasting.words import counted

_SHOWN = 200  # rows of the held-out end
_BEFORE = 100  # rows whose times decide the usual step
_LONGEST = 60  # characters of a name
_YEAR = 365.2425 * DAY
_MIDDLE, _SPAN = 5000, 4000  # Matplotlib's ticks need a margin within the years 1 to 9999
_AS_IT_IS: dict[str, Any] = {"parse_math": False, "usetex": False}  # a name with two dollar signs is not a formula


def forecast(
    data: dict[str, Any], table: Table, windows: Windows, forecasts: dict[str, np.ndarray], later: pl.DataFrame
) -> bytes:
    """The held-out end: the values, the last step of each forecast by network and best baseline, and what is next."""
    best = data["errors"]["best_baseline"]
    starts = windows.starts["test"]
    group = table.groups[starts[-1]]  # the last series, if there are several
    shown = np.flatnonzero(table.groups[starts] == group)[-_SHOWN:]
    at = starts[shown] + windows.window + windows.ahead - 1
    last = int(np.flatnonzero(table.groups == group)[-1])
    axis = _Axis(table, int(at[0]), last, windows.ahead)
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(axis.places(at), table.rows[at, windows.target], color=INK, linewidth=1.6, label="actual")
    for name, colour, dash in ((best, GREY, "--"), (NETWORK, ACCENT, "-.")):
        axes.plot(axis.places(at), forecasts[name][shown, -1], dash, color=colour, linewidth=1.2, label=MODELS[name])
    if table.chosen.group is not None:
        later = later.filter(pl.col(table.chosen.group) == table.group_names[group])
    if later.height:
        values = later[data["target"]].to_numpy()
        style: dict[str, Any] = {"color": ACCENT, "markersize": 4, "linewidth": 1}
        axes.plot(axis.later, values, "o:", label="forecast after the last row", **style)
    of_group = f", {_short(table.group_names[group])}" if table.chosen.group is not None else ""
    ahead = counted(windows.ahead, "row")
    title = f"{_short(data['target'])}{of_group}: the held-out end, forecast {ahead} ahead"
    axes.set_title(title, loc="left", fontsize=11, **_AS_IT_IS)
    axes.set_xlabel(_short(axis.label), **_AS_IT_IS)
    axes.set_ylabel(_with_unit(data), **_AS_IT_IS)
    if axis.dates:
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
    axes.set_title(f"{_short(data['target'])}: error while training", loc="left", fontsize=11, **_AS_IT_IS)
    axes.set_xlabel("epoch (0: before training, the linear model)")
    axes.set_ylabel(f"RMSE of {_with_unit(data)}", **_AS_IT_IS)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _png(figure, axes)


class _Axis:
    """The horizontal axis: times, or row numbers if there are none or Matplotlib cannot draw them.

    Args:
        table: The rows.
        first: The first row shown.
        last: The last row shown.
        ahead: Steps that follow it.
    """

    def __init__(self, table: Table, first: int, last: int, ahead: int) -> None:
        self._table = table
        self.dates, self._times = False, table.times
        self.label, self.later = "row", last + np.arange(1, ahead + 1)
        if table.times is None:
            return
        later = self._later(table.times, last, ahead)
        years = np.array([table.times[first], later[-1]]) / _YEAR + 1970
        self.dates = table.clock.temporal and bool((abs(years - _MIDDLE) < _SPAN).all())
        if table.clock.temporal and not self.dates:
            self._times = None
        else:
            self.label, self.later = str(table.chosen.time), self._shown(later)

    def places(self, rows: np.ndarray) -> np.ndarray:
        """Where rows are on the axis."""
        return rows if self._times is None else self._shown(self._times[rows])

    def _later(self, times: np.ndarray, last: int, ahead: int) -> np.ndarray:
        """The times after a row, a usual step apart if they do not follow from those before it."""
        before = times[max(self._table.segment_of(last)[0], last - _BEFORE) : last + 1]
        if (later := self._table.clock.later(before, ahead)) is not None:
            return later
        step = float(np.median(np.diff(before))) if len(before) > 1 else 1.0
        return times[last] + step * np.arange(1, ahead + 1)

    def _shown(self, times: np.ndarray) -> np.ndarray:
        return times.astype("int64").astype("datetime64[us]") if self.dates else times


def _with_unit(data: dict[str, Any]) -> str:
    return _short(f"{data['target']} [{data['unit']}]" if data["unit"] else str(data["target"]))


def _short(name: str) -> str:
    """A name that fits on a picture, on one line."""
    name = "".join(c if c.isprintable() else " " for c in name)
    return name if len(name) <= _LONGEST else name[: _LONGEST - 3] + "..."


def _png(figure: Figure, axes: Any) -> bytes:
    finish(axes)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)  # not over the lines
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # Matplotlib draws a box instead
        figure.savefig(content, format="png", dpi=130)
    return content.getvalue()
