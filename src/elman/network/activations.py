# SPDX-License-Identifier: Apache-2.0
"""The activations of dense layers, in place: f(z), and dy f'(z) computed from y = f(z) alone, so that no z is kept.

The definitions are those of Keras 3 and torch.nn. An activation whose slope is not a function of its output (gelu,
silu) is not here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Activation(NamedTuple):
    """An activation.

    Attributes:
        apply: Overwrites z by f(z).
        back: y, dy, memory -> dy f'(z), written to that memory (or dy itself, where f' is 1).
    """

    apply: Callable[[Array], None]
    back: Callable[[Array, Array, Array], Array]


def _linear(z: Array) -> None:
    """z."""


def _tanh(z: Array) -> None:
    np.tanh(z, out=z)


def _relu(z: Array) -> None:
    np.maximum(z, 0, out=z)


def _exponential(z: Array) -> None:
    np.exp(z, out=z)


def _tanh_back(y: Array, dy: Array, out: Array) -> Array:
    np.multiply(y, y, out=out)
    np.subtract(1, out, out=out)
    return np.multiply(out, dy, out=out)


def _sigmoid(z: Array) -> None:
    """1 / (1 + e^-z), with z from -88 (float32) so that e^-z does not overflow."""
    np.maximum(z, np.log(np.finfo(z.dtype).tiny), out=z)
    np.negative(z, out=z)
    np.exp(z, out=z)
    np.add(z, 1, out=z)
    np.reciprocal(z, out=z)


def _sigmoid_back(y: Array, dy: Array, out: Array) -> Array:
    np.subtract(1, y, out=out)
    np.multiply(out, y, out=out)
    return np.multiply(out, dy, out=out)


def _hard_sigmoid(z: Array) -> None:
    """z / 6 + 1 / 2, limited to [0, 1]."""
    np.divide(z, 6, out=z)
    np.add(z, 0.5, out=z)
    np.clip(z, 0, 1, out=z)


def _hard_sigmoid_back(y: Array, dy: Array, out: Array) -> Array:
    np.subtract(1, y, out=out)
    np.multiply(out, y, out=out)
    np.greater(out, 0, out=out)  # inside the limits
    np.divide(out, 6, out=out)
    return np.multiply(out, dy, out=out)


def _relu_back(y: Array, dy: Array, out: Array) -> Array:
    np.greater(y, 0, out=out)
    return np.multiply(out, dy, out=out)


def _softplus(z: Array) -> None:
    """log(1 + e^z)."""
    np.logaddexp(z, 0, out=z)


def _softplus_back(y: Array, dy: Array, out: Array) -> Array:
    np.negative(y, out=out)
    np.expm1(out, out=out)
    np.negative(out, out=out)
    return np.multiply(out, dy, out=out)


def _elu(z: Array) -> None:
    """z where it is positive, e^z - 1 elsewhere."""
    np.expm1(z, out=z, where=z < 0)


def _elu_back(y: Array, dy: Array, out: Array) -> Array:
    np.minimum(y, 0, out=out)
    np.add(out, 1, out=out)
    return np.multiply(out, dy, out=out)


def _softmax(z: Array) -> None:
    """e^z over its sum along the last axis; the largest z is subtracted first, so that nothing overflows."""
    np.subtract(z, z.max(axis=-1, keepdims=True), out=z)
    np.exp(z, out=z)
    np.divide(z, z.sum(axis=-1, keepdims=True), out=z)


def _softmax_back(y: Array, dy: Array, out: Array) -> Array:
    np.multiply(y, dy, out=out)
    np.subtract(dy, out.sum(axis=-1, keepdims=True), out=out)
    return np.multiply(out, y, out=out)


ACTIVATIONS = {
    "linear": Activation(_linear, lambda y, dy, out: dy),
    "tanh": Activation(_tanh, _tanh_back),
    "relu": Activation(_relu, _relu_back),
    "sigmoid": Activation(_sigmoid, _sigmoid_back),
    "hard_sigmoid": Activation(_hard_sigmoid, _hard_sigmoid_back),
    "softplus": Activation(_softplus, _softplus_back),
    "elu": Activation(_elu, _elu_back),
    "softmax": Activation(_softmax, _softmax_back),
    "exponential": Activation(_exponential, lambda y, dy, out: np.multiply(y, dy, out=out)),
}
