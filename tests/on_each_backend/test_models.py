# SPDX-License-Identifier: Apache-2.0
"""Whole models with their layers replaced: elman's for Keras's own and back, on the backend that KERAS_BACKEND names.

What is stock's stays bit for bit: weights, states, seeds, slots. Outputs by the two kinds of layers agree within the
rounding that tests/tolerance.py allows.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import elman
import tolerance
from elman import route

BACKEND = keras.backend.backend()
BATCH, TIME, FEATURES, UNITS = 4, 6, 3, 5
Stock = keras.layers.SimpleRNN
Dense = keras.layers.Dense


def data(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape or (BATCH, TIME, FEATURES)).astype("float32")


X, Y = data(), data(BATCH, 1)


# --- the models ----------------------------------------------------------------------------------------------------


def doubled(x: Any) -> Any:
    return keras.ops.tanh(2.0 * x)


class Residual(keras.layers.Layer):
    """A layer that Keras knows by no name, around another that is in its config."""

    def __init__(self, inner: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner = inner if isinstance(inner, keras.Layer) else keras.saving.deserialize_keras_object(inner)

    def build(self, shape: Any) -> None:
        self.inner.build(shape)
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, x: Any, training: bool = False) -> Any:
        return self.scale * self.inner(x, training=training)

    def compute_output_shape(self, shape: Any) -> Any:
        return self.inner.compute_output_shape(shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}


class Hidden(keras.layers.Layer):
    """A layer that makes a recurrent layer in its own code."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.rnn = units, Stock(units)

    def build(self, shape: Any) -> None:
        self.rnn.build(shape)

    def call(self, x: Any) -> Any:
        return self.rnn(x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class Named(keras.Model):
    """A functional model of a class of its own."""

    def double(self, x: Any) -> Any:
        return 2 * self(x)


class Subclassed(keras.Model):
    """A model whose layers are in its own code."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.rnn, self.head = units, Stock(units, name="reader"), Dense(1)

    def call(self, x: Any) -> Any:
        return self.head(self.rnn(x))

    def get_config(self) -> dict[str, Any]:
        return {"units": self.units, "name": self.name}


def inputs() -> Any:
    return keras.Input((TIME, FEATURES))


def sequential() -> Any:
    return keras.Sequential([inputs(), Stock(UNITS, return_sequences=True), Stock(UNITS), Dense(1)], name="two")


def built_by_a_call() -> Any:
    model = keras.Sequential([Stock(UNITS), Dense(1)])
    model(X)
    return model


def functional() -> Any:
    x = inputs()
    y, h = Stock(UNITS, return_sequences=True, return_state=True, name="encoder")(x)
    z = Stock(UNITS, go_backwards=True, name="decoder")(y * 0.5 + 1.0, initial_state=[h])
    return keras.Model(x, [Dense(1)(z), z], name="states")


def nested() -> Any:
    inner = keras.Sequential([inputs(), Stock(UNITS, return_sequences=True, name="deep")], name="inner")
    outer = keras.Input((TIME, FEATURES))
    middle = keras.Model(outer, inner(outer), name="middle")
    x = inputs()
    return keras.Model(x, Dense(1)(Stock(UNITS)(middle(x))))


def shared() -> Any:
    x = inputs()
    layer, head = Stock(FEATURES, return_sequences=True), keras.layers.TimeDistributed(dense := Dense(FEATURES))
    inside = inputs()
    inner = keras.Model(inside, layer(inside), name="inner")
    return keras.Model(x, dense(head(layer(inner(layer(x))))))


def bidirectional() -> Any:
    own = Stock(UNITS, go_backwards=True, activation="relu", name="other")
    return keras.Sequential(
        [
            inputs(),
            keras.layers.Masking(),
            keras.layers.Bidirectional(Stock(UNITS, return_sequences=True), name="both"),
            keras.layers.Bidirectional(Stock(UNITS), backward_layer=own, merge_mode="sum"),
        ]
    )


def distributed() -> Any:
    inner = keras.Sequential(
        [keras.Input((3, FEATURES)), keras.layers.Lambda(lambda t: keras.ops.tanh(2 * t)), Stock(UNITS)], name="inner"
    )
    x = keras.layers.Reshape((2, 3, FEATURES))(start := inputs())
    y = keras.layers.TimeDistributed(Stock(UNITS), name="each")(x)
    return keras.Model(start, keras.layers.TimeDistributed(inner)(x) + y)


def custom() -> Any:
    x = inputs()
    y = Residual(name="first", inner=keras.layers.Bidirectional(Stock(UNITS, return_sequences=True)))(x)
    return Named(x, Residual(Stock(UNITS, name="inside"), name="residual")(y), name="own")


def functions() -> Any:
    scale = 0.5
    return keras.Sequential(
        [
            inputs(),
            keras.layers.Lambda(lambda t: keras.ops.multiply(t, scale)),
            Stock(UNITS, kernel_initializer=keras.initializers.RandomNormal(seed=1)),
            Dense(UNITS, activation=lambda t: keras.ops.sigmoid(2 * t)),
            Dense(1, activation=doubled),
        ]
    )


def normalised() -> Any:
    normalization = keras.layers.Normalization()
    normalization.adapt(3 * X + 1)
    return keras.Sequential([inputs(), normalization, Stock(UNITS), keras.layers.BatchNormalization()])


def frozen() -> Any:
    model = nested()
    model.get_layer("middle").trainable = False
    model.layers[-1].bias.trainable = False
    return model


def mixed() -> Any:
    return keras.Sequential([inputs(), Stock(UNITS, dtype="mixed_bfloat16"), Dense(1)])


KINDS = [
    *(sequential, built_by_a_call, functional, nested, shared, bidirectional, distributed, custom, functions),
    *(normalised, frozen, mixed),
]


# --- what is compared ----------------------------------------------------------------------------------------------


def outputs(model: Any, x: np.ndarray = X) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(y)).astype("float32") for y in keras.tree.flatten(model(x))]


def values(variables: Any) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def same(got: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    return len(got) == len(expected) and all(map(np.array_equal, got, expected))


def assert_close(got: list[np.ndarray], expected: list[np.ndarray], bits: int = 0) -> None:
    """Within the float32 rule; `bits` fewer where an output was rounded to fewer."""
    for a, b in zip(got, expected, strict=True):
        assert tolerance.error(a, b) <= tolerance.ULPS * tolerance.ulp(b, np.float32) * 2**bits


def described(model: Any) -> list[tuple[Any, ...]]:
    """Names, trainable flags and dtypes of all layers, and the weights' flags."""
    layers = [(layer.name, layer.trainable, layer.dtype_policy.name) for layer in flat(model)]
    return [*layers, *((w.trainable, tuple(w.shape), w.dtype) for w in model.weights)]


def flat(model: Any) -> list[Any]:
    return list(model._flatten_layers())


def kinds(model: Any) -> set[type]:
    return {type(layer) for layer in flat(model)}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_layers_are_replaced_and_back_and_the_model_stays_the_same(kind):
    model = kind()
    before, described_before, expected = values(model.variables), described(model), outputs(model)
    fast = elman.accelerate(model)
    assert Stock not in kinds(fast)
    assert elman.SimpleRNN in kinds(fast)
    assert type(fast) is type(model)
    assert fast.name == model.name
    assert described(fast) == described_before
    assert same(values(fast.weights), values(model.weights))
    assert_close(outputs(fast), expected, bits=16 if kind is mixed else 0)

    back = elman.to_stock(fast)
    assert elman.SimpleRNN not in kinds(back)
    assert described(back) == described_before
    assert same(outputs(back), expected)
    assert same(values(model.variables), before)
    assert same(values(back.variables), before)
    assert described(model) == described_before
    shared_variables = {id(v) for m in (model, fast) for v in m.variables} & {id(v) for v in back.variables}
    assert not shared_variables


def test_every_layer_of_the_replaced_model_runs_natively():
    for kind in (sequential, functional, bidirectional):
        fast = elman.accelerate(kind())
        fast(X)
        assert {row.path for row in elman.routes(fast)} == {"native"}


def test_a_model_that_is_not_built_is_replaced_too():
    model = keras.Sequential([Stock(UNITS, seed=3), Dense(1)], name="later")
    fast = elman.accelerate(model)
    assert not fast.built
    assert type(fast.layers[0]) is elman.SimpleRNN
    assert fast.layers[0].cell.seed == 3
    assert fast(X).shape == (BATCH, 1)


def test_shared_layers_stay_shared():
    fast = elman.accelerate(shared())
    assert len(fast.weights) == len(shared().weights)
    assert len({id(layer) for layer in flat(fast) if isinstance(layer, elman.SimpleRNN)}) == 1


# --- training ------------------------------------------------------------------------------------------------------


def fit(model: Any, steps: int) -> None:
    model.fit(X, Y, batch_size=BATCH, epochs=steps, shuffle=False, verbose=0)


def seeded(kind: Callable[[], Any] = sequential, optimizer: Any = None, **compiled: Any) -> Any:
    keras.utils.set_random_seed(5)
    model = kind()
    model.compile(optimizer or keras.optimizers.Adam(0.01, clipnorm=1.0), **{"loss": "mse"} | compiled)
    return model


def test_training_goes_on_where_it_was():
    model = seeded()
    fit(model, 3)
    slots = values(model.optimizer.variables)
    fast = elman.accelerate(model)
    back = elman.to_stock(fast)
    for twin in (fast, back):
        assert same(values(twin.optimizer.variables), slots)
        fit(twin, 3)
        assert int(twin.optimizer.iterations) == 6
    assert same(values(model.optimizer.variables), slots)
    fit(model, 3)  # as if nothing had been made of it
    for twin in (fast, back):
        for got, expected in zip(twin.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


def test_frozen_layers_stay_frozen_in_training():
    model = seeded(frozen)
    model.optimizer.build(model.trainable_variables)
    fast = elman.accelerate(model)
    before = values(fast.get_layer("middle").weights)
    fit(fast, 1)
    assert same(values(fast.get_layer("middle").weights), before)
    assert not same(values(fast.weights), values(model.weights))


@keras.saving.register_keras_serializable("elman_tests")
class Halving(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step: Any) -> Any:
        return 0.1 * 0.5 ** keras.ops.cast(step, "float32")

    def get_config(self) -> dict[str, Any]:
        return {}


class Slow(keras.optimizers.SGD):
    """An optimizer that Keras knows by no name."""


def test_compile_settings_are_kept():
    def loss(truth: Any, got: Any) -> Any:
        return keras.ops.mean(keras.ops.square(truth - got))

    def two_heads() -> Any:
        x = inputs()
        h = Stock(UNITS)(x)
        return keras.Model(x, {"a": Dense(1, name="a")(h), "b": Dense(1, name="b")(h)})

    model = seeded(
        two_heads,
        Slow(Halving(), momentum=0.5),
        loss={"a": loss, "b": lambda truth, got: keras.ops.mean(keras.ops.abs(truth - got))},
        loss_weights={"a": 1.0, "b": 0.25},
        metrics={"a": ["mae", keras.metrics.MeanSquaredError(name="squares")]},
        weighted_metrics={"b": [lambda truth, got: keras.ops.mean(keras.ops.subtract(truth, got), axis=-1)]},
        run_eagerly=True,
    )
    targets = {"a": Y, "b": 1 - Y}
    model.train_on_batch(X, targets)
    fast = elman.accelerate(model)
    assert type(fast.optimizer) is Slow
    assert fast.run_eagerly
    assert fast.steps_per_execution == model.steps_per_execution
    assert fast.jit_compile == model.jit_compile
    weights = np.arange(BATCH, dtype="float32")
    got, expected = (
        m.evaluate(X, targets, sample_weight={"a": weights, "b": weights}, verbose=0, return_dict=True)
        for m in (fast, model)
    )
    assert got.keys() == expected.keys()
    for name in got:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-5, err_msg=name)
    assert not {id(m) for m in keras.tree.flatten(fast.metrics)} & {id(m) for m in keras.tree.flatten(model.metrics)}


def test_loss_scaling_is_kept():
    model = keras.Sequential([inputs(), Stock(UNITS, dtype="mixed_float16"), Dense(1)])
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, momentum=0.9)), "mse")
    model.train_on_batch(X, Y)
    fast = elman.accelerate(model)
    assert isinstance(fast.optimizer, keras.optimizers.LossScaleOptimizer)
    assert same(values(fast.optimizer.variables), values(model.optimizer.variables))


def test_dropout_goes_on_with_the_seeds_it_had():
    keras.utils.set_random_seed(5)
    model = keras.Sequential([inputs(), Stock(UNITS, dropout=0.5, recurrent_dropout=0.25), keras.layers.Dropout(0.5)])
    model(X, training=True)
    fast = elman.accelerate(model)
    assert same(values(fast.variables), values(model.variables))
    got = []
    for m in (fast, model):
        keras.utils.set_random_seed(6)  # PyTorch draws from its own generator
        got.append(outputs(functools.partial(m, training=True)))
    assert_close(*got)


def test_states_are_kept():
    model = keras.Sequential(
        [keras.Input(batch_shape=(BATCH, TIME, FEATURES)), Stock(UNITS, stateful=True, return_sequences=True)]
    )
    model.add(keras.layers.Bidirectional(Stock(UNITS, stateful=True)))
    model(X)
    state = values(model.layers[0].states)
    fast = elman.accelerate(model)
    assert np.any(state[0])
    assert same(values(fast.layers[0].states), state)
    back = elman.to_stock(fast)
    assert_close(outputs(fast), outputs(model))
    assert same(values(back.layers[1].states), values(elman.to_stock(back).layers[1].states))
    assert same(values(back.layers[0].states), state)


# --- what elman's layers have and Keras's do not ---------------------------------------------------------------------


SENTENCE = (
    "to_stock drops what Keras's own layers do not have: truncate_gradient, clip_state_gradient, "
    "activity_regularizer, learn_initial_state of 'rich'."
)


def test_options_of_training_alone_are_dropped_with_one_warning(caplog):
    extras = {"truncate_gradient": 2, "clip_state_gradient": 1.0, "learn_initial_state": True}
    model = keras.Sequential(
        [
            inputs(),
            elman.SimpleRNN(UNITS, return_sequences=True, native=False, name="plain"),
            elman.SimpleRNN(UNITS, activity_regularizer="l2", **extras, name="rich"),
            Dense(1),
        ]
    )
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    for i, variable in enumerate(model.optimizer.variables[2:]):
        variable.assign(np.full(variable.shape, i, variable.dtype))
    with caplog.at_level(logging.WARNING, "elman"):
        stock = elman.to_stock(model)
    assert [record.getMessage() for record in caplog.records if "to_stock" in record.getMessage()] == [SENTENCE]
    assert same(stock.get_weights(), values(v for v in model.weights if v.name != "initial_state"))
    kept = [v for v in model.optimizer.variables if "initial_state" not in v.name]
    assert len(kept) == len(model.optimizer.variables) - 2
    assert same(values(stock.optimizer.variables), values(kept))
    assert_close(outputs(stock), outputs(model))


def test_a_learned_initial_state_is_not_dropped():
    model = keras.Sequential([inputs(), elman.SimpleRNN(UNITS, learn_initial_state=True, name="learner")])
    model.weights[-1].assign(np.ones(UNITS, "float32"))
    with pytest.raises(ValueError, match=r"'learner' with a learned initial state that is not zero; expected .* load"):
        elman.to_stock(model)


# --- what cannot be done -------------------------------------------------------------------------------------------


def test_a_layer_made_in_a_classes_own_code_is_named():
    model = Subclassed(UNITS, name="mine")
    model(X)
    with pytest.raises(
        ValueError, match=r"cannot replace SimpleRNN 'reader' in Subclassed 'mine': .*; expected .*Make"
    ):
        elman.accelerate(model)
    x = inputs()
    model = keras.Model(x, Hidden(UNITS, name="hidden")(Stock(FEATURES, return_sequences=True)(x)))
    with pytest.raises(ValueError, match=r"cannot replace SimpleRNN 'hidden/simple_rnn.*'"):
        elman.accelerate(model)


def test_a_users_own_subclass_of_ours_cannot_become_stock():
    class Mine(elman.SimpleRNN):
        pass

    with pytest.raises(ValueError, match=r"to_stock cannot replace Mine 'mine' .* a class of your own is derived"):
        elman.to_stock(keras.Sequential([inputs(), Mine(UNITS, name="mine")]))


def test_a_class_without_a_config_is_named():
    class Bare(keras.Model):
        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.layer = layer

        def call(self, x: Any) -> Any:
            return self.layer(x)

    with pytest.raises(
        ValueError, match=r"Bare 'bare.*' cannot be made anew, as its class has no get_config; expected"
    ):
        elman.accelerate(Bare(Stock(UNITS)))


@pytest.mark.parametrize("function", [elman.accelerate, elman.to_stock])
def test_what_is_no_model_is_refused(function):
    with pytest.raises(
        TypeError, match=r"got SimpleRNN 'one'; expected a Keras model .* keras.Sequential\(\[layer\]\)"
    ):
        function(Stock(2, name="one"))
    with pytest.raises(TypeError, match=r"got a str; expected a Keras model"):
        function("model.keras")


# --- routes --------------------------------------------------------------------------------------------------------


def test_routes_names_every_recurrent_layer(capsys):
    inner = keras.Sequential(
        [inputs(), keras.layers.Bidirectional(elman.SimpleRNN(2, return_sequences=True), name="both")], name="inner"
    )
    x = inputs()
    y = keras.layers.LSTM(2, return_sequences=True, name="lstm")(inner(x))
    y = elman.SimpleRNN(2, return_sequences=True, native=False, name="plain")(y)
    model = keras.Model(x, keras.layers.TimeDistributed(Dense(1))(y))
    model(X)
    rows = elman.routes(model)
    assert [tuple(row) for row in rows] == [
        ("inner/both/forward_" + row_name(inner, "forward_layer"), "native", None),
        ("inner/both/backward_" + row_name(inner, "forward_layer"), "native", None),
        ("lstm", "keras", route.reason("stock")),
        ("plain", "keras", route.reason("asked")),
    ]
    assert (rows[0].layer, rows[0].path, rows[0].reason) == rows[0]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    words = ("path", "native", "native", "keras", "keras")
    assert len({line.index(f" {word}") for line, word in zip(lines, words, strict=True)}) == 1


def row_name(inner: Any, half: str) -> str:
    return getattr(inner.layers[0], half).name.removeprefix("forward_")


def test_routes_tells_a_layer_that_was_not_called(capsys):
    model = keras.Sequential([elman.SimpleRNN(2, name="later")])
    assert elman.routes(model) == [("later", None, "not called yet")]
    assert elman.routes(model.layers[0]) == [("later", None, "not called yet")]
    assert elman.routes(Dense(1, name="dense")) == []
    assert "Dense 'dense' has no recurrent layer." in capsys.readouterr().out
    with pytest.raises(TypeError, match="routes got a list; expected a Keras model or layer"):
        elman.routes([model])
