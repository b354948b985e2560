# SPDX-License-Identifier: Apache-2.0
"""The two pictures of a run, as PNG: the held-out end with the forecast, and the course of training.

In: the report and arrays. Out: bytes. Lines differ by dash and mark as well as by shade, so that they can be told apart
in grey. No screen is needed, and no state of pyplot is touched. Names are shown as they are, never as TeX.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.image import imread, imsave
from matplotlib.ticker import MaxNLocator

from elman.charts import ACCENT, GREY, INK, finish
from elman.forecasting.axis import Axis
from elman.forecasting.intervals import LEVELS, columns
from elman.forecasting.labels import Line, name_lines
from elman.forecasting.report import MODELS, targets_of
from elman.forecasting.table import Table
from elman.forecasting.verdict import NETWORK
from elman.forecasting.windows import Windows
from elman.forecasting.words import counted

_FORECASTS, _LEAST_ROWS, _MOST_ROWS = 8, 40, 200  # of the held-out end
_SAME = 2e-3  # of the height, a difference that cannot be seen
_MARKED = 50  # steps of a forecast that are marked one by one
_LONGEST = 60  # characters of a name
_LINE = 125  # characters of a line below the title
_RAISED = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")
_AS_IT_IS: dict[str, Any] = {"parse_math": False, "usetex": False}  # a name with two dollar signs is not a formula


def forecast(
    data: dict[str, Any], table: Table, windows: Windows, forecasts: dict[str, np.ndarray], later: pl.DataFrame
) -> bytes:
    """The picture of the forecasts, for `forecast.png`: a figure for each target, of the arguments given here."""
    if "targets" not in data:
        return _png(forecast_figure(data, table, windows, forecasts, later))
    pictures = []
    for i, each in enumerate(data["targets"]):
        own = {name: values[:, i * windows.ahead : (i + 1) * windows.ahead] for name, values in forecasts.items()}
        of = windows._replace(columns=windows.columns[i : i + 1])
        pictures.append(_png(forecast_figure(data | each, table, of, own, _only(later, each["target"], table))))
    return _below_each_other(pictures)


def _only(later: pl.DataFrame, target: str, table: Table) -> pl.DataFrame:
    """The forecast of one of several targets, whose intervals have the names that those of a single one have."""
    ends = {columns(level, target)[end]: columns(level)[end] for level in LEVELS for end in (0, 1)}
    kept = [name for name in (table.chosen.group, target, *ends) if name in later.columns]
    return later.select(kept).rename({name: to for name, to in ends.items() if name in kept})


def _below_each_other(pictures: list[bytes]) -> bytes:
    """Several pictures of one width as one."""
    content = io.BytesIO()
    imsave(content, np.vstack([imread(io.BytesIO(each)) for each in pictures]), format="png")
    return content.getvalue()


def forecast_figure(
    data: dict[str, Any], table: Table, windows: Windows, forecasts: dict[str, np.ndarray], later: pl.DataFrame
) -> Figure:
    """The last held-out forecasts, one after the other from a marked start, and the forecast after the last row.

    Drawn are the model that the run forecasts with and the one to compare it with: the network, or the best baseline.

    Args:
        data: The metrics of the run.
        table: The rows.
        windows: Which of them are held out.
        forecasts: Of each model, `(held-out windows, ahead)`.
        later: The rows of `forecast.csv`.
    """
    used = data.get("model", NETWORK)
    other = data["errors"]["best_baseline"] if used == NETWORK else NETWORK
    starts = windows.starts["test"]
    group = table.groups[starts[-1]]  # the last series, if there are several
    shown = _one_after_the_other(starts, np.flatnonzero(table.groups[starts] == group), windows.ahead)
    at = starts[shown] + windows.window - 1  # the last row that each forecast knows
    last = int(np.flatnonzero(table.groups == group)[-1])
    first = max(table.segment_of(int(at[0]))[0], min(int(at[0]), last - _LEAST_ROWS))
    axis = Axis(table, first, last, windows.ahead)
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    for rows in _without_gaps(table, first, last):
        axes.plot(axis.places(rows), table.rows[rows, windows.columns[0]], color=INK, linewidth=1.5)
    own = {name: np.c_[table.rows[at, windows.columns[0]], forecasts[name][shown]] for name in (used, other)}
    lines = _draw_held_out(axes, axis, at, own, float(np.ptp(table.rows[first : last + 1, windows.columns[0]])))
    steps = at[:, None] + np.arange(windows.ahead + 1)
    lines.insert(0, Line("actual", table.rows[steps.ravel(), windows.columns[0]], INK))
    if table.chosen.group is not None:
        later = later.filter(pl.col(table.chosen.group) == table.group_names[group])
    if later.height:
        _draw_later(axes, axis, later, float(table.rows[last, windows.columns[0]]), data["target"], last)
    name_lines(axes, axis.places(steps.ravel()), lines, _AS_IT_IS)
    of = data["table"]["name"] if table.chosen.group is None else table.group_names[group]
    title = f"{_short(data['target'])} of {_short(of)}: forecasts {counted(windows.ahead, 'row')} ahead"
    _head(figure, title, data, used, other)
    axes.set_xlabel(_short(axis.label), **_AS_IT_IS)
    axes.set_ylabel(_with_unit(data), **_AS_IT_IS)
    if axis.dates:
        locator = axes.xaxis.get_major_locator()
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    finish(axes)
    return figure


def _one_after_the_other(starts: np.ndarray, own: np.ndarray, ahead: int) -> np.ndarray:
    """Of the windows of one series the last ones whose forecasts do not overlap."""
    found = [own[-1]]
    for each in own[-2::-1]:
        if starts[found[-1]] - starts[each] >= ahead:
            found.append(each)
        if len(found) * ahead >= max(_LEAST_ROWS, min(_FORECASTS * ahead, _MOST_ROWS)):
            break
    return np.array(found[::-1])


def _without_gaps(table: Table, first: int, last: int) -> Iterator[np.ndarray]:
    """The rows from one to another, those of each segment by themselves."""
    for begin, end in table.segments.tolist():
        if begin <= last and end > first:
            yield np.arange(max(begin, first), min(end, last + 1))


def _draw_held_out(axes: Any, axis: Axis, at: np.ndarray, own: dict[str, np.ndarray], height: float) -> list[Line]:
    """The forecasts of two models, the one that the run uses first, and the lines to name.

    Args:
        axes: Where to draw.
        axis: Where rows are.
        at: The last row that each forecast knows.
        own: Of each model the value of that row and the forecast, `(len(at), 1 + ahead)`.
        height: Of all values that are drawn.
    """
    used, other = own
    ahead = own[used].shape[1] - 1
    same = float(abs(own[used] - own[other]).max()) < _SAME * height
    lines = []
    for name, colour, dash in ((used, ACCENT, "-"),) if same else ((other, GREY, "--"), (used, ACCENT, "-")):
        if ahead == 1:
            axes.plot(axis.places(at + 1), own[name][:, 1], dash, color=colour, linewidth=1.3)
        for row, values in zip(at if ahead > 1 else (), own[name], strict=False):
            axes.plot(axis.places(row + np.arange(ahead + 1)), values, dash, color=colour, linewidth=1.3)
        text = f"{MODELS[used]}, and {MODELS[other]}" if same else MODELS[name]
        start = " from each circle" if name == used and ahead > 1 else ""
        lines.append(Line(text + start, own[name].ravel(), colour))
    if ahead > 1:
        axes.plot(axis.places(at), own[used][:, 0], "o", color=ACCENT, markerfacecolor="white", markersize=5)
    return lines


def _draw_later(axes: Any, axis: Axis, later: pl.DataFrame, value: float, target: str, last: int) -> None:
    """The forecast after the last row, joined to the last value, and its intervals."""
    here = axis.places(np.array([last]))
    places = np.concatenate([here, axis.later])
    ends = {level: (f"lower_{level}", f"upper_{level}") for level in ("95", "80")}  # empty or infinite if unknown
    bands = [level for level, names in ends.items() if all(_is_known(later, name) for name in names)]
    for level in bands:
        low, high = (np.r_[value, later[name].to_numpy()] for name in ends[level])
        axes.fill_between(places, low, high, color=ACCENT, alpha=0.16, linewidth=0)
    values = np.r_[value, later[target].to_numpy()]
    axes.plot(places, values, color=ACCENT, linewidth=1.8)
    if len(values) <= _MARKED:
        axes.plot(places[1:], values[1:], "o", color=ACCENT, markersize=3.5)
    axes.axvline(here[0], color=GREY, linewidth=0.8, linestyle=":")
    levels = f",\n{' and '.join(f'{level} %' for level in reversed(bands))}\nintervals" if bands else ""
    axes.annotate(
        f"forecast{levels}",
        (places[-1], values[-1]),
        xytext=(7, 0),
        textcoords="offset points",
        color=ACCENT,
        fontsize=9.5,
        va="center",
        annotation_clip=False,
    )


def _is_known(frame: pl.DataFrame, name: str) -> bool:
    """Whether a column is there and has a number in every row."""
    return name in frame.columns and frame[name].is_finite().fill_null(value=False).all()


def _head(figure: Figure, title: str, data: dict[str, Any], used: str, other: str) -> None:
    """The title, the verdict and the errors."""
    models, unit = data["errors"]["models"], f" {_short(_pretty(data['unit']))}" if data["unit"] else ""
    errors = ", ".join(f"{models[name]['rmse']:.4g}{unit} ({MODELS[name]})" for name in (used, other))
    lines = textwrap.wrap(f"{data['errors']['verdict']} RMSE on the held-out rows: {errors}.", _LINE)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", **_AS_IT_IS)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 1 - 0.038 * len(lines)))
    figure.text(0.01, 0.935, "\n".join(lines), ha="left", va="top", fontsize=9, color=INK, **_AS_IT_IS)


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
    axes.set_title(f"{_short(_target(data))}: error while training", loc="left", fontsize=11, **_AS_IT_IS)
    axes.set_xlabel("epoch (0: before training, the linear model)")
    of = "targets [standard deviations]" if "targets" in data else _with_unit(data)
    axes.set_ylabel(f"RMSE of {of}", **_AS_IT_IS)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)  # not over the lines
    finish(axes)
    return _png(figure)


def _target(data: dict[str, Any]) -> str:
    return ", ".join(targets_of(data))


def _with_unit(data: dict[str, Any]) -> str:
    return _short(f"{data['target']} [{_pretty(data['unit'])}]" if data["unit"] else str(data["target"]))


def _pretty(unit: str) -> str:
    """A unit as it is set in print: m/s^2 with a raised 2, deg C with the sign of a degree."""
    return re.sub(r"\^(-?\d+)", lambda found: found[1].translate(_RAISED), re.sub(r"\bdeg ([CF])\b", r"°\1", unit))


def _short(name: str) -> str:
    """A name that fits on a picture, on one line."""
    name = "".join(c if c.isprintable() else " " for c in name)
    return name if len(name) <= _LONGEST else name[: _LONGEST - 3] + "..."


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # Matplotlib draws a box instead
        figure.savefig(content, format="png", dpi=130)
    return content.getvalue()
