# SPDX-License-Identifier: Apache-2.0
"""elman.LSTM and elman.GRU where they are more than SimpleRNN: arguments, cuDNN, dropout for each gate, two states.

The random cases of `test_differential` check the numbers of every option; what all three layers share is tested on
SimpleRNN, in `test_layer` and the files next to it.
"""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import elman
from elman import route

BACKEND = keras.config.backend()
B, T, F, U = 4, 6, 3, 5
RNG = np.random.default_rng(11)
X = RNG.normal(size=(B, T, F)).astype("float32")
NAMES = ("LSTM", "GRU")
GATES = {"LSTM": 4, "GRU": 3}
STATES = {"LSTM": 2, "GRU": 1}
EXTRAS = {"learn_initial_state": True, "truncate_gradient": 3, "clip_state_gradient": 0.5, "native": "require"}
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}  # of float32 sums of a few terms, all below 1


def array(tensor: Any) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


def twins(cell: str, **arguments: Any) -> tuple[Any, Any]:
    """Ours and stock's, built, with the same weights."""
    ours, stock = (getattr(package, cell)(U, **arguments) for package in (elman, layers))
    for layer in (ours, stock):
        layer.build(X.shape)
    stock.set_weights(ours.get_weights())
    return ours, stock


pytestmark = pytest.mark.parametrize("name", NAMES)


# --- arguments -----------------------------------------------------------------------------------------------------


def test_the_constructor_has_stocks_arguments_in_order_and_then_the_extras(name):
    *stock, rest = inspect.signature(getattr(layers, name).__init__).parameters.values()
    ours = list(inspect.signature(getattr(elman, name).__init__).parameters.values())
    assert ours[: len(stock)] == stock
    assert ours[-1] == rest
    assert {p.name for p in ours[len(stock) : -1]} == {
        p.name for p in inspect.signature(elman.SimpleRNN.__init__).parameters.values() if p.kind is p.KEYWORD_ONLY
    }


@pytest.mark.medium
def test_the_config_keeps_everything(name):
    given = {
        "units": U,
        "activation": "relu",
        "recurrent_activation": "hard_sigmoid",
        "use_bias": False,
        "dropout": 0.1,
        "seed": 3,
        "return_sequences": True,
        "use_cudnn": False,
        "implementation": 1,
        "zero_output_for_mask": True,
        "name": "rnn",
        {"LSTM": "unit_forget_bias", "GRU": "reset_after"}[name]: False,
    }
    layer = getattr(elman, name)(**given, truncate_gradient=3)
    config = layer.get_config()
    assert {key: config[key] for key in given} == given
    again = type(layer).from_config(config)
    assert again.get_config() == config
    assert again.cell.implementation == 1
    assert again.truncate_gradient == 3
    model = keras.Sequential([keras.Input((T, F)), layer])
    assert keras.models.clone_model(model).layers[0].get_config() == config


def test_attributes_are_stocks(name):
    ours, stock = twins(name, name="rnn", dropout=0.2, recurrent_dropout=0.1)
    for attribute in (
        *("units", "use_bias", "dropout", "recurrent_dropout", "activation", "recurrent_activation", "use_cudnn"),
        *("return_sequences", "stateful", "unroll", "state_size", "supports_jit", "compute_dtype", "states"),
        *("unit_forget_bias",) * (name == "LSTM"),
        *("reset_after",) * (name == "GRU"),
    ):
        assert getattr(ours, attribute) == getattr(stock, attribute), attribute
    assert isinstance(ours, getattr(layers, name))
    assert [w.path for w in ours.weights] == [w.path for w in stock.weights]
    assert type(ours.input_spec) is type(stock.input_spec)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"units": 0}, r"got units=0; expected a positive integer"),
        ({"units": U, "use_cudnn": "never"}, r"got use_cudnn='never'; expected one of 'auto', True, False"),
        ({"units": U, "implementation": 3}, r"got implementation=3; expected one of 0, 1, 2"),
        ({"units": U, "recurrent_activation": "sigmoyd"}, r"recurrent_activation='sigmoyd'.*Did you mean 'sigmoid'"),
        ({"units": U, "recurent_dropout": 0.1}, r"unknown argument 'recurent_dropout'.*Did you mean"),
    ],
)
def test_a_wrong_argument_gets_a_sentence(name, arguments, sentence):
    with pytest.raises(ValueError, match=f"{name} .*{sentence}"):
        getattr(elman, name)(**arguments)


def test_an_argument_of_the_other_cell_is_named(name):
    argument, owner = {"LSTM": ("reset_after", "GRU"), "GRU": ("unit_forget_bias", "LSTM")}[name]
    with pytest.raises(ValueError, match=rf"unknown argument '{argument}'.*It belongs to elman\.{owner}\."):
        getattr(elman, name)(U, **{argument: False})


# --- routes and cuDNN ----------------------------------------------------------------------------------------------


@pytest.mark.medium
@pytest.mark.parametrize("gates", ["tanh", "sigmoid", "relu", "linear", "hard_sigmoid", None])
def test_gates_with_a_native_activation_run_natively(name, gates):
    ours, stock = twins(name, recurrent_activation=gates)
    got = array(ours(X))
    assert ours.route.path == "native"
    np.testing.assert_allclose(got, array(stock(X)), **TOLERANCE)


def test_gates_with_another_activation_do_not_and_say_so(name):
    ours, stock = twins(name, recurrent_activation="softsign")
    got, expected = (keras.Sequential([layer]).predict(X, verbose=0) for layer in (ours, stock))
    np.testing.assert_array_equal(got, expected)
    assert ours.route.reason.startswith("activation softsign has no native kernel")


def test_asking_for_cudnn_leaves_it_to_keras(name):
    layer = getattr(elman, name)(U, use_cudnn=True)
    if BACKEND == "tensorflow" or (BACKEND, name) == ("jax", "LSTM"):  # where Keras says that there is none
        with pytest.raises(ValueError, match="use_cudnn=True"):
            layer(X)
    else:
        assert layer(X).shape == (B, U)
    assert layer.route == ("keras", None, route.reason("cudnn"))


@pytest.mark.parametrize("extra", [*EXTRAS, "activity_regularizer"])
def test_a_bidirectional_does_not_pass_by_what_cudnn_has_not(name, extra):
    layer = getattr(elman, name)(U, **{extra: EXTRAS.get(extra, "l2")})
    around = layers.Bidirectional(layer)
    around.build(X.shape)
    assert not getattr(around, f"_can_attempt_fused_{name.lower()}")(mask=None)
    around(X)
    assert around.forward_layer.route.path == around.backward_layer.route.path == "native"
    assert layer.get_config()["use_cudnn"] == "auto"


# --- dropout -------------------------------------------------------------------------------------------------------


@pytest.mark.medium
@pytest.mark.parametrize("native", ["require", False])
def test_a_mask_for_each_gate_works_without_recurrent_dropout(name, native):
    layer = getattr(elman, name)(U, dropout=0.5, implementation=1, seed=1, native=native)
    stock = getattr(layers, name)(U, dropout=0.5, implementation=1, seed=1, use_cudnn=False)
    for each in (layer, stock):
        each.build(X.shape)
    stock.set_weights(layer.get_weights())
    np.testing.assert_allclose(array(layer(X, training=True)), array(stock(X, training=True)), **TOLERANCE)


@pytest.mark.medium
@pytest.mark.parametrize("native", ["require", False])
@pytest.mark.parametrize("implementation", [1, 2])
def test_a_dropout_of_1_drops_every_input(name, native, implementation):
    layer = getattr(elman, name)(U, dropout=1.0, implementation=implementation, native=native)
    got = array(layer(X, training=True))
    np.testing.assert_allclose(got, array(layer(np.zeros_like(X))), **TOLERANCE)
    assert np.abs(got - array(layer(X))).max() > 0.01


@pytest.mark.medium
@pytest.mark.parametrize("native", ["require", False])
def test_a_recurrent_dropout_of_1_drops_every_state(name, native):
    layer = getattr(elman, name)(U, recurrent_dropout=1.0, native=native, return_sequences=True)
    got = array(layer(X, training=True))
    weights = layer.get_weights()
    layer.set_weights([weights[0], np.zeros_like(weights[1]), weights[2]])
    np.testing.assert_allclose(got, array(layer(X)), **TOLERANCE)


# --- states --------------------------------------------------------------------------------------------------------


def test_every_state_may_be_learned(name):
    layer = getattr(elman, name)(U, learn_initial_state=True, return_state=True)
    layer.build(X.shape)
    learned = layer.weights[3:]
    assert [w.shape for w in learned] == [(U,)] * STATES[name]
    assert all((array(w) == 0).all() for w in learned)
    values = [RNG.normal(size=U).astype("float32") for _ in learned]
    layer.set_weights([*layer.get_weights()[:3], *values])
    given = [np.broadcast_to(v, (B, U)) for v in values]
    for got, expected in zip(layer(X), layer(X, initial_state=given), strict=True):
        np.testing.assert_allclose(array(got), array(expected), **TOLERANCE)
    stock = getattr(layers, name)(U)
    stock.build(X.shape)
    layer.load_own_variables({})  # a stock file has none
    np.testing.assert_array_equal(layer.get_weights()[3], values[0])


@pytest.mark.parametrize("count", [0, 3])
def test_a_wrong_number_of_states_gets_a_sentence(name, count):
    expected = {"LSTM": r"expected 2 states.*initial_state=\[h, c\]", "GRU": r"expected 1 state .*initial_state=\[h\]"}
    with pytest.raises(ValueError, match=expected[name]):
        getattr(elman, name)(U)(X, initial_state=[np.zeros((B, U), "float32")] * count)


def test_a_stateful_layer_goes_on_in_fit_and_predict(name):
    model = keras.Sequential(
        [keras.Input(batch_shape=(2, T, F)), getattr(elman, name)(U, stateful=True), layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    layer = model.layers[0]
    model.fit(X, np.zeros((B, 1)), batch_size=2, shuffle=False, verbose=0)
    assert all(np.abs(state).max() > 0 for state in layer.get_state())
    layer.reset_state()
    first = model.predict(X[:2], batch_size=2, verbose=0)
    second = model.predict(X[:2], batch_size=2, verbose=0)
    assert np.abs(first - second).max() > 1e-4
    states = layer.get_state()
    assert len(states) == STATES[name]
    layer.reset_state()
    both = np.concatenate([X[:2], X[:2]], axis=1)
    np.testing.assert_allclose(
        array(layer(both)), array(ops.convert_to_tensor(states[0])), **TOLERANCE
    )  # h is the output


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.medium
def test_files_are_stocks(name, tmp_path):
    def model(package: Any) -> keras.Model:
        return keras.Sequential(
            [keras.Input((T, F)), layers.Bidirectional(getattr(package, name)(U, name="rnn")), layers.Dense(1)]
        )

    ours, stock = model(elman), model(layers)
    stock.save_weights(tmp_path / "m.weights.h5")
    ours.load_weights(tmp_path / "m.weights.h5")
    expected = stock.predict(X, verbose=0)
    np.testing.assert_allclose(ours.predict(X, verbose=0), expected, **TOLERANCE)
    ours.save(tmp_path / "ours.keras")
    np.testing.assert_allclose(
        keras.models.load_model(tmp_path / "ours.keras").predict(X, verbose=0), expected, **TOLERANCE
    )
    elman.to_stock(ours).save(tmp_path / "stock.keras")
    loaded = keras.models.load_model(tmp_path / "stock.keras")
    assert type(loaded.layers[0].forward_layer) is getattr(layers, name)
    np.testing.assert_allclose(elman.accelerate(loaded).predict(X, verbose=0), expected, **TOLERANCE)


@pytest.mark.medium
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_half_types_stay_native(name, dtype):
    layer = getattr(elman, name)(U, dtype=dtype, dropout=0.3, recurrent_dropout=0.2, native="require")
    assert keras.backend.standardize_dtype(layer(X, training=True).dtype) == dtype.removeprefix("mixed_")
    assert layer.route.path == "native"
