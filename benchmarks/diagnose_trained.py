# SPDX-License-Identifier: Apache-2.0
"""Trains networks and compares `elman.diagnose` with what is known about them.

Tasks, lags, layers and training times are drawn by a seed until NETWORKS have clearly learned their task or clearly
failed. For a network that learned it, the diagnosis is right if the horizon is between the lag and 1.5 times the lag
plus 2; for one that failed, if the verdict is not "healthy". Prints JSON; status 1 if fewer than NEEDED are right.

    KERAS_BACKEND=jax python benchmarks/diagnose_trained.py --seed 0
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import memory_tasks
import numpy as np
from memory_tasks import FAILED, SOLVED, Setting

import elman

NETWORKS, NEEDED = 20, 18


def setting(rng: np.random.Generator) -> tuple[Setting, str, int]:
    """A network, a task and a lag."""
    task = str(rng.choice(list(memory_tasks.TASKS)))
    lag = int(rng.integers(2, 13))
    layer = str(rng.choice(["SimpleRNN", "LSTM", "GRU"]))
    hampered = rng.random() < 0.35
    own: dict[str, Any] = {"layer": layer, "units": int(rng.choice([32, 48, 64]))}
    own["updates"] = int(rng.choice([100, 200])) if hampered else 4000
    if hampered and layer == "SimpleRNN":
        own["initializer"] = memory_tasks.keras.initializers.Orthogonal(float(rng.choice([0.2, 2.5])), seed=1)
    return Setting(**own), task, lag


def told(number: int, seed: int) -> dict[str, Any]:
    """Trains and diagnoses one network."""
    chosen, task, lag = setting(np.random.default_rng([seed, number]))
    model, unseen, error = memory_tasks.train(chosen, task, lag, 1000 * seed + number)
    found: dict[str, Any] = {"task": task, "lag": lag, "layer": chosen.layer, "error": error}
    if SOLVED < error < FAILED:
        return found | {"right": None}
    report = elman.diagnose(model, unseen.x, unseen.y)
    if error <= SOLVED:
        right = report.horizon is not None and lag <= report.horizon <= 1.5 * lag + 2
    else:
        right = report.verdict != "healthy"
    return found | {"right": right, "horizon": report.horizon, "need": report.need, "verdict": report.verdict}


def main() -> int:
    """Trains until enough networks have clearly learned or failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    networks: list[dict[str, Any]] = []
    decided: list[dict[str, Any]] = []
    while len(decided) < NETWORKS:
        found = told(len(networks), arguments.seed)
        networks.append(found)
        if found["right"] is not None:
            decided.append(found)
        print(len(networks), found, file=sys.stderr, flush=True)
    right = sum(each["right"] for each in decided)
    solved = sum(each["error"] <= SOLVED for each in decided)
    print(json.dumps({"networks": networks, "decided": len(decided), "solved": solved, "right": right}, indent=2))
    return 0 if right >= NEEDED else 1


if __name__ == "__main__":
    sys.exit(main())
