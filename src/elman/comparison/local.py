# SPDX-License-Identifier: Apache-2.0
"""Does jobs one after the other in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from elman.comparison import jobs
from elman.comparison.jobs import Job, Outcome
from elman.comparison.model import Choice
from elman.comparison.problem import Problem
from elman.comparison.store import Store


def run(
    problem: Problem,
    todo: Iterable[tuple[Job, Choice]],
    trials: int,
    store: Store,
    ended: Callable[[Job, Outcome], None],
) -> None:
    """Does the jobs that the store lacks.

    Args:
        problem: The data.
        todo: The jobs, each with the choice of its candidate.
        trials: Of a search.
        store: Where outcomes are.
        ended: Called with each job and its outcome.
    """
    for job, choice in todo:
        outcome = store.get(job)
        if outcome is None:
            outcome = jobs.run(problem, job, choice, trials)
            store.put(job, outcome)
        ended(job, outcome)
