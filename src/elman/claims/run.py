# SPDX-License-Identifier: Apache-2.0
"""`elman.claims.run`: the number of a claim in, a measured `Claim` out."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any

from elman import __version__
from elman.checks import did_you_mean, is_integer
from elman.claims.claim import Claim, Experiment
from elman.claims.runs import Runs
from elman.claims.table import EXPERIMENTS


def names() -> dict[int, str]:
    """The claims in a few words, by number."""
    return {number: experiment.title for number, experiment in EXPERIMENTS.items()}


def options(number: int) -> dict[str, Any]:
    """The options of an experiment and their defaults.

    Args:
        number: One of `names()`.

    Raises:
        ValueError: If there is no such claim.
    """
    parameters = list(inspect.signature(_experiment(number).measure).parameters.values())
    return {each.name: each.default for each in parameters[1:]}


def run(
    number: int,
    *,
    seeds: int | Sequence[int] = 20,
    tell: Callable[[int, int], None] | None = None,
    threads: int | None = None,
    **options: Any,
) -> Claim:
    """Measures one of the common claims about the SimpleRNN.

    Args:
        number: One of `names()`.
        seeds: How many seeds, from 0; or the seeds.
        tell: Called after each run with the number of runs that have ended and of all that are known.
        threads: How many runs at a time; by default as many as there are cores. It changes no result.
        **options: Of the experiment, as `elman.claims.options(number)` lists them: sizes, data, training.

    Returns:
        A `Claim`: `.verdict`, `.because`, `.figures`, `.plot()`, `.to_dict()`.

    Raises:
        TypeError: If the experiment has no such option.
        ValueError: If there is no such claim, no seed, or an option does not fit.

    Example:

    >>> claim = elman.claims.run(2, seeds=3)
    >>> claim.verdict
    'holds'
    """
    experiment = _experiment(number)
    given = _seeds(seeds)
    defaults = globals()["options"](number)
    for name in options:
        if name not in defaults:
            raise TypeError(
                f"claim {number} has no option {name!r};{did_you_mean(name, defaults)} expected some of "
                f"{', '.join(defaults)}."
            )
    setup = defaults | options
    started = time.perf_counter()
    found = experiment.measure(Runs(given, tell, threads), **setup)
    return Claim(
        number=number,
        title=experiment.title,
        statement=experiment.statement,
        prediction=experiment.prediction,
        rule=experiment.rule,
        setup=setup,
        seeds=given,
        figures=found.figures,
        verdict=found.verdict,
        because=found.because,
        skipped=found.skipped,
        chart=found.chart,
        seconds=time.perf_counter() - started,
        version=__version__,
    )


def _experiment(number: int) -> Experiment:
    if number not in EXPERIMENTS:
        raise ValueError(f"there is no claim {number!r}; expected a number from 1 to {max(EXPERIMENTS)}.")
    return EXPERIMENTS[number]


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    given = tuple(range(seeds)) if is_integer(seeds) else tuple(seeds)  # type: ignore[arg-type]
    if len(given) < 2 or len(set(given)) < len(given) or not all(is_integer(seed, least=0) for seed in given):
        raise ValueError(
            f"seeds is {seeds!r}; expected at least 2, or different integers from 0 on. An interval needs several."
        )
    return given
