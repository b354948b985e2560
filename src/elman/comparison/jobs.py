# SPDX-License-Identifier: Apache-2.0
"""The work of a comparison, one job at a time: a candidate's search, and its fit to one fold with one seed.

In: a problem and a job. Out: an `Outcome`, which depends on nothing else; so jobs can run in any order, in any process,
and an outcome that is stored can be used again. A candidate that cannot be fitted has an outcome that says why.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from elman.comparison.candidates import BY_NAME
from elman.comparison.model import Array, Choice, Model, Unfit
from elman.comparison.problem import Problem

UNITS, RATES = (8, 16, 32, 64), (1e-3, 3e-3, 1e-2)
_TIMED = 7  # predictions that are timed; the median counts
# What a candidate raises that cannot be fitted to some data. A mistake in elman, such as a name that does not exist, is
# not among them.
_ERRORS = (ArithmeticError, ImportError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)


class Job(NamedTuple):
    """A candidate, the number of a fold, and a seed. `fold` -1 is the search on the first fold."""

    candidate: str
    fold: int
    seed: int

    @property
    def name(self) -> str:
        """A name for a file."""
        what = "search" if self.fold < 0 else f"fold-{self.fold}"
        return f"{self.candidate.replace(' ', '-')}-{what}-seed-{self.seed}"


class Outcome(NamedTuple):
    """What a job found.

    Attributes:
        predictions: `(examples, outputs)` of the fold's test part; empty for a search, or if it failed.
        facts: Plain data: parameters, bytes, seconds, microseconds, what was decided; `skipped` or `failed` with the
            reason.
    """

    predictions: Array
    facts: dict[str, Any]


def run(problem: Problem, job: Job, choice: Choice, trials: int) -> Outcome:
    """Does a job.

    Args:
        problem: The data.
        job: What to do.
        choice: What the search of the candidate decided.
        trials: Of a search.
    """
    candidate = BY_NAME[job.candidate]
    fit = candidate.fits[problem.task]
    try:
        for name in candidate.loads:
            importlib.import_module(name)
        started = time.perf_counter()
        if job.fold < 0:
            return _searched(problem, job, trials)
        fold = problem.folds[job.fold]
        model = fit(fold, choice, job.seed)
        seconds = time.perf_counter() - started
        predictions = np.asarray(model.predict(fold.held_out), "float64")
        if not np.isfinite(predictions).all():
            raise ValueError("some of its predictions are not finite.")
    except Unfit as error:
        return Outcome(np.zeros((0, 0)), {"skipped": str(error)})
    except _ERRORS as error:
        return Outcome(np.zeros((0, 0)), {"failed": f"{type(error).__name__}: {' '.join(str(error).split())}"})
    facts = {
        "parameters": int(model.parameters),
        "header_bytes": model.header_bytes,
        "seconds": seconds,
        "microseconds": _microseconds(model, fold.held_out),
        "about": dict(model.about),
        "horizon": model.horizon() if model.horizon is not None and job.fold == len(problem.folds) - 1 else None,
    }
    return Outcome(predictions, facts)


def _microseconds(model: Model, examples: Any) -> float:
    """The median time of a prediction of one example."""
    one, times = examples[:1], []
    for _ in range(_TIMED):
        started = time.perf_counter()
        model.predict(one)
        times.append(time.perf_counter() - started)
    return 1e6 * float(np.median(times))


def _searched(problem: Problem, job: Job, trials: int) -> Outcome:
    """The same small search for each network: the least validation loss of the first fold, over choices of Optuna.

    It is limited by their number and not by a time, so that it ends with the same choice on a slow machine.
    """
    fit, fold = BY_NAME[job.candidate].fits[problem.task], problem.folds[0]
    found: dict[Choice, float] = {}

    def loss(choice: Choice) -> float:
        if choice not in found:
            found[choice] = fit(fold, choice, job.seed).loss
        return found[choice]

    _search(loss, trials, job.seed)
    best = min(found, key=lambda choice: found[choice])
    tried = [choice._asdict() | {"loss": value} for choice, value in found.items()]
    return Outcome(np.zeros((0, 0)), {"choice": best._asdict(), "tried": tried})


def _search(loss: Callable[[Choice], float], trials: int, seed: int) -> None:
    """Calls `loss` with the default choice and with those that Optuna proposes."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(Choice()._asdict())
    study.optimize(
        lambda trial: loss(
            Choice(trial.suggest_categorical("units", UNITS), trial.suggest_categorical("learning_rate", RATES))
        ),
        n_trials=trials,
    )
