# SPDX-License-Identifier: Apache-2.0
"""`elman.Network`: what each layer computes, gradients by finite differences, shapes, masks, and what it refuses."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import network_cases as cases
from elman import reference
from elman.network import (
    COMBINATORS,
    GRU,
    LAYERS,
    LSTM,
    Activation,
    Concat,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Last,
    Latest,
    LayerNorm,
    Mask,
    Network,
    Normalize,
    Rescale,
    Reverse,
    SimpleRNN,
    Sum,
)
from elman.network.activations import ACTIVATIONS
from elman.operands import Operands

RNG = np.random.default_rng(0)


def close(got, expected, tolerance=1e-12):
    largest = max(np.abs(expected).max(initial=0), 1e-300)
    np.testing.assert_array_less(np.abs(got - expected), tolerance * largest + 1e-300)


# --- gradients -------------------------------------------------------------------------------------------------------

ROWS = {
    "SimpleRNN": [SimpleRNN(4)],
    "LSTM": [LSTM(3, return_sequences=True), Last()],
    "GRU": [GRU(3)],
    "Dense": [Dense(4), Last()],
    "Activation": [Dense(3), Activation("tanh"), Last()],
    "Embedding": [Embedding(5, 3), SimpleRNN(4)],
    "Normalize": [Dense(3), Normalize(0.5, 2.0), Last()],
    "Rescale": [Dense(3), Rescale(3.0, 0.5), Last()],
    "LayerNorm": [Dense(3), LayerNorm(), Dense(2), Last()],
    "Dropout": [Dense(3), Dropout(0.0), Last()],
    "Mask": [Dense(3), Mask(0.0), LSTM(2)],
    "Flatten": [Dense(3), Flatten(), Dense(2)],
    "Latest": [Dense(3), Latest(2), Dense(2)],
    "Last": [Dense(3), Last(), Dense(2)],
    "Reverse": [Dense(3), Reverse(), GRU(2)],
}


def test_every_row_of_the_table_is_checked():
    assert set(ROWS) == set(LAYERS)
    assert set(COMBINATORS) == {"Sum", "Concat"}


def assert_gradients(network, x, mask=None):
    y, _ = network.forward(network.input(x), mask)
    dy = np.random.default_rng(1).normal(size=y.shape)
    network.backward(dy)
    analytic = network.gradient.copy()
    expected = cases.differences(network, x, mask, dy)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(analytic, expected, rtol=0, atol=2e-8 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("name", ROWS)
def test_gradients_of_a_row(name):
    rng = np.random.default_rng(2)
    network = Network(ROWS[name], dtype="float64")
    x = rng.integers(0, 5, (3, 4)) if network.takes_integers else rng.normal(size=(3, 4, 2))
    network(x)
    cases.random_weights(network, rng)
    assert_gradients(network, x)
    assert_gradients(network, x, rng.random((3, 4)) < 0.7)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradients_of_an_activation(name):
    network = Network([Dense(3, name), Dense(2)], input_shape=(4,), dtype="float64")
    cases.random_weights(network, np.random.default_rng(3))
    assert_gradients(network, RNG.normal(size=(5, 4)))


@pytest.mark.parametrize("seed", range(30))
def test_gradients_of_a_random_network(seed):
    rng = np.random.default_rng(seed)
    features = int(rng.integers(1, 4))
    network = Network(cases.random_layers(rng, features), input_shape=(5, features), dtype="float64")
    cases.random_weights(network, rng)
    mask = rng.random((3, 5)) < 0.7 if rng.random() < 0.5 else None
    assert_gradients(network, rng.normal(size=(3, 5, features)), mask)


@pytest.mark.parametrize("cell", cases.CELLS)
def test_the_gradient_is_cut_and_clipped_as_the_reference_does(cell):
    layer = cell(4, truncate_gradient=2, clip_state_gradient=0.05)
    network = Network([layer], input_shape=(None, 3), dtype="float64")
    x, dy = RNG.normal(size=(2, 7, 3)), RNG.normal(size=(2, 4))
    network.forward(x)
    got = network.backward(dy)
    name = network.bound[0].name
    weights = network.weights
    operands = Operands(x, *(weights[f"{name}/{key}"] for key in ("kernel", "recurrent_kernel", "bias")))
    _, final, tape = reference.forward(*operands, options=layer.options)
    expected = reference.backward(*operands, tape, dy, tuple(map(np.zeros_like, final)), options=layer.options)
    close(got[f"{name}/recurrent_kernel"], expected.drecurrent_kernel)
    plain = Network(
        [dataclasses.replace(layer, truncate_gradient=None, clip_state_gradient=None)],
        input_shape=(None, 3),
        dtype="float64",
    )
    plain.forward(x)
    assert not np.allclose(plain.backward(dy)[f"{name}/recurrent_kernel"], expected.drecurrent_kernel)


# --- values ----------------------------------------------------------------------------------------------------------


def test_a_recurrent_layer_computes_what_the_function_does():
    network = Network([GRU(6, return_sequences=True)], input_shape=(None, 3), seed=1)
    x = RNG.normal(size=(4, 7, 3)).astype("float32")
    kernel, recurrent_kernel, bias = network.weights.values()
    import elman

    expected, _ = elman.gru(x, kernel, recurrent_kernel, bias, lengths=np.array([7, 3, 0, 5]))
    np.testing.assert_array_equal(network(x, lengths=[7, 3, 0, 5]), expected)


def test_a_cut_beyond_all_steps_is_none():
    cut, whole = (Network([LSTM(3, truncate_gradient=k)], input_shape=(None, 2)) for k in (10**30, None))
    x = RNG.normal(size=(2, 5, 2)).astype("float32")
    found = [{**network.backward(network.forward(x)[0])} for network in (cut, whole)]
    np.testing.assert_equal(*found)


def test_two_directions_are_two_branches():
    forward, backward = LSTM(3, return_sequences=True), LSTM(2, return_sequences=True, go_backwards=True)
    network = Network([Concat([[forward], [backward, Reverse()]])], input_shape=(None, 4))
    x = RNG.normal(size=(2, 5, 4)).astype("float32")
    y = network(x)
    assert y.shape == (2, 5, 5)
    alone = Network([backward], input_shape=(None, 4))
    alone.set_weights({name: network.weights[name.replace("lstm", "lstm_1")] for name in alone.weights})
    np.testing.assert_array_equal(y[..., 3:], alone(x)[:, ::-1])


def test_an_empty_branch_is_a_residual_connection():
    network = Network([Sum([[Dense(3)], []])], input_shape=(3,))
    x = RNG.normal(size=(2, 3)).astype("float32")
    np.testing.assert_allclose(network(x), x @ network.weights["dense/kernel"] + x, rtol=1e-6)


def test_last_is_the_last_valid_step():
    network = Network([Last()], input_shape=(None, 2))
    x = RNG.normal(size=(3, 4, 2)).astype("float32")
    np.testing.assert_array_equal(network(x, lengths=[4, 2, 0]), np.stack([x[0, 3], x[1, 1], x[2, 0]]))


def test_embedding_masks_zeros():
    network = Network([Embedding(4, 3, mask_zero=True), SimpleRNN(5)])
    padded, short = np.array([[1, 2, 0, 0]]), np.array([[1, 2]])
    np.testing.assert_array_equal(network(padded), network(short))


def test_dropout_acts_in_training_alone_and_keeps_the_mean():
    network = Network([Dropout(0.25)], input_shape=(1000,))
    x = np.ones((50, 1000), "float32")
    np.testing.assert_array_equal(network(x), x)
    y, _ = network.forward(x)
    assert set(np.unique(y).round(4)) == {0, np.float32(4 / 3).round(4)}
    assert abs((y == 0).mean() - 0.25) < 0.01


def test_recurrent_dropout_draws_again_for_each_batch():
    network = Network([SimpleRNN(64, dropout=0.5, recurrent_dropout=0.5)], input_shape=(None, 8))
    x = RNG.normal(size=(4, 6, 8)).astype("float32")
    one, two = (network.forward(x)[0].copy() for _ in range(2))
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(network(x), network(x))


def test_results_are_new_arrays_and_inputs_stay():
    network = Network([SimpleRNN(3), Dense(2, "relu")], input_shape=(None, 2))
    x = RNG.normal(size=(4, 5, 2)).astype("float32")
    before, one = x.copy(), network(x)
    kept = one.copy()
    network(x + 1)
    np.testing.assert_array_equal(one, kept)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("shape", [(0, 5, 2), (3, 1, 2), (1, 500, 2)])
def test_any_batch_and_time(shape):
    network = Network([LSTM(4), Dense(3)], input_shape=(None, 2))
    assert network(np.zeros(shape)).shape == (shape[0], 3)


def test_threads_that_call_a_network_at_once_get_their_own_results():
    network = Network([LSTM(16, return_sequences=True), Dense(3)])  # built by whichever thread is first
    inputs = [RNG.normal(size=(8, 20, 4)) for _ in range(4)]
    barrier = threading.Barrier(len(inputs))

    def results(x):
        barrier.wait()
        return {network(x).tobytes() for _ in range(50)}

    with ThreadPoolExecutor(len(inputs)) as pool:
        found = list(pool.map(results, inputs))
    assert found == [{network(x).tobytes()} for x in inputs]


def test_many_shapes_keep_only_a_few_in_memory():
    network = Network([GRU(4), Dense(1)], input_shape=(None, 2))
    for time in range(1, 40):
        network(np.zeros((2, time, 2)))
    assert len(network._kept.ops[False]) <= 4


def test_weights_are_the_networks_own_memory():
    network = Network([Dense(2)], input_shape=(3,))
    network.weights["dense/kernel"][:] = 1
    np.testing.assert_allclose(network(np.ones((1, 3))), 3)


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda network: pickle.loads(pickle.dumps(network))])
def test_a_copy_computes_the_same_and_learns_by_itself(copied):
    network = Network([Normalize(0.5, 2.0), GRU(4), Sum([[Dense(4)], []])], seed=3)
    assert copied(network).input_shape is None  # not built yet
    x = RNG.normal(size=(16, 5, 2))
    expected = network(x)
    other = copied(network)
    np.testing.assert_array_equal(other(x), expected)
    losses = other.fit(x, expected + 1, epochs=3, learning_rate=0.1).loss
    assert losses[-1] < losses[0]
    np.testing.assert_array_equal(network(x), expected)


def test_a_changed_constant_counts():
    network = Network([Normalize(0.0, 1.0)], input_shape=(2,))
    x = np.ones((1, 2), "float32")
    network(x)
    network.set_weights({"normalize/mean": [1, 1], "normalize/std": [2, 2]})
    np.testing.assert_array_equal(network(x), np.zeros((1, 2)))
    network.weights["normalize/std"][:] = 4
    np.testing.assert_array_equal(network(x + 2), np.full((1, 2), 0.5))


# --- what it says and refuses ----------------------------------------------------------------------------------------


def test_summary_counts_as_keras_does():
    network = Network([SimpleRNN(10), Dense(1)], input_shape=(None, 3))
    assert "simple_rnn (SimpleRNN)" in network.summary()
    assert network.flat.size == 3 * 10 + 10 * 10 + 10 + 11
    assert repr(network) == "Network([SimpleRNN(units=10), Dense(units=1)], dtype='float32')"


@pytest.mark.parametrize(
    ("layers", "options", "words"),
    [
        (
            [SimpleRNN(3), SimpleRNN(3)],
            {"input_shape": (None, 2)},
            r"simple_rnn_1 got .* from simple_rnn, which returns only .* Give simple_rnn return_sequences=True",
        ),
        (
            [Flatten(), SimpleRNN(3)],
            {"input_shape": (4, 2)},
            r"simple_rnn got an input of 2 axes; expected \(batch, time",
        ),
        ([SimpleRNN(3)], {"input_shape": (20,)}, r"x\.reshape\(-1, 20, 1\).* x\.reshape\(-1, 1, 20\)"),
        ([Flatten()], {"input_shape": (None, 2)}, "Flatten needs a known number of steps"),
        ([Latest(5)], {"input_shape": (3, 2)}, "last 5 steps; got sequences of 3"),
        ([Sum([[Dense(3)], [Dense(2)]])], {"input_shape": (2,)}, "Sum got branches with the output shapes"),
        ([Normalize([1.0, 2.0], 1.0)], {"input_shape": (3,)}, "mean has 2 numbers, and the input 3 features"),
        ([SimpleRNN(3), Embedding(9, 2)], {"input_shape": (None, 2)}, "embedding comes after another layer; expected"),
        ([Embedding(9, 2), Last(), [[Embedding(9, 2)]]], {"input_shape": (4,)}, "embedding_1 comes after another"),
        ([Dense(3)], {"input_shape": (0,)}, "the number of features is 0; expected a positive integer"),
        ([SimpleRNN(3)], {"input_shape": ("a", 2)}, "time is 'a'; expected a positive integer"),
        ([SimpleRNN(3)], {"input_shape": (2.5, 2)}, "time is 2.5; expected a positive integer"),
        ([Dense(3)], {"dtype": "float16"}, "dtype is 'float16'"),
    ],
)
def test_what_a_network_refuses(layers, options, words):
    with pytest.raises(ValueError, match=words):
        Network(layers, **options)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SimpleRNN(0), "units is 0; expected a positive integer"),
        (lambda: LSTM(3, "tahn"), "activation is 'tahn'; Did you mean 'tanh'"),
        (lambda: Dense(3, "gelu"), "activation is 'gelu'"),
        (lambda: Dropout(1.0), "rate is 1.0; expected a number from 0 to below 1"),
        (lambda: GRU(3, truncate_gradient=0), "truncate_gradient is 0"),
        (lambda: Normalize(0.0, 0.0), "std is 0.0; expected positive"),
        (lambda: Concat([]), "expected a list of branches"),
    ],
)
def test_what_a_layer_refuses(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("layer", [SimpleRNN, LSTM, GRU, Dense, Embedding, Dropout])
def test_a_switch_of_a_layer_is_true_or_false(layer):
    first = {"size": 4, "units": 3} if layer is Embedding else {"rate": 0.5} if layer is Dropout else {"units": 3}
    for name in layer.switches():
        with pytest.raises(TypeError, match=f"{name} is 'no'; expected True or False"):
            layer(**first, **{name: "no"})
        assert getattr(layer(**first, **{name: np.False_}), name) is False
    assert layer.switches()


def test_what_is_not_a_layer_is_refused():
    with pytest.raises(TypeError, match="expected a layer of elman.network"):
        Network(["dense"])


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((2, 5, 4)), r"x has shape \(2, 5, 4\); expected \(batch, time, 3\)"),
        (np.zeros((2, 3)), r"x has shape \(2, 3\); expected \(batch, time, 3\)"),
        (np.array([["a"]]), "expected numbers"),
    ],
)
def test_an_input_that_does_not_fit(x, words):
    with pytest.raises((ValueError, TypeError), match=words):
        Network([SimpleRNN(2)], input_shape=(None, 3))(x)


def test_integers_out_of_range():
    network = Network([Embedding(4, 3), Last()])
    with pytest.raises(ValueError, match="Embedding got 0 to 4; expected integers from 0 to 3"):
        network([[0, 4]])
    with pytest.raises(TypeError, match="expected integers"):
        network([[0.5, 1.0]])


@pytest.mark.parametrize("lengths", [[-1, 2], [3, 9], [1], [1.5, 2.0]])
def test_lengths_that_do_not_fit(lengths):
    with pytest.raises(ValueError, match="lengths"):
        Network([SimpleRNN(2)], input_shape=(None, 3))(np.zeros((2, 5, 3)), lengths=lengths)
