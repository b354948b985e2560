# SPDX-License-Identifier: Apache-2.0
"""`Network.from_keras` against the model that it was made of, and training against Keras's."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import elman
import size
from elman.network import (
    GRU,
    LSTM,
    Concat,
    Dense,
    Dropout,
    Embedding,
    Last,
    Latest,
    LayerNorm,
    Network,
    Rescale,
    Reverse,
    SimpleRNN,
    Sum,
    losses,
    training,
)
from network_cases import random_layers, random_weights

CASES = size.by_size(10, 70, 1000)  # on each of three backends, which have models of their own
FIRST = CASES * ("tensorflow", "jax", "torch").index(keras.config.backend())
SEEDS = range(FIRST, FIRST + CASES)
UNITS = (2, 4)  # few sizes, as JAX compiles each operation for each shape
RECURRENT = tuple((module, name) for module in (elman, layers) for name in ("SimpleRNN", "LSTM", "GRU"))
ACTIVATIONS = ("linear", "tanh", "relu", "sigmoid", "softplus", "elu", "hard_sigmoid")


def pick(rng, values):
    return values[int(rng.integers(len(values)))]


def recurrent(rng, return_sequences, **more):
    module, name = pick(rng, RECURRENT)
    options = {"activation": pick(rng, ("tanh", "sigmoid", "relu")), "use_bias": bool(rng.random() < 0.8)}
    if name == "GRU":
        options["reset_after"] = bool(rng.random() < 0.5)
    if module is elman and rng.random() < 0.3:
        options["learn_initial_state"] = True
    layer = getattr(module, name)(pick(rng, UNITS), return_sequences=return_sequences, **options, **more)
    if rng.random() < 0.3 and not layer.go_backwards:
        return layers.Bidirectional(layer, merge_mode=pick(rng, ("concat", "sum", "ave")))
    return layer


def sequence_layers(rng, x, masked):
    """A few layers from sequences to sequences."""
    for _ in range(int(rng.integers(0, 3))):
        units, features = pick(rng, UNITS), x.shape[-1]
        choice = int(rng.integers(9))
        if choice == 7:
            x = layers.Add()([layers.Dense(units)(x), layers.SimpleRNN(units, return_sequences=True)(x)])
        elif choice == 8:
            x = layers.Add()([x, layers.Dense(features)(x)])
        else:
            inner = [keras.Input(x.shape[1:]), layers.Dense(units), layers.Activation("tanh")]
            one = [
                recurrent(rng, True, go_backwards=bool(rng.random() < 0.2)),
                layers.TimeDistributed(layers.Dense(units, "tanh")),
                layers.Dense(units, pick(rng, ACTIVATIONS)),
                layers.LayerNormalization(),
                layers.BatchNormalization(),
                layers.Dropout(0.3) if units < 3 else layers.GaussianNoise(0.3),
                layers.Dropout(0.1) if masked else keras.Sequential(inner),  # which drops a mask, with a warning
            ]
            x = one[choice](x)
    return x


def random_model(rng):
    """A model, and an input for it."""
    time, masked = pick(rng, (1, 5)), False
    if rng.random() < 0.25:
        inputs = keras.Input((None,), dtype="int32")
        masked = bool(rng.random() < 0.5)
        x = layers.Embedding(9, 3, mask_zero=masked)(inputs)
        value = rng.integers(0, 9, (3, time))
    else:
        inputs = keras.Input((time, 3))
        x = inputs
        value = rng.normal(size=(3, time, 3)).astype("float32")
        if rng.random() < 0.3:
            x = layers.Normalization(mean=[0.5, 1.0, 0.0], variance=[1.0, 2.0, 0.5])(x)
        elif rng.random() < 0.3:
            masked, x = True, layers.Masking(0.0)(x)
            value[rng.random((3, time)) < 0.3] = 0
    x = sequence_layers(rng, x, masked)
    x = recurrent(rng, False)(x)
    if rng.random() < 0.3:
        x = layers.Concatenate()([x, layers.Dense(2)(x)])
    x = layers.Dense(int(rng.integers(2, 4)), pick(rng, (*ACTIVATIONS, "softmax")))(x)
    if rng.random() < 0.3:
        x = layers.Rescaling(2.0, offset=1.0)(x)
    return keras.Model(inputs, x), value


def shaken(model, rng):
    """Moves every weight, so that none is zero; what was positive, such as a variance, stays so."""
    moved = []
    for weight in model.get_weights():
        if weight.dtype.kind == "f":
            shifted = weight + rng.normal(scale=0.3, size=weight.shape).astype(weight.dtype)
            weight = np.abs(shifted) if (weight > 0).all() else shifted
        moved.append(weight)
    model.set_weights(moved)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_model(seed):
    rng = np.random.default_rng(seed)
    model, x = random_model(rng)
    shaken(model, rng)
    network = Network.from_keras(model)
    expected = keras.ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(network(x), expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


def small(**options):
    model = keras.Sequential([keras.Input((6, 3)), elman.SimpleRNN(8), layers.Dense(2)])
    model.compile(keras.optimizers.Adam(0.01, **options), "mse")
    return model


@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 0.05}], ids=["plain", "clipped"])
def test_twenty_steps_of_adam_as_keras_takes_them(options):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(160, 6, 3)).astype("float32"), rng.normal(size=(160, 2)).astype("float32")
    model = small(**options)
    network = Network.from_keras(model)
    expected = [float(model.train_on_batch(x[i : i + 32], y[i : i + 32])) for i in [*range(0, 160, 32)] * 4]
    found = []
    network.fit(x, y, epochs=4, learning_rate=0.01, shuffle=False, clip_norm=options.get("global_clipnorm"),
                tell=lambda progress: found.append(progress.batch_loss))  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for name, weight in zip(network.weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(network.weights[name], weight, rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_file(tmp_path):
    model = small()
    model.save(tmp_path / "m.keras")
    x = np.ones((2, 6, 3), "float32")
    np.testing.assert_array_equal(Network.from_keras(tmp_path / "m.keras")(x), Network.from_keras(model)(x))


class Own(keras.layers.Layer):
    def call(self, x):
        return x * 2


def refused():
    x = keras.Input((5, 3))
    rnn = layers.SimpleRNN(3, return_sequences=True)
    shared = rnn(rnn(x))
    dense = layers.Dense(3)(x)
    yield "called 2 times", keras.Model(x, shared)
    yield "'own' (Own)", keras.Model(x, Own(name="own")(x))
    yield "merge_mode='mul'", keras.Model(x, layers.Bidirectional(layers.LSTM(3), merge_mode="mul")(x))
    yield "stateful=True", keras.Sequential([keras.Input(batch_shape=(2, 5, 3)), layers.LSTM(3, stateful=True)])
    yield "activation is 'gelu'", keras.Model(x, layers.Dense(3, "gelu")(x))
    yield "joins branches in another way", keras.Model(x, layers.Multiply()([x, dense]))
    yield "2 outputs", keras.Model(x, [x, dense])
    yield "layer 'all' (Dropout): rate is 1", keras.Model(x, layers.Dropout(1, name="all")(x))
    yield "noise_shape=(None, 5, 1)", keras.Model(x, layers.Dropout(0.5, noise_shape=(None, 5, 1))(x))
    inner = layers.Add()([dense, layers.Dense(3)(dense)])
    yield "do not share all", keras.Model(x, layers.Add()([inner, layers.Add()([layers.Dense(3)(x), dense])]))


@pytest.mark.parametrize("case", range(10))
def test_what_a_network_cannot_hold_is_named(case):
    words, model = list(refused())[case]
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are asserted below
        Network.from_keras(model)
    assert words in str(caught.value)


def test_dropout_of_whole_features_is_kept():
    x = keras.Input((5, 3))
    for layer in (layers.SpatialDropout1D(0.5), layers.Dropout(0.5, noise_shape=(None, 1, 3))):
        (bound,) = Network.from_keras(keras.Model(x, layer(x))).bound
        assert bound.layer == Dropout(0.5, each_step=False)


# --- to Keras -------------------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_a_switch_of_keras_may_be_a_number():
    model = keras.Sequential([keras.Input((3, 2)), layers.LSTM(2, use_bias=1), layers.Dense(1, use_bias=0)])
    assert [each.layer.use_bias for each in Network.from_keras(model).bound] == [True, False]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS[: size.by_size(10, 30, 1000)])
def test_a_random_network_there_and_back(seed):
    rng = np.random.default_rng(seed)
    network = Network(random_layers(rng, 3, UNITS), input_shape=(5, 3))
    random_weights(network, rng)
    for name, weight in network.weights.items():
        if "initial" in name:  # Keras's layers start from zero
            weight[:] = 0
    model = network.to_keras()
    assert {type(layer).__module__.partition(".")[0] for layer in model.operations} == {"keras"}
    back, x = Network.from_keras(model), rng.normal(size=(3, 5, 3)).astype("float32")
    np.testing.assert_allclose(back(x), network(x), rtol=0, atol=1e-6 * max(1, np.abs(network(x)).max()))
    trained = [weight for name, weight in network.weights.items() if "initial" not in name]
    for kept, weight in zip(back.weights.values(), trained, strict=True):
        np.testing.assert_array_equal(kept, weight)


@pytest.mark.once
@pytest.mark.parametrize("weighted", [(), (11, 5)])  # Keras refuses (11,) next to a mask
def test_the_loss_of_masked_and_weighted_examples_is_that_of_keras(weighted):
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(11, 5, 3)).astype("float32"), rng.normal(size=(11, 5, 2)).astype("float32")
    x[np.arange(5) >= rng.integers(1, 6, (11, 1))] = 0
    weight = rng.uniform(0.5, 2, weighted).astype("float32") if weighted else None
    masked = [layers.Masking(), layers.SimpleRNN(2, return_sequences=True)]
    model = keras.Sequential([keras.Input((5, 3)), *masked])
    model.compile(loss="mse")
    expected = model.evaluate(x, y, batch_size=4, sample_weight=weight, verbose=0)  # the last batch has three
    network = Network.from_keras(model)
    found = training.evaluate(network, training.Arrays(network, x, y, weight), losses.named("mse"), 4)
    assert found == pytest.approx(expected, rel=1e-6)


READ = """
import sys
sys.modules["elman"] = None  # as if it were not installed
import keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
np.save(sys.argv[2], keras.ops.convert_to_numpy(model(np.load(sys.argv[2]), training=False)))
"""


@pytest.mark.medium
@pytest.mark.once
def test_the_file_opens_without_elman(tmp_path):
    network = Network(
        [
            Embedding(9, 3, mask_zero=True),
            Sum([[GRU(3, return_sequences=True, dropout=0.2, truncate_gradient=2)], []]),
            Concat([[LSTM(2, return_sequences=True)], [LSTM(2, return_sequences=True, go_backwards=True), Reverse()]]),
            Reverse(),
            SimpleRNN(4, return_sequences=True),
            LayerNorm(),
            Dropout(0.1),
            Concat([Last(), Latest(2), SimpleRNN(2)]),
            Rescale([0.5] * 14, 1.0),
            Dense(2, "softplus"),
        ],
        input_shape=(None,),
    )
    random_weights(network, np.random.default_rng(0))
    x = np.random.default_rng(1).integers(0, 9, (4, 6)).astype("int32")
    network.to_keras().save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", x)
    subprocess.run([sys.executable, "-c", READ, tmp_path / "m.keras", tmp_path / "x.npy"], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), network(x), rtol=1e-5, atol=1e-6)


def test_what_keras_lacks_is_named(caplog):
    network = Network([GRU(2, learn_initial_state=True, clip_state_gradient=1.0)], input_shape=(4, 3))
    network.to_keras()
    assert "clip_state_gradient, learn_initial_state of 'gru'" in caplog.text
    network.weights["gru/initial_state"][:] = 1
    with pytest.raises(ValueError, match="'gru': it has a learned initial state"):
        network.to_keras()
    with pytest.raises(ValueError, match="no weights yet"):
        Network([GRU(2)]).to_keras()
