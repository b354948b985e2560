# SPDX-License-Identifier: Apache-2.0
"""The native activations on dense scans of their inputs, against long double.

One step of one feature with a kernel of ones and no state hands each x to the activation as it is, on every
lane of the vectors.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from elman import _numpy
from elman.operands import Operands
from elman.options import ACTIVATIONS, Options

pytestmark = pytest.mark.usefixtures("isa")
Array = np.ndarray
UNITS = 19  # whole vectors and an end, at every instruction set
BITS = {np.float32: np.uint32, np.float64: np.uint64}
TRUTH: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "sigmoid": lambda x: np.exp(-np.logaddexp(np.longdouble(0), -x)),
}
ULPS = 3


def wiring(x: Array) -> Operands:
    dtype = x.dtype
    kernel, recurrent_kernel = np.ones((1, UNITS), dtype), np.zeros((UNITS, UNITS), dtype)
    return Operands(x.reshape(-1, 1, 1), kernel, recurrent_kernel)


def activate(name: str, x: Array) -> Array:
    """The activation of every x; every lane gives the same."""
    y, _, _ = _numpy.forward(Options(activation=name), wiring(x))
    lanes = y.reshape(-1, UNITS)
    assert np.array_equal(lanes, np.broadcast_to(lanes[:, :1], lanes.shape), equal_nan=True)
    return lanes[:, 0].copy()


def slope(name: str, x: Array) -> Array:
    """The gradient of every x under a loss whose gradient is 1 on the first lane."""
    operands = wiring(x)
    y, _, _ = _numpy.forward(Options(activation=name), operands)
    dy = np.zeros_like(y)
    dy[..., 0] = 1
    return _numpy.backward(Options(activation=name), operands, y, None, dy, (None,)).dx.ravel()


def scan(dtype: type) -> Array:
    """Both signs of 200,000 numbers that take every exponent in turn, and 100,000 where the functions bend."""
    bits, last = BITS[dtype], np.array(np.finfo(dtype).max).view(BITS[dtype])
    everywhere = np.linspace(0, float(last), 200_000, endpoint=False).astype(bits).view(dtype)
    bend = np.random.default_rng(0).uniform(0, 25, 100_000).astype(dtype)
    return np.concatenate([everywhere, -everywhere, bend, -bend])


def ulps_off(y: Array, truth: Array) -> Array:
    """Distance in units of the last place; below the smallest normal number in units of that number."""
    tiny = np.finfo(y.dtype).tiny
    unit = np.where(np.abs(truth) < tiny, tiny, np.spacing(np.maximum(np.abs(truth), tiny).astype(y.dtype)))
    return np.abs(y.astype(np.longdouble) - truth) / unit


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("name", TRUTH)
def test_at_most_three_ulp_from_the_truth(name: str, dtype: type) -> None:
    x = scan(dtype)
    off = ulps_off(activate(name, x), TRUTH[name](x.astype(np.longdouble)))
    worst = np.argmax(off)
    assert off[worst] <= ULPS, f"{name}({x[worst]!r}) is off by {off[worst]:.2f} ulp"


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize(("low", "high"), [(-88.5, -86.5), (-709.5, -707.5), (88, 90), (708, 710)])
def test_sigmoid_where_the_exponential_leaves_the_range(low: float, high: float, dtype: type) -> None:
    x = np.linspace(low, high, 20_001).astype(dtype)
    off = ulps_off(activate("sigmoid", x), TRUTH["sigmoid"](x.astype(np.longdouble)))
    worst = np.argmax(off)
    assert off[worst] <= ULPS, f"sigmoid({x[worst]!r}) is off by {off[worst]:.2f} ulp"


@pytest.mark.parametrize("dtype", BITS)
def test_values_stay_in_their_range(dtype: type) -> None:
    x = scan(dtype)
    assert np.all(np.abs(activate("tanh", x)) <= 1)
    sigmoid = activate("sigmoid", x)
    assert np.all((sigmoid >= 0) & (sigmoid <= 1))


@pytest.mark.parametrize("dtype", BITS)
def test_hard_sigmoid_is_a_line_between_two_levels(dtype: type) -> None:
    x = np.concatenate([scan(dtype), np.array([np.inf, -np.inf, 3, -3], dtype)])
    truth = np.clip(x.astype(np.longdouble) / 6 + 0.5, 0, 1)
    assert np.max(np.abs(activate("hard_sigmoid", x) - truth)) <= np.finfo(dtype).eps / 2
    assert np.all(activate("hard_sigmoid", x[x >= 3.001]) == 1)
    assert np.all(activate("hard_sigmoid", x[x <= -3.001]) == 0)


@pytest.mark.parametrize("dtype", BITS)
def test_tanh_is_odd_to_the_bit(dtype: type) -> None:
    x = scan(dtype)
    assert np.array_equal(activate("tanh", -x), -activate("tanh", x))


@pytest.mark.parametrize("dtype", BITS)
def test_small_inputs_keep_their_relative_accuracy(dtype: type) -> None:
    x = np.geomspace(np.finfo(dtype).tiny, 1e-3, 10_001).astype(dtype)
    x = np.concatenate([x, -x])
    assert np.max(ulps_off(activate("tanh", x), np.tanh(x.astype(np.longdouble)))) <= ULPS


@pytest.mark.parametrize("dtype", BITS)
def test_large_inputs_saturate_exactly(dtype: type) -> None:
    x = np.array([20, 50, 100, 1e4, 1e30, np.finfo(dtype).max, np.inf], dtype)
    tiny = np.finfo(dtype).tiny
    assert np.all(activate("tanh", x) == 1)
    assert np.all(activate("tanh", -x) == -1)
    assert np.all(activate("sigmoid", x[1:]) == 1)
    assert np.all(activate("sigmoid", -x[3:]) <= 2 * tiny)


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_passes(name: str, dtype: type) -> None:
    assert np.isnan(activate(name, np.array([np.nan, -np.nan], dtype))).all()


@pytest.mark.parametrize("dtype", BITS)
def test_relu_and_linear_are_exact(dtype: type) -> None:
    x = np.concatenate([scan(dtype), np.array([np.inf, -np.inf], dtype)])
    x = x[(np.abs(x) >= np.finfo(dtype).tiny) | (x == 0)]
    assert np.array_equal(activate("linear", x), x)
    assert np.array_equal(activate("relu", x), np.maximum(x, 0))


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_denormal_inputs_count_as_themselves_or_as_zero(name: str, dtype: type) -> None:
    info = np.finfo(dtype)
    x = np.array([info.smallest_subnormal, info.tiny / 2, info.tiny / 3, 0], dtype)
    x = np.concatenate([x, -x])
    assert np.all(np.abs(activate(name, x) - (0.5 if "sigmoid" in name else 0)) <= info.tiny)


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_no_slope_is_negative_and_saturated_ones_are_zero(name: str, dtype: type) -> None:
    x = scan(dtype)
    slopes = slope(name, x)
    assert np.all(slopes >= 0)
    assert np.all(slopes <= 1)
    if name in TRUTH:
        assert np.all(slopes[x > 50] == 0)
