# SPDX-License-Identifier: Apache-2.0
"""Which model won, by how much, and whether the held-out windows can say so.

In: squared errors of each model on the same held-out windows. Out: plain data that JSON can hold: scores with
intervals, the best baseline, the winner, and a verdict in one or two sentences.

The network wins if its error is below that of the best baseline by more than chance. Otherwise the best baseline is
the model to use. Where the windows are too few to tell, no winner is declared, and the best baseline is used, too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from elman.assessment import (
    LEAST_EFFECTIVE,
    by_moment,
    effective_windows,
    ratio_interval,
    rmse_interval,
    share_of_draws_below,
    windows_needed,
)
from elman.forecasting.parts import rows_for, share_held_out
from elman.forecasting.words import counted

NETWORK = "network"
BASELINES = {"last_value": "the last value", "seasonal": "the seasonal repeat", "linear": "the linear model"}
NAMES = BASELINES | {NETWORK: "the network"}
_SAME = 5e-4  # relative; a network that stays the linear model differs from it by rounding
_SURELY = 0.95


def errors(squares: dict[str, np.ndarray], ahead: int, moments: np.ndarray, rows: int) -> dict[str, Any]:
    """The scores of all models, and whether the network and the best baseline can be told apart.

    Args:
        squares: For each model `(windows, ahead)` squared errors, from the simplest to the network; NaN where the value
            is not known, but not in a whole window.
        ahead: Steps.
        moments: `(windows,)`: when each is; windows of several series may share one.
        rows: Of the table.

    Returns:
        `windows`; `effective`, how many independent windows they are worth; `least_effective`, below which no winner
        is declared; `enough`; `rows_needed`, how many rows the table would need, or `None`; `models`; `best_baseline`;
        `difference`, the ratio of the network's RMSE to its, with its 95 % interval, or `None` if that is 0;
        `winner`, or `None`; `use`, the model to use; `verdict`.
    """
    losses = {name: by_moment(_mean(values, 1), moments) for name, values in squares.items()}
    scores = {name: _score(values, losses[name], ahead) for name, values in squares.items()}
    best = min((name for name in scores if name != NETWORK), key=lambda name: scores[name]["rmse"])
    compared = [losses[name] for name in (NETWORK, best) if scores[name]["rmse"] > 0]
    effective = min((effective_windows(each, ahead) for each in compared), default=float(len(losses[best])))
    needed = max((windows_needed(each, ahead) for each in compared), default=0)
    difference = _difference(losses[NETWORK], losses[best], ahead)
    found = {
        "windows": len(squares[best]),
        "effective": effective,
        "least_effective": LEAST_EFFECTIVE,
        "enough": effective >= LEAST_EFFECTIVE,
        "models": scores,
        "best_baseline": best,
        "difference": difference,
    }
    exact = scores[best]["rmse"] == 0
    enough = found["enough"] or exact
    held_out = share_held_out(rows) * rows  # in which gaps and short series leave fewer windows than rows
    found["rows_needed"] = None if enough else rows_for(math.ceil(held_out * needed / len(losses[best])))
    wins = enough and difference is not None and difference["distinct"] and difference["ratio"] < 1 - _SAME
    found["winner"] = NETWORK if wins else best if enough else None
    found["use"] = found["winner"] or best
    return found | {"verdict": _verdict(found)}


def errors_of_targets(
    squares: dict[str, np.ndarray], std: np.ndarray, ahead: int, moments: np.ndarray, rows: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The scores where there are several targets: of all together, and of each by itself.

    One model forecasts all of them. So the winner is the one whose error over all of them is smallest, each divided by
    the standard deviation of its target.

    Args:
        squares: For each model `(windows, outputs)`, for each target the rows ahead.
        std: `(outputs,)`: standard deviations of the targets.
        ahead: Steps.
        moments: `(windows,)`.
        rows: Of the table.

    Returns:
        What `errors` returns, in standard deviations; and the same of each target, in its units.
    """
    targets = len(std) // ahead
    both = "both" if targets == 2 else f"all {targets}"
    joint = errors({name: each / std**2 for name, each in squares.items()}, ahead, moments, rows)
    joint["verdict"] = f"Over {both} targets, each in standard deviations: {joint['verdict']}"
    found = []
    for i in range(targets):
        own = {name: each[:, i * ahead : (i + 1) * ahead] for name, each in squares.items()}
        some = ~np.isnan(own[NETWORK]).all(1)  # a window may have measured values of the other targets alone
        found.append(errors({name: each[some] for name, each in own.items()}, ahead, moments[some], rows))
    return joint, found


def rmse(squares: np.ndarray) -> float:
    """The error of `(windows, ahead)` squared errors, NaN where the value is not known; each window counts as one."""
    return float(np.sqrt(_mean(squares, 1).mean()))


def surely_better(first: np.ndarray, second: np.ndarray, ahead: int, moments: np.ndarray) -> bool:
    """Whether the first of two `(windows, ahead)` squared errors, NaN where the value is not known, has the lower mean
    in 95 % of the draws."""
    one, other = (by_moment(_mean(squares, 1), moments) for squares in (first, second))
    return share_of_draws_below(one, other, ahead) >= _SURELY


def _mean(squares: np.ndarray, axis: int) -> np.ndarray:
    """The mean of those that are known along an axis; NaN if none is."""
    with np.errstate(invalid="ignore"):
        return np.nansum(squares, axis) / (~np.isnan(squares)).sum(axis)


def _score(squares: np.ndarray, losses: np.ndarray, ahead: int) -> dict[str, Any]:
    """The error of one model; the ends of its interval are `None` if there is one window."""
    rmse, low, high = rmse_interval(losses, ahead)
    return {
        "rmse": rmse,
        "low": low if math.isfinite(high) else None,
        "high": high if math.isfinite(high) else None,
        "by_step": np.sqrt(_mean(squares, 0)).tolist(),
    }


def _difference(network: np.ndarray, best: np.ndarray, ahead: int) -> dict[str, Any] | None:
    if best.mean() == 0:
        return None
    ratio, low, high = ratio_interval(network, best, ahead)
    finite = math.isfinite(high)
    distinct = finite and (high < 1 or low > 1)
    return {"ratio": ratio, "low": low if finite else None, "high": high if finite else None, "distinct": distinct}


def _verdict(found: dict[str, Any]) -> str:
    best, scores = found["best_baseline"], found["models"]
    name, network = BASELINES[best], scores[NETWORK]["rmse"]
    difference = found["difference"]
    if difference is None:
        than = "and so is that of the network" if network == 0 else f"and the network's is {network:.4g}"
        return f"{_capital(name)} is exact: its error is 0 in {counted(found['windows'], 'held-out window')}, {than}."
    change = f"{100 * abs(difference['ratio'] - 1):.1f} % {'below' if difference['ratio'] < 1 else 'above'} "
    same = abs(difference["ratio"] - 1) <= _SAME
    than = f"its error is {'' if same else change}that of {name}"
    if not found["enough"]:
        worth = f"{found['effective']:.2g} independent ones" if found["effective"] >= 1.5 else "one independent one"
        return (
            f"Too few held-out windows to name a winner: {counted(found['windows'], 'window')} that depend on each "
            f"other are worth {worth}, and {LEAST_EFFECTIVE} are needed; that takes about {found['rows_needed']:,} "
            f"rows. The network: {than}, the best baseline{'' if same else ', which can be chance'}."
        )
    if same:
        return f"The network is not better: {than}. Use the simpler one."
    if found["winner"] == NETWORK:
        every = "all three baselines" if len(scores) == len(BASELINES) + 1 else "both baselines"
        return (
            f"The network beats {every}: {than}, the best of them, and the 95 % interval of the difference excludes "
            "zero."
        )
    if difference["distinct"]:
        return f"The network is worse: {than}, and the 95 % interval of the difference excludes zero. Use {name}."
    return f"The network is not better: {than}, and the 95 % interval of the difference includes zero. Use {name}."


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
