# SPDX-License-Identifier: Apache-2.0
"""The rows of docs/differences.md: where stock Keras is wrong and elman is right, and what elman keeps as it is.

Each test shows both sides on the backends that are affected, so that the page is corrected when Keras is.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import elman

BACKEND = keras.config.backend()
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "differences.md").read_text()
TESTS = Path(__file__).resolve().parents[1]
B, T, F, U = 4, 6, 3, 5
RNG = np.random.default_rng(11)
X = RNG.normal(size=(B, T, F)).astype("float32")
H = RNG.normal(size=(B, U)).astype("float32")
KINDS = (elman.SimpleRNN, layers.SimpleRNN)
MASK = np.ones((B, T), bool)
MASK[1, :2] = MASK[2, 3] = MASK[3, -2:] = False


def array(tensor: Any) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


def weights() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [(rng.normal(size=size) * 0.5).astype("float32") for size in ((F, U), (U, U), (U,))]


def layer_of(kind: Any, **arguments: Any) -> Any:
    layer = kind(U, **arguments)
    layer.build((B, T, F))
    layer.set_weights(weights())
    return layer


def truth(mask: np.ndarray | None = None, state: np.ndarray | None = None, **options: Any) -> np.ndarray:
    """Every step's output, from `elman.simple_rnn` in float64."""
    wide = [a.astype("float64") for a in (X, *weights())]
    state = None if state is None else state.astype("float64")
    return elman.simple_rnn(*wide, state, mask=mask, **options)[0]


def close(got: Any, expected: np.ndarray) -> bool:
    return np.allclose(array(got), expected, rtol=0, atol=1e-5)


def wide() -> contextlib.AbstractContextManager[Any]:
    """JAX has float64 only where it is enabled."""
    return importlib.import_module("jax").enable_x64(True) if BACKEND == "jax" else contextlib.nullcontext()


# --- corrected -----------------------------------------------------------------------------------------------------


def test_activity_regularizer_applies():
    losses = []
    for kind in KINDS:
        layer = layer_of(kind, activity_regularizer=keras.regularizers.L2(0.1))
        y = layer(X)
        losses.append([float(array(loss)) for loss in layer.losses])
    assert losses[1] == []
    assert losses[0] == pytest.approx([0.1 * float(np.sum(array(y) ** 2)) / B], rel=1e-5)


def test_the_config_keeps_the_seed():
    configs = [kind(U, dropout=0.5, seed=7).get_config() for kind in KINDS]
    assert configs[0]["seed"] == 7
    assert "seed" not in configs[1]


def test_a_clone_loses_nothing():
    model = keras.Sequential([keras.Input((T, F)), elman.SimpleRNN(U, dropout=0.5, seed=7, activity_regularizer="l2")])
    clone = keras.models.clone_model(model)
    assert clone.layers[0].get_config() == model.layers[0].get_config()
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(*(array(each(X, training=True)) for each in (model, clone)))


def stateful_model(kind: Any) -> keras.Model:
    model = keras.Sequential([keras.Input(batch_shape=(B, T, F)), kind(U, stateful=True)])
    model.set_weights(weights())
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def state_of(model: keras.Model) -> np.ndarray:
    return array(model.layers[0].states[0])


def twice() -> np.ndarray:
    """The last outputs of the sequences read twice, one reading after the other."""
    return truth(state=truth()[:, -1])[:, -1]


WAYS = {
    "predict": lambda model: model.predict(X, batch_size=B, verbose=0),
    "predict_on_batch": lambda model: model.predict_on_batch(X),
    "train_on_batch": lambda model: model.train_on_batch(X, H),
    "test_on_batch": lambda model: model.test_on_batch(X, H),
}


@pytest.mark.medium
@pytest.mark.parametrize("way", WAYS)
def test_states_are_kept_from_call_to_call(way):
    states = []
    for kind in KINDS:
        model = stateful_model(kind)
        WAYS[way](model)
        WAYS[way](model)
        states.append(state_of(model))
    assert close(states[0], twice())
    if BACKEND == "jax":
        assert not states[1].any()
    else:
        assert close(states[1], twice())


@pytest.mark.medium
def test_states_are_kept_from_batch_to_batch_and_reset_as_on_every_backend():
    twofold = np.concatenate([X, X]), np.concatenate([H, H])
    states = []
    for kind in KINDS:
        model = stateful_model(kind)
        model.fit(*twofold, batch_size=B, epochs=3, shuffle=False, verbose=0)
        after = [state_of(model)]
        model.layers[0].reset_state()
        after.append(state_of(model))
        model.evaluate(*twofold, batch_size=B, verbose=0)
        states.append([*after, state_of(model)])
    third = truth(state=truth(state=twice())[:, -1])[:, -1]
    sixth = truth(state=truth(state=third)[:, -1])[:, -1]
    fit, reset, evaluate = states[0]
    assert close(fit, sixth)
    assert not reset.any()
    assert close(evaluate, twice())
    if BACKEND != "jax":
        for ours, stock in zip(*states, strict=True):
            assert close(ours, stock)


@pytest.mark.medium
@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("native", ["auto", False])
def test_a_masked_first_step_gives_zero_whatever_the_initial_state(unroll, native):
    ours, stock = (layer_of(kind, return_sequences=True, unroll=unroll) for kind in KINDS)
    ours.native = native
    expected = truth(MASK, H)
    assert not expected[1, :2].any()
    assert close(ours(X, mask=MASK, initial_state=[H]), expected)
    differs = not close(stock(X, mask=MASK, initial_state=[H]), expected)
    assert differs == (BACKEND == "jax" and not unroll)


@pytest.mark.parametrize("native", ["auto", False])
def test_an_unrolled_loop_zeroes_masked_outputs(native):
    ours, stock = (layer_of(kind, return_sequences=True, unroll=True, zero_output_for_mask=True) for kind in KINDS)
    ours.native = native
    expected = truth(MASK, zero_output_for_mask=True)
    assert close(ours(X, mask=MASK), expected)
    assert close(stock(X, mask=MASK), expected) == (BACKEND != "jax")


@pytest.mark.parametrize("native", ["auto", False])
@pytest.mark.parametrize("zero", [False, True])
def test_an_unrolled_loop_reads_a_mask_backwards(zero, native):
    arguments = {"return_sequences": True, "unroll": True, "go_backwards": True, "zero_output_for_mask": zero}
    ours, stock = (layer_of(kind, **arguments) for kind in KINDS)
    ours.native = native
    expected = truth(MASK, go_backwards=True, zero_output_for_mask=zero)
    assert close(ours(X, mask=MASK), expected)
    if BACKEND == "torch":
        with pytest.raises((AttributeError, TypeError)):
            stock(X, mask=MASK)
    else:
        assert close(stock(X, mask=MASK), expected) != zero


@pytest.mark.medium
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_states_are_kept_in_mixed_precision(policy):
    kept = []
    for kind in KINDS:
        layer = layer_of(kind, stateful=True, dtype=policy)
        y = array(ops.cast(layer(X), "float32"))
        kept.append((array(layer.states[0]) == y).all())
    assert kept == [True, BACKEND != "torch"]


@pytest.mark.medium
@pytest.mark.parametrize("native", ["auto", False])
def test_float64_is_computed_in_float64(native):
    with wide():
        ours, stock = (layer_of(kind, return_sequences=True, dtype="float64") for kind in KINDS)
        ours.native = native
        x = ops.convert_to_tensor(X, "float64")
        assert np.abs(array(ours(x)) - truth()).max() <= 1e-14
        if BACKEND == "jax":
            with pytest.raises(TypeError, match="has type float64"):
                stock(x)
        else:
            assert (np.abs(array(stock(x)) - truth()).max() <= 1e-14) == (BACKEND == "tensorflow")


@pytest.mark.parametrize("native", ["auto", False])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_stateless_calls_in_mixed_precision(policy, native):
    results = []
    for kind in KINDS:
        layer = layer_of(kind, dropout=0.5, dtype=policy)
        if kind is elman.SimpleRNN:
            layer.native = native
        variables = [[w.value for w in ws] for ws in (layer.trainable_variables, layer.non_trainable_variables)]
        try:
            y = layer.stateless_call(*variables, X, training=True)[0] if BACKEND == "jax" else layer(X, training=True)
            results.append(str(keras.backend.standardize_dtype(y.dtype)))
        except TypeError as error:
            results.append("carry" if "carry" in str(error) else str(error))
    half = policy.removeprefix("mixed_")
    assert results == [half, "carry" if BACKEND == "jax" else half]


def test_a_built_layer_can_become_stateful():
    ours, stock = (layer_of(kind) for kind in KINDS)
    for layer in (ours, stock):
        layer.stateful = True
    ours(X)
    assert close(ours(X), twice())
    with pytest.raises(ValueError, match="when calling SimpleRNN.call"):
        stock(X)


@pytest.mark.shared
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("native", ["auto", False])
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_what_stands_at_masked_steps_never_reaches_a_gradient(kind, native, bad):
    x = X.copy()
    x[~MASK] = bad
    ours, clean, stock = (getattr(module, kind)(U, return_sequences=True) for module in (elman, elman, layers))
    ours.native = clean.native = native
    for layer in (ours, clean, stock):
        layer.build((B, T, F))
        layer.set_weights(ours.get_weights())
    of_bad, of_clean, of_stock = (gradients(layer, data) for layer, data in ((ours, x), (clean, X), (stock, x)))
    for got, expected in zip(of_bad, of_clean, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert not any(np.isfinite(g).all() for g in of_stock)


def gradients(layer: Any, x: np.ndarray) -> list[np.ndarray]:
    """The gradients by the weights of a loss over all outputs, with `MASK`."""
    framework, mask = importlib.import_module(BACKEND), ops.convert_to_tensor(MASK)
    weights = [w.value for w in layer.trainable_weights]
    if BACKEND == "tensorflow":
        with framework.GradientTape() as tape:
            loss = ops.sum(layer(x, mask=mask) ** 2)
        return [g.numpy() for g in tape.gradient(loss, weights)]
    if BACKEND == "torch":
        ops.sum(layer(x, mask=mask) ** 2).backward()
        return [array(w.grad) for w in weights]

    def loss_of(weights: list[Any]) -> Any:
        seeds = [v.value for v in layer.non_trainable_variables]
        return ops.sum(layer.stateless_call(weights, seeds, x, mask=mask)[0] ** 2)

    return [np.asarray(g) for g in framework.grad(loss_of)(weights)]


@pytest.mark.parametrize(("asked", "clipped"), [(2, 1.0), (-0.1, 0.0)])
@pytest.mark.parametrize("name", ["dropout", "recurrent_dropout"])
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_a_dropout_outside_0_to_1_is_refused(kind, name, asked, clipped):
    config = getattr(layers, kind)(U, **{name: asked}).get_config()
    assert config[name] == clipped
    with pytest.raises(ValueError, match=f"{kind} got {name}={asked}; expected a fraction between 0 and 1"):
        getattr(elman, kind)(U, **{name: asked})
    assert getattr(elman, kind).from_config(config).get_config()[name] == clipped  # as a file of Keras has it


# --- kept ----------------------------------------------------------------------------------------------------------


def test_zero_output_for_mask_zeroes_a_last_output_that_is_masked():
    ours, stock = (layer_of(kind, zero_output_for_mask=True) for kind in KINDS)
    y = array(ours(X, mask=MASK))
    assert not y[3].any()
    assert y[:3].all()
    assert close(stock(X, mask=MASK), y)


def test_a_models_own_check_of_its_input_comes_first():
    for kind in KINDS:
        model = keras.Sequential([keras.Input((T, F)), kind(U)])
        model.compile("sgd", "mse")
        with pytest.raises(ValueError, match=r"(?s)Invalid input shape .*xpected shape \(None, 6, 3\)"):
            model.predict(X[0], verbose=0)


# --- the page ------------------------------------------------------------------------------------------------------


def test_the_page_names_tests_that_there_are():
    named = re.findall(r"`(?:([\w/]+\.py)::)?(test_\w+)`", PAGE)
    assert len(named) >= 9
    for file, test in named:
        path = TESTS / file if "/" in file else TESTS / "on_each_backend" / (file or "test_stock_defects.py")
        assert re.search(rf"^def {test}\(", path.read_text(), re.MULTILINE), f"{path.name} has no {test}"
