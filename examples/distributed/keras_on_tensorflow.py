# SPDX-License-Identifier: Apache-2.0
"""Keras on TensorFlow, the batch spread over several devices by `tf.distribute.MirroredStrategy`.

    python examples/distributed/keras_on_tensorflow.py 2

Each device has a copy of the weights and runs the native recurrence on its own rows; the gradients are summed. Here the
devices are logical CPUs of one machine. A second argument is a file for the trained weights.
"""

import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

import elman


def main():
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(devices)])

    keras.utils.set_random_seed(0)
    with strategy.scope():
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
