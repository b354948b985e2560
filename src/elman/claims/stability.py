# SPDX-License-Identifier: Apache-2.0
"""Claims 8, 9, 10 and 12: clipping, initialisation, learning rate, activation, as shares of runs that learn or diverge.

All four train small networks on one task: read some numbers, then tell the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from elman.claims import tasks
from elman.claims.claim import FAILS, HOLDS, ONLY_IF, Chart, Experiment, Findings, Line
from elman.claims.estimates import Estimate, mean, mean_share, share, share_difference
from elman.claims.forgetting import reach
from elman.claims.runs import Runs
from elman.claims.training import DIVERGED, LEARNED, UNSEEN, descend, train
from elman.network import Dense, Network, SimpleRNN
from elman.network.layer import glorot_uniform, orthogonal

RATES = (0.03, 0.1, 0.3, 1.0)
MARGIN = 0.1  # of a share
CLIPS = {"none": (None, None), "by norm": (1.0, None), "inside the recurrence": (None, 1.0)}  # clip_norm, clip_state


class Recipe(NamedTuple):
    """How a network is trained.

    Attributes:
        rate: Learning rate.
        optimizer: "descent", plain gradient descent, or "adam".
        clip: A name of `CLIPS`.
        start: A name of `STARTS`.
        activation: Of the recurrent layer; `None`: that of the start.
    """

    rate: float
    optimizer: str = "descent"
    clip: str = "by norm"
    start: str = "orthogonal"
    activation: str | None = None


# Recurrent kernel from (generator, shape), and the activation that goes with it.
STARTS = {
    "orthogonal": (orthogonal, "tanh"),
    "Glorot": (glorot_uniform, "tanh"),
    "identity with relu": (lambda rng, shape: np.eye(*shape), "relu"),
    "small random numbers": (lambda rng, shape: 0.05 * rng.normal(size=shape), "tanh"),
}


class Task(NamedTuple):
    """What is learned.

    Attributes:
        lag: Steps between the number that is asked for, the first, and the last step.
        units: Units of the network.
        steps: Updates.
    """

    lag: int
    units: int
    steps: int


def _error(task: Task, recipe: Recipe, seed: int) -> float:
    """The error of one network; infinite if training diverged."""
    rng = np.random.default_rng(seed)
    seen, unseen = (tasks.recall(rng, examples, task.lag, task.lag + 1) for examples in (1024, UNSEEN))
    clip_norm, clip_state = CLIPS[recipe.clip]
    draw, activation = STARTS[recipe.start]
    layer = SimpleRNN(task.units, recipe.activation or activation, clip_state_gradient=clip_state)
    network = Network([layer, Dense(1)], seed=seed, input_shape=(None, 1))
    kernel = network.weights["simple_rnn/recurrent_kernel"]
    kernel[...] = draw(np.random.default_rng((seed, 1)), kernel.shape)
    options: dict[str, Any] = {"steps": task.steps, "learning_rate": recipe.rate, "clip_norm": clip_norm, "seed": seed}
    if recipe.optimizer == "descent":
        return descend(network, seen, unseen, **options).error
    return train(network, seen, unseen, **options).error


def _grid(runs: Runs, task: Task, recipes: Sequence[Recipe]) -> dict[Recipe, np.ndarray]:
    found = runs.grid(lambda recipe, seed: _error(task, recipe, seed), recipes)
    return dict(zip(recipes, found, strict=True))


def _shares(name: str, errors: np.ndarray) -> list[Estimate]:
    return [
        share(f"share that learns, {name}", errors < LEARNED),
        share(f"share that diverges, {name}", ~(errors < DIVERGED)),
    ]


def _chart(rows: Mapping[str, Sequence[Recipe]], found: Mapping[Recipe, np.ndarray]) -> Chart:
    lines = {
        name: Line([recipe.rate for recipe in recipes], [share("", found[recipe] < LEARNED) for recipe in recipes])
        for name, recipes in rows.items()
    }
    return Chart("learning rate", "share of seeds that learn", lines, log_x=True)


class _Pooled(NamedTuple):
    """The runs with all rates, counted seed by seed: those of one seed depend on each other.

    Attributes:
        learns: `(seeds,)`: the share of the rates at which the seed learns.
        diverges: `(seeds,)`: the share at which it diverges.
    """

    learns: np.ndarray
    diverges: np.ndarray

    def figures(self, name: str) -> list[Estimate]:
        return [
            mean_share(f"share that learns, {name}", self.learns),
            mean_share(f"share that diverges, {name}", self.diverges),
        ]


def _pooled(rows: Mapping[str, Sequence[Recipe]], found: Mapping[Recipe, np.ndarray]) -> dict[str, _Pooled]:
    stacked = {name: np.stack([found[recipe] for recipe in recipes]) for name, recipes in rows.items()}
    return {
        name: _Pooled((errors < LEARNED).mean(axis=0), (~(errors < DIVERGED)).mean(axis=0))
        for name, errors in stacked.items()
    }


def clipping(
    runs: Runs,
    *,
    rates: tuple[float, ...] = RATES,
    adam_rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1),
    lag: int = 11,
    units: int = 16,
    steps: int = 200,
) -> Findings:
    """Trains with no clipping, with clipping of the gradient's norm, and with clipping inside the recurrence, by plain
    gradient descent and by Adam, over learning rates.

    Args:
        runs: The seeds.
        rates: Learning rates of gradient descent.
        adam_rates: Learning rates of Adam.
        lag: Steps between the number that is asked for and the last one.
        units: Units.
        steps: Updates, with batches of 32.
    """
    rows = {
        f"{optimizer}, {clip}": [Recipe(rate, optimizer, clip) for rate in chosen]
        for optimizer, chosen in (("descent", rates), ("adam", adam_rates))
        for clip in CLIPS
    }
    found = _grid(runs, Task(lag, units, steps), [recipe for recipes in rows.values() for recipe in recipes])
    pooled = _pooled(rows, found)
    figures = [figure for name, each in pooled.items() for figure in each.figures(name)]
    gains = {}
    for optimizer in ("descent", "adam"):
        with_, without = (pooled[f"{optimizer}, {clip}"].diverges for clip in ("by norm", "none"))
        gains[optimizer] = mean(f"diverges, not clipped less clipped by norm, {optimizer}", without - with_)
    helps = {optimizer: gain.low > MARGIN for optimizer, gain in gains.items()}
    if all(helps.values()):
        verdict = HOLDS
    elif helps["descent"]:
        verdict = f"{ONLY_IF} the optimizer is plain gradient descent"
    else:
        verdict = f"{ONLY_IF} the optimizer is Adam" if helps["adam"] else FAILS
    because = (
        f"Over all learning rates, clipping by norm lowers the share of runs that diverge by "
        f"{100 * gains['descent'].estimate:.0f} percentage points under gradient descent and by "
        f"{100 * gains['adam'].estimate:.0f} under Adam."
    )
    drawn = {name: recipes for name, recipes in rows.items() if name.startswith("descent")}
    return Findings(verdict, because, [*figures, *gains.values()], _chart(drawn, found))


CLIPPING: Experiment = Experiment(
    title="clipping stabilises training",
    statement="Clipping gradients stabilises training.",
    prediction="Over several learning rates, fewer runs diverge if the gradient's norm is limited to 1.",
    rule="It holds if the interval of the difference in shares is above 0.1, under gradient descent and under Adam; "
    "if under one of them, it holds only there.",
    measure=clipping,
)


def initialisation(
    runs: Runs,
    *,
    rates: tuple[float, ...] = (0.03, 0.1, 0.3),
    starts: tuple[str, ...] = ("orthogonal", "Glorot", "identity with relu"),
    careless: str = "small random numbers",
    lag: int = 11,
    units: int = 16,
    steps: int = 300,
) -> Findings:
    """Trains from several recurrent kernels, by gradient descent that is clipped, over learning rates.

    Args:
        runs: The seeds.
        rates: Learning rates.
        starts: Names of the careful initialisations.
        careless: Name of the other one.
        lag: Steps between the number that is asked for and the last one.
        units: Units.
        steps: Updates, with batches of 32.
    """
    rows = {start: [Recipe(rate, start=start) for rate in rates] for start in (*starts, careless)}
    found = _grid(runs, Task(lag, units, steps), [recipe for recipes in rows.values() for recipe in recipes])
    pooled = _pooled(rows, found)
    figures = [figure for name, each in pooled.items() for figure in each.figures(name)]
    gains = {
        start: mean(f"learns, {start} less {careless}", pooled[start].learns - pooled[careless].learns)
        for start in starts
    }
    better = [start for start, gain in gains.items() if gain.low > MARGIN]
    verdict = f"{ONLY_IF} it is {' or '.join(better)}" if better else FAILS
    if len(better) == len(starts):
        verdict = HOLDS
    shares = [f"{100 * each.learns.mean():.0f} % from {name}" for name, each in pooled.items()]
    because = f"Over all learning rates, the share of runs that learn is {', '.join(shares)}."
    return Findings(verdict, because, [*figures, *gains.values()], _chart(rows, found))


INITIALISATION: Experiment = Experiment(
    title="careful initialisation helps",
    statement="Careful initialisation helps: orthogonal, Glorot, or the identity with relu.",
    prediction="More runs learn from each of the three than from small random numbers.",
    rule="It holds if the interval of the difference in shares is above 0.1 for all three; if for some, it holds only "
    "for those.",
    measure=initialisation,
)


def learning_rate(
    runs: Runs,
    *,
    rates: tuple[float, ...] = (0.00003, 0.0003, 0.003, 0.03, 0.3),
    optimizer: str = "adam",
    lag: int = 11,
    units: int = 16,
    steps: int = 300,
) -> Findings:
    """Trains with several learning rates and the same number of updates. The best rate is chosen on seeds of its own.

    Args:
        runs: The seeds.
        rates: Learning rates, from the smallest.
        optimizer: "adam" or "descent".
        lag: Steps between the number that is asked for and the last one.
        units: Units.
        steps: Updates, with batches of 32.
    """
    recipes = [Recipe(rate, optimizer) for rate in rates]
    task, further = Task(lag, units, steps), max(runs.seeds) + 1  # seeds from there on choose the best
    settings = [(recipe, first) for first in (0, further) for recipe in recipes]
    errors = runs.grid(lambda setting, seed: _error(task, setting[0], setting[1] + seed), settings)
    found, others = (dict(zip(recipes, each, strict=True)) for each in np.split(np.array(errors), 2))
    figures = [figure for recipe in recipes for figure in _shares(f"rate {recipe.rate:g}", found[recipe])]
    best = max(recipes, key=lambda recipe: (others[recipe] < LEARNED).mean())
    over_large, over_small = (
        share_difference(f"learns, best rate less the {which}", found[best] < LEARNED, found[other] < LEARNED)
        for which, other in (("largest", recipes[-1]), ("smallest", recipes[0]))
    )
    if over_large.low <= MARGIN:
        verdict = FAILS
    else:
        verdict = f"{ONLY_IF} the rate is not too small as well" if over_small.low > MARGIN else HOLDS
    because = (
        f"The share that learns is {100 * (found[recipes[0]] < LEARNED).mean():.0f} % at the rate {recipes[0].rate:g}, "
        f"{100 * (found[best] < LEARNED).mean():.0f} % at {best.rate:g}, and "
        f"{100 * (found[recipes[-1]] < LEARNED).mean():.0f} % at {recipes[-1].rate:g}."
    )
    return Findings(verdict, because, [*figures, over_large, over_small], _chart({optimizer: recipes}, found))


LEARNING_RATE: Experiment = Experiment(
    title="smaller learning rates help",
    statement="Smaller learning rates help.",
    prediction="With as many updates, more runs learn at a smaller rate than at the largest, and the smallest rate is "
    "as good as any.",
    rule="The best rate is that of other seeds. It fails unless the interval of its share less the largest rate's is "
    "above 0.1. It holds then, "
    "unless the smallest rate is as much worse than the best.",
    measure=learning_rate,
)


def activations(
    runs: Runs,
    *,
    names: tuple[str, ...] = ("tanh", "relu", "sigmoid"),
    rates: tuple[float, ...] = (0.03, 0.1, 0.3),
    lag: int = 11,
    units: int = 16,
    steps: int = 300,
) -> Findings:
    """Trains with several activations, by gradient descent without clipping, over learning rates, and measures how much
    of the gradient arrives at the first step before training.

    Args:
        runs: The seeds.
        names: Activations; the first is compared with the second.
        rates: Learning rates.
        lag: Steps between the number that is asked for and the last one.
        units: Units.
        steps: Updates, with batches of 32.
    """
    rows = {name: [Recipe(rate, clip="none", activation=name) for rate in rates] for name in names}
    found = _grid(runs, Task(lag, units, steps), [recipe for recipes in rows.values() for recipe in recipes])
    pooled = _pooled(rows, found)
    figures = [figure for name, each in pooled.items() for figure in each.figures(name)]
    arriving = dict(zip(names, runs.grid(lambda name, seed: reach(name, units, seed, lag), list(names)), strict=True))
    figures += [
        mean(f"gradient that arrives {lag} steps back, log10, {name}", values) for name, values in arriving.items()
    ]
    usual, other = names[:2]
    learns = mean(f"learns, {other} less {usual}", pooled[other].learns - pooled[usual].learns)
    gradient = mean(f"gradient that arrives, log10, {other} less {usual}", arriving[other] - arriving[usual])
    differ = {"learning": not -MARGIN <= learns.low <= learns.high <= MARGIN and (learns.low > 0 or learns.high < 0)}
    differ["gradients"] = gradient.low > 0.3 or gradient.high < -0.3
    apart = [what for what, flag in differ.items() if flag]
    verdict = HOLDS if len(apart) == 2 else f"{ONLY_IF} {apart[0]} is meant" if apart else FAILS
    because = (
        f"{100 * pooled[usual].learns.mean():.0f} % of the runs learn with {usual} and "
        f"{100 * pooled[other].learns.mean():.0f} % with {other}; untrained, "
        f"{100 * 10 ** arriving[usual].mean():.2g} % and {100 * 10 ** arriving[other].mean():.2g} % of the gradient "
        f"arrives {lag} steps back."
    )
    return Findings(verdict, because, [*figures, learns, gradient], _chart(rows, found))


ACTIVATIONS: Experiment = Experiment(
    title="tanh is usual, relu trains differently",
    statement="tanh is the usual activation; relu trains differently.",
    prediction="The share of runs that learn differs, and so does the gradient that arrives at the first step before "
    "training.",
    rule="Shares differ if the interval of their difference excludes 0 and reaches beyond 0.1; gradients if the "
    "interval of the difference of their logarithms is beyond 0.3 on one side. It holds if both differ; if one does, "
    "it holds only for that.",
    measure=activations,
)
