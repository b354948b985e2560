# SPDX-License-Identifier: Apache-2.0
"""elman and stock Keras on TensorFlow: concrete functions over variables, which return when they are done."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import tensorflow as tf

import elman
from elman.bench.shapes import Array, Problem
from elman.bench.worker import Calls
from elman.cells import CELLS

Tensor = Any


def facts() -> dict[str, Any]:
    """Versions and threads."""
    threads = tf.config.threading.get_intra_op_parallelism_threads() or None
    return {"versions": {"tensorflow": tf.__version__, "keras": keras.__version__}, "threads": threads}


def _elman(problem: Problem) -> Calls:
    function, weights = getattr(elman, problem.cell), [tf.Variable(array) for array in problem.weights]
    return _traced(lambda x: function(x, *weights, native="require")[0], weights, problem, jit=False)


def _keras(jit: bool, problem: Problem) -> Calls:
    stock = getattr(keras.layers, CELLS[problem.cell].keras)(problem.units, return_sequences=True, dtype="float32")
    stock.build(problem.x.shape)
    stock.set_weights(list(problem.weights))
    return _traced(stock, [variable.value for variable in stock.trainable_variables], problem, jit)


def _traced(layer: Callable[[Tensor], Tensor], weights: list[Tensor], problem: Problem, jit: bool) -> Calls:
    x, dy = tf.constant(problem.x), tf.constant(problem.dy)

    def value_and_gradients(x: Tensor, dy: Tensor) -> tuple[Tensor, ...]:
        with tf.GradientTape() as tape:
            y = layer(x)
        return y, *tape.gradient(y, weights, output_gradients=dy)

    value = tf.function(layer, jit_compile=jit).get_concrete_function(x)
    both = tf.function(value_and_gradients, jit_compile=jit).get_concrete_function(x, dy)

    def arrays(y: Tensor, y_and_gradients: tuple[Tensor, ...]) -> list[Array]:
        return [array.numpy() for array in (y, *y_and_gradients)]

    return Calls(lambda: value(x), lambda: both(x, dy), arrays)


BUILD = {
    "elman on tensorflow": _elman,
    "keras on tensorflow": partial(_keras, False),
    "keras on tensorflow, jit": partial(_keras, True),
}
