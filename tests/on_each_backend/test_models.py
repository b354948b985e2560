# SPDX-License-Identifier: Apache-2.0
"""Whole models with their layers replaced: elman's for Keras's own and back, on the backend that KERAS_BACKEND names.

What is stock's stays bit for bit: weights, states, seeds, slots. Outputs by the two kinds of layers agree within the
rounding that tests/tolerance.py allows.
"""

from __future__ import annotations

import functools
import itertools
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
OURS = {Stock: elman.SimpleRNN, keras.layers.LSTM: elman.LSTM, keras.layers.GRU: elman.GRU}
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


def sequential(rnn: Any = Stock) -> Any:
    return keras.Sequential([inputs(), rnn(UNITS, return_sequences=True), rnn(UNITS), Dense(1)], name="two")


def built_by_a_call(rnn: Any = Stock) -> Any:
    model = keras.Sequential([rnn(UNITS), Dense(1)])
    model(X)
    return model


def functional(rnn: Any = Stock) -> Any:
    x = inputs()
    y, *h = rnn(UNITS, return_sequences=True, return_state=True, name="encoder")(x)
    z = rnn(UNITS, go_backwards=True, name="decoder")(y * 0.5 + 1.0, initial_state=h)
    return keras.Model(x, [Dense(1)(z), z], name="states")


def nested(rnn: Any = Stock) -> Any:
    inner = keras.Sequential([inputs(), rnn(UNITS, return_sequences=True, name="deep")], name="inner")
    outer = keras.Input((TIME, FEATURES))
    middle = keras.Model(outer, inner(outer), name="middle")
    x = inputs()
    return keras.Model(x, Dense(1)(rnn(UNITS)(middle(x))))


def shared(rnn: Any = Stock) -> Any:
    x = inputs()
    layer, head = rnn(FEATURES, return_sequences=True), keras.layers.TimeDistributed(dense := Dense(FEATURES))
    inside = inputs()
    inner = keras.Model(inside, layer(inside), name="inner")
    return keras.Model(x, dense(head(layer(inner(layer(x))))))


def bidirectional(rnn: Any = Stock) -> Any:
    own = rnn(UNITS, go_backwards=True, activation="relu", name="other")
    return keras.Sequential(
        [
            inputs(),
            keras.layers.Masking(),
            keras.layers.Bidirectional(rnn(UNITS, return_sequences=True), name="both"),
            keras.layers.Bidirectional(rnn(UNITS), backward_layer=own, merge_mode="sum"),
        ]
    )


def distributed(rnn: Any = Stock) -> Any:
    inner = keras.Sequential(
        [keras.Input((3, FEATURES)), keras.layers.Lambda(lambda t: keras.ops.tanh(2 * t)), rnn(UNITS)], name="inner"
    )
    x = keras.layers.Reshape((2, 3, FEATURES))(start := inputs())
    y = keras.layers.TimeDistributed(rnn(UNITS), name="each")(x)
    return keras.Model(start, keras.layers.TimeDistributed(inner)(x) + y)


def custom(rnn: Any = Stock) -> Any:
    x = inputs()
    y = Residual(name="first", inner=keras.layers.Bidirectional(rnn(UNITS, return_sequences=True)))(x)
    return Named(x, Residual(rnn(UNITS, name="inside"), name="residual")(y), name="own")


def functions(rnn: Any = Stock) -> Any:
    scale = 0.5
    return keras.Sequential(
        [
            inputs(),
            keras.layers.Lambda(lambda t: keras.ops.multiply(t, scale)),
            rnn(UNITS, kernel_initializer=keras.initializers.RandomNormal(seed=1)),
            Dense(UNITS, activation=lambda t: keras.ops.sigmoid(2 * t)),
            Dense(1, activation=doubled),
        ]
    )


def normalised(rnn: Any = Stock) -> Any:
    normalization = keras.layers.Normalization()
    normalization.adapt(3 * X + 1)
    return keras.Sequential([inputs(), normalization, rnn(UNITS), keras.layers.BatchNormalization()])


def frozen(rnn: Any = Stock) -> Any:
    model = nested(rnn)
    model.get_layer("middle").trainable = False
    model.layers[-1].bias.trainable = False
    return model


def mixed(rnn: Any = Stock) -> Any:
    return keras.Sequential([inputs(), rnn(UNITS, dtype="mixed_bfloat16"), Dense(1)])


KINDS = [
    *(sequential, built_by_a_call, functional, nested, shared, bidirectional, distributed, custom, functions),
    *(normalised, frozen, mixed),
]


@pytest.fixture(params=OURS, ids=lambda kind: kind.__name__)
def rnn(request: pytest.FixtureRequest) -> Any:
    """Each of Keras's layers that elman replaces."""
    return request.param


def with_each_layer(kinds: list[Any]) -> list[Any]:
    """Every kind of model with every layer."""
    return [
        pytest.param(kind, rnn, id=f"{kind.__name__}-{rnn.__name__}") for kind, rnn in itertools.product(kinds, OURS)
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


@pytest.mark.shared
@pytest.mark.medium
@pytest.mark.parametrize(("kind", "rnn"), with_each_layer(KINDS))
def test_layers_are_replaced_and_back_and_the_model_stays_the_same(kind, rnn):
    model = kind(rnn)
    before, described_before, expected = values(model.variables), described(model), outputs(model)
    fast = elman.accelerate(model)
    assert rnn not in kinds(fast)
    assert OURS[rnn] in kinds(fast)
    assert type(fast) is type(model)
    assert fast.name == model.name
    assert described(fast) == described_before
    assert same(values(fast.weights), values(model.weights))
    assert_close(outputs(fast), expected, bits=16 if kind is mixed else 0)

    back = elman.to_stock(fast)
    assert OURS[rnn] not in kinds(back)
    assert described(back) == described_before
    assert same(outputs(back), expected)
    assert same(values(model.variables), before)
    assert same(values(back.variables), before)
    assert described(model) == described_before
    shared_variables = {id(v) for m in (model, fast) for v in m.variables} & {id(v) for v in back.variables}
    assert not shared_variables


@pytest.mark.slow
def test_every_layer_of_the_replaced_model_runs_natively(rnn):
    for kind in (sequential, functional, bidirectional):
        fast = elman.accelerate(kind(rnn))
        fast(X)
        assert {row.path for row in elman.routes(fast)} == {"native"}


def test_a_model_that_is_not_built_is_replaced_too(rnn):
    model = keras.Sequential([rnn(UNITS, seed=3), Dense(1)], name="later")
    fast = elman.accelerate(model)
    assert not fast.built
    assert type(fast.layers[0]) is OURS[rnn]
    assert fast.layers[0].cell.seed == 3
    assert fast(X).shape == (BATCH, 1)


def test_shared_layers_stay_shared():
    fast = elman.accelerate(shared())
    assert len(fast.weights) == len(shared().weights)
    assert len({id(layer) for layer in flat(fast) if isinstance(layer, elman.SimpleRNN)}) == 1


# --- training ------------------------------------------------------------------------------------------------------


def fit(model: Any, steps: int) -> None:
    model.fit(X, Y, batch_size=BATCH, epochs=steps, shuffle=False, verbose=0)


def seeded(kind: Callable[..., Any] = sequential, optimizer: Any = None, **compiled: Any) -> Any:
    keras.utils.set_random_seed(5)
    model = kind()
    model.compile(optimizer or keras.optimizers.Adam(0.01, clipnorm=1.0), **{"loss": "mse"} | compiled)
    return model


@pytest.mark.medium
@pytest.mark.shared
def test_training_goes_on_where_it_was(rnn):
    model = seeded(functools.partial(sequential, rnn))
    fit(model, 3)
    slots = values(model.optimizer.variables)
    fast = elman.accelerate(model)
    back = elman.to_stock(fast)
    for twin in (fast, back):
        assert same(values(twin.optimizer.variables), slots)
        fit(twin, 3)
        assert int(twin.optimizer.iterations) == 6
    assert same(values(model.optimizer.variables), slots)
    fit(model, 3)  # the copies do not change it
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


@pytest.mark.medium
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


@pytest.mark.medium
@pytest.mark.shared
def test_dropout_goes_on_with_the_seeds_it_had(rnn):
    keras.utils.set_random_seed(5)
    model = keras.Sequential([inputs(), rnn(UNITS, dropout=0.5, recurrent_dropout=0.25), keras.layers.Dropout(0.5)])
    model(X, training=True)
    fast = elman.accelerate(model)
    assert same(values(fast.variables), values(model.variables))
    got = []
    for m in (fast, model):
        keras.utils.set_random_seed(6)  # PyTorch draws from its own generator
        got.append(outputs(functools.partial(m, training=True)))
    assert_close(*got)


@pytest.mark.medium
@pytest.mark.shared
def test_states_are_kept(rnn):
    model = keras.Sequential(
        [keras.Input(batch_shape=(BATCH, TIME, FEATURES)), rnn(UNITS, stateful=True, return_sequences=True)]
    )
    model.add(keras.layers.Bidirectional(rnn(UNITS, stateful=True)))
    model(X)
    state = values(model.layers[0].states)
    fast = elman.accelerate(model)
    assert np.any(state[0])
    assert same(values(fast.layers[0].states), state)
    back = elman.to_stock(fast)
    assert_close(outputs(fast), outputs(model))
    assert same(values(back.layers[1].states), values(elman.to_stock(back).layers[1].states))
    assert same(values(back.layers[0].states), state)


# --- RNN of a cell, and of stacked cells ---------------------------------------------------------------------------


RNN = keras.layers.RNN
CELLS = {
    Stock: keras.layers.SimpleRNNCell,
    keras.layers.LSTM: keras.layers.LSTMCell,
    keras.layers.GRU: keras.layers.GRUCell,
}
PADDED = X * np.array([[1, 1, 1, 0, 0, 0], [1, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]])[:, :, None]


def three(kind: Any, **options: Any) -> list[Any]:
    return [kind(UNITS, **options), keras.layers.LSTMCell(FEATURES, **options), keras.layers.GRUCell(2, **options)]


def of_a_cell(cell: Any) -> Any:
    x = keras.layers.Masking()(start := inputs())
    y, *states = RNN(cell(UNITS), return_sequences=True, return_state=True, name="encoder")(x)
    z = RNN(cell(UNITS), go_backwards=True, zero_output_for_mask=True, unroll=True)(y, initial_state=states)
    both = keras.layers.Bidirectional(RNN(cell(UNITS), return_sequences=True), name="both")(y)
    each = keras.layers.TimeDistributed(RNN(cell(UNITS)))(keras.layers.Reshape((TIME, UNITS, 2))(1.0 * both))
    return keras.Model(start, Dense(1)(Residual(RNN(cell(UNITS), name="inside"))(each) + z))


def of_stacked_cells(cell: Any) -> Any:
    deep = RNN(three(cell), return_sequences=True, zero_output_for_mask=True, name="deep")
    return keras.Sequential([inputs(), keras.layers.Masking(), deep, RNN(three(cell)), Dense(1)])


def of_stacked_cells_in_a_graph(cell: Any) -> Any:
    """The layer is called twice, and is in a model in the model."""
    x = keras.layers.Masking()(start := inputs())
    deep = RNN([cell(UNITS), cell(FEATURES)], return_sequences=True, name="deep")
    inside = inputs()
    inner = keras.Model(inside, RNN(keras.layers.StackedRNNCells(three(cell)), name="last")(inside))
    return keras.Model(start, Dense(1)(inner(1.0 * deep(deep(x)))))  # a product has no mask


def of_stacked_cells_built_by_a_call(cell: Any) -> Any:
    model = keras.Sequential([RNN(three(cell)), Dense(1)])
    model(X)
    return model


OF_CELLS = [of_a_cell, of_stacked_cells, of_stacked_cells_in_a_graph, of_stacked_cells_built_by_a_call]


@pytest.mark.shared
@pytest.mark.medium
@pytest.mark.parametrize(("kind", "rnn"), with_each_layer(OF_CELLS))
def test_an_rnn_of_cells_becomes_elmans_layers(kind, rnn, caplog):
    model = seeded(functools.partial(kind, CELLS[rnn]))
    model.optimizer.build(model.trainable_variables)
    for i, variable in enumerate(model.optimizer.variables[2:]):
        variable.assign(np.full(variable.shape, i, variable.dtype))
    before, slots, expected = values(model.variables), values(model.optimizer.variables), outputs(model, PADDED)
    fast = elman.accelerate(model)
    assert not [record for record in caplog.records if record.name == "elman"]
    assert RNN not in kinds(fast)
    assert same(values(fast.variables), before)
    assert same(values(fast.optimizer.variables), slots)
    assert_close(outputs(fast, PADDED), expected)
    assert {row.path for row in elman.routes(fast)} == {"native"}
    back = elman.to_stock(fast)
    assert not kinds(back) & {RNN, *OURS.values()}
    assert_close(outputs(back, PADDED), expected)


@pytest.mark.shared
@pytest.mark.medium
def test_training_of_stacked_cells_goes_on():
    model = seeded(lambda: of_stacked_cells(keras.layers.GRUCell))
    model.train_on_batch(PADDED, Y)
    fast = elman.accelerate(model)
    for twin in (model, fast):
        for _ in range(3):
            twin.train_on_batch(PADDED, Y)
    for got, weight in zip(fast.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(got, weight, rtol=0, atol=1e-5)


def test_an_rnn_keeps_its_name_and_options(rnn):
    cell = CELLS[rnn](UNITS, "relu", use_bias=False, kernel_regularizer="l2", dropout=0.25, seed=3, name="cell")
    if rnn is not Stock:
        cell.implementation = 1
    options = {"return_sequences": True, "go_backwards": True, "stateful": True, "unroll": True}
    options |= {"zero_output_for_mask": True, "activity_regularizer": "l1"}
    model = keras.Sequential([keras.Input(batch_shape=(BATCH, TIME, FEATURES)), RNN(cell, name="mine", **options)])
    model(X)
    (layer,) = elman.accelerate(model).layers
    assert type(layer) is OURS[rnn]
    assert layer.name == "mine"
    old, new = model.layers[0].get_config(), layer.get_config()
    inner = old.pop("cell")["config"]
    assert {key: new[key] for key in old} == old
    own = ("name", "trainable", "dtype")
    assert {key: new[key] for key in inner if key not in own} == {k: v for k, v in inner.items() if k not in own}
    assert rnn is Stock or layer.cell.implementation == 1
    assert same(layer.get_state(), values(keras.tree.flatten(model.layers[0].states)))


def test_stacked_cells_become_layers_that_are_named_after_them(rnn):
    deep = RNN(three(CELLS[rnn]), return_sequences=True, name="deep")
    fast = elman.accelerate(keras.Sequential([inputs(), deep, RNN([CELLS[rnn](UNITS)], name="one")]))
    names = [(layer.name, type(layer)) for layer in fast.layers]
    assert names == [
        ("deep_cell_1", OURS[rnn]),
        ("deep_cell_2", elman.LSTM),
        ("deep_cell_3", elman.GRU),
        ("one", OURS[rnn]),
    ]
    rows = [row.layer for row in elman.routes(fast)]
    assert rows == [name for name, _ in names]


@pytest.mark.medium
@pytest.mark.shared
def test_dropout_of_stacked_cells_goes_on_with_the_seeds_it_had(rnn):
    keras.utils.set_random_seed(5)
    model = keras.Sequential([inputs(), RNN(three(CELLS[rnn], dropout=0.5, recurrent_dropout=0.25))])
    model(X, training=True)
    fast = elman.accelerate(model)
    assert same(values(fast.variables), values(model.variables))
    got = []
    for m in (fast, model):
        keras.utils.set_random_seed(6)
        got.append(outputs(functools.partial(m, training=True)))
    assert_close(*got)


@pytest.mark.medium
@pytest.mark.shared
def test_states_of_stacked_cells_are_kept(rnn):
    start = keras.Input(batch_shape=(BATCH, TIME, FEATURES))
    model = keras.Sequential([start, RNN(three(CELLS[rnn]), stateful=True)])
    model(X)
    fast = elman.accelerate(model)
    states = [state for layer in fast.layers for state in layer.get_state()]
    assert np.all([np.any(state) for state in states])
    assert same(states, values(keras.tree.flatten(model.layers[0].states)))
    assert_close(outputs(fast), outputs(model))


def test_frozen_cells_stay_frozen():
    cells = three(keras.layers.LSTMCell)
    model = keras.Sequential([inputs(), RNN(cells), Dense(1)])
    cells[1].trainable = False
    fast = elman.accelerate(model)
    assert [w.trainable for w in fast.weights] == [w.trainable for w in model.weights]
    assert fast.layers[0].trainable
    model.layers[0].trainable = False
    fast = elman.accelerate(model)
    assert not any(layer.trainable for layer in fast.layers[:3])
    assert [w.trainable for w in fast.weights] == [w.trainable for w in model.weights]


class Own(keras.layers.LSTMCell):
    """A cell of the user's own."""


def stacked(**options: Any) -> Any:
    return RNN([keras.layers.LSTMCell(2), keras.layers.GRUCell(3)], name="kept", **options)


def with_an_initial_state() -> Any:
    x, h = inputs(), [keras.Input((2,)), keras.Input((2,)), keras.Input((3,))]
    return keras.Model([x, *h], stacked()(x, initial_state=[[h[0], h[1]], h[2]]))


def of(layer: Any) -> Any:
    x = inputs()
    return keras.Model(x, layer(x))


STAYING = {
    "cell": (lambda: of(RNN(Own(2), name="kept")), "kept", "a cell of the class Own"),
    "nested": (lambda: of(RNN([Own(2), Own(2)], name="kept")), "kept", "a cell of the class Own"),
    "dtype": (
        lambda: of(RNN(keras.layers.GRUCell(2, dtype="mixed_float16"), name="kept")),
        "kept",
        "a cell of another dtype",
    ),
    "state": (
        lambda: of(stacked(return_state=True)),
        "kept",
        "stacked cells with return_state=True, whose states are nested",
    ),
    "backwards": (lambda: of(stacked(go_backwards=True)), "kept", "stacked cells with go_backwards=True"),
    "initial": (with_an_initial_state, "kept", "stacked cells that are called with an initial state"),
    "wrapper": (
        lambda: of(Residual(stacked(), name="holder")),
        "holder/kept",
        "stacked cells inside of a layer that holds a single one",
    ),
    "class": (
        lambda: of(
            keras.Sequential(
                [keras.layers.Reshape((TIME, FEATURES, 1)), keras.layers.ConvLSTM1D(2, 1, name="kept")], name="in"
            )
        ),
        "in/kept",
        "the class ConvLSTM1D",
    ),
}


@pytest.mark.medium
@pytest.mark.parametrize("name", STAYING)
def test_an_rnn_that_stays_is_named(name, caplog, capsys):
    make, path, what = STAYING[name]
    model = make()
    with caplog.at_level(logging.WARNING, "elman"):
        fast = elman.accelerate(model)
    (layer,) = [layer for layer in flat(fast) if layer.name == "kept"]
    sentence = f"accelerate keeps Keras's own: {type(layer).__name__} {path!r}, which has {what}."
    assert [record.getMessage() for record in caplog.records if record.name == "elman"] == [sentence]
    assert elman.routes(fast) == [(path, "keras", route.reason("kept", what=what))]
    assert what in capsys.readouterr().out
    assert same(fast.get_weights(), model.get_weights())


class Reader(keras.layers.Layer):
    """A layer that makes an RNN in its own code."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rnn = RNN(keras.layers.LSTMCell(2), name="kept")

    def build(self, shape: Any) -> None:
        self.rnn.build(shape)

    def call(self, x: Any) -> Any:
        return self.rnn(x)


def test_an_rnn_in_a_classes_own_code_is_named(caplog):
    elman.accelerate(of(Reader(name="reader")))
    assert [record.getMessage() for record in caplog.records if record.name == "elman"] == [
        "accelerate keeps Keras's own: RNN 'reader/kept', which has a class around it that makes it in its own code."
    ]


def test_stacked_cells_of_a_model_that_is_not_built_are_replaced_too():
    fast = elman.accelerate(keras.Sequential([RNN(three(keras.layers.LSTMCell)), Dense(1)]))
    assert not fast.built
    assert fast(X).shape == (BATCH, 1)
    assert kinds(fast) >= {elman.LSTM, elman.GRU}


# --- what elman's layers have and Keras's do not ---------------------------------------------------------------------


SENTENCE = (
    "to_stock drops what Keras's own layers do not have: truncate_gradient, clip_state_gradient, "
    "activity_regularizer, learn_initial_state of 'rich'."
)


def test_options_of_training_only_are_dropped_with_one_warning(caplog):
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

    with pytest.raises(ValueError, match=r"Bare 'bare.*' cannot be copied, as its class has no get_config; expected"):
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


@pytest.mark.medium
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


def test_routes_names_a_layer_that_was_not_called(capsys):
    model = keras.Sequential([elman.SimpleRNN(2, name="later")])
    assert elman.routes(model) == [("later", None, "not called yet")]
    assert elman.routes(model.layers[0]) == [("later", None, "not called yet")]
    assert elman.routes(Dense(1, name="dense")) == []
    assert "Dense 'dense' has no recurrent layer." in capsys.readouterr().out
    with pytest.raises(TypeError, match="routes got a list; expected a Keras model or layer"):
        elman.routes([model])
