# SPDX-License-Identifier: Apache-2.0
"""Keras on JAX, the batch spread over several devices.

    python examples/distributed/keras_on_jax.py 8

Keras shards each batch, and each device runs the native recurrence on its own rows. The gradients of the weights are
summed over the devices once a step, and no activations move. XLA_FLAGS makes several devices of the processors of one
machine. A second argument is a file for the trained weights.
"""

import os
import sys

devices = int(sys.argv[1]) if len(sys.argv) > 1 else 2
os.environ["KERAS_BACKEND"] = "jax"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"

import keras
import numpy as np

import elman


def main():
    keras.utils.set_random_seed(0)
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=keras.distribution.list_devices()))
    model = keras.Sequential([keras.Input((20, 3)), elman.GRU(16, native="require"), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")

    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 20, 3)).astype("float32")
    y = x[:, -3:, 0].sum(axis=1, keepdims=True)
    history = model.fit(x, y, batch_size=64, epochs=3, shuffle=False, verbose=0)
    elman.routes(model)  # prints that the layer is native
    print(f"{devices} devices, loss {history.history['loss'][-1]:.4f}")
    if len(sys.argv) > 2:
        np.savez(sys.argv[2], *model.get_weights())


main()
