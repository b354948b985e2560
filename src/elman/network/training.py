# SPDX-License-Identifier: Apache-2.0
"""Trains a network: batches in, one native pass each way, one update of one vector.

In: a network, arrays or a source of examples, options. Out: a `History`; the network has its best weights. A run with a
checkpoint can be stopped at any moment and ends with the same bits: the order of examples and the dropout masks of an
epoch depend on the seed and the epoch alone.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from elman.checks import is_integer, is_real, positive_integer
from elman.errors import DataError
from elman.network import losses, optimizers

if TYPE_CHECKING:
    from elman.network.network import Network

Array = np.ndarray
_HALVINGS = 3  # times that the learning rate is halved within the patience, less one


class Batch(NamedTuple):
    """Some examples.

    Attributes:
        x: Input, `(examples, time, features)`, or as the network takes it.
        y: Targets, one row for each example.
        mask: Booleans `(examples, time)`, true where a step is valid, or `None`.
        weight: Weight of each example `(examples,)` or of each step `(examples, time)`, or `None`.
        missing: Booleans like the output: which targets do not count when a loss is measured; `None` if all do.
    """

    x: Array
    y: Array
    mask: Array | None = None
    weight: Array | None = None
    missing: Array | None = None


class Source(Protocol):
    """Examples that are gathered when they are wanted, so that they are never laid out side by side."""

    def __len__(self) -> int:
        """How many examples there are."""

    def batch(self, indices: Array) -> Batch:
        """The examples of these numbers. The next call may overwrite them.

        Args:
            indices: Integers `(examples,)`, from 0 to the number of examples.
        """


class Progress(NamedTuple):
    """Where training is.

    Attributes:
        epoch: Number of the epoch, from 1.
        epochs: The most epochs there will be.
        step: Number of the step in the epoch, from 1.
        steps: Steps of an epoch.
        loss: Mean loss of the epoch so far.
        batch_loss: Loss of the step's batch, before the step.
        validation_loss: Of the last epoch that has ended, or before training; `None` without validation data.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    batch_loss: float
    validation_loss: float | None


@dataclasses.dataclass
class History:
    """What training found.

    Attributes:
        loss: Mean training loss of each epoch.
        validation_loss: Loss of the validation data after each epoch; empty without such data.
        seconds: What each epoch took, without the checkpoint.
        untrained_loss: Loss of the validation data before training, or `None`.
        best_epoch: Number of the epoch, from 1, whose weights the network has; 0 stands for those from before training.
        resumed: Epochs that a checkpoint had, or `None` if there was no checkpoint.
        stopped: Whether `stop` ended training.
    """

    loss: list[float] = dataclasses.field(default_factory=list)
    validation_loss: list[float] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    untrained_loss: float | None = None
    best_epoch: int = 0
    resumed: int | None = None
    stopped: bool = False


class Arrays:
    """Examples in arrays; a `Source`."""

    def __init__(self, network: Network, x: Any, y: Any, weight: Any = None, mask: Any = None) -> None:
        self.x = network.input(x)
        self.y = np.ascontiguousarray(y)
        if self.y.dtype.kind == "f":
            self.y = self.y.astype(network.dtype, copy=False)
        self.mask = network.valid(self.x, mask, None)
        self.weight = None if weight is None else np.asarray(weight, network.dtype)
        self._memory: dict[str, Array] = {}
        for name, array in (("y", self.y), ("sample_weight", self.weight)):
            if array is not None and len(array) != len(self.x):
                raise ValueError(f"x has {len(self.x)} examples, and {name} has {len(array)}; expected as many.")

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: Array) -> Batch:
        """The examples of these numbers, in memory that the next call overwrites."""
        mask, weight = (
            None if array is None else self._take(name, array, indices)
            for name, array in (("mask", self.mask), ("weight", self.weight))
        )
        return Batch(self._take("x", self.x, indices), self._take("y", self.y, indices), mask, weight)

    def _take(self, name: str, array: Array, indices: Array) -> Array:
        memory = self._memory.get(name)
        if memory is None or len(memory) < len(indices):
            memory = self._memory[name] = np.empty((len(indices), *array.shape[1:]), array.dtype)
        # The indices are in range. With mode="raise" NumPy would fill a copy first.
        return np.take(array, indices, axis=0, out=memory[: len(indices)], mode="clip")


@dataclasses.dataclass(frozen=True)
class Options:
    """How to train; the arguments of `fit`, checked."""

    loss: losses.Loss
    optimizer: str
    learning_rate: float
    clip_norm: float | None
    batch_size: int
    epochs: int
    shuffle: bool
    patience: int | None
    seed: int

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", *(["patience"] if self.patience is not None else [])):
            positive_integer(name, getattr(self, name))
        for name in ("learning_rate", *(["clip_norm"] if self.clip_norm is not None else [])):
            value = getattr(self, name)
            if not is_real(value) or value <= 0:
                raise ValueError(f"{name} is {value!r}; expected a positive number.")
        if not is_integer(self.seed, least=0):
            raise ValueError(f"seed is {self.seed!r}; expected an integer from 0.")


def fit(
    network: Network,
    x: Any,
    y: Any,
    options: Options,
    *,
    validation_data: Any,
    sample_weight: Any,
    mask: Any,
    tell: Callable[[Progress], None] | None,
    stop: Callable[[], bool] | None,
    checkpoint: str | Path | None,
) -> History:
    """Trains a network, as `Network.fit` says."""
    if options.patience is not None and validation_data is None:
        raise ValueError("patience needs validation_data, whose loss says when to stop. Pass validation_data=(x, y).")
    if hasattr(x, "batch"):
        source: Source = x
    else:
        source = Arrays(network, x, y, sample_weight, mask)
    if not len(source):
        raise ValueError("x has no example; expected at least one.")
    validation: Source | None = None
    if validation_data is not None:
        validation = validation_data if hasattr(validation_data, "batch") else _validation(network, validation_data)
    for each in filter(None, (source, validation)):
        _check_targets(network, each, options.loss)
    run = _Run(network, source, validation, options)
    return run.train(tell, stop, None if checkpoint is None else Path(checkpoint))


def _validation(network: Network, data: Any) -> Arrays:
    if not isinstance(data, tuple | list) or not 2 <= len(data) <= 4:
        got = f"{len(data)} of them" if isinstance(data, tuple | list) else type(data).__name__
        raise TypeError(
            f"validation_data got {got}; expected (x, y), (x, y, sample_weight) or (x, y, sample_weight, mask). Pass "
            "such a tuple, with None for what there is not."
        )
    return Arrays(network, *data)


def evaluate(network: Network, source: Source, loss: losses.Loss, batch_size: int) -> float:
    """The mean loss over a source, without dropout."""
    total = 0.0
    for first in range(0, len(source), batch_size):
        batch = source.batch(np.arange(first, min(first + batch_size, len(source))))
        y, mask = network.op(batch.x.shape, training=False).forward(batch.x, batch.mask)
        of_batch = losses.BatchLoss(loss, y.shape, y.dtype, wants_gradient=False)
        target = batch.y if batch.missing is None else np.where(batch.missing, y, batch.y)  # no error there
        total += of_batch(y, target, batch.weight, mask) * len(batch.x)
    return total / len(source)


def _check_targets(network: Network, source: Source, loss: losses.Loss) -> None:
    """Checks the shape of one target, and the values of all that are in an array.

    Raises:
        ValueError: If a target does not have the output's shape, or is not the number of a class where it must be.
    """
    batch = source.batch(np.arange(1))
    y, _ = network.op(batch.x.shape, training=False).forward(batch.x, batch.mask)
    expected = y.shape[:-1] if loss.classes else y.shape
    allowed = (
        {expected, (*expected, 1)} if loss.classes else {expected} | ({expected[:-1]} if expected[-1] == 1 else set())
    )
    if batch.y.shape not in allowed:
        raise ValueError(
            f"y has shape (batch, {', '.join(map(str, batch.y.shape[1:]))}), and the network returns (batch, "
            f"{', '.join(map(str, y.shape[1:]))}); expected (batch, {', '.join(map(str, expected[1:]))}). Change the "
            "last layer, or return_sequences of the last recurrent one."
        )
    if batch.y.dtype.kind not in "iufb":
        raise ValueError(f"y has dtype {batch.y.dtype}; expected numbers.")
    if batch.weight is not None and batch.weight.shape not in {y.shape[:n] for n in range(1, y.ndim)}:
        raise ValueError(
            f"sample_weight has shape (batch, {', '.join(map(str, batch.weight.shape[1:]))}), and the network returns "
            f"(batch, {', '.join(map(str, y.shape[1:]))}); expected (batch,), or (batch, time) where there is an "
            "output for each step. Leave out the other axes."
        )
    if loss.classes and isinstance(source, Arrays):  # all at once, before training changes the weights
        losses.check_classes(source.y, y.shape[-1])


def _digest(source: Source) -> str | int:
    """What stands for the examples: a hash of arrays, of other sources the number."""
    if not isinstance(source, Arrays):
        return len(source)
    digest = hashlib.sha256()
    for array in (source.x, source.y, source.weight, source.mask):
        digest.update(b"none" if array is None else f"{array.dtype.str}{array.shape}".encode())
        digest.update(b"" if array is None else np.ascontiguousarray(array))
    return digest.hexdigest()


class _Run:
    """One training: the network, what it learns from, and everything a checkpoint holds."""

    def __init__(self, network: Network, source: Source, validation: Source | None, options: Options) -> None:
        self.network, self.source, self.validation, self.options = network, source, validation, options
        self.optimizer = optimizers.named(options.optimizer, network.flat.size, network.dtype, options.learning_rate)
        self.history = History()
        self.best = network.flat.copy()
        self.best_loss = math.inf
        self.loss: losses.BatchLoss | None = None  # of batches of the last shape

    def train(
        self, tell: Callable[[Progress], None] | None, stop: Callable[[], bool] | None, checkpoint: Path | None
    ) -> History:
        """Trains to the end, from the checkpoint if there is one."""
        if checkpoint is not None and checkpoint.exists():
            self.load(checkpoint)
        elif self.validation is not None:
            self.history.untrained_loss = self.judge(0)
        while not (self.ended() or self.history.stopped):
            started = time.perf_counter()
            self.epoch(len(self.history.loss), tell)
            self.history.seconds.append(time.perf_counter() - started)
            if checkpoint is not None:
                self.save(checkpoint)
            self.history.stopped = stop is not None and stop() and not self.ended()
        if self.validation is not None:
            np.copyto(self.network.flat, self.best)
        return self.history

    def waited(self) -> int:
        """Epochs since the best."""
        return len(self.history.loss) - self.history.best_epoch

    def ended(self) -> bool:
        """Whether there is nothing left to do."""
        patience = self.options.patience
        return len(self.history.loss) >= self.options.epochs or (patience is not None and self.waited() >= patience)

    def epoch(self, number: int, tell: Callable[[Progress], None] | None) -> None:
        """Goes through the examples once."""
        options, examples = self.options, len(self.source)
        generator = np.random.default_rng((options.seed, number))
        self.network.generator.bit_generator.state = np.random.default_rng(
            (options.seed, number, 1)
        ).bit_generator.state
        order = generator.permutation(examples) if options.shuffle else np.arange(examples)
        steps, total = -(-examples // options.batch_size), 0.0
        for step in range(steps):
            indices = order[step * options.batch_size : (step + 1) * options.batch_size]
            loss = self.step(self.source.batch(indices))
            total += loss * len(indices)
            if tell:
                mean = total / (step * options.batch_size + len(indices))
                last = self.history.validation_loss[-1] if self.history.validation_loss else self.history.untrained_loss
                tell(Progress(number + 1, options.epochs, step + 1, steps, mean, loss, last))
        self.history.loss.append(total / examples)
        if self.validation is None:
            self.history.best_epoch = number + 1
        else:
            self.history.validation_loss.append(self.judge(number + 1))

    def step(self, batch: Batch) -> float:
        """One update; returns the loss before it."""
        network, options = self.network, self.options
        op = network.op(batch.x.shape, training=True)
        y, mask = op.forward(batch.x, batch.mask)
        if self.loss is None or self.loss.shape != y.shape:
            self.loss = losses.BatchLoss(options.loss, y.shape, y.dtype)
        value = self.loss(y, batch.y, batch.weight, mask)
        op.backward(self.loss.gradient)
        self.optimizer.step(network.flat, network.gradient, options.clip_norm)
        return value

    def judge(self, number: int) -> float:
        """The validation loss. Keeps the best weights, and halves the learning rate where training does not help."""
        assert self.validation is not None
        value = evaluate(self.network, self.validation, self.options.loss, max(self.options.batch_size, 256))
        waited = number - self.history.best_epoch
        if value < self.best_loss:
            self.best_loss, self.history.best_epoch = value, number
            np.copyto(self.best, self.network.flat)
        elif self.options.patience and waited and waited % max(1, self.options.patience // _HALVINGS) == 0:
            self.optimizer.learning_rate *= 0.5
        return value

    # --- the checkpoint ------------------------------------------------------------------------------------------

    @functools.cached_property
    def identity(self) -> str:
        """What must be the same for a checkpoint to be of this training."""
        options = {
            f.name: getattr(self.options, f.name) for f in dataclasses.fields(self.options) if f.name != "epochs"
        }
        data = [None if source is None else _digest(source) for source in (self.source, self.validation)]
        return json.dumps([self.network.describe(), options, data], default=str)

    def arrays(self) -> dict[str, Array]:
        """What changes while training, apart from the history."""
        return {"weights": self.network.flat, "best": self.best, "m": self.optimizer.m, "v": self.optimizer.v}

    def save(self, path: Path) -> None:
        """Writes everything that training needs to go on."""
        from elman import checkpoint

        state = {
            "history": dataclasses.asdict(self.history),
            "best_loss": self.best_loss,
            "learning_rate": self.optimizer.learning_rate,
            "steps": self.optimizer.steps,
        }
        checkpoint.write(path, self.arrays(), {"state": json.dumps(state), "identity": self.identity})

    def load(self, path: Path) -> None:
        """Reads it back.

        Raises:
            DataError: If the file is damaged or of another training.
        """
        from elman import checkpoint

        arrays, texts = checkpoint.read(path, "Remove it; training then starts again.")
        if texts.get("identity") != self.identity:
            raise DataError(
                f"{path} is the checkpoint of a training with another network, data or options; expected one of this "
                "training. Remove it, or choose another file."
            )
        for name, array in self.arrays().items():
            np.copyto(array, arrays[name])
        state = json.loads(texts["state"])
        self.history = History(**state["history"])
        self.history.resumed = len(self.history.loss)
        self.best_loss = state["best_loss"]
        self.optimizer.learning_rate, self.optimizer.steps = state["learning_rate"], state["steps"]
