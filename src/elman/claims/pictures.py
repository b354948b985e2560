# SPDX-License-Identifier: Apache-2.0
"""The picture of a claim: its curves with bands, or its figures as points with intervals.

In: a `Claim`. Out: a panel that draws on Matplotlib axes.
"""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np
from matplotlib.ticker import NullLocator, ScalarFormatter

from elman import charts
from elman.charts import ACCENT, INK, Panel
from elman.claims.claim import Chart, Claim
from elman.claims.estimates import Estimate

_LEAST = 1e-12  # of a point on a logarithmic axis
_ROW = 0.42  # inches of a figure


def panel(claim: Claim) -> Panel:
    """The picture of a claim."""
    title = f"{claim.number}. {claim.title}"
    chart = claim.chart
    if chart is not None:
        return Panel(title, claim.because, lambda axes: _lines(axes, chart))
    return Panel(title, claim.because, lambda axes: _points(axes, claim.figures), 0.8 + _ROW * len(claim.figures))


def _lines(axes: Any, chart: Chart) -> None:
    for (name, line), (colour, dash) in zip(chart.lines.items(), charts.lines(), strict=False):
        estimates, low, high = (
            _shown([getattr(point, which) for point in line.points], chart.log_y)
            for which in ("estimate", "low", "high")
        )
        marker = "o" if len(line.x) <= 12 else None
        axes.plot(line.x, estimates, dash, color=colour, label=charts.literal(name), marker=marker, markersize=3)
        axes.fill_between(line.x, low, high, color=colour, alpha=0.12)
    axes.set_xlabel(charts.literal(chart.x))
    axes.set_ylabel(charts.literal(chart.y))
    if chart.log_y:
        axes.set_yscale("log")
    if chart.log_x:
        places = sorted({x for line in chart.lines.values() for x in line.x})
        axes.set_xscale("log")
        axes.set_xticks(places[:: max(1, len(places) // 8)])
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())


def _points(axes: Any, figures: list[Estimate]) -> None:
    """Each figure on a line of its own: they differ in unit, so that each has its text and no common axis is needed."""
    shown = [figure for figure in figures if math.isfinite(figure.estimate)]
    places = range(len(shown))
    for place, figure in zip(places, shown, strict=True):
        axes.plot([figure.low, figure.high], [place, place], "-", color=ACCENT)
        axes.plot([figure.estimate], [place], "o", color=INK, markersize=4)
    axes.axvline(0, color=charts.GREY, linewidth=0.8)
    axes.set_yticks(
        list(places), [charts.literal("\n".join(textwrap.wrap(each.name, 34))) for each in shown], fontsize=8
    )
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.invert_yaxis()
    axes.set_xlabel("estimate and 95 % interval")


def _shown(values: list[float], logarithmic: bool) -> np.ndarray:
    """What an axis can show: NaN instead of infinities, and of what is not positive on a logarithmic one."""
    found = np.array(values, "float64")
    return np.where(np.isfinite(found) & ((found > _LEAST) | (not logarithmic)), found, np.nan)
