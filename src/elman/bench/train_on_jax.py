# SPDX-License-Identifier: Apache-2.0
"""Training with Keras on JAX, and with a loop written by hand: one jit of `lax.scan` over the batches of an epoch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from elman.bench import on_jax
from elman.bench.shapes import Array
from elman.bench.train import CHECKED, EPSILON, LEARNING_RATE, Problem, Trainer
from elman.bench.train_with_keras import subjects

Tensor = Any
facts = on_jax.facts


def _model(weights: tuple[Tensor, ...], x: Tensor) -> Tensor:
    kernel, recurrent_kernel, bias, head, head_bias = weights
    inputs = jnp.swapaxes(x @ kernel + bias, 0, 1)  # all steps at once, and time first

    def step(h: Tensor, z: Tensor) -> tuple[Tensor, None]:
        return jnp.tanh(z + h @ recurrent_kernel), None

    h, _ = jax.lax.scan(step, jnp.zeros((len(x), len(recurrent_kernel))), inputs)
    return h @ head + head_bias


def _loss(weights: tuple[Tensor, ...], x: Tensor, y: Tensor) -> Tensor:
    return jnp.mean((_model(weights, x) - y) ** 2)


def _update(state: Tensor, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """One step of Adam, in the form of Keras."""
    weights, m, v, t = state
    loss, gradient = jax.value_and_grad(_loss)(weights, *batch)
    t = t + 1
    rate = LEARNING_RATE * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    m = jax.tree.map(lambda m, g: m + (g - m) * 0.1, m, gradient)
    v = jax.tree.map(lambda v, g: v + (g * g - v) * 0.001, v, gradient)
    weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON), weights, m, v)
    return (weights, m, v, t), loss


def _loop(problem: Problem) -> Trainer:
    one = jax.jit(_update, donate_argnums=0)
    all_ = jax.jit(lambda state, batches: jax.lax.scan(_update, state, batches), donate_argnums=0)
    weights = tuple(map(jnp.array, problem.weights))
    state = (weights, jax.tree.map(jnp.zeros_like, weights), jax.tree.map(jnp.zeros_like, weights), jnp.zeros(()))

    def on_device(x: Array, y: Array) -> tuple[Tensor, Tensor]:
        x, y = (array.reshape(-1, problem.batch, *array.shape[1:]) for array in (x, y))
        return jnp.asarray(x), jnp.asarray(y)

    def run(function: Any, batches: Any) -> Tensor:
        nonlocal state
        state, losses = function(state, batches)
        return losses.block_until_ready()

    batches = on_device(problem.x, problem.y)
    first = tuple(array[0] for array in batches)

    def results() -> list[Array]:
        checked = on_device(*problem.checked)
        losses = [float(run(all_, checked).mean()) for _ in range(CHECKED[0])]
        return [np.array(losses), *map(np.array, state[0])]

    return Trainer(results, lambda: run(one, first), lambda: run(all_, batches))


BUILD = {**subjects("jax"), "loop in jax": _loop}
