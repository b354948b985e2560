# SPDX-License-Identifier: Apache-2.0
"""Rows of the layer table that act on each step by itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from elman import _numpy
from elman.checks import did_you_mean, is_real, positive_integer
from elman.network.activations import ACTIVATIONS
from elman.network.layer import Array, Layer, Op, Parameter, Place, Shape, constant, glorot_uniform, ones, zeros
from elman.options import ACTIVATIONS as NATIVE


def check_activation(name: str) -> None:
    """Checks that a dense layer has the activation.

    Raises:
        ValueError: If there is no such activation.
    """
    if name not in ACTIVATIONS:
        raise ValueError(
            f"activation is {name!r};{did_you_mean(name, ACTIVATIONS)} expected one of {', '.join(ACTIVATIONS)}."
        )


@dataclasses.dataclass(frozen=True)
class Dense(Layer):
    """y = activation(x W + b), for each step by itself if x is a sequence.

    Args:
        units: Size of the output.
        activation: Name of the activation.
        use_bias: Whether there is a bias `b`.
    """

    units: int
    activation: str = "linear"
    use_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "units", positive_integer("units", self.units))
        check_activation(self.activation)

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        """kernel (features, units), bias (units,)."""
        kernel = {"kernel": Parameter((_features(shape), self.units), glorot_uniform)}
        return kernel | ({"bias": Parameter((self.units,), zeros)} if self.use_bias else {})

    def output(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.units)

    def bind(self, place: Place) -> Op:
        return _Dense(self, place)


class _Dense(Op):
    """One native call each way. x is seen as (rows, features): batch and time are one axis."""

    def __init__(self, layer: Dense, place: Place) -> None:
        kernel, bias, gradients = place.weights["kernel"], place.weights.get("bias"), place.gradients
        self.y = place.empty(*place.shape[:-1], layer.units)
        self.y_rows = self.y.reshape(-1, layer.units)
        self.dx = place.empty(*place.shape) if place.wants_dx else None
        results = None if gradients is None else (self.dx, gradients["kernel"], gradients.get("bias"))
        # Activations that the native call lacks are applied to what it returns.
        native = layer.activation in NATIVE
        self.dense = _numpy.Dense(layer.activation if native else "linear", kernel, bias, self.y_rows, results)
        self.activation = None if native else ACTIVATIONS[layer.activation]
        self.slope = self.y_rows if native or gradients is None else np.empty_like(self.y_rows)

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        self.dense.forward(x)
        if self.activation is not None:
            self.activation.apply(self.y_rows)
        return self.y, mask

    def backward(self, dy: Array) -> Array | None:
        if self.activation is not None:
            dy = self.activation.back(self.y_rows, dy.reshape(self.y_rows.shape), self.slope)
        self.dense.backward(dy)
        return self.dx


@dataclasses.dataclass(frozen=True)
class Activation(Layer):
    """y = activation(x).

    Args:
        activation: Name of the activation.
    """

    activation: str

    def __post_init__(self) -> None:
        check_activation(self.activation)

    def bind(self, place: Place) -> Op:
        return _Activation(self, place)


class _Activation(Op):
    def __init__(self, layer: Activation, place: Place) -> None:
        self.activation, self.wants_dx = ACTIVATIONS[layer.activation], place.wants_dx
        self.y = place.empty(*place.shape)
        self.slope = place.empty(*place.shape) if place.training and place.wants_dx else self.y

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        np.copyto(self.y, x)
        self.activation.apply(self.y)
        return self.y, mask

    def backward(self, dy: Array) -> Array | None:
        return self.activation.back(self.y, dy, self.slope) if self.wants_dx else None


@dataclasses.dataclass(frozen=True)
class Rescale(Layer):
    """y = x scale + offset, with one number each or one for each feature; both are constants.

    A BatchNormalization that is no longer trained is one: scale = gamma / sqrt(variance + epsilon), and
    offset = beta - mean scale                                                         (Ioffe and Szegedy 2015).

    Args:
        scale: A number, or one for each feature.
        offset: A number, or one for each feature.
    """

    scale: Any = 1.0
    offset: Any = 0.0

    def __post_init__(self) -> None:
        for name in ("scale", "offset"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name)))

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        """scale and offset (features,), which are not trained."""
        size = (_features(shape),)
        return {name: _constant(name, getattr(self, name), size) for name in ("scale", "offset")}

    def bind(self, place: Place) -> Op:
        return _Affine(place, place.weights["scale"], place.weights["offset"])


@dataclasses.dataclass(frozen=True)
class Normalize(Layer):
    """y = (x - mean) / std, for each feature; both are constants.

    Args:
        mean: A number, or one for each feature.
        std: A positive number, or one for each feature.
    """

    mean: Any = 0.0
    std: Any = 1.0

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name)))
        if not np.all(np.asarray(self.std) > 0):
            raise ValueError(f"std is {self.std!r}; expected positive numbers. Leave out a column that is constant.")

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        """mean and std (features,), which are not trained."""
        size = (_features(shape),)
        return {name: _constant(name, getattr(self, name), size) for name in ("mean", "std")}

    def bind(self, place: Place) -> Op:
        return _Normalize(place)


class _Affine(Op):
    """x scale + offset."""

    def __init__(self, place: Place, scale: Array, offset: Array) -> None:
        self.scale, self.offset = scale, offset
        self.y = place.empty(*place.shape)
        self.dx = place.empty(*place.shape) if place.wants_dx else None

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        np.multiply(x, self.scale, out=self.y)
        np.add(self.y, self.offset, out=self.y)
        return self.y, mask

    def backward(self, dy: Array) -> Array | None:
        return None if self.dx is None else np.multiply(dy, self.scale, out=self.dx)


class _Normalize(_Affine):
    """Subtracts first: x std^-1 - mean std^-1 would lose the digits of an x with a large mean."""

    def __init__(self, place: Place) -> None:
        self.std = place.weights["std"]
        super().__init__(place, np.empty_like(self.std), place.weights["mean"])

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        np.reciprocal(self.std, out=self.scale)  # each time, since the user may write into `Network.weights`
        np.subtract(x, self.offset, out=self.y)
        np.multiply(self.y, self.scale, out=self.y)
        return self.y, mask


@dataclasses.dataclass(frozen=True)
class LayerNorm(Layer):
    """y = gamma (x - mean(x)) / sqrt(var(x) + epsilon) + beta, over the features of each step        (Ba et al. 2016)

    Args:
        epsilon: Added to the variance; 1e-3 in Keras, 1e-5 in torch.nn.
    """

    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        if not is_real(self.epsilon) or self.epsilon <= 0:
            raise ValueError(f"epsilon is {self.epsilon!r}; expected a positive number.")

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        """gamma and beta (features,)."""
        size = (_features(shape),)
        return {"gamma": Parameter(size, ones), "beta": Parameter(size, zeros)}

    def bind(self, place: Place) -> Op:
        return _LayerNorm(self, place)


class _LayerNorm(Op):
    def __init__(self, layer: LayerNorm, place: Place) -> None:
        self.place, self.epsilon = place, layer.epsilon
        self.gamma, self.beta = place.weights["gamma"], place.weights["beta"]
        self.normal, self.y = place.empty(*place.shape), place.empty(*place.shape)
        self.scale, self.mean = (place.empty(*place.shape[:-1], 1) for _ in range(2))
        self.dx = place.empty(*place.shape) if place.wants_dx else None
        self.product = place.empty(*place.shape) if place.training else self.y

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        np.mean(x, axis=-1, keepdims=True, out=self.scale)
        np.subtract(x, self.scale, out=self.normal)
        np.multiply(self.normal, self.normal, out=self.y)
        np.mean(self.y, axis=-1, keepdims=True, out=self.scale)
        np.add(self.scale, self.epsilon, out=self.scale)
        np.sqrt(self.scale, out=self.scale)
        np.divide(self.normal, self.scale, out=self.normal)
        np.multiply(self.normal, self.gamma, out=self.y)
        np.add(self.y, self.beta, out=self.y)
        return self.y, mask

    def backward(self, dy: Array) -> Array | None:
        gradients = self.place.gradients
        assert gradients is not None
        axes = tuple(range(dy.ndim - 1))
        np.add.reduce(dy, axis=axes, out=gradients["beta"])
        np.multiply(dy, self.normal, out=self.product)
        np.add.reduce(self.product, axis=axes, out=gradients["gamma"])
        if self.dx is None:
            return None
        # dx = (d - mean(d) - normal mean(d normal)) / scale, with d = dy gamma
        dx, product, mean = self.dx, self.product, self.mean
        np.multiply(dy, self.gamma, out=dx)
        np.multiply(dx, self.normal, out=product)
        np.mean(product, axis=-1, keepdims=True, out=mean)
        np.multiply(self.normal, mean, out=product)
        np.mean(dx, axis=-1, keepdims=True, out=mean)
        np.subtract(dx, mean, out=dx)
        np.subtract(dx, product, out=dx)
        return np.divide(dx, self.scale, out=dx)


@dataclasses.dataclass(frozen=True)
class Dropout(Layer):
    """While training, zeroes a share of the values and divides the others by 1 - rate      (Srivastava et al. 2014)

    Args:
        rate: The share, from 0 to below 1.
        each_step: Whether every step draws its own; if not, all steps of a sequence lose the same features
            (Keras's SpatialDropout1D).
    """

    rate: float
    each_step: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate("rate", self.rate)

    def bind(self, place: Place) -> Op:
        return _Dropout(self, place)


def check_rate(name: str, rate: Any) -> None:
    """Checks a share that dropout zeroes.

    Raises:
        ValueError: If it is not a number from 0 to below 1.
    """
    if not is_real(rate) or not 0 <= rate < 1:
        raise ValueError(f"{name} is {rate!r}; expected a number from 0 to below 1.")


class Draws:
    """Dropout masks of one shape: 0, or 1 / (1 - rate), drawn again at each call."""

    def __init__(self, rate: float, shape: tuple[int, ...], place: Place) -> None:
        self.rate, self.generator = rate, place.generator
        self.uniform, self.values = np.empty(shape, np.float32), place.empty(*shape)

    def __call__(self) -> Array:
        self.generator.random(out=self.uniform, dtype=np.float32)
        np.greater_equal(self.uniform, self.rate, out=self.values, casting="unsafe")
        return np.multiply(self.values, 1 / (1 - self.rate), out=self.values)


class _Dropout(Op):
    def __init__(self, layer: Dropout, place: Place) -> None:
        batch, *steps, features = place.shape
        shape = place.shape if layer.each_step else (batch, *(1 for _ in steps), features)
        self.draw = Draws(layer.rate, shape, place) if place.training and layer.rate else None
        self.y = place.empty(*place.shape)
        self.dx = place.empty(*place.shape) if place.wants_dx else None

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        return (x if self.draw is None else np.multiply(x, self.draw(), out=self.y)), mask

    def backward(self, dy: Array) -> Array | None:
        if self.dx is None or self.draw is None:
            return None if self.dx is None else dy
        return np.multiply(dy, self.draw.values, out=self.dx)


def _features(shape: Shape) -> int:
    size = shape[-1]
    assert size is not None
    return size


def _numbers(name: str, values: Any) -> Any:
    """A number, or a tuple of numbers, so that the layer stays hashable.

    Raises:
        ValueError: If it is neither.
    """
    array = np.asarray(values)
    if array.ndim > 1 or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise ValueError(f"{name} is {values!r}; expected a finite number, or one for each feature.")
    return float(array) if array.ndim == 0 else tuple(array.astype("float64").tolist())


def _constant(name: str, values: Any, size: tuple[int]) -> Parameter:
    if isinstance(values, tuple) and len(values) != size[0]:
        raise ValueError(f"{name} has {len(values)} numbers, and the input {size[0]} features; expected as many.")
    return Parameter(size, constant(values), trainable=False)
