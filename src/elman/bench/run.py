# SPDX-License-Identifier: Apache-2.0
"""One run: all workers live from the first shape to the last; on each shape they are checked, then timed in turns.

In: what to time. Out: a `Report`. Rounds are interleaved, so that a change of the machine's speed affects all alike.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from elman._native import NativeUnavailable
from elman._native import reason as native_reason
from elman.bench import check, clock, peers, report
from elman.bench.report import Report
from elman.bench.shapes import DEFAULT, ONE_STEP, PASSES, QUICK, Array, Problem, Shape, problem
from elman.bench.worker import Worker
from elman.cells import BY_KERAS
from elman.checks import did_you_mean

TIMED = tuple(cell.name for cell in BY_KERAS.values())  # the cells that have peers
PEAK_MILLISECONDS = 5
TWO_THREADS = "elman on numpy, 2 threads"

Tell = Callable[[str], None]


def bench(
    cell: str = "simple_rnn",
    shapes: Sequence[Shape] | None = None,
    backends: Sequence[str] = peers.BACKENDS,
    repeats: int | None = None,
    quick: bool = False,
    seed: int = 0,
    command: Sequence[str] | None = None,
    tell: Tell = lambda sentence: None,
) -> Report:
    """Times a function of elman against stock Keras on each backend and `torch.nn`, in one run.

    Args:
        cell: `"simple_rnn"`, `"lstm"` or `"gru"`.
        shapes: Shapes to time; `DEFAULT` if there are none.
        backends: Names out of `BACKENDS`. One that is not installed is left out, and the report says so. The
            shares of the machine's peak need `"numpy"`.
        repeats: Rounds over all workers; medians are over rounds. 15 by default.
        quick: Two small shapes, 3 rounds and short timings, unless `shapes` or `repeats` say otherwise.
        seed: Seed of the arrays.
        command: The words of the command that made the report; the report keeps them.
        tell: Called with a sentence at each stage of the run.

    Returns:
        A `Report`.

    Raises:
        ValueError: If an argument is not one of the expected.
        elman.NativeUnavailable: If the native library cannot be opened: there is nothing to time.
        RuntimeError: If a framework's process ends.
    """
    if cell not in TIMED:
        raise ValueError(f"cell is {cell!r}; expected one of {', '.join(TIMED)}.{did_you_mean(cell, TIMED)}")
    if repeats is not None and repeats < 1:
        raise ValueError(f"repeats is {repeats}; expected a positive number of rounds.")
    here, left_out = peers.installed(backends)
    if reason := native_reason():
        raise NativeUnavailable(f"There is nothing to time: {reason}")
    shapes = tuple(shapes or (QUICK if quick else DEFAULT))
    repeats = repeats or (3 if quick else 15)
    seconds = 0.003 if quick else 0.03
    machine = report.machine()
    with ExitStack() as stack:
        workers = {backend: stack.enter_context(Worker(backend)) for backend in here}
        tell(f"starting {', '.join(workers)}")
        facts = {backend: worker.ask("facts") for backend, worker in workers.items()}
        run = _Run(workers, facts, repeats, seconds, seed, cell)
        rows = []
        for number, shape in enumerate(shapes, 1):
            tell(f"shape {number} of {len(shapes)}: {shape}")
            rows.append(run.measure(shape))
        one_step = run.measure(ONE_STEP, only="elman on numpy") if "numpy" in workers else None
    return Report.of(
        rows,
        one_step,
        facts,
        {
            "cell": cell,
            "command": None if command is None else list(command),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seed": seed,
            "repeats": repeats,
            "seconds_per_timing": seconds,
            "left_out": left_out,
            "machine": machine,
        },
    )


class _Run:
    """The workers and how they take turns."""

    def __init__(
        self,
        workers: Mapping[str, Worker],
        facts: Mapping[str, dict[str, Any]],
        repeats: int,
        seconds: float,
        seed: int,
        cell: str,
    ) -> None:
        self.workers, self.repeats, self.seconds, self.seed, self.cell = workers, repeats, seconds, seed, cell
        self.threads: int | None = facts["numpy"]["threads"] if "numpy" in facts else None

    def measure(self, shape: Shape, only: str | None = None) -> report.Measured:
        """Checks, then times, every subject (or the one that is named) on one shape."""
        workers = {name: w for name, w in self.workers.items() if only is None or name == peers.named(only).backend}
        given = problem(shape, self.seed, self.cell)
        results, left_out, refused = self._check(given, workers)
        subjects = [name for name in results if name not in refused and (only is None or name == only)]
        counts = {
            (name, which): workers[peers.named(name).backend].ask("count", name, which, self.seconds)
            for name in subjects
            for which in PASSES
        }
        busy = clock.busy_cpus()
        measured = report.Measured(shape, counts, {key: [] for key in counts}, {}, left_out, refused, set(), busy)
        for first in range(self.repeats):
            order = list(workers)
            for backend in (*order[first % len(order) :], *order[: first % len(order)]):
                self._turn(backend, workers[backend], measured)
        return measured

    def _check(
        self, given: Problem, workers: Mapping[str, Worker]
    ) -> tuple[dict[str, list[Array]], dict[str, str], dict[str, str]]:
        """Every subject's results; why some are left out; why some are refused."""
        answers = {name: answer for worker in workers.values() for name, answer in worker.ask("prepare", given).items()}
        left_out = {name: answer for name, answer in answers.items() if isinstance(answer, str)}
        results = {name: answer for name, answer in answers.items() if not isinstance(answer, str)}
        if self.threads == 1:
            del results[TWO_THREADS]
            left_out[TWO_THREADS] = f"{TWO_THREADS} is left out: a call may use one thread here."
        stock = [subject.name for subject in peers.SUBJECTS if subject.stock]
        refused = check.differences(given, results, stock)
        clock.settle()
        return results, left_out, refused

    def _turn(self, backend: str, worker: Worker, measured: report.Measured) -> None:
        """One timing of everything that this worker has."""
        for name, which in measured.counts:
            if peers.named(name).backend == backend:
                seconds, slept = worker.ask("time", name, which, measured.counts[name, which])
                measured.samples[name, which].append(seconds)
                if not slept:
                    measured.restless.add(name)
        if backend == "numpy" and self.threads:
            for threads in {1, self.threads}:
                measured.peaks.setdefault(threads, []).append(worker.ask("peak", threads, PEAK_MILLISECONDS))
