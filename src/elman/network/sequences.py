# SPDX-License-Identifier: Apache-2.0
"""Rows of the layer table that read or change the time axis: Flatten, Latest, Last, Reverse, Embedding, Mask."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np

from elman.checks import is_real, positive_integer
from elman.network.layer import Array, Layer, Op, Parameter, Place, Shape


@dataclasses.dataclass(frozen=True)
class Flatten(Layer):
    """All values of an example side by side, step after step."""

    def output(self, shape: Shape) -> Shape:
        if None in shape:
            raise ValueError("Flatten needs a known number of steps; got any. Pass time=, or use Latest(n) or Last().")
        return (math.prod(size for size in shape if size is not None),)

    def bind(self, place: Place) -> Op:
        return _Flatten(place)


class _Flatten(Op):
    def __init__(self, place: Place) -> None:
        self.shape, self.wants_dx = place.shape, place.wants_dx

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        return x.reshape(self.shape[0], math.prod(self.shape[1:])), None

    def backward(self, dy: Array) -> Array | None:
        return dy.reshape(self.shape) if self.wants_dx else None


@dataclasses.dataclass(frozen=True)
class Latest(Layer):
    """The last `steps` steps side by side, whether they are valid or not.

    Args:
        steps: How many.
    """

    takes: ClassVar[tuple[int, ...]] = (2,)
    steps: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", positive_integer("steps", self.steps))

    def output(self, shape: Shape) -> Shape:
        time, features = shape
        assert features is not None
        if time is not None and time < self.steps:
            raise ValueError(f"Latest takes the last {self.steps} steps; got sequences of {time}. Pass longer ones.")
        return (self.steps * features,)

    def bind(self, place: Place) -> Op:
        return _Latest(self, place)


class _Latest(Op):
    def __init__(self, layer: Latest, place: Place) -> None:
        batch, time, features = place.shape
        self.first = time - layer.steps
        self.y = place.empty(batch, layer.steps * features)
        self.steps = self.y.reshape(batch, layer.steps, features)
        self.dx = np.zeros(place.shape, place.dtype) if place.wants_dx else None

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        np.copyto(self.steps, x[:, self.first :])
        return self.y, None

    def backward(self, dy: Array) -> Array | None:
        if self.dx is not None:
            self.dx[:, self.first :] = dy.reshape(self.steps.shape)
        return self.dx


@dataclasses.dataclass(frozen=True)
class Last(Layer):
    """The last valid step; the first one of a sequence that has none."""

    takes: ClassVar[tuple[int, ...]] = (2,)

    def output(self, shape: Shape) -> Shape:
        return (shape[-1],)

    def bind(self, place: Place) -> Op:
        return _Last(place)


class _Last(Op):
    def __init__(self, place: Place) -> None:
        batch, self.time, features = place.shape
        self.rows = np.arange(batch)
        self.steps = np.full(batch, self.time - 1)
        self.y = place.empty(batch, features)
        self.dx = place.empty(*place.shape) if place.wants_dx else None

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        if mask is None:
            self.steps[:] = self.time - 1
        else:
            self.steps[:] = np.where(mask.any(axis=1), self.time - 1 - mask[:, ::-1].argmax(axis=1), 0)
        self.y[:] = x[self.rows, self.steps]
        return self.y, None

    def backward(self, dy: Array) -> Array | None:
        if self.dx is not None:
            self.dx[:] = 0
            self.dx[self.rows, self.steps] = dy
        return self.dx


@dataclasses.dataclass(frozen=True)
class Reverse(Layer):
    """The steps from the last to the first. After a layer with `go_backwards=True`, its outputs are in the order of the
    input again, as in a Bidirectional. A mask keeps the order of the input, as in Keras."""

    takes: ClassVar[tuple[int, ...]] = (2,)

    def bind(self, place: Place) -> Op:
        return _Reverse(place)


class _Reverse(Op):
    def __init__(self, place: Place) -> None:
        self.y = place.empty(*place.shape)
        self.dx = place.empty(*place.shape) if place.wants_dx else None

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        np.copyto(self.y, x[:, ::-1])
        return self.y, mask

    def backward(self, dy: Array) -> Array | None:
        if self.dx is not None:
            np.copyto(self.dx, dy[:, ::-1])
        return self.dx


@dataclasses.dataclass(frozen=True)
class Embedding(Layer):
    """y = W[x]: a trained vector for each of `size` words, categories or symbols, which x gives as integers from 0.

    It sees the network's input: nothing comes before it.

    Args:
        size: How many there are (Keras: `input_dim`).
        units: Size of a vector (Keras: `output_dim`).
        mask_zero: Whether 0 stands for padding, so that steps with it are not valid.
    """

    takes: ClassVar[tuple[int, ...]] = (1,)
    integers: ClassVar[bool] = True
    size: int
    units: int
    mask_zero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("size", "units"):
            object.__setattr__(self, name, positive_integer(name, getattr(self, name)))

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        """embeddings (size, units)."""
        return {"embeddings": Parameter((self.size, self.units), _near_zero)}

    def output(self, shape: Shape) -> Shape:
        return (*shape, self.units)

    def bind(self, place: Place) -> Op:
        return _Embedding(self, place)


class _Embedding(Op):
    def __init__(self, layer: Embedding, place: Place) -> None:
        self.layer, self.place, self.weights = layer, place, place.weights["embeddings"]
        self.y = place.empty(*place.shape, layer.units)
        self.x = np.zeros(place.shape, np.intp)

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        if x.size and (x.min() < 0 or x.max() >= self.layer.size):
            raise ValueError(
                f"Embedding got {int(x.min())} to {int(x.max())}; expected integers from 0 to {self.layer.size - 1}. "
                "Number the words from 0, or make the embedding larger."
            )
        np.copyto(self.x, x)
        np.take(self.weights, self.x, axis=0, out=self.y)
        if self.layer.mask_zero:
            valid = self.x != 0
            mask = valid if mask is None else mask & valid
        return self.y, mask

    def backward(self, dy: Array) -> Array | None:
        assert self.place.gradients is not None
        gradient = self.place.gradients["embeddings"]
        gradient[:] = 0
        np.add.at(gradient, self.x.reshape(-1), dy.reshape(-1, self.layer.units))
        return None


@dataclasses.dataclass(frozen=True)
class Mask(Layer):
    """Marks the steps as not valid whose features all equal `value`, and zeroes them (Keras's Masking).

    Args:
        value: The number.
    """

    takes: ClassVar[tuple[int, ...]] = (2,)
    value: float = 0.0

    def __post_init__(self) -> None:
        if not is_real(self.value):
            raise ValueError(f"value is {self.value!r}; expected a finite number.")

    def bind(self, place: Place) -> Op:
        return _Mask(self, place)


class _Mask(Op):
    def __init__(self, layer: Mask, place: Place) -> None:
        self.value = layer.value
        self.y = place.empty(*place.shape)
        self.valid = np.ones((*place.shape[:2], 1), bool)
        self.dx = place.empty(*place.shape) if place.wants_dx else None

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        np.any(x != self.value, axis=-1, keepdims=True, out=self.valid)
        np.multiply(x, self.valid, out=self.y)
        valid = self.valid[..., 0]
        return self.y, valid if mask is None else mask & valid

    def backward(self, dy: Array) -> Array | None:
        return None if self.dx is None else np.multiply(dy, self.valid, out=self.dx)


def _near_zero(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Uniform between -0.05 and 0.05, as in Keras."""
    return generator.uniform(-0.05, 0.05, shape)
