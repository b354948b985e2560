# SPDX-License-Identifier: Apache-2.0
"""Claims 11 and 13: what more units bring and cost, and whether a learned initial state helps."""

from __future__ import annotations

import numpy as np

from elman.claims import tasks
from elman.claims.cells import parameters
from elman.claims.claim import FAILS, HOLDS, ONLY_IF, Chart, Experiment, Findings, Line
from elman.claims.estimates import known, mean, number
from elman.claims.runs import Runs
from elman.claims.tasks import Data
from elman.claims.training import UNSEEN, error, train
from elman.diagnosis.measure import diagnose
from elman.network import Dense, Network, SimpleRNN

PROBED = 96  # steps of the sequences on which a horizon is measured, longer than those of training
MARGIN = 0.05  # of an error over the variance of the targets


def units_(
    runs: Runs,
    *,
    units: tuple[int, ...] = (4, 8, 16, 32, 64),
    lag: int = 10,
    noise: float = 0.3,
    examples: int = 128,
    steps: int = 400,
) -> Findings:
    """Trains networks of several sizes on few, noisy examples, for the same number of updates.

    Args:
        runs: The seeds.
        units: Sizes, from the smallest.
        lag: The target is the number so many steps back.
        noise: Standard deviation of what is added to the targets that are learned from; the numbers have 0.58.
        examples: Sequences to learn from.
        steps: Updates, with batches of 32.
    """

    def outcome(size: int, seed: int) -> tuple[float, ...]:
        rng = np.random.default_rng(seed)
        seen, unseen = (tasks.recall(rng, count, lag, 2 * lag) for count in (examples, UNSEEN))
        noisy = Data(seen.x, seen.y + (noise * rng.normal(size=seen.y.shape)).astype("float32"))
        network = Network([SimpleRNN(size), Dense(1)], seed=seed)
        found = train(network, noisy, unseen, steps=steps, learning_rate=0.01, seed=seed)
        horizon = diagnose(network, tasks.recall(rng, 16, lag, PROBED).x).horizon or 0
        return found.error, error(network, noisy), float(horizon), 1000 * found.epoch

    found = runs.grid(outcome, list(units))
    figures = []
    for size, each in zip(units, found, strict=True):
        test, train_, horizon, milliseconds = each.T
        figures += [
            mean(f"error on unseen sequences, {size} units", test),
            mean(f"the same less the error on seen ones, {size} units", test - train_),
            mean(f"horizon in steps, {size} units", horizon),
            mean(f"milliseconds of an epoch, {size} units", milliseconds),
        ]
    small, large = found[0], found[-1]
    remembers = mean("horizon, largest less smallest", large[:, 2] - small[:, 2])
    overfits = mean("gap of errors, largest less smallest", (large[:, 0] - large[:, 1]) - (small[:, 0] - small[:, 1]))
    sizes = [parameters("SimpleRNN", size, 1) for size in (units[0], units[-1])]
    costs = known("multiply-adds of a step, largest over smallest", sizes[1] / sizes[0])
    so = {"memory": remembers.low > 0, "overfitting": overfits.low > MARGIN, "cost": costs.low > 1.2}
    kept = [what for what, flag in so.items() if flag]
    verdict = HOLDS if len(kept) == len(so) else f"{ONLY_IF} {' and '.join(kept)} is meant" if kept else FAILS
    because = (
        f"From {units[0]} to {units[-1]} units the horizon goes from {number(small[:, 2].mean())} to "
        f"{number(large[:, 2].mean())} steps, the error on unseen sequences from {number(small[:, 0].mean())} to "
        f"{number(large[:, 0].mean())}, that on seen ones from {number(small[:, 1].mean())} to "
        f"{number(large[:, 1].mean())}, and an epoch takes {(large[:, 3] / small[:, 3]).mean():.1f} times as long."
    )
    lines = {
        name: Line(list(map(float, units)), [mean("", each[:, column]) for each in found])
        for name, column in (("unseen sequences", 0), ("seen sequences", 1))
    }
    chart = Chart("units", "error over the variance of the targets", lines, log_x=True)
    return Findings(verdict, because, [*figures, remembers, overfits, costs], chart)


UNITS: Experiment = Experiment(
    title="more units",
    statement="More units remember more, but overfit and cost more.",
    prediction="From the smallest to the largest size the horizon grows, so does the gap between the errors on unseen "
    "and on seen sequences, and so does the number of multiply-adds.",
    rule="It holds if the interval of the horizon's growth is above 0, that of the gap's above 0.05 of the variance, "
    "and a step takes 1.2 times as many multiply-adds; if some of these are so, it holds only for those.",
    measure=units_,
)


def initial_state(
    runs: Runs,
    *,
    start: float = 2.0,
    times: tuple[int, int] = (3, 24),
    units: int = 8,
    examples: int = 512,
    steps: int = 480,
) -> Findings:
    """Trains on what a random SimpleRNN makes from a hidden start that all sequences share, from an initial state of
    zeros and from one that is learned, on short sequences and on long ones.

    Args:
        runs: The seeds.
        start: Size of the hidden start; 0: zeros.
        times: Steps of the short sequences, and of the long ones.
        units: Units of the networks that learn.
        examples: Sequences to learn from.
        steps: Updates, with batches of 32.
    """

    def wrong(setting: tuple[int, bool], seed: int) -> float:
        time, learned = setting
        both = tasks.taught(np.random.default_rng(seed), examples + UNSEEN, time, start)
        seen, unseen = Data(both.x[:examples], both.y[:examples]), Data(both.x[examples:], both.y[examples:])
        network = Network([SimpleRNN(units, return_sequences=True, learn_initial_state=learned), Dense(1)], seed=seed)
        return float(np.log10(train(network, seen, unseen, steps=steps, learning_rate=0.01, seed=seed).error))

    settings = [(time, learned) for time in times for learned in (False, True)]
    found = runs.grid(wrong, settings)
    figures = [
        mean(f"log10 of the error, {time} steps, initial state {'learned' if learned else 'zero'}", each)
        for (time, learned), each in zip(settings, found, strict=True)
    ]
    gains = [
        mean(f"log10 of error, zeros less learned, {time} steps", found[2 * i] - found[2 * i + 1])
        for i, time in enumerate(times)
    ]
    helps = [gain.low > MARGIN for gain in gains]
    if all(helps):
        verdict = HOLDS
    else:
        verdict = f"{ONLY_IF} the sequences are {'short' if helps[0] else 'long'}" if any(helps) else FAILS
    because = (
        f"A learned initial state divides the error by {10 ** gains[0].estimate:.2g} on sequences of {times[0]} "
        f"steps, and by {10 ** gains[1].estimate:.2g} on sequences of {times[1]}."
    )
    return Findings(verdict, because, [*figures, *gains])


INITIAL_STATE: Experiment = Experiment(
    title="a learned initial state",
    statement="The initial state is usually zero, but can be learned, which helps some tasks.",
    prediction="On sequences that begin from a common hidden start, a learned initial state has the smaller error.",
    rule="It holds if the interval of the difference of log10 of the errors is above 0.05 on short and on long "
    "sequences; if on one of them, it holds only there.",
    measure=initial_state,
)
