# SPDX-License-Identifier: Apache-2.0
"""Draws the figures of guide.md: `python docs/figures.py [FOLDER]`, docs/figures by default.

In: nothing but seeds. Out: one SVG per function of FIGURES, by its name; the same bytes each time with one version of
Matplotlib. The numbers come from elman on NumPy, the gradients from its reference: no framework is needed, and nothing
is trained but the small network of the guide's step 7.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

import elman
from elman import reference

mpl.use("svg")
mpl.rcParams |= {
    "figure.figsize": (8, 3.4),
    "figure.constrained_layout.use": True,
    "lines.linewidth": 2,
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": mpl.cycler(color=["black", "0.3", "0.45", "0.6"]) + mpl.cycler(linestyle=["-", "--", "-.", ":"]),
    "legend.frameon": False,
    "svg.hashsalt": "elman",  # else the names inside a file are drawn at random
}

import matplotlib.pyplot as plt  # noqa: E402 (after the backend is chosen)
from matplotlib.figure import Figure  # noqa: E402

TIME, UNITS, BATCH, STEPS = 15, 16, 32, 200  # those of the guide's step 7


# --- what the guide's blocks compute --------------------------------------------------------------------------------


def orthogonal(rng: np.random.Generator, units: int) -> np.ndarray:
    """Keras's start of a recurrent kernel."""
    return np.linalg.qr(rng.normal(size=(units, units)))[0]


def glorot(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Keras's start of a kernel."""
    return rng.uniform(-1, 1, size=(rows, columns)) * np.sqrt(6 / (rows + columns))


def gradients(
    x: np.ndarray, weights: list[np.ndarray], readout: np.ndarray, answers: np.ndarray
) -> tuple[float, list[np.ndarray], np.ndarray]:
    """The mean square error of `h_T readout`, its gradient by the weights, and the norm of that by each state."""
    states, _, tape = reference.forward(x, *weights)
    error = states[:, -1] @ readout - answers
    g = np.zeros_like(states)
    g[:, -1] = 2 * error @ readout.T / len(x)
    back = reference.backward(x, *weights, None, None, None, None, tape, g, (np.zeros_like(g[:, 0]),))
    readout_gradient = 2 * states[:, -1].T @ error / len(x)
    return float(np.mean(error**2)), [*back[1:4], readout_gradient], back.norms


def train(rate: float, clip: float | None, seed: int) -> tuple[list[float], list[np.ndarray]]:
    """The guide's `train`: recalls the first of 15 numbers. Returns the error at each step, and the weights."""
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(1, UNITS)), orthogonal(rng, UNITS), np.zeros(UNITS), rng.normal(size=(UNITS, 1)) / 4]
    errors: list[float] = []
    for _ in range(STEPS):
        x = rng.uniform(-1, 1, size=(BATCH, TIME, 1))
        error, steps, _ = gradients(x, weights[:3], weights[3], x[:, 0])
        norm = np.sqrt(sum((step**2).sum() for step in steps))
        errors.append(error)
        if error > 1e3:
            break
        scale = rate if clip is None else rate * min(1, clip / norm)
        weights = [w - scale * step for w, step in zip(weights, steps, strict=True)]
    return errors, weights


# --- the figures ----------------------------------------------------------------------------------------------------


def unrolled() -> Figure:
    """The layer with its loop, and the same once per step."""
    figure, axes = plt.subplots(figsize=(8, 3))
    axes.set(xlim=(-0.9, 9.6), ylim=(-0.3, 4.1))
    axes.set_aspect("equal")
    axes.axis("off")
    arrow = {"arrowstyle": "-|>", "color": "black", "shrinkA": 0, "shrinkB": 0}
    box = {"boxstyle": "round,pad=0.35", "facecolor": "0.9", "edgecolor": "black"}

    def cell(x: float, step: str) -> None:
        axes.text(x, 2, f"$h_{{{step}}}$", ha="center", va="center", bbox=box, fontsize=14)
        axes.text(x, 0.1, f"$x_{{{step}}}$", ha="center", va="center", fontsize=14)
        axes.text(x, 3.85, f"$y_{{{step}}}$", ha="center", va="center", fontsize=14)
        axes.annotate("", (x, 1.6), (x, 0.4), arrowprops=arrow)
        axes.annotate("", (x, 3.55), (x, 2.4), arrowprops=arrow)
        axes.text(x + 0.1, 0.95, "$W$", va="center")

    cell(0, "t")
    loop = arrow | {"connectionstyle": "arc3,rad=-2.2"}
    axes.annotate("", (0.38, 1.78), (0.38, 2.22), arrowprops=loop)
    axes.text(1.1, 2, "$U$", va="center")
    axes.text(2.15, 2, "=", ha="center", va="center", fontsize=18)
    axes.text(3.1, 2, "0", ha="center", va="center", fontsize=14)
    positions = (4.4, 6.0, 7.6)
    for i, x in enumerate(positions, 1):
        cell(x, str(i))
        axes.annotate("", (x - 0.4, 2), ((3.25, 4.8, 6.4)[i - 1], 2), arrowprops=arrow)
        axes.text(x - 0.8, 2.2, "$U$", ha="center")
    axes.annotate("", (8.8, 2), (8.0, 2), arrowprops=arrow)
    axes.text(9.1, 2, "...", ha="center", va="center", fontsize=14)
    return figure


def pulse() -> Figure:
    """The state of one unit after one pulse, by recurrent weight."""
    figure, panels = plt.subplots(1, 2, sharex=True)
    x = np.zeros((1, 31, 1))
    x[0, 0] = 1
    for axes, activation, title in zip(panels, ("linear", "tanh"), ("without an activation", "with tanh"), strict=True):
        for u in (1.1, 1.0, 0.9, 0.5):
            options = reference.Options(activation=activation)
            states, _, _ = reference.forward(x, np.ones((1, 1)), np.full((1, 1), u), options=options)
            axes.plot(states[0, :, 0], label=f"{u}")
        axes.set(title=title, xlabel="time steps after the pulse", ylim=(0, 4 if activation == "linear" else 0.8))
    panels[0].set_ylabel("state")
    panels[0].legend(title="recurrent weight", loc="upper right")
    return figure


def gradient_by_lag() -> Figure:
    """How far the loss's gradient reaches, untrained by initialisation, and trained."""
    figure, axes = plt.subplots()
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(256, TIME, 1))
    kernel, readout = rng.normal(size=(1, UNITS)), rng.normal(size=(UNITS, 1))
    starts = {
        "orthogonal": orthogonal(rng, UNITS),
        "glorot": glorot(rng, UNITS, UNITS),
        "small (0.05)": 0.05 * rng.normal(size=(UNITS, UNITS)),
    }
    networks = {name: ([kernel, start, np.zeros(UNITS)], readout) for name, start in starts.items()}
    weights = train(rate=0.1, clip=1.0, seed=0)[1]
    networks = {"orthogonal, trained": (weights[:3], weights[3])} | networks
    for name, (recurrence, reading) in networks.items():
        norms = gradients(x, recurrence, reading, x[:, 0])[2].mean(axis=0)
        axes.semilogy(norms[::-1] / norms[-1], label=name, marker="o", markersize=3)
    axes.set(xlabel="time steps before the end", ylabel="gradient's length\n(at the end: 1)", ylim=(1e-6, 10))
    axes.legend(loc="lower left")
    return figure


def clipping() -> Figure:
    """Training with and without clipping, from the same start."""
    figure, axes = plt.subplots()
    for clip, name in ((1.0, "clipped to a norm of 1"), (None, "not clipped")):
        axes.semilogy(train(rate=0.3, clip=clip, seed=1)[0], label=name)
    axes.axhline(1 / 3, color="0.6", linewidth=0.8, linestyle=":")
    axes.text(STEPS, 0.36, "answering 0", ha="right", va="bottom", color="0.35")
    axes.set(xlabel="training steps", ylabel="mean square error", ylim=(0.02, 100))
    axes.legend(loc="upper right")
    return figure


def recall_by_lag() -> Figure:
    """How well the best linear reading of an untrained state tells an earlier input."""
    figure, axes = plt.subplots()
    lags = np.arange(0, 61, 2)
    for units in (128, 32, 8):
        rng = np.random.default_rng(0)
        kernel, recurrent_kernel = glorot(rng, 1, units), orthogonal(rng, units)
        numbers = rng.normal(size=(1, 4000, 1))
        states = elman.simple_rnn(numbers, kernel, recurrent_kernel)[0][0, 100:]
        asked = np.stack([numbers[0, 100 - lag : 4000 - lag, 0] for lag in lags], axis=1)
        reading = np.linalg.lstsq(states[:3000], asked[:3000], rcond=None)[0]
        missed = np.mean((states[3000:] @ reading - asked[3000:]) ** 2, axis=0)
        recalled = np.maximum(0, 1 - missed / asked[3000:].var(axis=0))
        axes.plot(lags, recalled, label=f"{units} units")
    axes.set(xlabel="time steps since the input", ylabel="R2 of its best linear reading", ylim=(0, 1.05))
    axes.legend()
    return figure


FIGURES = (unrolled, pulse, gradient_by_lag, clipping, recall_by_lag)


def main(folder: Path) -> None:
    """Draws all into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for draw in FIGURES:
        figure = draw()
        figure.savefig(folder / f"{draw.__name__}.svg", metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "figures")
