# SPDX-License-Identifier: Apache-2.0
"""elman and stock Keras on JAX: the forward in one jit, the value and its pull-back in another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import keras
import numpy as np

import elman
from elman.bench.shapes import Array, Problem
from elman.bench.worker import Calls
from elman.cells import CELLS

Tensor = Any
Weights = tuple[Tensor, ...]


def facts() -> dict[str, Any]:
    """Versions and threads."""
    return {"versions": {"jax": jax.__version__, "keras": keras.__version__}, "threads": None}


def _elman(problem: Problem) -> Calls:
    function = getattr(elman, problem.cell)

    def layer(weights: Weights, x: Tensor) -> Tensor:
        return function(x, *weights, native="require")[0]

    return _jitted(layer, problem)


def _keras(problem: Problem) -> Calls:
    stock = getattr(keras.layers, CELLS[problem.cell].keras)(problem.units, return_sequences=True, dtype="float32")
    stock.build(problem.x.shape)
    state = [variable.value for variable in stock.non_trainable_variables]

    def layer(weights: Weights, x: Tensor) -> Tensor:
        return stock.stateless_call(list(weights), state, x)[0]

    return _jitted(layer, problem)


def _jitted(layer: Callable[[Weights, Tensor], Tensor], problem: Problem) -> Calls:
    x, weights, dy = (jax.tree.map(jax.numpy.asarray, part) for part in (problem.x, problem.weights, problem.dy))

    def value_and_gradients(weights: Weights, x: Tensor, dy: Tensor) -> tuple[Tensor, Weights]:
        y, pull_back = jax.vjp(lambda weights: layer(weights, x), weights)
        return y, pull_back(dy)[0]

    value, both = jax.jit(layer), jax.jit(value_and_gradients)

    def arrays(y: Tensor, y_and_gradients: tuple[Tensor, Weights]) -> list[Array]:
        again, gradients = y_and_gradients
        return [np.asarray(array) for array in (y, again, *gradients)]

    return Calls(
        lambda: value(weights, x).block_until_ready(),
        lambda: jax.block_until_ready(both(weights, x, dy)),
        arrays,
    )


BUILD = {"elman on jax": _elman, "keras on jax": _keras}
