# SPDX-License-Identifier: Apache-2.0
"""Trains a network on windows, so that it can be stopped at any moment and resumed with the same result.

In: a compiled network, windows, a folder. Out: the network with its best weights, and a history. After every epoch one
file holds everything: weights, optimizer, best weights, history. The windows of a batch depend on the seed and the
epoch alone.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from elman import checkpoint
from elman.errors import DataError
from elman.forecasting.run import CHECKPOINT
from elman.forecasting.windows import Windows

EVALUATION_BATCH = 1024
PATIENCE = 15  # epochs without a better validation error, after which training ends
_HALVE = 5  # such epochs; after each such number the learning rate is halved
_AT_ONCE = 16  # steps that TensorFlow runs per call, so that the loop costs little


class Progress(NamedTuple):
    """How far training is.

    Attributes:
        epoch: The current one, from 1.
        epochs: How many there are at most.
        step: Steps done in this epoch.
        steps: Steps of an epoch.
        validation: Mean squared error of the standardized target after the previous epoch.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    validation: float | None


class Outcome(NamedTuple):
    """The result of training.

    Attributes:
        history: For every epoch, and before the first: `epoch`, `train`, `validation` (mean squared errors of the
            standardized target), `seconds`.
        best_epoch: The epoch whose weights the network has; 0 is before the first.
        resumed: The epoch of the checkpoint that training started from, or `None`.
        interrupted: Whether Ctrl-C ended it.
    """

    history: list[dict[str, Any]]
    best_epoch: int
    resumed: int | None
    interrupted: bool


class Batches(keras.utils.PyDataset):
    """Windows in batches, shuffled again for every epoch, or in order. They are gathered when they are used."""

    def __init__(
        self, windows: Windows, starts: np.ndarray, batch_size: int, scale: tuple[float, float], seed: int | None = None
    ) -> None:
        super().__init__()
        self.windows, self.starts, self.batch_size, self.scale, self.seed = windows, starts, batch_size, scale, seed
        self._order = starts

    def shuffle(self, epoch: int) -> None:
        """Sets the order of an epoch."""
        self._order = np.random.default_rng((self.seed or 0, epoch)).permutation(self.starts)

    def __len__(self) -> int:
        return math.ceil(len(self.starts) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        starts = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        mean, std = self.scale
        targets = (self.windows.targets(starts) - mean) / std
        return self.windows.inputs(starts), targets.astype("float32")


def compile_for(network: Any, learning_rate: float, steps: int) -> None:
    """Compiles a network for training: mean squared error, Adam, gradients clipped to norm 1."""
    at_once = _AT_ONCE if keras.config.backend() == "tensorflow" and steps >= 4 * _AT_ONCE else 1
    optimizer = keras.optimizers.Adam(learning_rate, clipnorm=1.0)
    network.compile(optimizer, "mse", steps_per_execution=at_once)
    optimizer.build(network.trainable_variables)


def train(
    network: Any,
    train_batches: Batches,
    validation_batches: Batches,
    *,
    epochs: int,
    folder: Path,
    tell: Callable[[Progress], None] | None,
) -> Outcome:
    """Trains, starting from the folder's checkpoint if it has one, and sets the best weights.

    Raises:
        DataError: If the checkpoint cannot be written, is damaged, or is of another backend.
    """
    keeper = _Keeper(train_batches, folder, epochs, tell)
    keeper.set_model(network)
    resumed = keeper.load()
    if resumed is None:
        keeper.begin(float(network.evaluate(validation_batches, verbose=0)))
    with _interrupts(keeper.interrupt):
        if not keeper.ended():
            network.fit(
                train_batches,
                validation_data=validation_batches,
                initial_epoch=len(keeper.history) - 1,
                epochs=epochs,
                shuffle=False,
                verbose=0,
                callbacks=[keeper],
            )
    network.set_weights(keeper.best)
    return Outcome(
        keeper.history, len(keeper.history) - 1 - keeper.waited(), resumed, keeper.interrupted and not keeper.ended()
    )


def weights_of(model: Any) -> list[np.ndarray]:
    """Copies of the weights. On PyTorch `get_weights` returns the memory that training writes to."""
    return [np.array(weight, order="C") for weight in model.get_weights()]


class _Keeper(keras.callbacks.Callback):
    """Early stopping, the learning rate, and the checkpoint. Its state is the history and the best weights."""

    def __init__(self, batches: Batches, folder: Path, epochs: int, tell: Callable[[Progress], None] | None) -> None:
        super().__init__()
        self.batches, self.path, self.epochs, self.tell = batches, folder / CHECKPOINT, epochs, tell
        self.history: list[dict[str, Any]] = []
        self.best: list[np.ndarray] = []
        self.interrupted = False
        self._started = 0.0

    def begin(self, validation: float) -> None:
        """Records the untrained network, which may turn out to be the best."""
        self.history = [{"epoch": 0, "train": None, "validation": validation, "seconds": 0.0}]
        self.best = weights_of(self.model)

    def interrupt(self) -> None:
        """Makes this epoch the last one."""
        self.interrupted = True

    def waited(self) -> int:
        """Epochs since the best one."""
        errors = [epoch["validation"] for epoch in self.history]
        return len(errors) - 1 - int(np.nanargmin(errors))

    def ended(self) -> bool:
        """Whether training is over, apart from Ctrl-C."""
        return len(self.history) > self.epochs or self.waited() >= PATIENCE

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.batches.shuffle(epoch)
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.tell:
            validation = self.history[-1]["validation"]
            self.tell(Progress(len(self.history), self.epochs, batch + 1, len(self.batches), validation))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        seconds = time.perf_counter() - self._started
        train, validation = float(logs["loss"]), float(logs["val_loss"])
        self.history.append({"epoch": epoch + 1, "train": train, "validation": validation, "seconds": seconds})
        waited = self.waited()
        if waited == 0:
            self.best = weights_of(self.model)
        elif waited % _HALVE == 0:
            rate = self.model.optimizer.learning_rate
            rate.assign(rate * 0.5)
        self.save()
        if self.interrupted or self.ended():
            self.model.stop_training = True

    # --- the checkpoint ----------------------------------------------------------------------------------------

    def _variables(self) -> list[Any]:
        return [*self.model.weights, *self.model.optimizer.variables]

    def save(self) -> None:
        """Writes everything that is needed to resume training."""
        arrays = {f"now/{i}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(self._variables())}
        arrays |= {f"best/{i}": value for i, value in enumerate(self.best)}
        checkpoint.write(self.path, arrays, {"history": json.dumps(self.history), "backend": keras.config.backend()})

    def load(self) -> int | None:
        """Reads the checkpoint, if it exists, and returns its epoch."""
        if not self.path.exists():
            return None
        arrays, texts = checkpoint.read(self.path)
        if texts["backend"] != keras.config.backend():
            raise DataError(
                f"{self.path.parent} was begun on {texts['backend']}, and Keras runs on {keras.config.backend()}. Set "
                f"KERAS_BACKEND={texts['backend']}, or start again with fresh (--fresh)."
            )
        for i, variable in enumerate(self._variables()):
            variable.assign(arrays[f"now/{i}"])
        self.best = [arrays[f"best/{i}"] for i in range(len(self.model.weights))]
        self.history = json.loads(texts["history"])
        return len(self.history) - 1


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
