# SPDX-License-Identifier: Apache-2.0
"""A report, a comparison and a trace as Matplotlib figures.

In: plain data. Out: figures, or panels, each a title and a function that draws on axes. Lines differ by dash as well as
by shade, so that they can be told apart in grey. No screen is needed, and no state of pyplot is touched.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from elman.diagnosis.report import Report
    from elman.diagnosis.trace import Trace

INK, GREY, ACCENT = "#111111", "#8a8a8a", "#0b5fa5"
_LINES = ((INK, "-"), (ACCENT, "--"), (GREY, "-."), (INK, ":"))
_LEAST = 1e-12  # of a curve on a logarithmic axis
_MOST_LINES = 4  # features of a trace's input that are drawn as lines

Draw = Callable[[Any], None]


class Panel(NamedTuple):
    """One curve or picture.

    Attributes:
        title: What is seen.
        says: The same in a sentence, for who cannot see it.
        draw: Draws it on axes.
    """

    title: str
    says: str
    draw: Draw


def panels(report: Report) -> list[Panel]:
    """What a report has to show."""
    shown = []
    if report.horizon is not None:
        text = f"stays within {100 * report.tolerance:.0f} % from {report.horizon} of {report.steps} steps on"
        shown.append(
            Panel("Change of the last output", f"The last output {text}.", lambda axes: _deviation(axes, report))
        )
    if report.loss is not None:
        said = f"With nothing forgotten it is {report.full_loss:.4g}."
        shown.append(Panel(f"Loss ({report.loss_name})", said, lambda axes: _loss(axes, report)))
    shown += [
        Panel("Reach of a gradient", "By steps back from the last one; see the table.", lambda a: _reach(a, report)),
        Panel("Forgetting of the first state", "By steps from the first one.", lambda a: _forgetting(a, report)),
        Panel("Saturated values", "By layer and gate; see the table.", lambda a: _saturation(a, report)),
    ]
    return shown


def figure(report: Report) -> Figure:
    """All panels side by side."""
    shown = panels(report)
    rows = -(-len(shown) // 2)
    made = Figure(figsize=(10, 3.3 * rows), layout="constrained")
    made.suptitle(f"{report.model}: {report.verdict}", fontsize=12)
    for place, panel in enumerate(shown, start=1):
        draw(panel, made.add_subplot(rows, 2, place))
    return made


def alone(panel: Panel) -> Figure:
    """One panel, for a page."""
    made = Figure(figsize=(4.6, 3.1), layout="constrained")
    draw(panel, made.add_subplot())
    return made


def draw(panel: Panel, axes: Any) -> None:
    """One panel with what all have."""
    panel.draw(axes)
    axes.set_title(panel.title, loc="left", fontsize=10.5)
    axes.grid(color=GREY, alpha=0.35, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8.5)


def _deviation(axes: Any, report: Report) -> None:
    axes.plot(report.lags, 100 * np.array(report.deviation), "-", color=INK, label="last output")
    axes.axhline(100 * report.tolerance, linestyle="--", color=GREY, label=f"{100 * report.tolerance:.0f} %")
    axes.axvline(report.horizon, linestyle=":", color=ACCENT, label=f"horizon, {report.horizon}")
    axes.set_ylabel("deviation [% of its spread]")
    axes.set_ylim(bottom=0)
    _steps_axis(axes, "steps kept before the end")


def _loss(axes: Any, report: Report) -> None:
    axes.plot(report.lags, report.loss, "-", color=INK, label="loss")
    axes.axhline(report.full_loss, linestyle="--", color=GREY, label="nothing forgotten")
    axes.set_ylabel(str(report.loss_name))
    _steps_axis(axes, "steps kept before the end")


def _reach(axes: Any, report: Report) -> None:
    for (name, layer), (colour, dash) in zip(report.layers.items(), _cycle(), strict=False):
        axes.plot(layer.lags, _positive(layer.reach), dash, color=colour, label=name)
        axes.fill_between(layer.lags, _positive(layer.reach_low), _positive(layer.reach_high), color=colour, alpha=0.12)
    axes.set_ylabel("|gradient| over that at the last step")
    _logarithmic(axes, "steps back from the last one")


def _forgetting(axes: Any, report: Report) -> None:
    for (name, layer), (colour, dash) in zip(report.layers.items(), _cycle(), strict=False):
        steps = range(1, len(layer.forgetting) + 1)
        axes.plot(steps, _positive(layer.forgetting), dash, color=colour, label=name)
    axes.set_ylabel("distance of states over that at first")
    _logarithmic(axes, "steps")


def _saturation(axes: Any, report: Report) -> None:
    names, shares = [], []
    for name, layer in report.layers.items():
        names += [f"{name}: {gate}" for gate in layer.saturation]
        shares += [100 * share for share in layer.saturation.values()]
        if layer.dead:
            names.append(f"{name}: dead relu units")
            shares.append(100 * layer.dead)
    bars = axes.barh(names, shares, height=0.5, color=ACCENT, edgecolor=INK, linewidth=0.6)
    axes.bar_label(bars, [f"{share:.0f} %" for share in shares], padding=3, fontsize=8.5)
    axes.set_xlim(0, 112)  # room for the label of a full bar
    axes.set_ylim(-0.7, max(len(names), 3) - 0.3)
    axes.invert_yaxis()
    axes.set_xlabel("share [%]")
    axes.tick_params(axis="y", labelsize=8.5)


def _cycle() -> Iterator[tuple[str, str]]:
    return itertools.cycle(_LINES)


def _positive(values: Sequence[float]) -> np.ndarray:
    """What a logarithmic axis can show: nothing in the place of zeros, infinities and NaN."""
    found = np.array(values, "float64")
    return np.where(np.isfinite(found) & (found > _LEAST), found, np.nan)


def _steps_axis(axes: Any, label: str) -> None:
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _logarithmic(axes: Any, label: str) -> None:
    axes.set_yscale("log")
    if not any(np.isfinite(line.get_ydata()).any() for line in axes.lines):
        axes.set_ylim(1e-3, 1)  # with nothing to show, Matplotlib warns of an axis without an end
    _steps_axis(axes, label)


def panels_of_two(before: Report, after: Report) -> list[Panel]:
    """Two reports over each other."""
    both = (("before", before, (GREY, "--")), ("after", after, (INK, "-")))
    return [
        Panel("Change of the last output", "Before and after.", lambda axes: _two_deviations(axes, both)),
        Panel("Reach of a gradient", "Before and after.", lambda axes: _two_reaches(axes, both)),
    ]


def compared(before: Report, after: Report) -> Figure:
    """Two reports over each other, in one figure."""
    made = Figure(figsize=(10, 3.4), layout="constrained")
    for place, panel in enumerate(panels_of_two(before, after), start=1):
        draw(panel, made.add_subplot(1, 2, place))
    return made


def _two_deviations(axes: Any, both: Any) -> None:
    for when, report, (colour, dash) in both:
        said = "diverged" if report.horizon is None else f"horizon {report.horizon}"
        axes.plot(report.lags, 100 * np.array(report.deviation), dash, color=colour, label=f"{when}: {said}")
    axes.axhline(100 * both[0][1].tolerance, linestyle=":", color=ACCENT)
    axes.set_ylabel("deviation [% of its spread]")
    axes.set_ylim(bottom=0)
    _steps_axis(axes, "steps kept before the end")


def _two_reaches(axes: Any, both: Any) -> None:
    for when, report, (colour, dash) in both:
        for name, layer in report.layers.items():
            axes.plot(layer.lags, _positive(layer.reach), dash, color=colour, label=f"{when}: {name}")
    axes.set_ylabel("|gradient| over that at the last step")
    _logarithmic(axes, "steps back from the last one")


def of_trace(trace: Trace, example: int) -> Figure:
    """The input of one example, and beneath it the states of each layer over time.

    Raises:
        IndexError: If there is no such example.
    """
    if not -len(trace.x) <= example < len(trace.x):
        raise IndexError(f"example is {example}; expected 0 to {len(trace.x) - 1}, one of those that were traced.")
    made = Figure(figsize=(9, 2.2 + 2.4 * len(trace.layers)), layout="constrained")
    rows = made.subplots(
        1 + len(trace.layers), 1, sharex=len({layer.mask.shape for layer in trace.layers.values()}) == 1
    )
    _input(rows[0], trace.x[example])
    for axes, (name, layer) in zip(rows[1:], trace.layers.items(), strict=True):
        states = np.where(layer.mask[example][:, None], layer.states["h"][example], np.nan)
        most = max(1.0, float(np.abs(layer.states["h"][example]).max()))
        axes.set_facecolor("#ffffff")
        # cividis goes from dark to bright, in grey as well; masked steps stay white.
        picture = axes.imshow(
            states.T, aspect="auto", interpolation="nearest", cmap="cividis", vmin=-most, vmax=most, origin="lower"
        )
        axes.set_title(f"{name} ({layer.kind}): state h, masked steps white", loc="left", fontsize=10.5)
        axes.set_ylabel("unit")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        made.colorbar(picture, ax=axes, pad=0.01)
    _steps_axis(rows[-1], "step, as the layer reads")
    return made


def _input(axes: Any, x: np.ndarray) -> None:
    if x.shape[1] <= _MOST_LINES:
        for feature, (colour, dash) in zip(range(x.shape[1]), _cycle(), strict=False):
            axes.plot(x[:, feature], dash, color=colour, label=f"feature {feature}")
        axes.legend(frameon=False, fontsize=8.5, loc="upper right", ncols=_MOST_LINES)
        axes.set_ylabel("value")
    else:
        axes.imshow(x.T, aspect="auto", interpolation="nearest", cmap="cividis", origin="lower")
        axes.set_ylabel("feature")
    axes.set_title("input", loc="left", fontsize=10.5)
