# SPDX-License-Identifier: Apache-2.0
"""Whether the first piece of advice of `elman.diagnose` works, on eight set-ups that fail, each for one reason.

Each is trained, diagnosed on sequences that it was not trained on, changed as the first advice says, and trained again
with the same number of updates. The advice works if the median loss over seeds is halved, or the task is solved.
Prints JSON; status 1 if it works on fewer than NEEDED.

    KERAS_BACKEND=jax python benchmarks/diagnose_advice.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from typing import Any, NamedTuple

import keras
import memory_tasks
from memory_tasks import SOLVED, Setting

import elman

SEEDS, NEEDED = 5, 6


class Failing(NamedTuple):
    """A set-up: network, task, lag, and the scale of the input."""

    setting: Setting
    task: str
    lag: int
    scale: float = 1.0


SET_UPS = {
    "gain too small": Failing(Setting(initializer=keras.initializers.Orthogonal(0.03, seed=1)), "recall", 8),
    "gain too large": Failing(Setting(initializer=keras.initializers.Orthogonal(4.0, seed=1)), "recall", 8),
    "learning rate too high": Failing(Setting(learning_rate=0.3), "recall", 8),
    "saturated inputs": Failing(Setting(), "recall", 8, scale=100.0),
    "wrong activation": Failing(Setting(activation="sigmoid"), "recall", 8),
    "too few units": Failing(Setting(units=3), "recall", 8),
    "sequence truncated": Failing(Setting(truncate_gradient=3), "recall", 8),
    "gates needed": Failing(Setting(), "adding", 45),
}

ARGUMENTS = {"recurrent_initializer": "initializer", "keras.layers.Normalization": "normalized"}


def follow(setting: Setting, advice: Any) -> Setting | None:
    """The set-up with one change, or `None` if the change is not to the network or its training."""
    name = ARGUMENTS.get(advice.argument, advice.argument)
    if name not in Setting._fields:
        return None
    return setting._replace(**{name: True if name == "normalized" else advice.value})


def once(failing: Failing, seed: int) -> dict[str, Any]:
    """One seed: before, the advice, and after."""
    model, unseen, before = memory_tasks.train(failing.setting, failing.task, failing.lag, seed, failing.scale)
    report = elman.diagnose(model, unseen.x, unseen.y)
    found = {"before": before, "verdict": report.verdict, "advice": [each.text for each in report.advice]}
    changed = follow(failing.setting, report.advice[0]) if report.advice else None
    if changed is None:
        return found | {"after": before}
    *_, after = memory_tasks.train(changed, failing.task, failing.lag, seed, failing.scale)
    return found | {"argument": report.advice[0].argument, "after": after}


def main() -> int:
    """Runs the set-ups."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--only", default=None)
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    for name, failing in SET_UPS.items():
        if arguments.only in {None, name}:
            runs = [once(failing, arguments.seed + seed) for seed in range(arguments.seeds)]
            before, after = (statistics.median(run[key] for run in runs) for key in ("before", "after"))
            works = after <= before / 2 or after <= SOLVED
            results[name] = {"before": before, "after": after, "works": works, "runs": runs}
            print(name, works, before, after, [r["advice"][:1] for r in runs], file=sys.stderr, flush=True)
    working = sum(result["works"] for result in results.values())
    print(json.dumps({"set_ups": results, "working": working, "of": len(results)}, indent=2))
    return 0 if working >= NEEDED else 1


if __name__ == "__main__":
    sys.exit(main())
