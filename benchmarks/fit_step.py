# SPDX-License-Identifier: Apache-2.0
"""What one step of `Model.fit` takes: a SimpleRNN of elman's, of Keras's, and pooling instead of the layer.

    KERAS_BACKEND=jax python benchmarks/fit_step.py

In: the backend that KERAS_BACKEND names. Out: one JSON object. The two recurrent models are trained in parallel first,
and their losses compared; then each is timed in turns, whole epochs at a time.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from statistics import median, quantiles

import keras
import numpy as np

import elman

BATCH, TIME, FEATURES, UNITS = 32, 29, 12, 64
STEPS = 60  # of one timed epoch
ROUNDS = 15
SAME = 1e-4  # largest difference of the losses over the first steps


def model(make: Callable[[], keras.Layer]) -> keras.Model:
    """One regressor. A layer draws the seed of its weights as it is made: the same one for each."""
    keras.utils.set_random_seed(0)
    built = keras.Sequential([keras.Input((TIME, FEATURES)), make(), keras.layers.Dense(1)])
    built.compile("adam", "mse")
    return built


def main() -> None:
    """Checks, times and prints."""
    logging.disable(logging.INFO)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * STEPS, TIME, FEATURES)).astype("float32")
    y = x.mean((1, 2))[:, None]
    models = {
        "elman": model(lambda: elman.SimpleRNN(UNITS)),
        "stock": model(lambda: keras.layers.SimpleRNN(UNITS)),
        "pooling": model(keras.layers.GlobalAveragePooling1D),
    }

    def epoch(name: str) -> tuple[float, float]:
        start = time.perf_counter()
        history = models[name].fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
        return (time.perf_counter() - start) / STEPS, history.history["loss"][0]

    first = {name: epoch(name)[1] for name in models}
    difference = abs(first["elman"] - first["stock"])
    assert difference <= SAME, f"the losses differ by {difference}"
    assert models["elman"].layers[0].route.path == "native", models["elman"].layers[0].route
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(ROUNDS):
        for name in models:
            seconds[name].append(epoch(name)[0])
    medians = {name: median(values) for name, values in seconds.items()}
    print(
        json.dumps(
            {
                "backend": keras.config.backend(),
                "shape": [BATCH, TIME, FEATURES, UNITS],
                "loss_difference": difference,
                "route": list(models["elman"].layers[0].route),
                "microseconds": {name: round(value * 1e6, 1) for name, value in medians.items()},
                "quartiles": {
                    name: [round(q * 1e6, 1) for q in quantiles(values)[::2]] for name, values in seconds.items()
                },
                "elman_over_pooling": round(medians["elman"] / medians["pooling"], 3),
                "stock_over_elman": round(medians["stock"] / medians["elman"], 3),
            }
        )
    )


if __name__ == "__main__":
    main()
