# SPDX-License-Identifier: Apache-2.0
"""`elman.diagnose` and `elman.trace` of an `elman.Network`: known answers, forwards counted, advice, bad input."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import elman
from diagnosis_cases import Counted
from elman import state_gradient
from elman.diagnosis import horizon, observe
from elman.diagnosis.figures import LayerFigures
from elman.diagnosis.on_network import ObservedNetwork
from elman.network import (
    GRU,
    LSTM,
    Concat,
    Dense,
    Embedding,
    Flatten,
    Mask,
    Network,
    Normalize,
    SimpleRNN,
    Sum,
)

Array = np.ndarray
RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(64, 30, 3)).astype("float32")


def built(*layers: Any, shape: tuple[int | None, ...] = (30, 3), **weights: Array) -> Network:
    """A network; weights are given as `layer__parameter`."""
    network = Network(layers, input_shape=shape, seed=1)
    for name, value in weights.items():
        network.weights[name.replace("__", "/")][...] = value
    return network


def line(k: int, **options: Any) -> SimpleRNN:
    """A chain of k + 1 linear units: the last one holds the input k steps ago."""
    return SimpleRNN(k + 1, activation="linear", use_bias=False, **options)


def line_weights(k: int, name: str = "simple_rnn") -> dict[str, Array]:
    kernel = np.zeros((1, k + 1))
    kernel[0, 0] = 1
    return {f"{name}__kernel": kernel, f"{name}__recurrent_kernel": np.eye(k + 1, k=1)}


def delay_line(k: int, *before: Any, **options: Any) -> Network:
    """The input k steps ago."""
    readout = np.eye(k + 1)[:, [k]]
    layers = [*before, line(k, **options), Dense(1, use_bias=False)]
    return built(*layers, shape=(None, 1), dense__kernel=readout, **line_weights(k))


def only(report: elman.Report) -> LayerFigures:
    (layer,) = report.layers.values()
    return layer


# --- known answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, 1, 2, 7, 33, 100])
def test_a_delay_line_of_k_steps_has_horizon_k_plus_1(k: int) -> None:
    x = np.random.default_rng(k).normal(size=(16, 110, 1))
    report = elman.diagnose(delay_line(k), x)
    assert (report.horizon, report.horizon_low, report.horizon_high) == (k + 1, k + 1, k + 1)
    assert report.deviation[k + 1 :] == [0.0] * (110 - k)
    assert min(report.deviation[: k + 1]) > 0.5


def test_a_long_sequence_is_searched_to_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(horizon, "_EVERY", 16)
    monkeypatch.setattr(horizon, "_FINER", 4)
    k, steps = 70, 120
    x = np.random.default_rng(1).normal(size=(4, steps, 1))
    report = elman.diagnose(delay_line(k), x)
    assert report.horizon == k + 1
    assert len(report.lags) < steps - 10


@pytest.mark.parametrize("side", ["left", "right", "holes"])
def test_masked_steps_do_not_count(side: str) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(48, 20, 1))
    padded = rng.integers(0, 9, 48)
    steps = np.arange(20)
    if side == "left":
        x[steps < padded[:, None]] = 0
    elif side == "right":
        x[steps >= 20 - padded[:, None]] = 0
    else:
        x[rng.random((48, 20)) < 0.3] = 0
    assert elman.diagnose(delay_line(4, Mask()), x).horizon == 5


def test_a_layer_that_goes_backwards_counts_as_it_reads() -> None:
    x = np.random.default_rng(3).normal(size=(32, 20, 1))
    assert elman.diagnose(delay_line(4, go_backwards=True), x).horizon == 5


def test_an_output_of_every_step_counts_by_its_last_valid_one() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(32, 20, 1))
    x[np.arange(20) >= 20 - rng.integers(0, 9, 32)[:, None]] = 0
    assert elman.diagnose(delay_line(4, Mask(), return_sequences=True), x).horizon == 5


def stacked() -> Network:
    """The input 7 steps ago, by a line of 3 steps and one of 4."""
    lines = (line(3, return_sequences=True), Dense(1, use_bias=False), line(4), Dense(1, use_bias=False))
    weights = line_weights(3) | line_weights(4, "simple_rnn_1")
    ends = {"dense__kernel": np.eye(4)[:, [3]], "dense_1__kernel": np.eye(5)[:, [4]]}
    return built(*lines, shape=(None, 1), **weights, **ends)


def test_stacked_delay_lines_add_up() -> None:
    report = elman.diagnose(stacked(), np.random.default_rng(5).normal(size=(32, 20, 1)))
    assert report.horizon == 8
    assert list(report.layers) == ["simple_rnn", "simple_rnn_1"]


def test_one_layer_alone_can_be_reset() -> None:
    x = np.random.default_rng(5).normal(size=(32, 20, 1))
    report = elman.diagnose(stacked(), x, layer="simple_rnn_1")
    assert (report.horizon, list(report.layers)) == (5, ["simple_rnn_1"])
    assert any("the others keep their states" in note for note in report.notes)


def test_the_forward_half_of_two_directions_is_measured_and_a_note_says_so() -> None:
    both = Concat([line(4), line(4, go_backwards=True)])
    weights = line_weights(4) | {"dense__kernel": np.eye(10)[:, [4]]}
    network = built(both, Dense(1, use_bias=False), shape=(None, 1), **weights)
    report = elman.diagnose(network, np.random.default_rng(6).normal(size=(32, 20, 1)))
    assert (report.horizon, list(report.layers)) == (5, ["simple_rnn"])
    assert any("Only the forward half of a Bidirectional" in note for note in report.notes)


def test_a_branch_without_a_state_next_to_a_recurrent_one() -> None:
    network = built(Sum([[GRU(4), Dense(1)], [Flatten(), Dense(1)]]))
    report = elman.diagnose(network, NUMBERS)
    assert list(report.layers) == ["gru"]
    assert 0 < report.horizon <= 30


@pytest.mark.parametrize("gain", [0.5, 0.9, 1.0, 1.05])
def test_a_scaled_orthogonal_linear_network_has_exponent_ln_g_and_reach_g_to_the_lag(gain: float) -> None:
    turn, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(16, 16)))
    network = built(
        SimpleRNN(16, activation="linear"), Dense(2), simple_rnn__recurrent_kernel=gain * turn, shape=(60, 3)
    )
    layer = only(elman.diagnose(network, np.random.default_rng(8).normal(size=(40, 60, 3))))
    assert_allclose(layer.lyapunov, math.log(gain), atol=1e-3)
    for curve in (layer.reach, layer.reach_low, layer.reach_high):
        assert_allclose(curve, gain ** np.array(layer.lags), rtol=1e-3)
    assert_allclose(layer.forgetting, gain ** np.arange(1, 61), rtol=1e-3, atol=1e-12)  # a difference of doubles
    if gain < 1:
        assert_allclose(layer.half_life, math.log(2) / -math.log(gain), rtol=1e-3)
    assert layer.lags == list(range(60))


def test_a_gradient_that_leaves_the_range_of_numbers_still_has_its_exponent() -> None:
    weights = {"simple_rnn__kernel": np.ones((1, 4)), "simple_rnn__recurrent_kernel": 0.1 * np.eye(4)}
    network = built(SimpleRNN(4, activation="linear", use_bias=False), shape=(400, 1), **weights)
    layer = only(elman.diagnose(network, np.random.default_rng(9).normal(size=(8, 400, 1))))
    assert_allclose(layer.lyapunov, math.log(0.1), atol=1e-3)


@pytest.mark.parametrize(("forget", "expected"), [(60.0, 30), (-60.0, 1)], ids=["open", "shut"])
def test_an_lstm_with_its_forget_gate_forced(forget: float, expected: int) -> None:
    kernel = np.zeros((3, 16))
    kernel[:, 8:12] = np.random.default_rng(10).normal(size=(3, 4))
    bias = np.repeat([60.0, forget, 0.0, 60.0], 4)  # i, f, g, o
    weights = {"lstm__kernel": kernel, "lstm__recurrent_kernel": np.zeros((4, 16)), "lstm__bias": bias}
    report = elman.diagnose(built(LSTM(4, activation="linear"), Dense(1), **weights), NUMBERS)
    assert report.horizon == expected
    assert only(report).saturation["f"] == 1
    if forget < 0:
        assert max(only(report).reach[1:]) < 1e-20


@pytest.mark.parametrize(("update", "expected"), [(60.0, None), (-60.0, 1)], ids=["kept", "replaced"])
def test_a_gru_with_its_update_gate_forced(update: float, expected: int | None) -> None:
    kernel, bias = np.zeros((3, 12)), np.zeros((2, 12))
    kernel[:, 8:] = RNG.normal(size=(3, 4))
    bias[0, :4] = update
    weights = {"gru__kernel": kernel, "gru__recurrent_kernel": np.zeros((4, 12)), "gru__bias": bias}
    network = built(GRU(4), Dense(1), **weights)
    if expected is None:  # the state never leaves zero
        with pytest.raises(ValueError, match="is the same for all"):
            elman.diagnose(network, NUMBERS)
    else:
        assert elman.diagnose(network, NUMBERS).horizon == expected


@pytest.mark.parametrize("step", [0, 11, 29])
def test_a_planted_nan_is_found_at_its_step_and_layer(step: int) -> None:
    x = NUMBERS.copy()
    x[5, step, 1] = np.nan
    report = elman.diagnose(built(SimpleRNN(4, return_sequences=True), LSTM(4)), x)
    assert (report.verdict, report.horizon) == ("diverged", None)
    assert {name: layer.first_nonfinite for name, layer in report.layers.items()} == {"simple_rnn": step, "lstm": step}
    assert f"step {step} of layer 'simple_rnn', in the input" in report.because
    assert report.advice[0].argument == "x"
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_layer_that_outgrows_its_type_is_found() -> None:
    grows = {"simple_rnn_1__kernel": np.ones((2, 1)), "simple_rnn_1__recurrent_kernel": np.full((1, 1), 1e4)}
    layers = (SimpleRNN(2, return_sequences=True), SimpleRNN(1, activation="linear", use_bias=False))
    report = elman.diagnose(built(*layers, **grows), NUMBERS)
    assert report.verdict == "diverged"
    assert report.layers["simple_rnn"].first_nonfinite is None
    assert 8 <= report.layers["simple_rnn_1"].first_nonfinite <= 11  # 1e4 to the 10th is above what float32 holds
    assert "in the layer's states" in report.because
    assert report.advice == []  # the learning rate is not known


def test_dead_relu_units_and_saturation_are_counted() -> None:
    dead = {"simple_rnn__recurrent_kernel": np.zeros((4, 4)), "simple_rnn__bias": np.array([-1e3, -1e3, -1e3, 1e3])}
    assert only(elman.diagnose(built(SimpleRNN(4, activation="relu"), Dense(1), **dead), NUMBERS)).dead == 0.75
    limits = dead | {"simple_rnn__bias": np.array([9.0, -9.0, 9.0, 0.0])}
    assert only(elman.diagnose(built(SimpleRNN(4), Dense(1), **limits), 0.1 * NUMBERS)).saturation == {"h": 0.75}


# --- each forward once -----------------------------------------------------------------------------------------------


def two_layers(kind: Any) -> Network:
    network = built(kind(6, return_sequences=True), kind(5), Dense(2))
    rng = np.random.default_rng(11)
    for weight in network.weights.values():
        weight[...] = rng.normal(size=weight.shape, scale=0.4)
    return network


def test_a_diagnosis_is_the_same_for_the_same_seed() -> None:
    network = two_layers(GRU)
    x = np.random.default_rng(13).normal(size=(400, 30, 3))
    y = np.random.default_rng(14).normal(size=(400, 2))
    first, again, other = (elman.diagnose(network, x, y, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.deviation != other.deviation
    assert (first.examples, first.of) == (256, 400)
    assert first.lines()[0].startswith("network: 256 of 400 examples")


def test_a_network_is_left_as_it_is() -> None:
    network = two_layers(SimpleRNN)
    before, weights = network(NUMBERS), {name: weight.copy() for name, weight in network.weights.items()}
    elman.diagnose(network, NUMBERS)
    elman.trace(network, NUMBERS[:2])
    assert all(np.array_equal(weights[name], weight) for name, weight in network.weights.items())
    assert np.array_equal(network(NUMBERS), before)


MASKED = np.where(np.arange(30)[:, None] < np.arange(64)[:, None, None] % 9, 0, NUMBERS)  # on the left
ENDED = MASKED[:, ::-1].copy()


@pytest.mark.parametrize(
    "layers",
    [
        [SimpleRNN(6, return_sequences=True), GRU(5), Dense(2)],
        [Mask(), LSTM(6, return_sequences=True, zero_output_for_mask=True), LSTM(5, zero_output_for_mask=True)],
        [Mask(), Concat([GRU(4, return_sequences=True), GRU(3, go_backwards=True, return_sequences=True)]), LSTM(4)],
        [Mask(), Sum([[SimpleRNN(3), Dense(2, "tanh")], [GRU(2, reset_after=False, learn_initial_state=True)]])],
        [SimpleRNN(6, activation="relu", use_bias=False), Dense(2)],
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_runs_for_a_diagnosis_is_the_network(layers: list[Any], dtype: str) -> None:
    network = Network(layers, input_shape=(30, 3), dtype=dtype, seed=2)
    for name, weight in network.weights.items():
        weight[...] += 0.1 if "initial" in name else 0
    for x in (MASKED, ENDED):
        observed = ObservedNetwork("diagnose", network, x)
        expected = network(x)
        found = observe.run(observed, observed.x).outputs
        assert_allclose(found, expected, **({"rtol": 1e-4, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-11}))


@pytest.mark.parametrize("kind", [SimpleRNN, LSTM])
def test_nothing_is_computed_twice(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    forwards, backwards = (Counted(monkeypatch, state_gradient, name) for name in ("forward", "gradient_norms"))
    report = elman.diagnose(two_layers(kind), NUMBERS, NUMBERS[:, -8, :2])
    # Each layer: the data, the data from other initial states, all resets at once. To keep 30 steps resets nothing.
    assert forwards.rows() == [64] * 4 + [30 * 64] * 2
    assert len(backwards.calls) == 2
    assert report.lags[-1] == 30


def test_a_reset_uses_what_the_run_without_one_has_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    x = NUMBERS.copy()
    x[:, :9] = 0  # masked: from 21 kept steps on nothing is reset
    both = Concat([GRU(4, return_sequences=True), GRU(4, go_backwards=True, return_sequences=True)])
    forwards = Counted(monkeypatch, state_gradient, "forward")
    elman.diagnose(built(Mask(), both, Dense(1)), x)
    assert forwards.rows() == [64] * 3 + [21 * 64]  # two halves, another initial state; the forward half reset


def test_need_is_measured_on_more_examples_without_computing_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(19).normal(size=(500, 30, 3))
    forwards = Counted(monkeypatch, state_gradient, "forward")
    report = elman.diagnose(two_layers(GRU), x, x[:, -8, :2])
    assert report.need == 8
    assert 500 not in forwards.rows()
    first = ObservedNetwork("diagnose", built(SimpleRNN(2, return_sequences=True), GRU(2)), NUMBERS)
    seen = observe.input_of(first, first.x, "gru")
    alone = built(SimpleRNN(2, return_sequences=True))
    alone.set_weights({name: first.network.weights[name] for name in alone.weights})
    assert_allclose(seen.x, alone(NUMBERS), rtol=1e-4, atol=1e-6)


# --- losses, data of every form, advice ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "units", "activation", "targets"),
    [
        ("mse", 2, "linear", lambda rng: rng.normal(size=(64, 2))),
        ("mae", 1, "linear", lambda rng: rng.normal(size=64)),
        ("huber", 2, "linear", lambda rng: rng.normal(size=(64, 2))),
        ("quantile", 1, "linear", lambda rng: rng.normal(size=(64, 1))),
        ("binary_crossentropy", 1, "sigmoid", lambda rng: rng.integers(0, 2, 64)),
        ("sparse_categorical_crossentropy", 3, "softmax", lambda rng: rng.integers(0, 3, 64)),
        ("sparse_categorical_crossentropy", 3, "softmax", lambda rng: rng.integers(0, 3, (64, 1))),
    ],
)
def test_losses_of_every_kind(loss: str, units: int, activation: str, targets: Any) -> None:
    network = built(SimpleRNN(4), Dense(units, activation))
    y = targets(np.random.default_rng(15))
    report = elman.diagnose(network, NUMBERS, y, loss=loss)
    same = np.concatenate([NUMBERS, NUMBERS]), np.concatenate([y, y])
    history = network.fit(*same, loss=loss, epochs=1, learning_rate=1e-30, batch_size=128)  # the loss of one batch
    assert_allclose([report.full_loss, report.loss[-1]], history.loss[0], rtol=1e-4)
    assert report.loss_name == loss
    assert report.verdict not in ("healthy", "data short of memory")  # nothing was learned
    assert "the model is not trained" in report.because


def test_a_trained_network_is_healthy_and_a_new_one_is_not() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(512, 8, 1)).astype("float32")
    y = x[:, -3]
    network = Network([Normalize(0.0, 1.0), SimpleRNN(16), Dense(1)], input_shape=(8, 1), seed=0)
    before = elman.diagnose(network, x, y)
    network.fit(x, y, epochs=30, learning_rate=0.01)
    after = elman.diagnose(network, x, y)
    assert (before.verdict, after.verdict) == ("underfits", "healthy")
    assert after.need == 3
    assert 3 <= after.horizon <= 8


def test_targets_of_every_step_count_by_the_last_one() -> None:
    network = built(SimpleRNN(4, return_sequences=True), Dense(1))
    y = RNG.normal(size=(64, 30, 1))
    expected = np.mean((network(NUMBERS)[:, -1] - y[:, -1]) ** 2)
    assert_allclose(elman.diagnose(network, NUMBERS, y).full_loss, expected, rtol=1e-5)


def test_numbers_in_lists() -> None:
    network = built(SimpleRNN(4), Dense(1))
    of_lists = elman.diagnose(network, NUMBERS.tolist())
    assert_allclose(of_lists.deviation, elman.diagnose(network, NUMBERS).deviation)


def test_an_input_with_infinities_that_the_activation_ends() -> None:
    x = np.where(np.array([2, np.inf, np.inf]) < NUMBERS, np.inf, NUMBERS)
    assert any("The input has infinities" in note for note in elman.diagnose(built(SimpleRNN(4), Dense(1)), x).notes)


def test_words_by_their_numbers() -> None:
    words = np.random.default_rng(16).integers(0, 20, (40, 12))
    words[:, 0] = 1
    assert elman.diagnose(built(Embedding(20, 4, True), LSTM(5), Dense(1), shape=(12,)), words).steps == 12


def test_the_scale_of_the_input_is_advised_in_words_of_a_network() -> None:
    x = 100 * np.random.default_rng(18).normal(size=(256, 30, 3)).astype("float32")
    report = elman.diagnose(built(SimpleRNN(8), Dense(1)), x, x[:, -4, :1] / 100)
    assert report.verdict == "saturated"
    assert report.advice[0].argument == "elman.network.Normalize"
    assert "keras" not in str(report)


@pytest.mark.parametrize("branches", [[[SimpleRNN(4), Dense(1)], [Flatten(), Dense(1)]], [[[SimpleRNN(4)], Flatten()]]])
def test_a_path_next_to_the_recurrent_layers_is_explained(branches: Any) -> None:
    along = len(branches) > 1
    network = built(Sum(branches)) if along else built(Concat(*branches), Dense(1))
    used = elman.diagnose(network, NUMBERS)
    assert used.verdict != "no memory used"
    assert any("A path next to the recurrent layers sees the whole input" in note for note in used.notes)
    name = next(name for name in network.weights if name.endswith("dense/kernel"))
    network.weights[name][:4] = 0  # what follows the states
    for y in (None, NUMBERS[:, 0, :1]):
        found = elman.diagnose(network, NUMBERS, y)
        assert (found.horizon, found.verdict, found.advice) == (0, "no memory used", [])
        assert "The path next to them, which sees the whole input, makes all of it." in found.because
    assert not elman.diagnose(built(Sum([SimpleRNN(4), SimpleRNN(4)])), NUMBERS).notes


def test_without_targets_a_network_is_not_called_healthy() -> None:
    report = elman.diagnose(two_layers(GRU), NUMBERS)
    assert report.verdict == "no fault found"
    assert "Without targets it is not known" in report.because
    assert report.advice == []


def test_a_constant_output_is_explained_where_targets_differ() -> None:
    constant = {"simple_rnn__kernel": np.zeros((3, 4)), "simple_rnn__bias": np.full(4, 30.0)}
    report = elman.diagnose(built(SimpleRNN(4), Dense(1), **constant), NUMBERS, NUMBERS[:, -1, :1])
    assert (report.horizon, report.verdict) == (1, "saturated")
    assert any("the same for all" in note for note in report.notes)


def test_a_cut_gradient_is_noted() -> None:
    report = elman.diagnose(built(SimpleRNN(4, truncate_gradient=7), Dense(1)), NUMBERS)
    assert "Layer 'simple_rnn' is trained with truncate_gradient=7; reach is measured without it." in report.notes


# --- bad input -------------------------------------------------------------------------------------------------------


def rnn() -> Network:
    return built(SimpleRNN(4), Dense(2))


@pytest.mark.parametrize(
    ("network", "x", "sentence"),
    [
        (lambda: Dense(1), NUMBERS, "got Dense; expected an elman.Network or a Keras model"),
        (lambda: built(Flatten(), Dense(1)), NUMBERS, "The network has no recurrent layer"),
        (lambda: Network([SimpleRNN(4)]), NUMBERS, "has no weights yet"),
        (rnn, NUMBERS[0], r"x has shape \(30, 3\); expected"),
        (rnn, NUMBERS.astype(str), "expected an array of numbers"),
        (rnn, NUMBERS[:1], "x has 1 example; expected at least 2"),
        (rnn, NUMBERS[:0], "x has 0 examples; expected at least 2"),
        (rnn, NUMBERS * 0, "is the same for all 64 examples"),
        (lambda: built(SimpleRNN(4), shape=(None, 3)), NUMBERS[:, :1], "sequences of 1 step; expected at"),
        (lambda: built(Mask(), SimpleRNN(4)), np.where(np.arange(64)[:, None, None] == 3, 0, NUMBERS), "is masked at"),
    ],
)
def test_bad_input_is_one_clear_sentence(network: Any, x: Any, sentence: str) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence) as error:
        elman.diagnose(network(), x)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("y", "options", "sentence"),
    [
        (np.zeros((32, 2)), {}, "x has 64 examples and y has 32; expected the same number"),
        (np.zeros((64, 5)), {}, r"y has shape \(64, 5\); expected \(examples, 2\)"),
        (np.full((64, 2), np.nan), {}, "y has NaN or infinities"),
        (np.full((64, 2), "a"), {}, "got y of dtype"),
        (np.zeros((64, 2)), {"loss": "mes"}, "loss is 'mes'"),
        (np.zeros((64, 2)), {"layer": "rnn"}, "layer is 'rnn'; expected one of 'simple_rnn', or None"),
    ],
)
def test_targets_and_arguments_that_do_not_fit_are_refused(y: Array, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence):
        elman.diagnose(rnn(), NUMBERS, y, **options)


# --- trace, and no framework -----------------------------------------------------------------------------------------


def test_a_trace_of_gates_agrees_with_the_states() -> None:
    x = NUMBERS[:3].copy()
    x[:, 25:] = 0
    network = built(Mask(), LSTM(4, return_sequences=True))
    found = elman.trace(network, x)
    (layer,) = found.layers.values()
    assert_allclose(layer.states["h"], network(x), rtol=1e-4, atol=1e-6)
    sigmoid = 1 / (1 + np.exp(-layer.pre_activations["f"]))
    assert_allclose(sigmoid, layer.gates["f"], rtol=1e-9)
    assert_allclose(np.tanh(layer.pre_activations["g"]), layer.gates["g"], rtol=1e-9)
    assert not layer.mask[:, 25:].any()
    assert_allclose(found.x, x)


@pytest.mark.parametrize("reset_after", [True, False])
def test_a_trace_of_a_gru(reset_after: bool) -> None:
    (layer,) = elman.trace(built(GRU(4, reset_after=reset_after)), NUMBERS[:2]).layers.values()
    h = np.concatenate([np.zeros((2, 1, 4)), layer.states["h"]], axis=1)
    z, n = layer.gates["z"], np.tanh(layer.pre_activations["n"])
    assert_allclose(z * h[:, :-1] + (1 - z) * n, h[:, 1:], rtol=1e-9)


def test_no_framework_is_imported_for_a_network() -> None:
    code = """
import sys
import numpy as np
import elman
from elman.network import Dense, Network, SimpleRNN
x = np.random.default_rng(0).normal(size=(70, 9, 2))
report = elman.diagnose(Network([SimpleRNN(4), Dense(1)], input_shape=(9, 2)), x, x[:, -3, :1])
report.advice, str(report), report.rows()
print(*sys.modules)
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"keras", "tensorflow", "jax", "torch"} & {name.partition(".")[0] for name in printed.split()}
