# SPDX-License-Identifier: Apache-2.0
"""Optimizers on one flat vector that holds all parameters: Adam and AdamW, and clipping by the global norm."""

from __future__ import annotations

import math

import numpy as np

from elman.checks import did_you_mean

Array = np.ndarray
NAMES = ("adam", "adamw")


class Adam:
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  w <- w - a m / (sqrt(v) + epsilon)      (Kingma, Ba 2015)

    with a = learning_rate sqrt(1 - b2^t) / (1 - b1^t), the form of Keras. With `weight_decay` it is AdamW: w is first
    multiplied by 1 - learning_rate weight_decay (Loshchilov and Hutter 2019).

    Args:
        size: Number of parameters.
        dtype: Their type.
        learning_rate: Size of a step.
        weight_decay: Share of each weight that a step of size 1 takes away.
    """

    beta_1, beta_2, epsilon = 0.9, 0.999, 1e-7

    def __init__(self, size: int, dtype: np.dtype, learning_rate: float, weight_decay: float = 0.0) -> None:
        self.learning_rate, self.weight_decay, self.steps = learning_rate, weight_decay, 0
        self.m, self.v = np.zeros(size, dtype), np.zeros(size, dtype)
        self._memory = np.empty(size, dtype)

    def step(self, weights: Array, gradient: Array) -> None:
        """Changes the weights by one step."""
        self.steps += 1
        rate = self.learning_rate
        size = rate * math.sqrt(1 - self.beta_2**self.steps) / (1 - self.beta_1**self.steps)
        memory = self._memory
        np.subtract(gradient, self.m, out=memory)
        np.multiply(memory, 1 - self.beta_1, out=memory)
        np.add(self.m, memory, out=self.m)
        np.multiply(gradient, gradient, out=memory)
        np.subtract(memory, self.v, out=memory)
        np.multiply(memory, 1 - self.beta_2, out=memory)
        np.add(self.v, memory, out=self.v)
        np.sqrt(self.v, out=memory)
        np.add(memory, self.epsilon, out=memory)
        np.divide(self.m, memory, out=memory)
        np.multiply(memory, size, out=memory)
        if self.weight_decay:
            np.multiply(weights, 1 - rate * self.weight_decay, out=weights)
        np.subtract(weights, memory, out=weights)


def named(name: str, size: int, dtype: np.dtype, learning_rate: float) -> Adam:
    """The optimizer of that name; AdamW's weight decay is 0.004, that of Keras.

    Raises:
        ValueError: If there is none.
    """
    if name not in NAMES:
        raise ValueError(f"optimizer is {name!r};{did_you_mean(name, NAMES)} expected one of {', '.join(NAMES)}.")
    return Adam(size, dtype, learning_rate, 0.004 if name == "adamw" else 0.0)


def clip_by_norm(gradient: Array, largest: float) -> float:
    """Scales the gradient down to an L2 norm of at most `largest`, over all parameters jointly (Pascanu et al. 2013).

    Returns:
        The norm before. It is computed in float64, so that no square overflows.
    """
    norm = math.sqrt(float(np.square(gradient, dtype=np.float64).sum()))
    if norm > largest:
        np.multiply(gradient, largest / norm, out=gradient)
    return norm
