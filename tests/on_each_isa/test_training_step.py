# SPDX-License-Identifier: Apache-2.0
"""The native dense layer, Adam and the losses, which `Network` trains with: against NumPy in float64, and the same bits
for any number of threads."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

import elman
import tolerance
from elman import _numpy
from elman.network import optimizers
from elman.options import ACTIVATIONS

pytestmark = pytest.mark.usefixtures("isa")
Array = np.ndarray
NAMES = ("y", "dx", "dkernel", "dbias")
# One row; whole vectors and ends; sums that are cut (kLongestChain in native/product.h is 512).
SHAPES = [(1, 7, 5), (3, 1, 1), (0, 4, 2), (32, 32, 16), (33, 19, 35), (1100, 6, 3), (5, 1030, 600)]


@pytest.fixture(autouse=True)
def default_threads() -> Iterator[None]:
    yield
    elman.set_num_threads(None)


def arrays(shape: tuple[int, int, int], dtype: type) -> tuple[Array, ...]:
    rows, features, units = shape
    rng = np.random.default_rng(shape)
    kernel = rng.normal(size=(features, units)) / math.sqrt(features)
    found = (rng.normal(size=(rows, features)), kernel, rng.normal(size=units), rng.normal(size=(rows, units)))
    return tuple(array.astype(dtype) for array in found)


def native(activation: str, given: tuple[Array, ...]) -> list[Array]:
    x, kernel, bias, dy = given
    y, dx, dkernel, dbias = (np.full_like(like, np.nan) for like in (dy, x, kernel, bias))
    dense = _numpy.Dense(activation, kernel, bias, y, (dx, dkernel, dbias))
    dense.forward(x)
    dense.backward(dy)
    return [y, dx, dkernel, dbias]


def plain(activation: str, given: tuple[Array, ...], dtype: type) -> list[Array]:
    x, kernel, bias, dy = (array.astype(dtype) for array in given)
    z = x @ kernel + bias
    one = dtype(1)
    y = {
        "linear": z,
        "tanh": np.tanh(z),
        "relu": np.maximum(z, 0),
        "sigmoid": one / (one + np.exp(-z)),
        "hard_sigmoid": np.clip(z / dtype(6) + dtype(0.5), 0, 1),
    }[activation]
    slope = {
        "linear": np.ones_like(z),
        "tanh": one - y * y,
        "relu": (y > 0).astype(dtype),
        "sigmoid": y * (one - y),
        "hard_sigmoid": ((y > 0) & (y < 1)) / dtype(6),
    }[activation]
    dz = (dy * slope).astype(dtype)
    return [y, dz @ kernel.T, x.T @ dz, dz.sum(axis=0)]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_dense_layer_is_within_the_tolerance(activation: str) -> None:
    grid = tolerance.Grid()
    for shape in SHAPES:
        for dtype in (np.float32, np.float64):
            given = arrays(shape, dtype)
            truth, stock = (plain(activation, given, each) for each in (np.float64, dtype))
            for name, got, want, usual in zip(NAMES, native(activation, given), truth, stock, strict=True):
                if dtype is np.float64:
                    tolerance.assert_float64(got, want, (shape, name))
                else:
                    grid.check(name, got, want, usual, shape)
    grid.assert_root_mean_square()


@pytest.mark.parametrize("shape", [(600, 40, 33), (64, 600, 300)], ids=str)
def test_the_number_of_threads_changes_no_bit(shape: tuple[int, int, int]) -> None:
    given = arrays(shape, np.float32)
    results = []
    for threads in (1, 2, 3):
        elman.set_num_threads(threads)
        results.append(native("tanh", given))
    for other in results[1:]:
        for name, got, want in zip(NAMES, other, results[0], strict=True):
            np.testing.assert_array_equal(got, want, err_msg=name)


def test_what_is_not_wanted_is_not_computed() -> None:
    x, kernel, _, dy = arrays((4, 3, 5), np.float32)
    y, dkernel = np.empty_like(dy), np.empty_like(kernel)
    dense = _numpy.Dense("linear", kernel, None, y, (None, dkernel, None))
    dense.forward(x)
    dense.backward(dy)
    np.testing.assert_allclose(y, x @ kernel, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dkernel, x.T @ dy, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 1000, 150_000])  # the last one is shared among threads
def test_adam_gives_the_same_bits_as_its_formula(size: int, dtype: str) -> None:
    """Each operation is rounded by itself, so that every instruction set gives the same bits."""
    rng = np.random.default_rng(size)
    one = np.dtype(dtype).type
    adam, weights = optimizers.Adam(size, np.dtype(dtype), 0.01, weight_decay=0.1), rng.normal(size=size).astype(dtype)
    w, m, v = weights.copy(), np.zeros(size, dtype), np.zeros(size, dtype)
    for t in (1, 2, 3):
        g = rng.normal(size=size).astype(dtype)
        adam.step(weights, g)
        rate = one(0.01 * math.sqrt(1 - 0.999**t) / (1 - 0.9**t))
        m = m + (g - m) * one(1 - 0.9)
        v = v + (g * g - v) * one(1 - 0.999)
        w = w * one(1 - 0.01 * 0.1) - m / (np.sqrt(v) + one(1e-7)) * rate
    np.testing.assert_array_equal(weights, w)
