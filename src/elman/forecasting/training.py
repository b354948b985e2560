# SPDX-License-Identifier: Apache-2.0
"""Trains forecasters on windows, so that they can be stopped at any moment and resumed with the same result.

In: networks, windows, files for checkpoints. Out: the networks with their best weights, and a history of each.
`Network.fit` writes the checkpoint after each epoch; the first Ctrl-C lets the epochs end.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from elman import _native, network
from elman.forecasting.parts import PARTS
from elman.forecasting.settings import Settings
from elman.forecasting.windows import Windows, blocks
from elman.network import Batch, History, Network

PATIENCE = 15  # epochs without a better validation error, after which training ends; each 5 halve the learning rate
_NORM = 1.0  # largest norm of the gradient
_LOOK = 0.1  # seconds between two looks for a signal


class Examples:
    """Windows and their standardized targets, gathered batch by batch: a `Source` of `Network.fit`.

    Args:
        windows: The windows.
        starts: First row of each.
        mean: Of the target, in the training part; of each output, if there are several targets.
        std: Likewise.
        judge: Whether they are to judge by, so that filled targets do not count.
    """

    def __init__(self, windows: Windows, starts: np.ndarray, mean: Any, std: Any, *, judge: bool = False) -> None:
        self.windows, self.starts, self.judge = windows, starts, judge and windows.made is not None
        self.mean, self.std = np.float32(mean), np.float32(std)
        self._blocks = blocks(windows.rows, windows.window)  # a view that takes longer to make than a batch to gather
        self._shape = (windows.window, windows.rows.shape[1])

    def __len__(self) -> int:
        return len(self.starts)

    def batch(self, indices: np.ndarray) -> Batch:
        """The windows of these numbers."""
        starts = self.starts[indices]
        x = self._blocks[starts].reshape(len(starts), *self._shape)
        y = (self.windows.targets(starts) - self.mean) / self.std
        if not self.judge:
            return Batch(x, y)
        missing = self.windows.filled(starts)
        known = np.maximum((~missing).sum(1), 1)
        return Batch(x, y, weight=(self.windows.outputs / known).astype("float32"), missing=missing)


class Progress(NamedTuple):
    """Where the trainings of a run are. The first fields are those of `elman.network.Progress`, of one of them.

    Attributes:
        epoch: Number of the epoch, from 1.
        epochs: The most epochs there will be.
        step: Number of the step in the epoch, from 1.
        steps: Steps of an epoch.
        loss: Mean loss of the epoch so far.
        batch_loss: Loss of the step's batch, before the step.
        validation_loss: Of the last epoch that has ended, or before training.
        training: Number of the training, from 1: the seeds of the first origin, then those of the next one.
        trainings: How many there are. Several of them may run at the same time.
        done: What is done of all of them, in trainings; one that has ended counts as 1.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    batch_loss: float
    validation_loss: float | None
    training: int
    trainings: int
    done: float


class Job(NamedTuple):
    """One training.

    Attributes:
        network: A network of `forecaster.build`, which gets the best weights.
        windows: The windows of each part.
        scale: Mean and standard deviation of the target in the training part, or of each output.
        seed: Of the order of windows.
        checkpoint: Where it is kept.
    """

    network: Network
    windows: Windows
    scale: tuple[Any, Any]
    seed: int
    checkpoint: Path


class _Ended(Exception):
    """Another training failed, or the user pressed Ctrl-C twice."""


def train_all(jobs: list[Job], settings: Settings, batch_size: int, tell: Callable[[Progress], None]) -> list[History]:
    """Trains several networks, as many at a time as there are processors, each from its checkpoint if there is one.

    The trainings know nothing of each other, so that the numbers do not depend on how many run at a time.

    Args:
        jobs: The trainings.
        settings: Epochs and learning rate.
        batch_size: Windows per step.
        tell: Called after each step of each training, by one thread at a time.

    Returns:
        The history of each.

    Raises:
        DataError: If a checkpoint cannot be written, or is damaged.
    """
    stopping, failed, lock = threading.Event(), threading.Event(), threading.Lock()
    done = [0.0] * len(jobs)

    def work(number: int) -> History:
        def step(now: network.Progress) -> None:
            if failed.is_set():
                raise _Ended
            with lock:
                done[number] = (now.epoch - 1 + now.step / now.steps) / now.epochs
                tell(Progress(*now, number + 1, len(jobs), sum(done)))

        try:
            history = _train(jobs[number], settings, batch_size, step, stopping.is_set)
        except BaseException:
            failed.set()
            raise
        done[number] = 1.0
        return history

    workers = min(len(jobs), _native.num_threads())
    with _interrupts(stopping.set):
        if workers == 1:
            return [work(number) for number in range(len(jobs))]
        with ThreadPoolExecutor(workers, "elman-fit") as pool, _one_thread_each:
            futures = [pool.submit(work, number) for number in range(len(jobs))]
            try:
                while wait(futures, _LOOK).not_done:  # wakes up, so that a signal is handled
                    pass
            except BaseException:
                failed.set()
                raise
    first = next((error for each in futures if not isinstance(error := each.exception(), _Ended | None)), None)
    if first is not None:
        raise first
    return [each.result() for each in futures]


def _train(
    job: Job, settings: Settings, batch_size: int, tell: Callable[[network.Progress], None], stop: Callable[[], bool]
) -> History:
    examples, validation = (
        Examples(job.windows, job.windows.starts[part], *job.scale, judge=part == "validation") for part in PARTS[:2]
    )
    return job.network.fit(
        examples,
        validation_data=validation,
        learning_rate=settings.learning_rate,
        clip_norm=_NORM,
        batch_size=batch_size,
        epochs=settings.epochs,
        patience=PATIENCE,
        seed=job.seed,
        tell=tell,
        stop=stop,
        checkpoint=job.checkpoint,
    )


class _OneThread:
    """While trainings share the processors, a native call of each uses one. Several fits may be under way at once."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, 1

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = _native.num_threads()
                _native.set_num_threads(1)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                _native.set_num_threads(self._before)


_one_thread_each = _OneThread()


@contextmanager
def _interrupts(interrupt: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C calls `interrupt`, the second raises KeyboardInterrupt.

    Signals reach only the main thread. If they are ignored, as in the background of a shell, they stay ignored.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield
        return

    def handle(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        interrupt()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
