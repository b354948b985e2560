# SPDX-License-Identifier: Apache-2.0
"""Trains a network of an experiment: with Adam until it has learned its task, or with plain gradient descent.

In: a network, a task, a budget of steps. Out: its error on examples that it has not seen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from elman.claims.tasks import Data
from elman.network import Network

Array = np.ndarray
BATCH = 32
UNSEEN = 512  # examples
LEARNED = 0.5  # an error below which a task counts as learned: answering the mean has 1
DIVERGED = 10.0  # an error above which training has diverged, if it is a number at all


class Learned(NamedTuple):
    """A training that has ended.

    Attributes:
        network: The network.
        error: On unseen examples: the mean squared error over the variance of the targets, or the share of wrong
            classes; infinite if training diverged.
        steps: Updates that were made.
        epoch: The least seconds of an epoch; NaN if none was timed.
    """

    network: Network
    error: float
    steps: int
    epoch: float = np.nan


def error(network: Network, data: Data) -> float:
    """The error on examples: of numbers the mean squared error over their variance, of classes the share of wrong ones.

    A network whose output is not finite has an infinite error.
    """
    y = network(data.x)
    if not np.isfinite(y).all():
        return np.inf
    if data.y.dtype.kind == "i":
        return float((y.argmax(axis=-1) != data.y).mean())
    return float(((y.reshape(data.y.shape) - data.y) ** 2).mean() / data.y.var())


def train(
    network: Network,
    seen: Data,
    unseen: Data,
    *,
    steps: int,
    learning_rate: float = 0.005,
    enough: float = 0.0,
    seed: int = 0,
    clip_norm: float | None = 1.0,
    batch: int = BATCH,
) -> Learned:
    """Trains with Adam for a number of steps, or until the training loss of an epoch is low enough.

    Args:
        network: The network; it is changed.
        seen: Examples to learn from.
        unseen: Examples to judge by.
        steps: Updates, rounded up to whole epochs.
        learning_rate: Size of a step.
        enough: The training ends after an epoch whose mean loss is at most this.
        seed: Of the order of the examples.
        clip_norm: As `Network.fit` takes it.
        batch: Examples in a step.
    """
    classes = seen.y.dtype.kind == "i"
    last = [np.inf]
    per_epoch = -(-len(seen.x) // batch)
    history = network.fit(
        seen.x,
        seen.y,
        loss="sparse_categorical_crossentropy" if classes else "mse",
        learning_rate=learning_rate,
        clip_norm=clip_norm,
        batch_size=batch,
        epochs=-(-steps // per_epoch),
        seed=seed,
        tell=lambda now: last.__setitem__(0, now.loss),
        stop=lambda: last[0] <= enough or not np.isfinite(last[0]),
    )
    return Learned(network, error(network, unseen), per_epoch * len(history.loss), min(history.seconds))


def descend(
    network: Network,
    seen: Data,
    unseen: Data,
    *,
    steps: int,
    learning_rate: float,
    clip_norm: float | None,
    seed: int = 0,
) -> Learned:
    """Trains by plain gradient descent on the mean squared error: w <- w - learning_rate g.

    Args:
        network: The network; it is changed.
        seen: Examples to learn from.
        unseen: Examples to judge by.
        steps: Updates.
        learning_rate: Size of a step.
        clip_norm: Largest L2 norm of the gradient, over all weights jointly; `None`: any.
        seed: Of the order of the examples.
    """
    rng = np.random.default_rng(seed)
    x, targets = network.input(seen.x), seen.y.astype(network.dtype)
    for step in range(steps):
        chosen = rng.integers(0, len(x), BATCH)
        y, _ = network.forward(np.ascontiguousarray(x[chosen]))
        network.backward(2 * (y - targets[chosen]) / y.size)
        norm = float(np.linalg.norm(network.gradient))
        if not np.isfinite(norm):
            return Learned(network, np.inf, step)
        shrunk = 1.0 if clip_norm is None else min(1.0, clip_norm / max(norm, 1e-30))
        network.flat -= network.dtype.type(learning_rate * shrunk) * network.gradient
    return Learned(network, error(network, unseen), steps)
