# SPDX-License-Identifier: Apache-2.0
"""Losses and their gradients, as Keras 3 and torch.nn define them: the mean over a batch of each example's loss.

With sample weights the sum of weighted losses is divided by the number of examples, as in Keras. Where every step has
an output and some steps are not valid, the mean is over the valid ones. The formulas stand in `native/loss.cc`.
"""

from __future__ import annotations

import math
from ctypes import addressof, c_double
from dataclasses import dataclass

import numpy as np

from elman import _native, _numpy
from elman.checks import did_you_mean, is_real, short

Array = np.ndarray
_CLASS = np.dtype(np.int64)
_PASS = "Pass losses.huber(delta=1.0) or losses.quantile(share=0.9), for example."


@dataclass(frozen=True)
class Loss:
    """A loss.

    Args:
        name: One of `LOSSES`.
        parameter: The delta of `huber` or the share of `quantile`; 0 for the others.

    Raises:
        ValueError: If there is no such loss, or it cannot have this parameter.
    """

    name: str
    parameter: float = 0.0

    def __post_init__(self) -> None:
        value, name = self.parameter, self.name
        if name not in _native.LOSSES:
            raise _unknown(name)
        if name == "huber" and not (is_real(value) and value > 0):
            raise ValueError(f"delta of the huber loss is {short(value)}; expected a positive number. {_PASS}")
        if name == "quantile" and not (is_real(value) and 0 < value < 1):
            raise ValueError(
                f"share of the quantile loss is {short(value)}; expected a number between 0 and 1. {_PASS}"
            )
        if name not in {"huber", "quantile"} and value:
            raise ValueError(f"parameter of the loss {name} is {short(value)}; expected 0: it has none. Leave it out.")
        object.__setattr__(self, "parameter", float(value))

    @property
    def classes(self) -> bool:
        """Whether a target is the number of a class, (batch,) or (batch, time), instead of the output's shape."""
        return self.name == "sparse_categorical_crossentropy"


def huber(delta: float = 1.0) -> Loss:
    """d^2 / 2 where |d| <= delta, else delta |d| - delta^2 / 2, with d = y - target                     (Huber 1964)"""
    return Loss("huber", delta)


def quantile(share: float = 0.5) -> Loss:
    """max(share d, (share - 1) d), with d = target - y: least where y is that quantile       (Koenker, Bassett 1978)"""
    return Loss("quantile", share)


_USUAL = {"huber": huber(), "quantile": quantile()}
LOSSES = {name: _USUAL.get(name) or Loss(name) for name in _native.LOSSES}


def named(loss: str | Loss) -> Loss:
    """The loss of that name.

    Raises:
        ValueError: If there is none.
    """
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str) or loss not in LOSSES:
        raise _unknown(loss)
    return LOSSES[loss]


def _unknown(loss: object) -> ValueError:
    names = ", ".join(_native.LOSSES)
    return ValueError(f"loss is {short(loss)};{did_you_mean(loss, _native.LOSSES)} expected one of {names}. {_PASS}")


def check_classes(target: Array, classes: int) -> None:
    """Checks targets that are numbers of classes.

    Raises:
        ValueError: If one is not an integer from 0 to `classes` - 1.
    """
    wrong = ~((target >= 0) & (target < classes) & (np.floor(target) == target))
    if wrong.any():
        raise ValueError(
            f"a target is {target[wrong][0]}; expected the number of a class, 0 to {classes - 1}. Number the classes "
            "from 0."
        )


class BatchLoss:
    """A loss of outputs of one shape. The gradient is its own memory, which the next call overwrites.

    Args:
        loss: The loss.
        shape: Of the output: (batch, outputs) or (batch, time, outputs).
        dtype: Its type.
        wants_gradient: Whether the gradient is computed.
    """

    def __init__(self, loss: Loss, shape: tuple[int, ...], dtype: np.dtype, wants_gradient: bool = True) -> None:
        self.loss, self.shape, self.steps, self.dtype = loss, shape, shape[:-1], dtype
        self.target_shape = self.steps if loss.classes else shape
        self.target_dtype: np.dtype = _CLASS if loss.classes else dtype
        self.targets = math.prod(self.target_shape)
        self.gradient = np.empty(shape if wants_gradient else 0, dtype)
        self.value, self.rows = c_double(), float(math.prod(self.steps))
        kind = (_native.DTYPES.index(dtype.name), _native.LOSSES.index(loss.name))
        addresses = (_numpy.address(self.gradient if wants_gradient else None), addressof(self.value))
        self.call = _native.Call(
            "loss", int(self.rows), shape[-1], loss.parameter, self.rows, *kind, 0, 0, 0, *addresses
        )

    def __call__(self, y: Array, target: Array, weight: Array | None, mask: Array | None) -> float:
        """The loss of a batch.

        Args:
            y: The output.
            target: As many numbers, or one number of a class for each step.
            weight: (batch,) or (batch, time), or `None` for ones.
            mask: (batch, time), true where a step is valid, or `None`.

        Raises:
            ValueError: If there are more or fewer targets, or one is not the number of a class.
        """
        if target.size != self.targets:
            raise ValueError(
                f"the targets have shape {target.shape}; expected {self.target_shape}, as the output says."
            )
        if self.loss.classes and target.dtype.kind == "f":  # integers are checked by the call
            check_classes(target, self.shape[-1])
        y, target = _numpy.contiguous(y, self.dtype), _numpy.contiguous(target, self.target_dtype)
        factor, count = self._factor(weight, mask)
        fields = self.call.fields
        fields[3], fields[6], fields[7], fields[8] = count, *map(_numpy.address, (y, target, factor))
        self.call()
        return self.value.value

    def _factor(self, weight: Array | None, mask: Array | None) -> tuple[Array | None, float]:
        """The factor of each step's loss, and what the sum is divided by."""
        factor: Array | None = None
        if weight is not None:
            factor = np.broadcast_to(weight.reshape(weight.shape + (1,) * (len(self.steps) - weight.ndim)), self.steps)
        if mask is not None:
            factor = mask if factor is None else factor * mask
            return _numpy.contiguous(factor, self.dtype), max(float(mask.sum()), 1.0)
        return None if factor is None else _numpy.contiguous(factor, self.dtype), self.rows
