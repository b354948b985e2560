# SPDX-License-Identifier: Apache-2.0
"""Tasks for which it is known how far back they ask, and small networks that learn them.

In: a task's name, a lag, a seed; settings of a network. Out: sequences and targets; a trained model and its error.
Sequences start anywhere after masked padding, so that no network can count from their first step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np

import elman

PADDING = -9.0
SOLVED = 0.0025  # the mean squared error over the variance of the targets: off by 5 % of their deviation
FAILED = 0.1
VALIDATION = 512
BATCH = 64


class Data(NamedTuple):
    """Sequences `(examples, time, features)`, targets `(examples, 1)`, and how many steps back the targets ask."""

    x: np.ndarray
    y: np.ndarray
    lag: int


def recall(rng: np.random.Generator, examples: int, lag: int, time: int) -> Data:
    """The input `lag` steps before the last one."""
    x = rng.uniform(-1, 1, (examples, time, 1))
    return Data(x, x[:, -1 - lag], lag)


def adding(rng: np.random.Generator, examples: int, lag: int, time: int) -> Data:
    """The sum of two marked numbers, the earlier one `lag` steps back (Hochreiter and Schmidhuber 1997)."""
    x = np.stack([rng.uniform(-1, 1, (examples, time)), np.zeros((examples, time))], axis=2)
    x[:, -1 - lag, 1] = 1
    x[np.arange(examples), time - 1 - rng.integers(0, lag, examples), 1] = 1
    return Data(x, (x[..., 0] * x[..., 1]).sum(axis=1, keepdims=True), lag)


def distractors(rng: np.random.Generator, examples: int, lag: int, time: int) -> Data:
    """A marked number `lag` steps back, among others that are not."""
    x = np.stack([rng.uniform(-1, 1, (examples, time)), np.zeros((examples, time))], axis=2)
    x[:, -1 - lag, 1] = 1
    return Data(x, x[:, -1 - lag, :1], lag)


TASKS = {"recall": recall, "adding": adding, "distractors": distractors}


def draw(task: str, lag: int, examples: int, seed: int, scale: float = 1.0) -> Data:
    """Sequences of up to 2.5 times the lag and 6 steps, at least of the lag and 3."""
    rng = np.random.default_rng(seed)
    time = 5 * lag // 2 + 6
    data = TASKS[task](rng, examples, lag, time)
    begins = rng.integers(0, time - lag - 2, examples)
    x = np.where(np.arange(time)[:, None] < begins[:, None, None], PADDING, scale * data.x)
    return Data(x.astype("float32"), data.y.astype("float32"), lag)


class Setting(NamedTuple):
    """A network and its training; `initializer` is the recurrent kernel's."""

    layer: str = "SimpleRNN"
    units: int = 32
    activation: str = "tanh"
    initializer: Any = "orthogonal"
    learning_rate: float = 3e-3
    truncate_gradient: int | None = None
    normalized: bool = False
    updates: int = 2000


def train(setting: Setting, task: str, lag: int, seed: int, scale: float = 1.0) -> tuple[Any, Data, float]:
    """Trains a network.

    Returns:
        The model, sequences that it has not seen, and its mean squared error on them over the targets' variance.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    seen = draw(task, lag, 4096, 2 * seed, scale)
    unseen = draw(task, lag, VALIDATION, 2 * seed + 1, scale)
    model = _network(setting, seen)
    model.compile(optimizer=keras.optimizers.Adam(setting.learning_rate, clipnorm=1.0), loss="mean_squared_error")
    model.fit(seen.x, seen.y, batch_size=BATCH, epochs=-(-setting.updates * BATCH // len(seen.x)), verbose=0)
    error = float(model.evaluate(unseen.x, unseen.y, batch_size=VALIDATION, verbose=0)) / float(unseen.y.var())
    return model, unseen, error


def _network(setting: Setting, data: Data) -> Any:
    inputs = keras.Input(data.x.shape[1:])
    mask = keras.ops.any(keras.ops.not_equal(inputs, PADDING), axis=2)
    hidden = inputs
    if setting.normalized:
        valid = data.x[(data.x != PADDING).all(axis=2)]
        normalize = keras.layers.Normalization(mean=valid.mean(axis=0).tolist(), variance=valid.var(axis=0).tolist())
        hidden = normalize(hidden)
    own = {"activation": setting.activation} if setting.layer == "SimpleRNN" else {}
    layer = getattr(elman, setting.layer)(
        setting.units,
        recurrent_initializer=setting.initializer,
        truncate_gradient=setting.truncate_gradient,
        name="recurrent",
        **own,
    )
    return keras.Model(inputs, keras.layers.Dense(1)(layer(hidden, mask=mask)))
