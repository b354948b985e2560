# SPDX-License-Identifier: Apache-2.0
"""Claim 14: a SimpleRNN has no gates, so that it cannot choose what to keep."""

from __future__ import annotations

import numpy as np

from elman.claims import tasks
from elman.claims.cells import CELLS, units_of_as_many
from elman.claims.claim import FAILS, HOLDS, ONLY_IF, Chart, Experiment, Findings, Line
from elman.claims.estimates import mean, number
from elman.claims.runs import Runs
from elman.claims.training import UNSEEN, train
from elman.network import Dense, Network

MARGIN = 0.1  # of an error over the variance of the targets


def measure(
    runs: Runs,
    *,
    times: tuple[int, ...] = (4, 8, 32),
    distractors: float = 1.0,
    units: int = 16,
    steps: int = 512,
) -> Findings:
    """Trains the three cells, with as many parameters, to tell the one value that is marked, among others that are not.

    Args:
        runs: The seeds.
        times: Steps of a sequence: the cue comes at any of them.
        distractors: Size of the other values; 0: there are none.
        units: Units of the SimpleRNN.
        steps: Updates, with batches of 32.
    """
    sizes = {cell: units_of_as_many(cell, units, 2) for cell in CELLS}

    def wrong(setting: tuple[str, int], seed: int) -> float:
        cell, time = setting
        rng = np.random.default_rng(seed)
        seen, unseen = (tasks.marked(rng, count, time, distractors) for count in (1024, UNSEEN))
        network = Network([CELLS[cell](sizes[cell]), Dense(1)], seed=seed)
        return min(2.0, train(network, seen, unseen, steps=steps, learning_rate=0.01, seed=seed).error)

    settings = [(cell, time) for cell in CELLS for time in times]
    found = dict(zip(settings, runs.grid(wrong, settings), strict=True))
    figures = [mean(f"error, {cell}, {time} steps", found[cell, time]) for cell, time in settings]
    worse = []
    for time in times:
        best = min(found["LSTM", time], found["GRU", time], key=np.mean)  # the same cell for all seeds
        worse.append(mean(f"error, SimpleRNN less the better gated one, {time} steps", found["SimpleRNN", time] - best))
    flags = [each.low > MARGIN for each in worse]
    held = [time for time, flag in zip(times, flags, strict=True) if flag]
    verdict = HOLDS if len(held) == len(times) else FAILS
    if 0 < len(held) < len(times):
        verdict = f"{ONLY_IF} the sequences have {' or '.join(map(str, held))} of {', '.join(map(str, times))} steps"
    texts = [
        f"{number(found['SimpleRNN', time].mean())} against {number(found['LSTM', time].mean())} (LSTM) and "
        f"{number(found['GRU', time].mean())} (GRU) over {time} steps"
        for time in times
    ]
    because = f"The SimpleRNN's error, over the variance of the targets, is {', '.join(texts)}."
    lines = {cell: Line(list(map(float, times)), [mean("", found[cell, time]) for time in times]) for cell in CELLS}
    chart = Chart("steps of a sequence", "error over the variance of the targets", lines, log_x=True)
    return Findings(verdict, because, [*figures, *worse], chart)


EXPERIMENT: Experiment = Experiment(
    title="no gates, no choice",
    statement="It has no gates, so that it cannot choose what to keep.",
    prediction="Asked for the one value that was marked among others, a SimpleRNN has a larger error than a gated "
    "cell of as many parameters.",
    rule="It holds if the interval of the difference to the better gated cell is above 0.1 of the variance at every "
    "length; if at some, it holds only there.",
    measure=measure,
)
