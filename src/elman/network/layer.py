# SPDX-License-Identifier: Apache-2.0
"""What an entry of a `Network` is: a description, its parameters, and the operation that computes it.

A row of the layer table is a frozen dataclass derived from `Layer`. It says which parameters it has and which shape it
returns, and `bind` makes an `Op` for one shape of input, with all memory that a pass needs. No row is here.

Shapes: an input has the shape (batch, time, features) or (batch, features); a `Layer` sees it without the batch, so
`(time, features)` or `(features,)`. A time of `None` is any. A mask is bool, (batch, time), true where a step is valid.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from elman.checks import boolean

Array = np.ndarray
Shape = tuple[int | None, ...]
Initializer = Callable[[np.random.Generator, tuple[int, ...]], Array]


class Parameter(NamedTuple):
    """One array of a layer.

    Attributes:
        shape: Its shape.
        initial: Draws its first values, float64.
        trainable: Whether training changes it. A constant, such as a mean, is kept with the weights and stays.
    """

    shape: tuple[int, ...]
    initial: Initializer
    trainable: bool = True


class Place(NamedTuple):
    """Where and for what an operation is bound.

    Attributes:
        weights: The layer's parameters by name, in the network's memory.
        gradients: Memory of the same shapes for their gradients, which a backward overwrites; `None` for inference.
        shape: Shape of the input, batch first.
        dtype: Floating type of the computation.
        generator: Draws dropout masks while training.
        wants_dx: Whether a backward has to return the gradient of the input.
    """

    weights: Mapping[str, Array]
    gradients: Mapping[str, Array] | None
    shape: tuple[int, ...]
    dtype: np.dtype
    generator: np.random.Generator
    wants_dx: bool

    @property
    def training(self) -> bool:
        """Whether a backward may follow."""
        return self.gradients is not None

    def empty(self, *shape: int) -> Array:
        """Memory for a result of the operation."""
        return np.empty(shape, self.dtype)


class Op(abc.ABC):
    """A layer at work on one shape of input. What it returns is its own memory, overwritten by its next call."""

    @abc.abstractmethod
    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        """Output and mask of the output."""

    @abc.abstractmethod
    def backward(self, dy: Array) -> Array | None:
        """Writes the gradients of the weights and returns that of the input, or `None` if it is not wanted."""


@dataclasses.dataclass(frozen=True)
class Layer(abc.ABC):
    """One row of the layer table; a subclass adds its options as fields."""

    takes: ClassVar[tuple[int, ...]] = (1, 2)  # how many axes its input may have, without the batch
    integers: ClassVar[bool] = False  # whether the input is integers

    def __post_init__(self) -> None:
        for name in self.switches():
            object.__setattr__(self, name, boolean(name, getattr(self, name)))

    @classmethod
    def switches(cls) -> tuple[str, ...]:
        """The options that are true or false."""
        return tuple(field.name for field in dataclasses.fields(cls) if isinstance(field.default, bool))

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        """Its parameters for an input of that shape, in the order in which Keras lists them."""
        return {}

    def output(self, shape: Shape) -> Shape:
        """Shape of its output."""
        return shape

    @abc.abstractmethod
    def bind(self, place: Place) -> Op:
        """The operation for one shape of input."""

    def check(self, shape: Shape, name: str) -> None:
        """Checks the shape of its input, without the batch.

        Raises:
            ValueError: If the layer cannot take it.
        """
        if len(shape) not in self.takes:
            axes = {1: "(batch, features)", 2: "(batch, time, features)"}
            expected = " or ".join(axes[n] for n in self.takes)
            raise ValueError(
                f"{name} got an input of {len(shape) + 1} axes; expected {expected}. Add or remove the layer before it "
                "that changes the number of axes (Flatten, Last, return_sequences)."
            )

    def config(self) -> dict[str, Any]:
        """Its options as JSON can hold them, for `from_config`."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def zeros(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Zeros."""
    return np.zeros(shape)


def ones(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Ones."""
    return np.ones(shape)


def glorot_uniform(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Uniform between ± sqrt(6 / (rows + columns))                                   (Glorot and Bengio 2010)"""
    limit = np.sqrt(6 / (shape[0] + shape[-1]))
    return generator.uniform(-limit, limit, shape)


def orthogonal(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Rows (or columns, if they are fewer) that are orthonormal                      (Saxe et al. 2013)"""
    rows, columns = shape
    q, r = np.linalg.qr(generator.normal(size=(max(shape), min(shape))))
    q = q * np.sign(np.diag(r))
    return q if rows >= columns else q.T


def constant(values: Any) -> Initializer:
    """Values that are known."""
    return lambda generator, shape: np.broadcast_to(np.asarray(values, "float64"), shape).copy()
