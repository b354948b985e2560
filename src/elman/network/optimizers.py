# SPDX-License-Identifier: Apache-2.0
"""Optimizers on one flat vector that holds all parameters: Adam and AdamW, and clipping by the global norm.

A step is one native call."""

from __future__ import annotations

import math

import numpy as np

from elman import _native, _numpy
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
        fields = (size, 0.0, self.beta_1, self.beta_2, self.epsilon, 0.0, 1.0, _native.DTYPES.index(dtype.name))
        self._call = _native.Call("adam", *fields, 0, 0, _numpy.address(self.m), _numpy.address(self.v))

    def step(self, weights: Array, gradient: Array, clip_norm: float | None = None) -> None:
        """Changes the weights by one step.

        Args:
            weights: (size,), changed in place.
            gradient: (size,).
            clip_norm: Largest L2 norm of the gradient, over all parameters jointly (Pascanu et al. 2013); `None`: any.
        """
        self.steps += 1
        rate, fields = self.learning_rate, self._call.fields
        fields[1] = clip_norm or 0.0
        fields[5] = rate * math.sqrt(1 - self.beta_2**self.steps) / (1 - self.beta_1**self.steps)
        fields[6] = 1 - rate * self.weight_decay
        fields[8], fields[9] = _numpy.address(gradient), _numpy.address(weights)
        self._call()


def named(name: str, size: int, dtype: np.dtype, learning_rate: float) -> Adam:
    """The optimizer of that name; AdamW's weight decay is 0.004, that of Keras.

    Raises:
        ValueError: If there is none.
    """
    if name not in NAMES:
        raise ValueError(f"optimizer is {name!r};{did_you_mean(name, NAMES)} expected one of {', '.join(NAMES)}.")
    return Adam(size, dtype, learning_rate, 0.004 if name == "adamw" else 0.0)
