# SPDX-License-Identifier: Apache-2.0
"""Losses and their gradients, as Keras 3 and torch.nn define them: the mean over a batch of each example's loss.

With sample weights the sum of weighted losses is divided by the number of examples, as in Keras. Where every step has
an output and some steps are not valid, the mean is over the valid ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from elman.checks import did_you_mean

Array = np.ndarray
_LEAST = 1e-7  # of a probability, so that its logarithm is finite; that of Keras


class Loss(NamedTuple):
    """A loss.

    Attributes:
        of: Output and target -> the loss of each example and step (the mean over the outputs of one), and the
            gradient of that loss.
        classes: Whether a target is the number of a class, (batch,) or (batch, time), instead of the output's shape.
    """

    of: Callable[[Array, Array], tuple[Array, Array]]
    classes: bool = False


def _squared(y: Array, target: Array) -> tuple[Array, Array]:
    """(y - target)^2"""
    d = y - target
    return (d * d).mean(axis=-1), d * (2 / y.shape[-1])


def _absolute(y: Array, target: Array) -> tuple[Array, Array]:
    """|y - target|"""
    d = y - target
    return np.abs(d).mean(axis=-1), np.sign(d) / y.shape[-1]


def huber(delta: float = 1.0) -> Loss:
    """d^2 / 2 where |d| <= delta, else delta |d| - delta^2 / 2, with d = y - target                     (Huber 1964)"""

    def of(y: Array, target: Array) -> tuple[Array, Array]:
        d = y - target
        limited = np.clip(d, -delta, delta)
        return (limited * (d - limited / 2)).mean(axis=-1), limited / y.shape[-1]

    return Loss(of)


def quantile(share: float = 0.5) -> Loss:
    """max(share d, (share - 1) d), with d = target - y: least where y is that quantile       (Koenker, Bassett 1978)"""

    def of(y: Array, target: Array) -> tuple[Array, Array]:
        d = target - y
        slope = np.where(d > 0, share, share - 1).astype(y.dtype)
        return (slope * d).mean(axis=-1), slope / -y.shape[-1]

    return Loss(of)


def _binary_crossentropy(y: Array, target: Array) -> tuple[Array, Array]:
    """-target log y - (1 - target) log(1 - y), with y a probability"""
    p = np.clip(y, _LEAST, 1 - _LEAST)
    losses = -(target * np.log(p) + (1 - target) * np.log1p(-p))
    inside = p == y
    return losses.mean(axis=-1), np.where(inside, (p - target) / (p * (1 - p)), 0) / y.shape[-1]


def _sparse_categorical_crossentropy(y: Array, target: Array) -> tuple[Array, Array]:
    """-log of the probability that y, over its sum, gives to the class of the target"""
    total = y.sum(axis=-1, keepdims=True)
    p = np.clip(y / total, _LEAST, 1 - _LEAST)
    index = target.astype(np.intp)[..., None]
    chosen = np.take_along_axis(p, index, axis=-1)
    gradient = np.broadcast_to(1 / total, y.shape).copy()
    at = np.take_along_axis(gradient, index, axis=-1) - 1 / np.take_along_axis(y, index, axis=-1).clip(_LEAST)
    np.put_along_axis(gradient, index, at, axis=-1)
    return -np.log(chosen[..., 0]), gradient


LOSSES = {
    "mse": Loss(_squared),
    "mae": Loss(_absolute),
    "huber": huber(),
    "quantile": quantile(),
    "binary_crossentropy": Loss(_binary_crossentropy),
    "sparse_categorical_crossentropy": Loss(_sparse_categorical_crossentropy, classes=True),
}


def named(loss: str | Loss) -> Loss:
    """The loss of that name.

    Raises:
        ValueError: If there is none.
    """
    if isinstance(loss, Loss):
        return loss
    if loss not in LOSSES:
        raise ValueError(
            f"loss is {loss!r};{did_you_mean(loss, LOSSES)} expected one of {', '.join(LOSSES)}, or "
            "losses.huber(delta) or losses.quantile(share)."
        )
    return LOSSES[loss]


def value_and_gradient(
    loss: Loss, y: Array, target: Array, weight: Array | None, mask: Array | None
) -> tuple[float, Array]:
    """The loss of a batch and its gradient with respect to the output.

    Args:
        loss: The loss.
        y: Output, (batch, outputs) or (batch, time, outputs).
        target: Of the same shape, or without the last axis if the loss is of classes.
        weight: (batch,) or (batch, time), or `None` for ones.
        mask: (batch, time), true where a step is valid, or `None`.
    """
    losses, gradient = loss.of(y, target)
    factor: Array | None = None
    if weight is not None:
        factor = weight.reshape(weight.shape + (1,) * (losses.ndim - weight.ndim)).astype(y.dtype)
    count: float = losses.size
    if mask is not None:
        factor = mask.astype(y.dtype) if factor is None else factor * mask
        count = max(float(mask.sum()), 1.0)
    if factor is not None:
        losses, gradient = losses * factor, gradient * factor[..., None]
    return float(losses.sum(dtype="float64") / count), np.ascontiguousarray(gradient / y.dtype.type(count))
