# SPDX-License-Identifier: Apache-2.0
"""Whether the verdicts of `elman.fit` are true, on simulated series whose future can be drawn as often as is wanted.

    python benchmarks/fit_verdicts.py
    python benchmarks/fit_verdicts.py --draws 10 --rows 30 100

In: nothing but seeds. Out: one JSON object; status 1 if a figure is outside its range. For each kind of series and
number of rows: in how many draws the 95 % interval of an error holds the true error, where a winner may be declared; in
how many draws the report says "beats" and the network's true error is not below the best baseline's; and how many
values after the table the 80 and 95 % intervals of forecasts hold. Each draw is kept when it is done. The true error of
a model is its error on many continuations of the rows before each origin, weighted as the held-out windows are.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from resumed import Results

from elman.forecasting import intervals, verdict
from elman.forecasting.fitted import fit_all, forecasts, models_of
from elman.forecasting.models import rows_of
from elman.forecasting.prepared import prepare
from elman.forecasting.settings import Settings
from elman.forecasting.source import open_table
from elman.forecasting.stages import Stages
from elman.forecasting.windows import moments_of
from elman.network import Network

FUTURES, LENGTH = 200, 40  # continuations of a series, and rows of those of the whole table
COVERED = (0.92, 0.98)  # of the true errors by 95 % intervals
FALSE = 0.05  # most false "beats"
OFF = 0.03  # most difference between the level and the coverage of intervals of forecasts
BEFORE = 60  # rows that are simulated first and left out, whole waves
Step = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # values so far, their times, noise -> the next ones


def white_noise(values: np.ndarray, time: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Nothing can be forecast."""
    return noise


def autoregressive(values: np.ndarray, time: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """A linear model of one lag is the best there is."""
    return 0.7 * values[..., -1] + noise


def seasonal(values: np.ndarray, time: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """A wave of 12 rows under noise."""
    return 2 * np.sin(2 * np.pi * time / 12) + noise


def random_walk(values: np.ndarray, time: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The last value is the best forecast."""
    return values[..., -1] + noise


KINDS: dict[str, Step] = {each.__name__: each for each in (white_noise, autoregressive, seasonal, random_walk)}


def continued(step: Step, values: np.ndarray, time: int, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Series `(series, rows)`, which end before a time, with so many rows more."""
    found = np.empty((len(values), values.shape[1] + rows))
    found[:, : values.shape[1]] = values
    for i in range(rows):
        end = values.shape[1] + i
        found[:, end] = step(found[:, :end], np.array(time + i), rng.normal(size=len(values)))
    return found


def misses(model: Network, futures: np.ndarray, size: int, held: int, ahead: int) -> np.ndarray:
    """`(forecasts, ahead)` errors of a model on all futures, from the column where each begins."""
    ends = range(held, futures.shape[1] - ahead + 1, ahead)
    found = [
        model(futures[:, end - size : end, None].astype("float32")) - futures[:, end : end + ahead] for end in ends
    ]
    return np.concatenate(found)


def draw(step: Step, rows: int, ahead: int, seed: int) -> dict[str, Any]:
    """One series: what the report says, and what is true.

    The true error of a model at an origin is that on many continuations of the rows before it, as long as its block.
    """
    rng = np.random.default_rng((seed, rows, ahead))
    values = (
        continued(step, np.zeros((1, 1)), 1, BEFORE + rows - 1, rng)[:, BEFORE:].astype("float32").astype("float64")
    )
    settings = Settings(target="x0", ahead=ahead)
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(open_table(values.T), settings)
        fitted = fit_all(prepared, settings, Path(folder), Stages(lambda stage: None))
        windows = prepared.windows
        truth = windows.targets(windows.starts["test"]).astype("float64")
        left = {name: each - truth for name, each in forecasts(prepared, fitted)[0].items()}
        moments = moments_of(prepared.table, windows.starts["test"], windows.window)
        said = verdict.errors({name: each**2 for name, each in left.items()}, ahead, moments, rows)
        conformal = intervals.save(Path(folder), left)[said["use"]]
    networks = [models_of(prepared, each) for each in fitted]
    sizes = {name: rows_of(name, windows, prepared.period) for name in networks[0]}
    longest = max(sizes.values())

    def futures(end: int, length: int) -> np.ndarray:
        before = np.repeat(values[:, max(end - longest, 0) : end], FUTURES, axis=0)
        return continued(step, before, end, length, rng)

    squares: dict[str, list[float]] = {name: [] for name in sizes}
    for origin, models in zip(prepared.origins, networks, strict=True):
        starts = origin.windows.starts["test"]
        begin = int(starts[0]) + windows.window
        own = futures(begin, max(len(starts) + ahead - 1, ahead))
        for name, size in sizes.items():
            each = misses(models[name], own, size, min(begin, longest), ahead)
            squares[name].append(float((each**2).mean()) * len(starts))
    windows_held = len(windows.starts["test"])
    errors = {name: float(np.sqrt(sum(each) / windows_held)) for name, each in squares.items()}
    later = np.abs(misses(networks[-1][said["use"]], futures(rows, LENGTH), sizes[said["use"]], longest, ahead))
    widths = [conformal.half_width(level) for level in intervals.LEVELS]
    best = said["best_baseline"]
    scores = said["models"].items()
    return {
        "enough": said["enough"],
        "covered": [score["low"] <= errors[name] <= score["high"] for name, score in scores if said["enough"]],
        "beats": said["winner"] == verdict.NETWORK,
        "false": said["winner"] == verdict.NETWORK and errors[verdict.NETWORK] >= errors[best],
        "held": [float((later <= width).mean()) if np.isfinite(width).all() else None for width in widths],
    }


def cell(kind: str, rows: int, ahead: int, draws: int, results: Results) -> dict[str, Any]:
    """All draws of one kind of series."""
    found = [
        results([kind, rows, ahead, seed], functools.partial(draw, KINDS[kind], rows, ahead, seed))
        for seed in range(draws)
    ]
    covered = [each for draw in found for each in draw["covered"]]
    held = [[draw["held"][i] for draw in found if draw["held"][i] is not None] for i in range(len(intervals.LEVELS))]
    return {
        "kind": kind,
        "rows": rows,
        "ahead": ahead,
        "draws": draws,
        "winner_may_be_declared": float(np.mean([draw["enough"] for draw in found])),
        "covered": float(np.mean(covered)) if covered else None,
        "beats": float(np.mean([draw["beats"] for draw in found])),
        "false_beats": float(np.mean([draw["false"] for draw in found])),
        "held": {
            f"{level:g}": float(np.mean(each)) if each else None
            for level, each in zip(intervals.LEVELS, held, strict=True)
        },
    }


def failures(row: dict[str, Any]) -> list[str]:
    """What is outside its range, by more than the chance of so few draws (three standard errors)."""
    name = f"{row['kind']}, {row['rows']} rows, {row['ahead']} ahead"

    def chance(share: float) -> float:
        return 3 * float(np.sqrt(share * (1 - share) / row["draws"]))

    found = []
    if row["covered"] is not None and row["winner_may_be_declared"] > 0.5:
        low, high = COVERED
        if not low - chance(low) <= row["covered"] <= high + chance(high):
            found.append(f"{name}: intervals of errors hold {row['covered']:.3f}")
    if row["false_beats"] > FALSE + chance(FALSE):
        found.append(f"{name}: {row['false_beats']:.3f} false beats")
    for level, held in row["held"].items():
        if held is not None and abs(held - float(level)) > OFF + chance(float(level)):
            found.append(f"{name}: {level} intervals of forecasts hold {held:.3f}")
    return found


def main() -> int:
    """Simulates, judges and prints."""
    options = argparse.ArgumentParser()
    options.add_argument("--draws", type=int, default=200)
    options.add_argument("--rows", type=int, nargs="+", default=[30, 100, 300, 1000, 3000])
    options.add_argument("--ahead", type=int, nargs="+", default=[1])
    options.add_argument("--kinds", nargs="+", default=list(KINDS))
    asked = options.parse_args()
    found, results = [], Results("fit_verdicts", __file__)
    for kind in asked.kinds:
        for rows in asked.rows:
            for ahead in asked.ahead:
                found.append(cell(kind, rows, ahead, asked.draws, results))
                print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    failed = [each for row in found for each in failures(row)]
    print(json.dumps({"draws": asked.draws, "failed": failed, "cells": found}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
