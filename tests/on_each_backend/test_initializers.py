# SPDX-License-Identifier: Apache-2.0
"""`elman.initializers`: known answers, files, and wrong arguments."""

from __future__ import annotations

import copy
from typing import Any

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import elman
from elman import initializers
from elman.diagnosis import gradient, observe
from elman.diagnosis.on_keras import KerasModel
from elman.initializers import Chrono, ScaledIdentity, orthogonal_on_batch

X = np.random.default_rng(0).normal(size=(64, 30, 3))


def numbers(initializer: Any, shape: tuple[int, ...]) -> np.ndarray:
    return keras.ops.convert_to_numpy(initializer(shape))


@pytest.mark.backends("tensorflow", "torch")  # JAX has float64 only in a process that asks for it
def test_double_precision_is_not_rounded_to_single() -> None:
    assert_array_equal(keras.ops.convert_to_numpy(ScaledIdentity(0.1)((2, 2), "float64")), 0.1 * np.eye(2))


def test_a_scaled_identity_passes_each_state_on() -> None:
    assert_array_equal(numbers(ScaledIdentity(0.5), (3, 3)), 0.5 * np.eye(3))
    assert_array_equal(numbers(ScaledIdentity(), (2, 6)), np.tile(np.eye(2), 3))
    layer = elman.SimpleRNN(4, activation="relu", recurrent_initializer=ScaledIdentity())
    x = np.zeros((2, 9, 4), "float32")
    layer.build(x.shape)
    layer.set_weights([np.eye(4), *layer.get_weights()[1:]])
    x[:, 0] = [1, 2, 3, 4]
    assert_allclose(keras.ops.convert_to_numpy(layer(x)), x[:, 0])


@pytest.mark.medium
@pytest.mark.parametrize("package", [elman, keras.layers], ids=["elman", "stock"])
def test_chrono_biases_of_an_lstm(package: Any) -> None:
    layer = package.LSTM(200, bias_initializer=Chrono(50, 200), unit_forget_bias=False)
    layer.build((None, 5, 3))
    i, f, g, o = np.split(layer.get_weights()[2], 4)
    assert 0 <= f.min() < 1 < 3 < f.max() <= np.log(49)
    assert_allclose(np.exp(f).mean(), 25, rtol=0.1)
    assert_array_equal(i, -f)
    assert_array_equal([g, o], np.zeros((2, 200)))


@pytest.mark.medium
@pytest.mark.parametrize("package", [elman, keras.layers], ids=["elman", "stock"])
@pytest.mark.parametrize("units", [3, 4, 32])  # a piece of 32 biases would do for an LSTM of 8 units
def test_chrono_biases_are_refused_by_an_lstm_that_puts_its_own_there(package: Any, units: int) -> None:
    with pytest.raises(ValueError, match="Set unit_forget_bias=False on the layer"):
        package.LSTM(units, bias_initializer=Chrono(50, units)).build((None, 5, 3))


@pytest.mark.parametrize("reset_after", [True, False])
def test_chrono_biases_of_a_gru(reset_after: bool) -> None:
    layer = elman.GRU(20, bias_initializer=Chrono(50, 20, seed=3), reset_after=reset_after)
    layer.build((None, 5, 3))
    bias = layer.get_weights()[2]
    first = bias[0] if reset_after else bias
    assert first[:20].max() > 2
    assert_array_equal(first[20:], np.zeros(40))
    if reset_after:
        assert_array_equal(bias[1], np.zeros(60))


def test_chrono_biases_are_the_same_on_every_backend() -> None:
    expected = [3.4523392, 2.6354625, 1.08746, 0.5840723]
    assert_allclose(numbers(Chrono(50, 4, seed=0), (16,))[4:8], expected, rtol=1e-6)
    assert_array_equal(numbers(Chrono(50, 4, seed=5), (16,)), numbers(Chrono(50, 4, seed=5), (16,)))
    assert (numbers(Chrono(50, 4, seed=5), (16,)) != numbers(Chrono(50, 4, seed=6), (16,))).any()


@pytest.mark.parametrize("initializer", [ScaledIdentity(0.9), Chrono(30, 4, seed=9)], ids=["identity", "chrono"])
def test_they_are_saved_with_a_model(initializer: Any, tmp_path: Any) -> None:
    own = "recurrent_initializer" if isinstance(initializer, ScaledIdentity) else "bias_initializer"
    layer = keras.layers.LSTM(4, **{own: initializer}, unit_forget_bias=False)
    model = keras.Sequential([keras.Input((5, 3)), layer])
    model.save(tmp_path / "model.keras")
    again = getattr(keras.models.load_model(tmp_path / "model.keras").layers[0], own)
    assert type(again) is type(initializer)
    assert again.get_config() == initializer.get_config() == copy.deepcopy(initializer).get_config()


@pytest.mark.medium
@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_with_the_gain_of_a_batch_gradients_neither_shrink_nor_grow(activation: str, scale: float) -> None:
    units = 48
    initializer = orthogonal_on_batch(scale * X, units, activation)
    layer = elman.SimpleRNN(
        units,
        activation=activation,
        kernel_initializer=keras.initializers.GlorotUniform(seed=1),
        recurrent_initializer=initializer,
    )
    model = keras.Sequential([keras.Input((30, 3)), layer])
    observed = KerasModel("diagnose", model, (scale * X).astype("float32"))
    seen = observe.run(observed, observed.x)
    (call,) = seen.calls.values()
    # Measured on other draws than those that gave the gain. Draws differ more with relu, half of whose slopes are zero.
    assert abs(gradient.reach(call).exponent) < (0.3 if activation == "relu" else 0.05)
    unscaled = call.changed(weights=(call.weights[0], call.weights[1] / initializer.gain, call.weights[2]))
    assert gradient.reach(unscaled).exponent < -0.1 or activation == "linear" or scale == 0.1
    if activation == "linear":
        assert initializer.gain == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
@pytest.mark.parametrize(("units", "time"), [(1, 30), (4, 30), (16, 30), (16, 1000)])
def test_no_gain_that_was_tried_is_nearer_to_0(activation: str, units: int, time: int) -> None:
    x = np.random.default_rng(2).normal(size=(16, time, 3))
    gain = orthogonal_on_batch(x, units, activation).gain

    def growth(gain: float) -> float:
        """As it is found, with the same draws."""
        rng = np.random.default_rng(0)
        limit = np.sqrt(6 / (3 + units))
        kernel = rng.uniform(-limit, limit, (3, units))
        turn, upper = np.linalg.qr(rng.standard_normal((units, units)))
        turn *= np.sign(np.diag(upper))
        direction = rng.standard_normal((16, units))
        valid = np.ones((16, time), bool)
        return initializers._growth(x, valid, kernel, gain * turn, direction, activation)

    others = [abs(growth(other)) for other in np.geomspace(0.05, 20, 25)]
    if np.isfinite(others).any():
        assert abs(growth(gain)) <= min(others) + 1e-3
    else:
        assert gain == 1.0


def test_masked_steps_do_not_count_for_the_gain() -> None:
    padded = X.copy()
    valid = np.arange(30) >= np.random.default_rng(1).integers(0, 9, 64)[:, None]
    padded[~valid] = -100
    gain = orthogonal_on_batch(padded, 32, mask=valid).gain
    assert gain == pytest.approx(orthogonal_on_batch(X, 32).gain, rel=0.05)
    assert abs(orthogonal_on_batch(padded, 32).gain - gain) > 0.1


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: ScaledIdentity("1"), ValueError, "gain is '1'; expected a finite number"),
        (lambda: ScaledIdentity(float("nan")), ValueError, "gain is nan"),
        (lambda: ScaledIdentity()((3, 4)), ValueError, r"got the shape \(3, 4\); expected \(units, units\)"),
        (lambda: ScaledIdentity()((3,)), ValueError, r"got the shape \(3,\)"),
        (lambda: Chrono(2, 4), ValueError, "longest is 2; expected an integer of at least 3"),
        (lambda: Chrono(9, 0), ValueError, "units is 0; expected a positive integer"),
        (lambda: Chrono(9, 4, seed=0.5), TypeError, "seed is 0.5; expected an integer"),
        (lambda: Chrono(9, 4, seed=-1), ValueError, "seed is -1; expected an integer of at least 0"),
        (lambda: Chrono(9, 3)((2, 12)), ValueError, r"got the shape \(2, 12\); expected \(12,\) for an LSTM"),
        (lambda: Chrono(9, 3)((16,)), ValueError, r"or \(2, 9\) for a GRU"),
        (lambda: orthogonal_on_batch(X[0], 4), ValueError, r"x has shape \(30, 3\); expected \(batch, time"),
        (lambda: orthogonal_on_batch(X[:, :1], 4), ValueError, "at least 2 steps"),
        (lambda: orthogonal_on_batch(X * np.nan, 4), ValueError, "x has NaN or infinities"),
        (lambda: orthogonal_on_batch(X, 0), ValueError, "units is 0; expected a positive integer"),
        (lambda: orthogonal_on_batch(X, 4, "swish"), ValueError, "activation is 'swish'; expected one of"),
        (lambda: orthogonal_on_batch(X, 4, kernel=np.ones((4, 3))), ValueError, r"kernel has shape \(4, 3\)"),
        (lambda: orthogonal_on_batch(X, 4, kernel=np.full((3, 4), np.nan)), ValueError, "kernel has NaN or infinities"),
        (lambda: orthogonal_on_batch(X, 4, mask=np.ones((64, 9))), ValueError, r"mask has shape \(64, 9\)"),
    ],
)
def test_wrong_arguments_are_refused(make: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        make()
