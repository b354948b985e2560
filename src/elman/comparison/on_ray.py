# SPDX-License-Identifier: Apache-2.0
"""Does jobs as tasks of Ray, on this machine or on a cluster. Outcomes are those of `local`, in any order.

A task whose worker is lost is started again by Ray. If the driver is killed, the outcomes that have ended are in the
store, as always.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from elman.comparison import jobs
from elman.comparison.jobs import Job, Outcome
from elman.comparison.model import Choice
from elman.comparison.problem import Problem
from elman.comparison.store import Store
from elman.errors import DataError
from elman.forecasting.csv_files import first_line

LOCAL = "local"
_RETRIES = 5  # of a task whose worker is lost


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Ray at an address, or started here for `"local"`. A Ray that this process has connected before is used.

    Raises:
        DataError: If no cluster answers.
        ImportError: If Ray is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ImportError(
            f'ray={address!r} needs Ray, not installed here. Install with: python -m pip install "elman[ray]".'
        ) from error
    if ray.is_initialized():
        yield
        return
    where: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {"address": address}
    try:
        ray.init(log_to_driver=False, logging_level="error", **where)
    except ConnectionError as error:
        raise DataError(
            f"ray is {address!r}, and no Ray cluster answers there ({first_line(error)}); expected the address of one "
            "that runs. Start it with ray start --head, or pass 'local' (--ray local)."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def run(
    problem: Problem,
    todo: Iterable[tuple[Job, Choice]],
    trials: int,
    store: Store,
    ended: Callable[[Job, Outcome], None],
) -> None:
    """Does the jobs that the store lacks; the arguments are those of `local.run`."""
    import ray

    work = ray.remote(max_retries=_RETRIES)(jobs.run)
    shared = ray.put(problem._replace(scores=None, history=None, whole=None))  # workers do not judge
    waiting: dict[Any, Job] = {}
    for job, choice in todo:
        outcome = store.get(job)
        if outcome is None:
            waiting[work.remote(shared, job, choice, trials)] = job
        else:
            ended(job, outcome)
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        job, outcome = waiting.pop(done), ray.get(done)
        store.put(job, outcome)
        ended(job, outcome)
