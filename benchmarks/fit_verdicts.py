# SPDX-License-Identifier: Apache-2.0
"""Whether the verdicts of `elman.fit` are true, on simulated series whose future can be drawn as often as is wanted.

    python benchmarks/fit_verdicts.py
    python benchmarks/fit_verdicts.py --draws 10 --rows 30 100

In: nothing but seeds. Out: one JSON object; status 1 if a figure is outside its range. For each kind of series and
number of rows: in how many draws the 95 % interval of an error holds the true error, where a winner may be declared; in
how many draws the report says "beats" and the network's true error is not below the best baseline's; and how many
values the 80 and 95 % intervals of forecasts hold. The true error of a model is its error on many futures of the table,
at each origin the mean over the models that were fitted there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from elman.forecasting import intervals, verdict
from elman.forecasting.fitted import fit_all, forecasts, models_of
from elman.forecasting.prepared import prepare
from elman.forecasting.settings import Settings
from elman.forecasting.source import open_table
from elman.forecasting.stages import Stages
from elman.network import Network

FUTURES, LENGTH = 300, 40  # of a table, and rows of each
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


def continued(step: Step, values: np.ndarray, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Series `(series, time)` with so many rows more."""
    for _ in range(rows):
        values = np.c_[values, step(values, np.array(values.shape[1]), rng.normal(size=len(values)))]
    return values


def true_errors(
    networks: list[dict[str, Network]], futures: np.ndarray, rows: dict[str, int], ahead: int, held: int
) -> dict[str, float]:
    """The RMSE of each model over the futures, with the mean over the origins inside."""
    found = {}
    for name, size in rows.items():
        squares = []
        for models in networks:
            for end in range(held, futures.shape[1] - ahead + 1, ahead):
                x = futures[:, end - size : end, None].astype("float32")
                squares.append(((models[name](x) - futures[:, end : end + ahead]) ** 2).mean())
        found[name] = float(np.sqrt(np.mean(squares)))
    return found


def draw(step: Step, rows: int, ahead: int, seed: int) -> dict[str, Any]:
    """One series: what the report says, and what is true."""
    rng = np.random.default_rng((seed, rows, ahead))
    values = continued(step, np.zeros((1, 1)), BEFORE + rows - 1, rng)[:, BEFORE:].astype("float32").astype("float64")
    settings = Settings(target="x0", ahead=ahead)
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(open_table(values.T), settings)
        fitted = fit_all(prepared, settings, Path(folder), Stages(lambda stage: None))
        windows = prepared.windows
        truth = windows.targets(windows.starts["test"]).astype("float64")
        left = {name: each - truth for name, each in forecasts(prepared, fitted)[0].items()}
        said = verdict.errors({name: each**2 for name, each in left.items()}, ahead)
        conformal = intervals.save(Path(folder), left)[said["use"]]
    networks = [models_of(prepared, each) for each in fitted]
    reads = {name: prepared.period if name == "seasonal" else windows.window for name in networks[0]}
    longest = max(size or 0 for size in reads.values())
    whole = continued(step, np.repeat(values, FUTURES, axis=0), LENGTH, rng)  # whole, so that a wave keeps its phase
    futures = whole[:, -longest - LENGTH :]
    sizes = {name: size or windows.window for name, size in reads.items()}
    errors = true_errors(networks, futures, sizes, ahead, longest)
    size, model = sizes[said["use"]], networks[-1][said["use"]]
    ends = range(longest, futures.shape[1] - ahead + 1, ahead)
    misses = np.concatenate(
        [model(futures[:, end - size : end, None].astype("float32")) - futures[:, end : end + ahead] for end in ends]
    )
    held = {level: float((np.abs(misses) <= conformal.half_width(level)).mean()) for level in intervals.LEVELS}
    best = said["best_baseline"]
    return {
        "enough": said["enough"],
        "covered": [score["low"] <= errors[name] <= score["high"] for name, score in said["models"].items()]
        if said["enough"]
        else [],
        "beats": said["winner"] == verdict.NETWORK,
        "false": said["winner"] == verdict.NETWORK and errors[verdict.NETWORK] >= errors[best],
        "held": [held[level] if np.isfinite(conformal.half_width(level)).all() else None for level in held],
    }


def cell(kind: str, rows: int, ahead: int, draws: int) -> dict[str, Any]:
    """All draws of one kind of series."""
    found = [draw(KINDS[kind], rows, ahead, seed) for seed in range(draws)]
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
    found = []
    for kind in asked.kinds:
        for rows in asked.rows:
            for ahead in asked.ahead:
                found.append(cell(kind, rows, ahead, asked.draws))
                print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    failed = [each for row in found for each in failures(row)]
    print(json.dumps({"draws": asked.draws, "failed": failed, "cells": found}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
