# SPDX-License-Identifier: Apache-2.0
"""Trains a forecaster on windows, so that it can be stopped at any moment and resumed with the same result.

In: a network, windows, a folder. Out: the network with its best weights, and a history. `Network.fit` writes the
checkpoint after each epoch; the first Ctrl-C lets the epoch end.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from elman.forecasting.run import CHECKPOINT
from elman.forecasting.settings import Settings
from elman.forecasting.windows import Windows, blocks
from elman.network import Batch, History, Network, Progress

PATIENCE = 15  # epochs without a better validation error, after which training ends; each 5 halve the learning rate
_NORM = 1.0  # largest norm of the gradient


class Examples:
    """Windows and their standardized targets, gathered batch by batch: a `Source` of `Network.fit`.

    Args:
        windows: The windows.
        starts: First row of each.
        mean: Of the target, in the training part.
        std: Likewise.
    """

    def __init__(self, windows: Windows, starts: np.ndarray, mean: float, std: float) -> None:
        self.windows, self.starts, self.mean, self.std = windows, starts, mean, std
        self._blocks = blocks(windows.rows, windows.window)  # a view that takes longer to make than a batch to gather
        self._shape = (windows.window, windows.rows.shape[1])

    def __len__(self) -> int:
        return len(self.starts)

    def batch(self, indices: np.ndarray) -> Batch:
        """The windows of these numbers."""
        starts = self.starts[indices]
        x = self._blocks[starts].reshape(len(starts), *self._shape)
        return Batch(x, (self.windows.targets(starts) - self.mean) / self.std)


def train(
    network: Network,
    windows: Windows,
    scale: tuple[float, float],
    settings: Settings,
    *,
    batch_size: int,
    folder: Path,
    tell: Callable[[Progress], None] | None,
) -> History:
    """Trains, starting from the folder's checkpoint if it has one, and leaves the best weights in the network.

    Args:
        network: A network of `forecaster.build`.
        windows: The windows of each part.
        scale: Mean and standard deviation of the target.
        settings: Epochs, learning rate and seed.
        batch_size: Windows per step.
        folder: Where the checkpoint is.
        tell: Called after each step.

    Raises:
        DataError: If the checkpoint cannot be written, or is damaged.
    """
    examples, validation = (Examples(windows, windows.starts[part], *scale) for part in ("train", "validation"))
    stopping = threading.Event()
    with _interrupts(stopping.set):
        return network.fit(
            examples,
            validation_data=validation,
            learning_rate=settings.learning_rate,
            clip_norm=_NORM,
            batch_size=batch_size,
            epochs=settings.epochs,
            patience=PATIENCE,
            seed=settings.seed,
            tell=tell,
            stop=stopping.is_set,
            checkpoint=folder / CHECKPOINT,
        )


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
