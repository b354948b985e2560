# SPDX-License-Identifier: Apache-2.0
"""The figures of a diagnosis, and a trace, as Matplotlib figures.

In: plain data. Out: panels, each a title, a caption and a function that draws on axes; and Matplotlib figures. A panel
that would be empty is left out. No screen is needed, and pyplot's state is not touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from elman import charts
from elman.charts import ACCENT, GREY, INK, Panel
from elman.diagnosis.figures import Figures, LayerFigures, TracedLayer

_LEAST = 1e-12  # of a curve on a logarithmic axis
_MOST_LINES = 4  # features of a trace's input that are drawn as lines
_CHANGE = "change of the output\n[% of its standard deviation]"
_GRADIENT = "gradient,\nrelative to the last step"
_KEPT = "number of last steps kept"
_BACK = "steps back from the last one"

Both = tuple[tuple[str, Figures, tuple[str, str]], ...]


def panels(figures: Figures) -> list[Panel]:
    """The pictures of one diagnosis."""
    shown = []
    if figures.horizon:  # 0: the curve would lie on the axis
        shown.append(_deviation_panel(figures))
    if figures.loss is not None:
        caption = (
            f"With no state the loss is {figures.loss[0]:.4g}; with nothing forgotten it is {figures.full_loss:.4g}."
        )
        shown.append(Panel(f"Loss ({figures.loss_name})", caption, lambda axes: _loss(axes, figures)))
    reaching = {name: layer for name, layer in figures.layers.items() if _drawn(layer.reach)}
    if reaching:
        caption = " ".join(_reach_caption(name, layer) for name, layer in reaching.items())
        shown.append(Panel("Reach of a gradient", caption, lambda axes: _reach(axes, reaching)))
    forgetting = {name: layer for name, layer in figures.layers.items() if _drawn(layer.forgetting)}
    if forgetting:
        caption = " ".join(_forgetting_caption(name, layer) for name, layer in forgetting.items())
        shown.append(Panel("Forgetting of the initial state", caption, lambda axes: _forgetting(axes, forgetting)))
    shares = _shares(figures.layers)
    if any(shares.values()):
        name, share = max(shares.items(), key=lambda item: item[1])
        caption = f"The largest share is {share:.0f} %, of {name}."
        height = 0.8 + 0.24 * len(shares)
        shown.append(Panel("Saturated values", caption, lambda axes: _saturation(axes, shares), height))
    return shown


def _deviation_panel(figures: Figures) -> Panel:
    tolerance = f"{100 * figures.tolerance:.0f} %"
    assert figures.horizon is not None
    if figures.horizon <= figures.steps:
        caption = (
            f"If the last {figures.horizon} of {figures.steps} steps are kept, or more, the last output changes by at "
            f"most {tolerance}."
        )
    else:
        caption = f"The last output changes by more than {tolerance}, however many of the steps are kept."
    return Panel("Change of the last output", caption, lambda axes: _deviation(axes, figures))


def _reach_caption(name: str, layer: LayerFigures) -> str:
    below = next((lag for lag, value in zip(layer.lags, layer.reach, strict=True) if not value >= 0.01), None)
    if below is None:
        return f"In layer {name!r}, {layer.reach[-1]:.2g} of it arrives {_steps(layer.lags[-1])} back."
    return f"In layer {name!r} it falls below 1 % {_steps(below)} back."


def _forgetting_caption(name: str, layer: LayerFigures) -> str:
    left, steps = layer.forgetting[-1], _steps(len(layer.forgetting))
    return f"In layer {name!r}, {left:.2g} of a difference at the start is left after {steps}."


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def _deviation(axes: Any, figures: Figures) -> None:
    axes.plot(figures.lags, 100 * np.array(figures.deviation), "-", color=INK, label="last output")
    axes.axhline(100 * figures.tolerance, linestyle="--", color=GREY, label=f"{100 * figures.tolerance:.0f} %")
    axes.axvline(figures.horizon, linestyle=":", color=ACCENT, label=f"horizon, {figures.horizon}")
    axes.set_ylabel(_CHANGE)
    axes.set_ylim(bottom=0)
    _steps_axis(axes, _KEPT)


def _loss(axes: Any, figures: Figures) -> None:
    axes.plot(figures.lags, figures.loss, "-", color=INK, label="loss")
    axes.axhline(figures.full_loss, linestyle="--", color=GREY, label="nothing forgotten")
    axes.set_ylabel(charts.literal(str(figures.loss_name).replace("_", " ")))
    _steps_axis(axes, _KEPT)


def _reach(axes: Any, layers: dict[str, LayerFigures]) -> None:
    for (name, layer), (colour, dash) in zip(layers.items(), charts.lines(), strict=False):
        axes.plot(layer.lags, _positive(layer.reach), dash, color=colour, label=charts.literal(name))
        axes.fill_between(layer.lags, _positive(layer.reach_low), _positive(layer.reach_high), color=colour, alpha=0.12)
    axes.set_ylabel(_GRADIENT)
    _logarithmic(axes, _BACK)


def _forgetting(axes: Any, layers: dict[str, LayerFigures]) -> None:
    for (name, layer), (colour, dash) in zip(layers.items(), charts.lines(), strict=False):
        steps = range(1, len(layer.forgetting) + 1)
        axes.plot(steps, _positive(layer.forgetting), dash, color=colour, label=charts.literal(name))
    axes.set_ylabel("difference of states,\nrelative to the start")
    _logarithmic(axes, "steps after the start")


def _shares(layers: dict[str, LayerFigures]) -> dict[str, float]:
    """Percentages of saturated values and of dead units, by layer and gate."""
    shares: dict[str, float] = {}
    for name, layer in layers.items():
        shares |= {f"{name}: {gate}": 100 * share for gate, share in layer.saturation.items()}
        if layer.dead:
            shares[f"{name}: dead relu units"] = 100 * layer.dead
    return shares


def _saturation(axes: Any, shares: dict[str, float]) -> None:
    bars = axes.barh(
        [charts.literal(name) for name in shares],
        list(shares.values()),
        height=0.5,
        color=ACCENT,
        edgecolor=INK,
        linewidth=0.6,
    )
    axes.bar_label(bars, [f"{share:.0f} %" for share in shares.values()], padding=3, fontsize=8.5)
    axes.set_xlim(0, 112)  # room for the label of a full bar
    axes.set_ylim(-0.6, len(shares) - 0.4)
    axes.invert_yaxis()
    axes.set_xlabel("share of values [%]")
    axes.tick_params(axis="y", labelsize=8.5)


def _drawn(values: Sequence[float]) -> bool:
    """Whether a logarithmic axis shows any of the values."""
    return bool(np.isfinite(_positive(values)).any())


def _positive(values: Sequence[float]) -> np.ndarray:
    """What a logarithmic axis can show: NaN instead of zeros and infinities."""
    found = np.array(values, "float64")
    return np.where(np.isfinite(found) & (found > _LEAST), found, np.nan)


def _steps_axis(axes: Any, label: str) -> None:
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _logarithmic(axes: Any, label: str) -> None:
    axes.set_yscale("log")
    _steps_axis(axes, label)


def panels_of_two(before: Figures, after: Figures) -> list[Panel]:
    """Two diagnoses over each other."""
    both: Both = (("before", before, (GREY, "--")), ("after", after, (INK, "-")))
    shown = []
    if any(figures.horizon for _, figures, _ in both):
        caption = f"{_horizon_caption('Before', before)} {_horizon_caption('After', after)}"
        shown.append(Panel("Change of the last output", caption, lambda axes: _two_deviations(axes, both)))
    if any(_drawn(layer.reach) for _, figures, _ in both for layer in figures.layers.values()):
        caption = f"{_half_life_caption('Before', before)} {_half_life_caption('After', after)}"
        shown.append(Panel("Reach of a gradient", caption, lambda axes: _two_reaches(axes, both)))
    return shown


def _half_life_caption(when: str, figures: Figures) -> str:
    half_lives = [layer.half_life for layer in figures.layers.values() if not np.isnan(layer.half_life)]
    if not half_lives:
        return f"{when}: none was measured."
    longest = max(half_lives)
    return f"{when}: it halves every {longest:.2g} steps." if np.isfinite(longest) else f"{when}: it does not shrink."


def _horizon_caption(when: str, figures: Figures) -> str:
    if figures.horizon is None:
        return f"{when}: NaN or infinities."
    return f"{when}: the output uses {figures.horizon} of {figures.steps} steps."


def _two_deviations(axes: Any, both: Both) -> None:
    for when, figures, (colour, dash) in both:
        text = "diverged" if figures.horizon is None else f"horizon {figures.horizon}"
        axes.plot(
            figures.lags, 100 * np.array(figures.deviation), dash, color=colour, label=charts.literal(f"{when}: {text}")
        )
    axes.axhline(100 * both[0][1].tolerance, linestyle=":", color=ACCENT)
    axes.set_ylabel(_CHANGE)
    axes.set_ylim(bottom=0)
    _steps_axis(axes, _KEPT)


def _two_reaches(axes: Any, both: Both) -> None:
    for when, figures, (colour, dash) in both:
        for name, layer in figures.layers.items():
            axes.plot(layer.lags, _positive(layer.reach), dash, color=colour, label=charts.literal(f"{when}: {name}"))
    axes.set_ylabel(_GRADIENT)
    _logarithmic(axes, _BACK)


def of_trace(x: np.ndarray, layers: dict[str, TracedLayer], example: int) -> Figure:
    """The input of one example, and below it the states of each layer over time.

    Raises:
        IndexError: If there is no such example.
    """
    if not -len(x) <= example < len(x):
        raise IndexError(f"example is {example}; expected 0 to {len(x) - 1}, one of those that were traced.")
    made = Figure(figsize=(9, 2.2 + 2.4 * len(layers)), layout="constrained")
    rows = made.subplots(1 + len(layers), 1, sharex=len({layer.mask.shape for layer in layers.values()}) == 1)
    _input(rows[0], x[example])
    for axes, (name, layer) in zip(rows[1:], layers.items(), strict=True):
        states = np.where(layer.mask[example][:, None], layer.states["h"][example], np.nan)
        most = max(1.0, float(np.abs(layer.states["h"][example]).max()))
        axes.set_facecolor("#ffffff")
        # cividis goes from dark to bright, in grey as well; masked steps stay white.
        picture = axes.imshow(
            states.T, aspect="auto", interpolation="nearest", cmap="cividis", vmin=-most, vmax=most, origin="lower"
        )
        axes.set_title(charts.literal(f"{name} ({layer.kind}): state h, masked steps white"), loc="left", fontsize=10.5)
        axes.set_ylabel("unit")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        made.colorbar(picture, ax=axes, pad=0.01)
    _steps_axis(rows[-1], "step, in the order in which the layer reads")
    return made


def _input(axes: Any, x: np.ndarray) -> None:
    if x.shape[1] <= _MOST_LINES:
        for feature, (colour, dash) in zip(range(x.shape[1]), charts.lines(), strict=False):
            axes.plot(x[:, feature], dash, color=colour, label=f"feature {feature}")
        axes.legend(frameon=False, fontsize=8.5, loc="upper right", ncols=_MOST_LINES)
        axes.set_ylabel("value")
    else:
        axes.imshow(x.T, aspect="auto", interpolation="nearest", cmap="cividis", origin="lower")
        axes.set_ylabel("feature")
    axes.set_title("input", loc="left", fontsize=10.5)
