# SPDX-License-Identifier: Apache-2.0
"""`elman.compare` on data whose best model is known: how often its recommendation is right.

    python benchmarks/compare_known.py --seeds 20

In: nothing. Out: one JSON object: for each kind of data how many recommendations of how many were right, how often the
tied candidates held a right one, and which were recommended. What has been done is kept in build/compare_known.json
after each comparison, and a call goes on from there. Status 1 if fewer than 95 of 100 are right.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import elman
from elman import files
from elman.comparison import candidates

Array = np.ndarray
_ROWS, _SEQUENCES, _STEPS = 1500, 400, 20
_LEAST = 0.95
_NETWORKS = ("feedforward", "SimpleRNN", "GRU", "LSTM")


class Known(NamedTuple):
    """Data with a known answer.

    Attributes:
        make: From a generator of random numbers to what `elman.compare` takes: the data, and arguments.
        right: Names, one of which should be recommended.
        why: Why these.
    """

    make: Callable[[np.random.Generator], tuple[Any, dict[str, Any]]]
    right: tuple[str, ...]
    why: str


def memoryless(rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    """The class follows from the last step alone, with 10 % of the labels wrong."""
    x = rng.normal(size=(_SEQUENCES, 10, 2))
    y = (x[:, -1].sum(1) > 0) ^ (rng.random(_SEQUENCES) < 0.1)
    return (x, y.astype(int)), {"folds": 4}


def chain(order: int) -> Callable[[np.random.Generator], tuple[Any, dict[str, Any]]]:
    """Two Markov chains of an order over three categories: from which one is a sequence?"""

    def make(rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
        tables = rng.dirichlet(np.full(3, 0.7), size=(2, 3**order))
        y = np.arange(_SEQUENCES) % 2
        x = rng.integers(0, 3, size=(_SEQUENCES, _STEPS))
        for t in range(order, _STEPS):
            before = x[:, t - order : t] @ (3 ** np.arange(order))
            x[:, t] = (rng.random(_SEQUENCES)[:, None] > tables[y, before].cumsum(1)[:, :2]).sum(1)
        return (x, y), {"folds": 4}

    return make


def lagged(lag: int) -> Callable[[np.random.Generator], tuple[Any, dict[str, Any]]]:
    """A value is a share of the one so many rows ago, and noise."""

    def make(rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
        y = rng.normal(size=_ROWS)
        for t in range(lag, _ROWS):
            y[t] += 0.8 * y[t - lag]
        return y, {}

    return make


def noise(rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    """Labels that do not depend on the sequence."""
    return (rng.normal(size=(_SEQUENCES, 10, 1)), rng.integers(0, 2, _SEQUENCES)), {"folds": 4}


def seasonal(rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    """The same twelve values again and again, each period with a level of its own that stays for the period."""
    steps = rng.normal(size=12) * 3
    return np.tile(steps, _ROWS // 12) + np.cumsum(np.repeat(rng.normal(size=_ROWS // 12) * 0.3, 12) / 12), {}


def autoregression(rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    """A linear autoregression of order 2."""
    y, e = np.zeros(_ROWS), rng.normal(size=_ROWS)
    for t in range(2, _ROWS):
        y[t] = 0.9 * y[t - 1] - 0.5 * y[t - 2] + e[t]
    return y, {}


def product(rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    """The product of two lags of another column, and noise."""
    x = rng.uniform(-1, 1, _ROWS)
    y = np.r_[0, 0, x[1:-1] * x[:-2]] + 0.05 * rng.normal(size=_ROWS)
    return np.rec.fromarrays([y, x], names="y,x"), {"target": "y"}


KNOWN = {
    "memoryless": Known(memoryless, ("linear",), "one step decides, linearly"),
    "order-1 Markov": Known(chain(1), ("markov",), "the chain that made them"),
    "order-2 Markov": Known(chain(2), ("markov",), "the chain that made them"),
    "lag 5": Known(lagged(5), ("linear",), "a linear model of a window holds the lag"),
    "lag 40": Known(lagged(40), ("linear",), "a linear model of a window holds the lag"),
    "pure noise": Known(noise, ("majority",), "nothing is to be learned"),
    "seasonal": Known(seasonal, ("seasonal", "linear"), "the period repeats"),
    "linear AR": Known(autoregression, ("linear",), "the model that made it"),
    "product of two lags": Known(product, _NETWORKS, "no linear model sees it"),
}


def main() -> int:
    """Runs the comparisons that the file lacks."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kept", type=Path, default=Path("build/compare_known.json"))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--data", nargs="*", default=list(KNOWN))
    parser.add_argument("--leave-out", nargs="*", default=[], help="candidates")
    given = parser.parse_args()
    given.kept.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(given.kept.read_text()) if given.kept.exists() else {"data": {}}
    found["left_out"] = given.leave_out
    for seed in range(given.seeds):
        for name in given.data:
            known = KNOWN[name]
            entry = found["data"].setdefault(name, {"right": list(known.right), "why": known.why, "runs": {}})
            if str(seed) not in entry["runs"]:
                entry["runs"][str(seed)] = _compared(known, seed, given.trials, given.leave_out)
                files.write(given.kept, json.dumps(_summed(found), indent=1) + "\n")
    for each in found["data"].values():
        del each["runs"]
    print(json.dumps(found, indent=1))
    return int(found["rate"] < _LEAST)


def _compared(known: Known, seed: int, trials: int, left_out: list[str]) -> list[Any]:
    """The recommendation, and whether a right one is among the tied."""
    data, arguments = known.make(np.random.default_rng(seed))
    with tempfile.TemporaryDirectory() as folder:
        only = [name for name in _names(data) if name not in left_out]
        result = elman.compare(data, out=Path(folder) / "run", seed=seed, trials=trials, only=only, **arguments)
    return [result.recommended, any(name in known.right for name in result.tied)]


def _names(data: Any) -> list[str]:
    """The candidates for some data."""
    task = "classify" if isinstance(data, tuple) else "forecast"
    return [candidate.name for candidate in candidates.CANDIDATES if task in candidate.fits]


def _summed(found: dict[str, Any]) -> dict[str, Any]:
    """The file's content: counts before the single runs."""
    data = {}
    for name, entry in found["data"].items():
        runs = entry["runs"]
        names = Counter(recommended for recommended, _ in runs.values())
        data[name] = {
            "right": entry["right"],
            "why": entry["why"],
            "comparisons": len(runs),
            "recommended": dict(names),
            "right_recommended": sum(names[each] for each in entry["right"]),
            "right_among_tied": sum(held for _, held in runs.values()),
            "runs": runs,
        }
    count = sum(each["comparisons"] for each in data.values())
    found["data"] = data
    found["comparisons"], found["rate"] = count, sum(each["right_recommended"] for each in data.values()) / count
    found["tied_rate"] = sum(each["right_among_tied"] for each in data.values()) / count
    return {key: found[key] for key in ("comparisons", "rate", "tied_rate", "left_out", "data")}


if __name__ == "__main__":
    sys.exit(main())
