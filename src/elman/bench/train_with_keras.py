# SPDX-License-Identifier: Apache-2.0
"""Training with Keras's `fit`, on the backend that runs in this process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

import elman
from elman.bench.shapes import Array
from elman.bench.train import CHECKED, EPSILON, LEARNING_RATE, OUTPUTS, Problem, Trainer


def model(layer: Callable[..., Any], problem: Problem, **compiled: Any) -> Any:
    """The compiled model with the problem's weights."""
    built = keras.Sequential(
        [keras.Input(problem.x.shape[1:]), layer(problem.units, dtype="float32"), keras.layers.Dense(OUTPUTS)]
    )
    built.set_weights(list(problem.weights))
    built.compile(keras.optimizers.Adam(LEARNING_RATE, epsilon=EPSILON), "mse", **compiled)
    return built


def trainer(layer: Callable[..., Any], compiled: dict[str, Any], problem: Problem) -> Trainer:
    """Trains a model with that layer.

    Raises:
        elman.NativeUnavailable: If the layer is elman's and cannot run natively.
    """
    built = model(layer, problem, **compiled)
    fit = partial(built.fit, batch_size=problem.batch, shuffle=False, verbose=0)
    x, y = problem.x[: problem.batch], problem.y[: problem.batch]

    def results() -> list[Array]:
        losses = fit(*problem.checked, epochs=CHECKED[0]).history["loss"]
        return [np.array(losses), *built.get_weights()]

    return Trainer(results, lambda: built.train_on_batch(x, y), lambda: fit(problem.x, problem.y))


def subjects(backend: str, **compiled: Any) -> dict[str, Any]:
    """elman's layer and Keras's own."""
    native = partial(elman.SimpleRNN, native="require")
    return {
        f"elman in keras on {backend}": partial(trainer, native, compiled),
        f"keras on {backend}": partial(trainer, keras.layers.SimpleRNN, compiled),
    }
