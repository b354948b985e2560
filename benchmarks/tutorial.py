# SPDX-License-Identifier: Apache-2.0
"""The model of every tutorial, trained with elman's SimpleRNN and with Keras's own.

    KERAS_BACKEND=jax python benchmarks/tutorial.py

In: the backend that KERAS_BACKEND names. Out: for each of the two layers its route, the accuracy on held-out sequences
and the seconds of an epoch. The class is whether a sequence rises from its first two rows to its last two, so a model
that does not see the order of the rows cannot do better than chance.
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from keras import Sequential
from keras.layers import Dense

import elman

EXAMPLES, EPOCHS = 4096, 10


def sequences(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`(count, 5, 3)` noise, and 1 for each sequence that rises, else 0."""
    x = np.random.default_rng(seed).normal(size=(count, 5, 3)).astype("float32")
    return x, (x[:, 3:].sum((1, 2)) > x[:, :2].sum((1, 2))).astype("float32")


def trained(layer: type[keras.Layer]) -> tuple[keras.Model, float, float]:
    """A model, its accuracy and the seconds of an epoch; the first epoch, which compiles, is not timed."""
    keras.utils.set_random_seed(0)
    x, y = sequences(EXAMPLES, seed=0)
    model = Sequential([keras.Input((5, 3)), layer(units=10), Dense(1, activation="sigmoid")])
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    model.fit(x, y, verbose=0)
    start = time.perf_counter()
    model.fit(x, y, epochs=EPOCHS, verbose=0)
    seconds = (time.perf_counter() - start) / EPOCHS
    return model, model.evaluate(*sequences(EXAMPLES, seed=1), verbose=0)[1], seconds


def main() -> None:
    """Trains and prints."""
    print(f"Does a sequence of 5 rows and 3 columns rise? SimpleRNN(10) and Dense(1) on {keras.config.backend()}:")
    for name, layer in (("elman", elman.SimpleRNN), ("Keras", keras.layers.SimpleRNN)):
        model, accuracy, seconds = trained(layer)
        route = getattr(model.layers[0], "route", None)  # Keras's layer has none
        ran = f"{route.path}, {route.detail or route.reason}" if route else "Keras's own operations"
        print(f"{name}: accuracy {accuracy:.3f}, {seconds:.3f} s per epoch, route: {ran}")


if __name__ == "__main__":
    main()
