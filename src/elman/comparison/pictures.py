# SPDX-License-Identifier: Apache-2.0
"""The pictures of a comparison, each drawn from its plain data.

In: the data. Out: panels. A panel that would say nothing is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from elman import charts
from elman.charts import ACCENT, GREY, Panel

_WORST = 4.0  # times the best error, beyond which a candidate's dot is left out of a picture
_MOST_LINES = 4


def panels(data: dict[str, Any]) -> list[Panel]:
    """All pictures of one comparison."""
    rows = [row for row in data["rows"] if row["status"] == "compared"]
    near = [row for row in rows if row["error"] <= _WORST * rows[0]["error"]]
    left_out = [row["name"] for row in rows if row not in near]
    caption = f"The line is the 95 % interval. Blue: tied with the best, {data['best']}."
    if left_out:
        caption += f" Not shown, with more than {_WORST:.0f} times its error: {', '.join(left_out)}."
    shown = [
        Panel("Error of each candidate", caption, lambda axes: _errors(axes, near, data), 0.9 + 0.28 * len(near)),
        Panel(
            "Error against size",
            f"{data['recommended']} is recommended: the smallest that is tied with the best.",
            lambda axes: _sizes(axes, near, data),
        ),
    ]
    if data["history"] is not None and len(data["history"]["steps"]) > 1:
        shown.append(
            Panel("Error against the length of history", _history_caption(data), lambda axes: _history(axes, data))
        )
    if "by_step" in rows[0] and len(rows[0]["by_step"]) > 1:
        few = [row for row in near if row["tied"]][:_MOST_LINES] or near[:1]
        few += [row for row in near if row not in few][: _MOST_LINES - len(few)]
        names = "The candidates with the least errors."
        shown.append(Panel("Error of each step ahead", names, lambda axes: _steps(axes, few, data)))
    return shown


def _errors(axes: Any, rows: Sequence[dict[str, Any]], data: dict[str, Any]) -> None:
    for place, row in enumerate(rows):
        colour = ACCENT if row["tied"] else GREY
        axes.plot([row["low"], row["high"]], [place, place], "-", color=colour, linewidth=2)
        axes.plot([row["error"]], [place], "D" if row["recommended"] else "o", color=colour, markersize=6)
    axes.set_yticks(range(len(rows)), [charts.literal(row["name"]) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(_label(data))


def _sizes(axes: Any, rows: Sequence[dict[str, Any]], data: dict[str, Any]) -> None:
    for place, row in enumerate(sorted(rows, key=lambda row: row["parameters"])):
        colour = ACCENT if row["tied"] else GREY
        size = max(row["parameters"], 1)
        axes.plot([size], [row["error"]], "D" if row["recommended"] else "o", color=colour, markersize=6)
        above = 5 + 11 * (place % 4)  # names of candidates of nearly the same size stand above each other
        axes.annotate(
            charts.literal(row["name"]),
            (size, row["error"]),
            xytext=(4, above),
            textcoords="offset points",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5},
        )
    axes.set_xscale("log")
    axes.margins(x=0.2, y=0.3)
    axes.set_xlabel("parameters")
    axes.set_ylabel(_label(data))


def _history_caption(data: dict[str, Any]) -> str:
    enough, horizons = data["history"]["enough"], _horizons(data)
    caption = f"On validation data; {enough} steps are enough."
    if horizons:
        caption += " Dotted: how far the recurrent networks look back, " + ", ".join(
            f"{name} {steps}" for name, steps in horizons
        )
        caption += "."
    return caption


def _horizons(data: dict[str, Any]) -> list[tuple[str, int]]:
    return [(row["name"], row["horizon"]) for row in data["rows"] if row.get("horizon")]


def _history(axes: Any, data: dict[str, Any]) -> None:
    history = data["history"]
    for (name, errors), (colour, dash) in zip(history["errors"].items(), charts.lines(), strict=False):
        axes.plot(history["steps"], errors, dash, color=colour, marker="o", markersize=3, label=charts.literal(name))
    for _, steps in _horizons(data):
        axes.axvline(steps, linestyle=":", color=GREY, linewidth=1)
    axes.set_xscale("log", base=2)
    axes.set_xticks(history["steps"], [str(steps) for steps in history["steps"]])
    axes.minorticks_off()
    axes.set_xlabel("steps that a model sees")
    axes.set_ylabel(_label(data))


def _steps(axes: Any, rows: Sequence[dict[str, Any]], data: dict[str, Any]) -> None:
    for row, (colour, dash) in zip(rows, charts.lines(), strict=False):
        axes.plot(
            range(1, len(row["by_step"]) + 1), row["by_step"], dash, color=colour, label=charts.literal(row["name"])
        )
    axes.set_xlabel("steps ahead")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(_label(data))


def _label(data: dict[str, Any]) -> str:
    if data["task"] != "forecast":
        return "error rate"
    return charts.literal(f"RMSE [{data['unit']}]" if data["unit"] else "RMSE")
