# SPDX-License-Identifier: Apache-2.0
"""Draws the pictures of the README and of architecture.md: `python docs/drawings.py [FOLDER]`, docs/drawings if none.

In: a recording that ships, seeds, and evidence/ for the times. Out: one SVG per function of DRAWINGS, by its name.
Small networks are trained, in about half a minute; no framework is needed.
"""

from __future__ import annotations

import sys
import tempfile
from html import escape
from pathlib import Path

import matplotlib as mpl
import numpy as np
import tables

import elman
from elman import datasets
from elman.network import Dense, SimpleRNN

mpl.use("svg")
mpl.rcParams |= {
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "elman",  # else the names inside a file are drawn at random
}

import matplotlib.pyplot as plt  # noqa: E402 (after the backend is chosen)
from matplotlib.axes import Axes  # noqa: E402

BLUE, ORANGE, GREY = "#1f5fa8", "#b4480f", "#6b7280"

# The house, from the top: a title for each storey, and its rooms with what is in them. The names before a room's text
# are modules or folders of src/elman, and files of native/ in the last storey.
HOUSE: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("commands", (("cli", "parses, calls a function below, prints"),)),
    (
        "what it answers",
        (
            ("forecasting", "fit, predict"),
            ("comparison", "which model"),
            ("claims", "experiments"),
            ("diagnosis", "horizon, advice"),
        ),
    ),
    ("out of Python", (("stream", "row by row"), ("exporting", "ONNX, C, files"))),
    (
        "what is trained",
        (
            ("network", "NumPy alone"),
            ("conversion", "to and from"),
            ("layers", "for Keras"),
            ("torch", "for PyTorch"),
        ),
    ),
    (
        "one recurrence",
        (
            ("functional", "of arrays"),
            ("route", "native, or why not"),
            ("reference", "the definition"),
            ("_plain", "no library"),
        ),
    ),
    ("adapters", (("_numpy", ""), ("_tensorflow", ""), ("_jax", ""), ("_torch", ""))),
    (
        "C++ library",
        (
            ("forward.h", "the time loop"),
            ("backward.h", "its gradient"),
            ("training.cc", "loss, Adam"),
            ("stream.cc", "one step"),
        ),
    ),
)


def house() -> str:
    """The storeys of the package; imports and calls go down."""
    left, width, gap, high, step = 120, 560, 8, 58, 78
    lines = []
    for storey, (title, rooms) in enumerate(HOUSE):
        top = 12 + storey * step
        lines.append(f'<text x="0" y="{top + high / 2 + 5:g}" class="storey">{escape(title)}</text>')
        room_width = (width - gap * (len(rooms) - 1)) / len(rooms)
        for place, (name, text) in enumerate(rooms):
            x = left + place * (room_width + gap)
            middle = x + room_width / 2
            lines.append(f'<rect x="{x:g}" y="{top}" width="{room_width:g}" height="{high}" rx="5"/>')
            lines.append(f'<text x="{middle:g}" y="{top + (26 if text else 34)}" class="room">{escape(name)}</text>')
            if text:
                lines.append(f'<text x="{middle:g}" y="{top + 45}" class="about">{escape(text)}</text>')
        if storey:
            arrow = left + width / 2
            lines.append(f'<path d="M{arrow:g} {top - 18}v12m-5 -5l5 5l5 -5"/>')
    height = 12 + len(HOUSE) * step
    style = (
        "text{font-family:sans-serif;font-size:13px;fill:#1c1c1c}.room,.about{text-anchor:middle}"
        ".room{font-family:monospace;font-size:15px;font-weight:bold}.storey{font-size:14px}"
        "rect{fill:#e8eef6;stroke:#1f5fa8}path{fill:none;stroke:#6b7280;stroke-width:1.5}"
    )
    body = "\n".join(lines)
    whole = left + width + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 0 {whole} {height}" width="{whole}" height="{height}">\n'
        f'<style>{style}</style>\n<rect x="-12" width="100%" height="100%" '
        f'style="fill:#fff;stroke:none"/>\n{body}\n</svg>\n'
    )


def draw_forecast(axes: Axes) -> None:
    """Forecasts of the walker's acceleration in the held-out end, each from the 32 rows before it."""
    facts = datasets.arguments("walk")
    with tempfile.TemporaryDirectory() as folder:
        run = elman.fit(**facts, out=folder)
        network, columns = run.model, run.metrics["table"]["features"]
    import polars as pl

    rows = pl.read_parquet(facts["table"])
    x, y = rows.select(columns).to_numpy(), rows[facts["target"]].to_numpy()
    window, ahead, shown = facts["window"], facts["ahead"], 5
    seconds = np.arange(shown * ahead) / 50.7
    first = len(y) - 2 * shown * ahead
    axes.plot(seconds, y[first : first + shown * ahead], color="black", linewidth=1.5, label="measured")
    for block, label in zip(range(shown), ("forecast", *[None] * shown), strict=False):
        begin = first + block * ahead
        forecast = network(x[None, begin - window : begin].astype("float32"))[0]
        when = seconds[block * ahead : (block + 1) * ahead]
        axes.plot(when, forecast, color=BLUE, linewidth=2, label=label)
        axes.axvline(when[0], color=GREY, linewidth=0.5, linestyle=":")
    axes.set(title="A forecast, 16 rows ahead", xlabel="seconds", ylabel="acceleration [m/s²]")
    axes.legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.22))


def draw_horizon(axes: Axes) -> int:
    """How much the output changes if a network keeps only so many steps. Its task asks for 9."""
    rng = np.random.default_rng(0)
    x, unseen = (rng.normal(size=(examples, 40, 1)).astype("float32") for examples in (4000, 300))
    network = elman.Network([SimpleRNN(16), Dense(1)], input_shape=(40, 1))
    network.fit(x, x[:, -9], epochs=100, learning_rate=0.003)
    report = elman.diagnose(network, unseen, unseen[:, -9])
    assert report.horizon is not None
    kept, change = report.lags[:21], report.deviation[:21]
    axes.semilogy(kept, np.maximum(change, 1e-3), color=BLUE, marker="o", markersize=3)
    axes.axhline(report.tolerance, color=GREY, linewidth=0.8, linestyle="--")
    axes.axvline(report.horizon, color=ORANGE, linewidth=1.5)
    axes.text(report.horizon + 0.5, 0.6, f"horizon:\n{report.horizon} steps", color=ORANGE, va="center")
    axes.text(20, report.tolerance * 1.15, "5 %", color=GREY, ha="right")
    axes.set(title="A horizon: how far back it remembers", xlabel="steps kept", ylabel="change of the output")
    return report.horizon


def draw_times(axes: Axes) -> dict[str, float]:
    """How many times faster the layers are than the fastest other, over the shapes of the bench."""
    ratios = {
        name: float(np.exp(np.mean(np.log([row["ratio"] for row in tables.rows(cell, tables.BOTH)]))))
        for cell, name in tables.CELLS.items()
    }
    for place, ratio in enumerate(ratios.values()):
        axes.barh(place, ratio, color=BLUE, height=0.6)
        axes.text(ratio + 0.1, place, f"{ratio:.1f}", va="center")
    axes.axvline(1, color="black", linewidth=1)
    axes.set(title="Speed of forward and backward", xlabel="times as fast as the fastest other", xlim=(0, 5.6))
    axes.set_yticks(range(len(ratios)), list(ratios))
    axes.invert_yaxis()
    return ratios


def overview() -> str:
    """The three things that the README shows, measured."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3))
    draw_forecast(left)
    horizon = draw_horizon(middle)
    ratios = draw_times(right)
    figures = ", ".join(f"{name} {ratio:.1f}" for name, ratio in ratios.items())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "overview.svg"
        figure.savefig(path, metadata={"Date": None, "Description": f"horizon {horizon} steps; times: {figures}"})
        plt.close(figure)
        return path.read_text()


DRAWINGS = (house, overview)


def main(folder: Path) -> None:
    """Draws all into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for draw in DRAWINGS:
        (folder / f"{draw.__name__}.svg").write_text(draw())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "drawings")
