# SPDX-License-Identifier: Apache-2.0
"""`elman.diagnose`, `elman.trace` and `elman.HorizonMonitor` of Keras models: the figures are those of the same
`elman.Network`, whose known answers are in `tests/test_diagnosis.py`; losses, inputs and layers that only Keras has."""

from __future__ import annotations

import csv
import logging
import math
from typing import Any

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

import elman
from diagnosis_cases import Counted
from elman import initializers, state_gradient
from elman.diagnosis import horizon, observe, on_keras
from elman.diagnosis.on_keras import KerasModel

Array = np.ndarray
RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(64, 30, 3)).astype("float32")


def sequential(*layers: Any, shape: tuple[int | None, ...] = (30, 3)) -> Any:
    return keras.Sequential([keras.Input(shape), *layers])


# --- the same figures everywhere -------------------------------------------------------------------------------------


def weights(kind: str, features: int, units: int) -> list[Array]:
    rng = np.random.default_rng(11)
    gates = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}[kind]
    bias = (2, gates * units) if kind == "GRU" else (gates * units,)
    shapes = ((features, gates * units), (units, gates * units), bias)
    return [rng.normal(size=shape, scale=0.4) for shape in shapes]


def two_layers(kind: str, package: Any) -> Any:
    make = getattr(package, kind)
    model = sequential(make(6, return_sequences=True, name="a"), make(5, name="b"), keras.layers.Dense(2, name="out"))
    model.get_layer("a").set_weights(weights(kind, 3, 6))
    model.get_layer("b").set_weights(weights(kind, 6, 5))
    model.get_layer("out").set_weights([RNG_OUT, np.zeros(2)])
    return model


RNG_OUT = np.random.default_rng(12).normal(size=(5, 2))
FIGURES = {  # of PyTorch
    "SimpleRNN": [
        -0.602878485,
        1.1497295,
        0.0174065655,
        0.104735543,
        -0.586858696,
        1.18111427,
        0.00847615063,
        0.0211117857,
        0.171358584,
        0.00130208333,
        1.58108284,
        0.244592188,
        7.0,
    ],
    "LSTM": [
        -0.583610488,
        1.18768801,
        0.00413439509,
        0.0272458073,
        -0.748634538,
        0.925881917,
        0.00144889595,
        0.0230102912,
        0.0545325102,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        2.267788,
        0.755739421,
        8.0,
    ],
    "GRU": [
        -0.373808902,
        1.85428217,
        0.0463985154,
        0.11476112,
        -0.55611306,
        1.24641414,
        0.0176570162,
        0.110699779,
        0.20540057,
        0.0,
        0.0,
        0.0,
        3.05465647,
        1.48770964,
        12.0,
    ],
}


def figures(report: elman.Report) -> list[float]:
    a, b = report.layers.values()
    return [
        *(value for layer in (a, b) for value in (layer.lyapunov, layer.half_life, layer.reach[7], layer.reach_low[3])),
        a.forgetting[2],
        *a.saturation.values(),
        report.deviation[1],
        report.deviation[3],
        float(report.horizon or 0),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("package", [elman, keras.layers], ids=["elman", "stock"])
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_figures_are_the_same_on_every_backend_and_of_stock_layers(kind: str, package: Any) -> None:
    found = figures(elman.diagnose(two_layers(kind, package), NUMBERS))
    assert_allclose(found, FIGURES[kind], rtol=1e-5)


MODELS = {
    "stacked": lambda: [elman.SimpleRNN(6, return_sequences=True), elman.LSTM(5), keras.layers.Dense(2)],
    "stock, masked": lambda: [keras.layers.Masking(), keras.layers.GRU(4, return_sequences=True), keras.layers.LSTM(3)],
    "every step": lambda: [keras.layers.Masking(), elman.GRU(4, return_sequences=True), keras.layers.Dense(2, "tanh")],
    "backwards": lambda: [keras.layers.Masking(), elman.GRU(3, go_backwards=True, truncate_gradient=9)],
    "two directions": lambda: [
        keras.layers.Masking(),
        keras.layers.Bidirectional(elman.GRU(3, return_sequences=True)),
        keras.layers.LayerNormalization(),
        keras.layers.Bidirectional(keras.layers.LSTM(2)),
        keras.layers.Dense(1),
    ],
}


def numbers(report: elman.Report) -> list[Any]:
    layers = [list(vars(layer).values()) for layer in report.layers.values()]
    own = [report.horizon, report.horizon_low, report.horizon_high, report.need, report.full_loss]
    return [*own, report.deviation, report.loss, *(value for values in layers for value in values)]


@pytest.mark.shared
@pytest.mark.medium
@pytest.mark.parametrize("layers", MODELS.values(), ids=list(MODELS))
def test_figures_are_those_of_the_same_network(layers: Any) -> None:
    model = sequential(*layers())
    x = NUMBERS.copy()
    for i, row in enumerate(x):
        row[: i % 9] = 0  # masked
        row[30 - i % 7 :] = 0
    y = NUMBERS[:, -9, : model.output_shape[-1]]
    found, expected = (elman.diagnose(of, x, y) for of in (model, elman.Network.from_keras(model)))
    for ours, theirs in zip(numbers(found), numbers(expected), strict=True):
        if isinstance(ours, float | list):
            assert_allclose(ours, theirs, rtol=1e-5, atol=2 * horizon._NOISE)  # below it a deviation is zero
        else:
            assert ours == theirs
    assert (found.verdict, len(found.notes)) == (expected.verdict, len(expected.notes))


def test_a_model_is_left_as_it_is() -> None:
    model = two_layers("SimpleRNN", elman)
    before = model(NUMBERS)
    elman.diagnose(model, NUMBERS)
    elman.trace(model, NUMBERS[:2])
    assert "inner_loop" not in vars(model.get_layer("a"))
    assert_allclose(keras.ops.convert_to_numpy(model(NUMBERS)), keras.ops.convert_to_numpy(before))
    with pytest.raises(ValueError, match="x has shape"):
        elman.diagnose(model, NUMBERS[..., :2])
    assert "inner_loop" not in vars(model.get_layer("a"))


@pytest.mark.slow
@pytest.mark.shared
def test_what_runs_for_a_diagnosis_is_the_model() -> None:
    for kind in ("SimpleRNN", "LSTM", "GRU"):
        model = two_layers(kind, elman)
        observed = KerasModel("diagnose", model, NUMBERS)
        seen = observe.run(observed, observed.x)
        assert_allclose(seen.outputs, keras.ops.convert_to_numpy(model(NUMBERS)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM"])
def test_nothing_is_computed_twice(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = two_layers(kind, elman)
    model.compile(loss="mse")
    forwards, backwards = (Counted(monkeypatch, state_gradient, name) for name in ("forward", "gradient_norms"))
    searches, conversions = Counted(monkeypatch, on_keras, "_recurrent"), Counted(monkeypatch, on_keras, "weights_of")
    report = elman.diagnose(model, NUMBERS, NUMBERS[:, -8, :2])
    rows = [len(operands[0]) for _, operands in forwards.calls]
    # Each layer: the data, the data from other initial states, all resets at once. To keep 30 steps resets nothing.
    assert sorted(rows) == [64] * 4 + [30 * 64] * 2
    assert len(backwards.calls) == 2
    assert len(searches.calls) == 1
    assert len(conversions.calls) == 2
    assert report.lags[-1] == 30


# --- models and data of every form -----------------------------------------------------------------------------------


def test_the_loss_by_steps_kept_ends_at_the_models_own() -> None:
    model = two_layers("SimpleRNN", elman)
    model.compile(loss="mae")
    y = RNG.normal(size=(64, 2)).astype("float32")
    report = elman.diagnose(model, NUMBERS, y)
    own = model.evaluate(NUMBERS, y, verbose=0)
    assert_allclose([report.full_loss, report.loss[-1]], own, rtol=1e-5)
    assert len(report.loss) == len(report.lags) == 31
    assert report.loss[0] != pytest.approx(own, rel=1e-3)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(
    ("loss", "units", "targets"),
    [
        ("sparse_categorical_crossentropy", 3, lambda rng: rng.integers(0, 3, 64)),
        ("sparse_categorical_crossentropy", 3, lambda rng: rng.integers(0, 3, (64, 1))),
        ("categorical_crossentropy", 3, lambda rng: np.eye(3)[rng.integers(0, 3, 64)]),
        ("binary_crossentropy", 1, lambda rng: rng.integers(0, 2, 64)),
        ("huber", 2, lambda rng: rng.normal(size=(64, 2))),
    ],
)
def test_losses_of_every_kind(loss: str, units: int, targets: Any) -> None:
    ends = {"sparse": "softmax", "categorical": "softmax", "binary": "sigmoid", "huber": "linear"}
    last = keras.layers.Dense(units, activation=ends[loss.partition("_")[0]])
    model = sequential(elman.SimpleRNN(4), last)
    model.compile(loss=loss)
    y = targets(np.random.default_rng(15))
    report = elman.diagnose(model, NUMBERS, y)
    assert_allclose(report.full_loss, model.evaluate(NUMBERS, y, verbose=0), rtol=1e-4)
    assert report.verdict != "healthy"  # nothing was learned


def two_inputs(names: bool) -> Any:
    sequence, other = keras.Input((30, 3), name="sequence"), keras.Input((2,), name="other")
    hidden = keras.layers.Concatenate()([elman.GRU(4)(sequence), other])
    inputs = {"sequence": sequence, "other": other} if names else [sequence, other]
    return keras.Model(inputs, keras.layers.Dense(1)(hidden))


@pytest.mark.shared
def test_several_inputs() -> None:
    other = RNG.normal(size=(64, 2)).astype("float32")
    by_place = elman.diagnose(two_inputs(names=False), [NUMBERS, other])
    by_name = elman.diagnose(two_inputs(names=True), {"other": other, "sequence": NUMBERS})
    assert by_place.horizon is not None
    assert by_name.horizon is not None
    with pytest.raises(ValueError, match="x has the keys"):
        elman.diagnose(two_inputs(names=True), {"other": other, "x": NUMBERS})


def test_an_input_in_a_list_of_one() -> None:
    inputs = keras.Input((30, 3), name="rows")
    model = keras.Model([inputs], keras.layers.Dense(1)(elman.SimpleRNN(4)(inputs)))
    assert elman.diagnose(model, NUMBERS).horizon is not None


@pytest.mark.shared
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "float64"])
def test_other_types(dtype: str) -> None:
    if dtype == "float64" and keras.backend.backend() == "jax":
        dtype = "mixed_float16"
    model = sequential(elman.SimpleRNN(4, dtype=dtype), keras.layers.Dense(1, dtype="float32"))
    assert elman.diagnose(model, NUMBERS).horizon is not None


def test_a_class_of_the_users_own() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = elman.SimpleRNN(4)
            self.out = keras.layers.Dense(1)

        def call(self, x: Any, training: bool = False) -> Any:
            return self.out(self.recurrent(x))

    model = Own()
    model(NUMBERS)
    assert list(elman.diagnose(model, NUMBERS).layers) == [model.recurrent.name]


# --- the advice -------------------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_the_scale_of_the_input_is_advised() -> None:
    model = sequential(elman.SimpleRNN(8), keras.layers.Dense(1))
    model.compile(loss="mse")
    x = 100 * np.random.default_rng(18).normal(size=(256, 30, 3)).astype("float32")
    report = elman.diagnose(model, x, x[:, -4, :1] / 100)
    assert report.verdict == "saturated"
    assert report.advice[0].argument == "keras.layers.Normalization"


def test_advice_is_computed_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    model = sequential(elman.SimpleRNN(8, recurrent_initializer=keras.initializers.Orthogonal(0.03)))
    report = elman.diagnose(model, NUMBERS, NUMBERS[:, -20, [0] * 8])
    searches = Counted(monkeypatch, initializers, "orthogonal_on_batch")
    assert report.verdict == "vanishing"
    assert searches.calls == []
    assert report.advice[0].argument == "recurrent_initializer"
    assert len(searches.calls) == 1
    assert report.advice is report.advice


def test_a_constant_output_is_explained_where_targets_differ() -> None:
    recurrent = elman.SimpleRNN(4)
    model = sequential(recurrent, keras.layers.Dense(1))
    model.compile(loss="mse", optimizer=keras.optimizers.Adam(0.5))
    recurrent.set_weights([np.zeros((3, 4)), np.zeros((4, 4)), np.full(4, 30.0)])
    report = elman.diagnose(model, NUMBERS, NUMBERS[:, -1, :1])
    assert (report.horizon, report.verdict) == (1, "saturated")
    assert report.advice[0].argument == "learning_rate"
    assert any("the same for all" in note for note in report.notes)


# --- bad input -------------------------------------------------------------------------------------------------------


def padded_rows() -> Array:
    x = NUMBERS.copy()
    x[3] = 0
    return x


def compiled(*layers: Any) -> Any:
    model = sequential(*layers)
    model.compile(loss="mse")
    return model


@pytest.mark.parametrize(
    ("model", "x", "sentence"),
    [
        (lambda: keras.layers.Dense(1), NUMBERS, "got Dense; expected an elman.Network or a Keras model"),
        (lambda: sequential(keras.layers.Flatten(), keras.layers.Dense(1)), NUMBERS, "has no recurrent layer"),
        (lambda: sequential(elman.SimpleRNN(4)), NUMBERS[0], r"x has shape \(30, 3\); expected .* pass x\[None\]"),
        (lambda: sequential(elman.SimpleRNN(4)), NUMBERS[..., :1], r"expected \(\?, 30, 3\)"),
        (lambda: sequential(elman.SimpleRNN(4)), [NUMBERS, NUMBERS], "x has 2 arrays; expected 1"),
        (lambda: sequential(elman.SimpleRNN(4)), NUMBERS.astype(str), "expected an array of numbers"),
        (lambda: sequential(elman.SimpleRNN(4)), NUMBERS[:1], "x has 1 example; expected at least 2"),
        (lambda: sequential(elman.SimpleRNN(4)), NUMBERS[:0], "x has 0 examples; expected at least 2"),
        (lambda: sequential(elman.SimpleRNN(4)), NUMBERS * 0, "is the same for all 64 examples"),
        (lambda: sequential(elman.SimpleRNN(4), shape=(None, 3)), NUMBERS[:, :1], "sequences of 1 step; expected at"),
        (lambda: sequential(elman.SimpleRNN(4, activation="softplus")), NUMBERS, "activation='softplus'; expected one"),
        (lambda: sequential(keras.layers.Masking(), elman.SimpleRNN(4)), padded_rows(), "is masked at every step"),
        (
            lambda: keras.Sequential([keras.Input(batch_shape=(64, 30, 3)), elman.SimpleRNN(4, stateful=True)]),
            NUMBERS,
            "is stateful",
        ),
        (lambda: sequential(keras.layers.RNN(elman.SimpleRNNCell(4))), NUMBERS, r"elman.accelerate\(model\) converts"),
    ],
)
def test_bad_input_is_one_clear_sentence(model: Any, x: Any, sentence: str) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence) as error:
        elman.diagnose(model(), x)
    assert "\n" not in str(error.value)


def test_a_model_that_is_called_with_resets_is_refused_by_name() -> None:
    x, resets = keras.Input((30, 3)), keras.Input((30,), dtype="bool")
    model = keras.Model([x, resets], elman.SimpleRNN(4, name="a")(x, resets=resets))
    with pytest.raises(ValueError, match=r"layer 'a' is called with resets; expected a model without them"):
        elman.diagnose(model, [NUMBERS, np.zeros((64, 30))])


@pytest.mark.shared
def test_targets_that_do_not_fit_are_refused() -> None:
    model = compiled(elman.SimpleRNN(4), keras.layers.Dense(2))
    with pytest.raises(ValueError, match=r"x has 64 examples and y has 32; expected the same number"):
        elman.diagnose(model, NUMBERS, np.zeros((32, 2)))
    with pytest.raises(ValueError, match=r"x has 32 examples and y has 64; expected the same number"):
        elman.diagnose(model, NUMBERS[:32], np.zeros((64, 2)))
    with pytest.raises(ValueError, match=r"The arrays of x have 64, 30 examples; expected the same number in each"):
        elman.diagnose(two_inputs(names=False), [NUMBERS, np.zeros((30, 2))], np.zeros((64, 1)))
    with pytest.raises(ValueError, match=r"y has shape \(64, 5\); expected \(examples, 2\)"):
        elman.diagnose(model, NUMBERS, np.zeros((64, 5)))
    with pytest.raises(ValueError, match="y has NaN or infinities"):
        elman.diagnose(model, NUMBERS, np.full((64, 2), np.nan))
    with pytest.raises(TypeError, match="got y of dtype"):
        elman.diagnose(model, NUMBERS, np.full((64, 2), "a"))
    inputs = keras.Input((30, 3))
    two = keras.Model(inputs, [elman.GRU(2)(inputs), elman.LSTM(2)(inputs)])
    assert elman.diagnose(two, NUMBERS).horizon is not None
    with pytest.raises(ValueError, match="has several outputs; expected one where y is passed"):
        elman.diagnose(two, NUMBERS, [np.zeros((64, 2))] * 2)
    with pytest.raises(ValueError, match=r"layer is 'rnn'; expected one of '.*', or None"):
        elman.diagnose(model, NUMBERS, layer="rnn")


# --- trace -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", [elman, keras.layers], ids=["elman", "stock"])
def test_a_trace_holds_every_step(package: Any) -> None:
    model = two_layers("SimpleRNN", package)
    found = elman.trace(model, NUMBERS[:3])
    kernel, back, bias = weights("SimpleRNN", 3, 6)
    h = np.zeros((3, 6))
    for t in range(30):
        z = NUMBERS[:3, t] @ kernel + h @ back + bias
        h = np.tanh(z)
        assert_allclose(found.layers["a"].pre_activations["h"][:, t], z, rtol=1e-4, atol=1e-6)
        assert_allclose(found.layers["a"].states["h"][:, t], h, rtol=1e-4, atol=1e-6)
    assert_allclose(found.x, NUMBERS[:3])
    assert found.layers["b"].gates == {}


# --- the monitor -----------------------------------------------------------------------------------------------------

KEYS = ("horizon", "reach_half_life", "largest_gradient", "saturation")


def test_a_monitor_adds_its_figures_to_the_logs(tmp_path: Any) -> None:
    model = compiled(elman.SimpleRNN(4), keras.layers.Dense(1))
    log = tmp_path / "log.csv"
    history = model.fit(
        NUMBERS,
        NUMBERS[:, -2, :1],
        epochs=3,
        verbose=0,
        callbacks=[elman.HorizonMonitor(NUMBERS, every=1), keras.callbacks.CSVLogger(str(log))],
    ).history
    report = elman.diagnose(model, NUMBERS)
    for key in KEYS:
        assert len(history[key]) == 3
        assert all(math.isfinite(value) for value in history[key])
    assert history["horizon"][-1] == report.horizon
    (layer,) = report.layers.values()
    assert_allclose(history["reach_half_life"][-1], layer.half_life, rtol=1e-5)
    with log.open() as file:
        rows = list(csv.DictReader(file))
    assert set(KEYS) <= set(rows[0])


class Clock:
    """A clock that advances by one second for each batch, and by `cost` for each measurement."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cost: float) -> None:
        self.now, self.measured = 0.0, []
        usual = elman.HorizonMonitor._measure

        def measure(monitor: Any) -> dict[str, float]:
            self.now += cost
            self.measured.append(self.now)
            return usual(monitor)

        monkeypatch.setattr(elman.HorizonMonitor, "_measure", measure)
        monkeypatch.setattr("elman.diagnosis.monitor.time.perf_counter", lambda: self.now)

    def tick(self, batch: int, logs: Any = None) -> None:
        self.now += 1


@pytest.mark.medium
@pytest.mark.once
@pytest.mark.parametrize("cost", [0.001, 5.0, 100.0])
def test_auto_keeps_to_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch, cost: float) -> None:
    clock = Clock(monkeypatch, cost)
    model = compiled(elman.SimpleRNN(2), keras.layers.Dense(1))
    ticking = keras.callbacks.LambdaCallback(on_train_batch_end=clock.tick)
    history = model.fit(
        NUMBERS,
        NUMBERS[:, -2, :1],
        batch_size=8,
        epochs=40,
        verbose=0,
        callbacks=[ticking, elman.HorizonMonitor(NUMBERS[:8])],
    ).history
    assert all(len(history[key]) == 40 for key in KEYS)
    assert len(clock.measured) >= 2  # the first and the last epoch
    if len(clock.measured) > 2:
        assert cost * len(clock.measured) <= 0.05 * 40 * 8
    assert (len(clock.measured) == 40) == (cost == 0.001)
    assert (len(clock.measured) == 2) == (cost == 100.0)


@pytest.mark.slow
@pytest.mark.once
def test_a_monitor_measures_every_so_many_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, 1.0)
    model = compiled(elman.SimpleRNN(2), keras.layers.Dense(1))
    monitor = elman.HorizonMonitor(NUMBERS[:8], every=4)
    model.fit(NUMBERS, NUMBERS[:, -2, :1], epochs=10, verbose=0, callbacks=[monitor])
    assert len(clock.measured) == 4  # epochs 1, 4, 8 and 10


@pytest.mark.parametrize("stop", [True, False])
def test_the_first_nan_is_named_and_ends_the_training(stop: bool, caplog: pytest.LogCaptureFixture) -> None:
    model = compiled(elman.SimpleRNN(4, name="rnn"), keras.layers.Dense(1))
    x = NUMBERS.copy()
    x[:, 7] = np.nan
    monitor = elman.HorizonMonitor(x, stop_on_nan=stop)
    with caplog.at_level(logging.WARNING, "elman"):
        history = model.fit(x, NUMBERS[:, -2, :1], epochs=3, verbose=0, callbacks=[monitor]).history
    assert len(history["loss"]) == (1 if stop else 3)
    (said,) = [record.getMessage() for record in caplog.records if "NaN" in record.getMessage()]
    assert "of layer 'rnn'" in said


def test_a_monitors_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="every is 0; expected a positive integer"):
        elman.HorizonMonitor(NUMBERS, every=0)
    model = compiled(keras.layers.Flatten(), keras.layers.Dense(1))
    with pytest.raises(ValueError, match="has no recurrent layer"):
        model.fit(NUMBERS, NUMBERS[:, 0, :1], verbose=0, callbacks=[elman.HorizonMonitor(NUMBERS)])
