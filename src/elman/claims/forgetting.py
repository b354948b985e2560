# SPDX-License-Identifier: Apache-2.0
"""Claims 6 and 7: the lag at which a cell stops learning, and how far back a trained network looks."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from elman.claims import tasks
from elman.claims.cells import CELLS, units_of_as_many
from elman.claims.claim import FAILS, HOLDS, ONLY_IF, Chart, Experiment, Findings, Line
from elman.claims.estimates import Estimate, mean, median, share
from elman.claims.runs import Runs
from elman.claims.tasks import Data
from elman.claims.training import LEARNED, UNSEEN, train
from elman.diagnosis.measure import diagnose
from elman.network import Dense, Network

LAGS = (4, 8, 12, 16, 24, 32, 48)
SIZES = (8, 16, 32)
AFTER = 2  # steps before the one that is asked for
Task = Callable[[np.random.Generator, int, int, int], Data]


class Setting(NamedTuple):
    """A network and its budget.

    Attributes:
        cell: SimpleRNN, LSTM or GRU.
        size: Units of the SimpleRNN that has as many parameters.
        units: Units.
        steps: Updates.
        activation: Of the new state.
    """

    cell: str
    size: int
    units: int
    steps: int
    activation: str = "tanh"


def _network(setting: Setting, seed: int) -> Network:
    return Network([CELLS[setting.cell](setting.units, setting.activation), Dense(1)], seed=seed)


def _attempt(setting: Setting, seed: int, lag: int, task: Task) -> tuple[Network, float]:
    """Trains a network on one lag."""
    rng = np.random.default_rng((seed, lag))
    seen, unseen = (task(rng, examples, lag, lag + 1 + AFTER) for examples in (1024, UNSEEN))
    found = train(
        _network(setting, seed), seen, unseen, steps=setting.steps, enough=0.08, learning_rate=0.01, seed=seed
    )
    return found.network, found.error


def longest(setting: Setting, seed: int, lags: Sequence[int], task: Task, diagnosed: bool) -> tuple[float, float]:
    """The longest lag that one seed learns, with all shorter ones, and the horizon of the network that learned it.

    0 if it learns none; the horizon is NaN if it was not measured.
    """
    limit, horizon = 0, np.nan
    for lag in lags:
        network, error = _attempt(setting, seed, lag, task)
        if not error < LEARNED:
            break
        limit, best = lag, network
    if limit and diagnosed:
        probe = task(np.random.default_rng((seed, 1)), 64, limit, limit + 1 + AFTER)
        horizon = diagnose(best, probe.x).horizon or np.nan
    return float(limit), horizon


def reach(activation: str, units: int, seed: int, lag: int) -> float:
    """How much of the gradient of a loss at the last step arrives `lag` steps back in an untrained SimpleRNN, log10."""
    x = np.random.default_rng(seed).uniform(-1, 1, (16, lag + 1, 1))
    network = _network(Setting("SimpleRNN", units, units, 1, activation), seed)
    network.build((None, 1))
    layer = next(iter(diagnose(network, x).layers.values()))
    return float(np.log10(max(layer.reach[layer.lags.index(lag)] if lag in layer.lags else layer.reach[-1], 1e-12)))


def _limits(
    runs: Runs, settings: Sequence[Setting], lags: Sequence[int], task: Task, diagnosed: int
) -> dict[Setting, np.ndarray]:
    chosen = set(runs.seeds[:diagnosed])
    found = runs.grid(lambda setting, seed: longest(setting, seed, lags, task, seed in chosen), settings)
    return dict(zip(settings, found, strict=True))


def _name(setting: Setting, condition: str = "") -> str:
    size = f"{setting.cell}, {setting.units} units"
    return f"{size}, {condition}" if condition else size


def _stop(limits: np.ndarray, lags: Sequence[int]) -> int | None:
    """The first lag that fewer than half of the seeds learn; `None` if they learn all."""
    return next((lag for lag in lags if (limits >= lag).mean() < 0.5), None)


def _described(name: str, found: np.ndarray) -> list[Estimate]:
    """The longest lag that half of the seeds learn, and the horizon of those networks."""
    horizons = found[:, 1][np.isfinite(found[:, 1])]
    figures = [median(f"longest lag that half of the seeds learn, {name}", found[:, 0])]
    return figures + ([median(f"horizon of the trained network, {name}", horizons)] if len(horizons) else [])


def _curve(limits: np.ndarray, lags: Sequence[int]) -> Line:
    return Line([float(lag) for lag in lags], [share("", limits >= lag) for lag in lags])


def forgets(
    runs: Runs,
    *,
    sizes: tuple[int, ...] = SIZES,
    lags: tuple[int, ...] = LAGS,
    steps: int = 256,
    activation: str = "tanh",
    others: tuple[str, ...] = ("LSTM", "GRU"),
    gradient_lag: int = 48,
    diagnosed: int = 5,
    task: Task = tasks.recall,
) -> Findings:
    """Trains networks to tell the number that came some steps ago, lag after lag, until they fail.

    All sequences of a lag have the same length, so that the number is always at the same place: the network has to hold
    one number for so many steps, and need not hold all of them.

    A lag is learned if the error on unseen sequences is below half of the variance of the targets.

    Args:
        runs: The seeds.
        sizes: Units of the SimpleRNN.
        lags: Lags, from the shortest.
        steps: Updates of each network, with batches of 32.
        activation: Of the SimpleRNN.
        others: Cells next to it, at as many parameters.
        gradient_lag: How far back the gradient of an untrained network is measured.
        diagnosed: How many of the seeds `elman.diagnose` measures.
        task: Draws the sequences: generator, examples, lag and time in, `Data` out.
    """
    settings = [Setting("SimpleRNN", size, size, steps, activation) for size in sizes]
    beside = [Setting(cell, size, units_of_as_many(cell, size, 1), steps) for cell in others for size in sizes]
    found = _limits(runs, [*settings, *beside], lags, task, diagnosed)
    gradient = runs.first(diagnosed).each(lambda seed: reach(activation, sizes[-1], seed, gradient_lag))
    vanished = mean(f"gradient that arrives {gradient_lag} steps back, untrained, log10", gradient)
    figures = [each for setting in found for each in _described(_name(setting), found[setting])]
    stops = [_stop(found[setting][:, 0], lags) for setting in settings]
    stopped, vanishes = None not in stops, vanished.high < -1
    texts = [
        f"{setting.units} units stop learning at lag {stop}" if stop else f"{setting.units} units learn every lag"
        for setting, stop in zip(settings, stops, strict=True)
    ]
    because = (
        f"{', '.join(texts)} (fewer than half of the seeds learn it). Untrained, {100 * 10**vanished.estimate:.2g} % "
        f"of the gradient arrives {gradient_lag} steps back."
    )
    verdict = HOLDS if stopped and vanishes else FAILS
    if stopped != vanishes:
        verdict = f"{ONLY_IF} {'lags are asked for that it cannot learn' if stopped else 'gradients are meant'}"
    lines = {_name(s): _curve(found[s][:, 0], lags) for s in found if s.size == sizes[-1]}
    chart = Chart("lag, in steps", "share of seeds that learn", lines, True)
    return Findings(verdict, because, [*figures, vanished], chart)


FORGETS: Experiment = Experiment(
    title="it forgets",
    statement="It forgets: gradients through many steps vanish or explode, so that it serves short sequences.",
    prediction="From some lag on, fewer than half of the seeds learn to tell the number that came so many steps ago, "
    "for every size; and the gradient of an untrained network shrinks below a tenth.",
    rule="It holds if every size stops learning at one of the lags, and the interval of the gradient's logarithm is "
    "below -1; if one of both, it holds only for that.",
    measure=forgets,
)


def hold_longer(
    runs: Runs,
    *,
    sizes: tuple[int, ...] = SIZES,
    lags: tuple[int, ...] = LAGS,
    steps: int = 256,
    cells: tuple[str, ...] = ("LSTM", "GRU"),
    time_ratio: Mapping[str, float] | None = None,
    diagnosed: int = 0,
    task: Task = tasks.recall,
) -> Findings:
    """Finds the longest lag of each cell, once at equal parameters and updates, once at equal training time.

    Args:
        runs: The seeds.
        sizes: Units of the SimpleRNN; the others have as many parameters.
        lags: Lags, from the shortest.
        steps: Updates of the SimpleRNN.
        cells: What is compared with it.
        time_ratio: How much longer an update of a cell takes than one of the SimpleRNN; measured if `None`.
        diagnosed: How many of the seeds `elman.diagnose` measures.
        task: Draws the sequences: generator, examples, lag and time in, `Data` out.
    """
    simple = [Setting("SimpleRNN", size, size, steps) for size in sizes]
    alike = [Setting(cell, size, units_of_as_many(cell, size, 1), steps) for cell in cells for size in sizes]
    ratios = {
        each: (time_ratio or {}).get(each.cell) or _time_ratio(each, lags[len(lags) // 2], task) for each in alike
    }
    timed = {each: each._replace(steps=max(32, round(steps / ratios[each]))) for each in alike}
    found = _limits(runs, [*simple, *dict.fromkeys([*alike, *timed.values()])], lags, task, diagnosed)
    figures = [each for setting in simple for each in _described(_name(setting), found[setting])]
    longer: dict[str, list[bool]] = {"parameters": [], "training time": []}
    for setting, (condition, own) in itertools.product(
        alike, (("parameters", lambda each: each), ("training time", timed.__getitem__))
    ):
        mine, theirs = found[own(setting)], found[simple[sizes.index(setting.size)]]
        name = _name(setting, f"equal {condition}")
        figures += _described(name, mine)
        gain = mean(f"log2 of its lag over the SimpleRNN's, {name}", np.log2((1 + mine[:, 0]) / (1 + theirs[:, 0])))
        figures.append(gain)
        longer[condition].append(gain.low > 0)
    holds = {condition: all(flags) for condition, flags in longer.items()}
    each = [flag for flags in longer.values() for flag in flags]
    if all(holds.values()):
        verdict = HOLDS
    elif holds["parameters"] or holds["training time"]:
        verdict = f"{ONLY_IF} the {'parameters are' if holds['parameters'] else 'training time is'} equal"
    else:
        verdict = FAILS
    because = (
        f"In {sum(each)} of {len(each)} comparisons a gated cell learns longer lags than the SimpleRNN of the same "
        f"budget. An update takes {min(ratios.values()):.1f} to {max(ratios.values()):.1f} times as long."
    )
    lines = {_name(s): _curve(found[s][:, 0], lags) for s in (*simple, *timed.values()) if s.size == sizes[-1]}
    return Findings(verdict, because, figures, Chart("lag, in steps", "share of seeds that learn", lines, True))


def _time_ratio(setting: Setting, lag: int, task: Task) -> float:
    """How many times the processor's time of an update of the SimpleRNN with as many parameters it takes."""
    simple = Setting("SimpleRNN", setting.size, setting.size, setting.steps)
    data = task(np.random.default_rng(0), 512, lag, lag + 1 + AFTER)
    took: dict[Setting, list[float]] = {simple: [], setting: []}
    for _, each in itertools.product(range(5), took):
        network = _network(each, 0)
        network.fit(data.x[:32], data.y[:32])
        started = time.process_time()
        network.fit(data.x, data.y)
        took[each].append(time.process_time() - started)
    return min(took[setting]) / min(took[simple])


LONGER: Experiment = Experiment(
    title="LSTM and GRU hold longer",
    statement="LSTM and GRU hold on to what they read for longer than a SimpleRNN.",
    prediction="Both learn longer lags than a SimpleRNN of as many parameters, with as many updates and with as much "
    "training time.",
    rule="It holds if, for both cells and every size, the interval of the logarithm of the ratio of lags is above 0, "
    "at equal parameters and at equal training time; if at one of them, it holds only there.",
    measure=hold_longer,
)
