# SPDX-License-Identifier: Apache-2.0
"""Claim 3: order matters to a recurrent layer, and a feed-forward layer sees each input alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from elman.claims import tasks
from elman.claims.claim import FAILS, HOLDS, ONLY_IF, Experiment, Findings
from elman.claims.estimates import mean, number
from elman.claims.runs import Runs
from elman.claims.tasks import Data
from elman.claims.training import UNSEEN, train
from elman.network import Dense, Flatten, Last, Network, SimpleRNN

MARGIN = 0.1  # of the share of wrong answers


def measure(
    runs: Runs,
    *,
    task: Callable[[np.random.Generator, int, int], Data] = tasks.which_first,
    time: int = 8,
    units: int = 16,
    examples: int = 512,
    steps: int = 640,
) -> Findings:
    """Trains three networks on the same sequences: a SimpleRNN, a feed-forward network that sees the last step, and
    one that sees all steps side by side.

    Args:
        runs: The seeds.
        task: Draws the sequences: generator, examples and time in, `Data` out.
        time: Steps of a sequence.
        units: Units of the SimpleRNN, and of the hidden layer of the others.
        examples: Sequences to learn from.
        steps: Updates of each network.
    """
    hidden = Dense(units, activation="tanh")
    readers: dict[str, list[Any]] = {
        "SimpleRNN": [SimpleRNN(units)],
        "feed-forward, last step": [Last(), hidden],
        "feed-forward, all steps": [Flatten(), hidden],
    }

    def wrong(name: str, seed: int) -> float:
        rng = np.random.default_rng(seed)
        seen, unseen = task(rng, examples, time), task(rng, UNSEEN, time)
        network = Network([*readers[name], Dense(2, activation="softmax")], seed=seed)
        return train(network, seen, unseen, steps=steps, learning_rate=0.01, enough=0.01, seed=seed).error

    recurrent, last, window = runs.grid(wrong, list(readers))
    figures = [
        mean(f"wrong answers, {name}", each) for name, each in zip(readers, (recurrent, last, window), strict=True)
    ]
    against_last = mean("last step less SimpleRNN, wrong answers", last - recurrent)
    against_window = mean("all steps less SimpleRNN, wrong answers", window - recurrent)
    if against_last.low <= MARGIN:
        verdict = FAILS
    elif against_window.low <= MARGIN:
        verdict = f"{ONLY_IF} the feed-forward network sees one step at a time"
    else:
        verdict = HOLDS
    because = (
        f"The SimpleRNN gives {number(100 * recurrent.mean())} % wrong answers, the feed-forward network that sees the "
        f"last step {number(100 * last.mean())} %, and the one that sees all steps {number(100 * window.mean())} %."
    )
    return Findings(verdict, because, [*figures, against_last, against_window])


EXPERIMENT: Experiment = Experiment(
    title="order matters",
    statement="Order matters: a SimpleRNN uses what came before, where a feed-forward layer sees each input alone.",
    prediction="Asked which of two symbols came first, the SimpleRNN gives fewer wrong answers than a feed-forward "
    "network that sees the last step.",
    rule="It holds if the interval of the difference in wrong answers is above 0.1, against the last step and against "
    "all steps side by side; if against the last step alone, it holds only if the network sees one step at a time.",
    measure=measure,
)
