# SPDX-License-Identifier: Apache-2.0
"""The states that a stateful layer of each cell keeps: reading, setting by rows, and files with `save_state`.

Their effect on the numbers is tested in test_layer.py, wrong use of get_state and set_state in test_layer_errors.py.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import elman

BATCH, TIME, FEATURES, UNITS = 4, 3, 2, 5
RNG = np.random.default_rng(3)
X = RNG.normal(size=(BATCH, TIME, FEATURES)).astype("float32")
STATES = {elman.SimpleRNN: 1, elman.LSTM: 2, elman.GRU: 1}  # how many each has


@pytest.fixture(params=STATES, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def model_of(layer: Any, batch: int = BATCH) -> Any:
    return keras.Sequential([keras.Input(batch_shape=(batch, TIME, FEATURES)), layer])


def kept(kind: Any, save_state: bool = True) -> Any:
    """A model of one stateful layer, with a state from a batch before."""
    model = model_of(kind(UNITS, stateful=True, save_state=save_state, name="rnn"))
    model(X)
    return model


def some(kind: Any, rows: int = BATCH) -> list[np.ndarray]:
    return list(RNG.normal(size=(STATES[kind], rows, UNITS)).astype("float32"))


def array(tensor: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(tensor))


def same(got: Any, expected: Any) -> bool:
    return len(got) == len(expected) and all(map(np.array_equal, got, expected))


# --- read and set --------------------------------------------------------------------------------------------------


def test_every_state_is_read_and_set_whole_and_by_rows(kind):
    layer = kept(kind).layers[0]
    before, new = layer.get_state(), some(kind)
    assert [state.shape for state in before] == [(BATCH, UNITS)] * STATES[kind]
    layer.set_state(new)
    assert same(layer.get_state(), new)
    two = some(kind, 2)
    layer.set_state([ops.convert_to_tensor(state) for state in two], rows=[3, 0])
    for got, state, rows in zip(layer.get_state(), new, two, strict=True):
        np.testing.assert_array_equal(got, [rows[1], state[1], state[2], rows[0]])


def test_a_batch_begins_with_the_states_that_were_set(kind):
    layer, new = kept(kind).layers[0], some(kind)
    layer.set_state(new)
    got = layer(X)
    np.testing.assert_allclose(array(got), array(layer(X, initial_state=new)), rtol=0, atol=1e-6)


def test_a_number_of_states_that_the_layer_does_not_have_is_refused(kind):
    layer = kept(kind).layers[0]
    before = layer.get_state()
    with pytest.raises(ValueError, match=rf"got .*; expected {STATES[kind]} state.*get_state"):
        layer.set_state(some(kind)[:1] * (STATES[kind] + 1))
    assert same(layer.get_state(), before)


# --- in files ------------------------------------------------------------------------------------------------------


def test_a_model_file_carries_the_states(kind, tmp_path):
    model = kept(kind)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.layers[0].save_state
    assert same(again.layers[0].get_state(), model.layers[0].get_state())
    assert same(again.get_weights(), model.get_weights())
    np.testing.assert_array_equal(array(again(X)), array(model(X)))


def test_a_weights_file_carries_the_states(kind, tmp_path):
    model, again = kept(kind), kept(kind)
    again.layers[0].reset_state()
    model.save_weights(path := tmp_path / "model.weights.h5")
    again.load_weights(path)
    assert same(again.layers[0].get_state(), model.layers[0].get_state())
    assert same(again.get_weights(), model.get_weights())


def test_both_directions_are_carried(kind, tmp_path):
    model = model_of(keras.layers.Bidirectional(kind(UNITS, stateful=True, save_state=True)))
    model(X)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for name in ("forward_layer", "backward_layer"):
        state = getattr(model.layers[0], name).get_state()
        assert np.any(state)
        assert same(getattr(again.layers[0], name).get_state(), state)


@pytest.mark.medium
def test_a_checkpoint_of_a_fit_carries_the_states(kind, tmp_path):
    model = model_of(kind(UNITS, stateful=True, save_state=True))
    model.add(keras.layers.Dense(1))
    model.compile("sgd", "mse")
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "model.keras")
    model.fit(X, X[:, 0, :1], batch_size=BATCH, verbose=0, callbacks=[checkpoint])
    again = keras.models.load_model(tmp_path / "model.keras")
    assert np.any(again.layers[0].get_state())
    assert same(again.layers[0].get_state(), model.layers[0].get_state())


def test_without_save_state_a_file_has_no_states_and_is_keras_own(kind, tmp_path):
    model, again = kept(kind, save_state=False), kept(kind)
    model.save_weights(path := tmp_path / "model.weights.h5")
    before = again.layers[0].get_state()
    again.load_weights(path)
    assert same(again.layers[0].get_state(), before)
    stock = model_of(getattr(keras.layers, kind.__name__)(UNITS, stateful=True, name="rnn"))
    stock.load_weights(path)
    assert same(stock.get_weights(), model.get_weights())
    stock.save_weights(path)
    again.load_weights(path)
    assert same(again.layers[0].get_state(), before)


def test_a_layer_without_save_state_ignores_the_states_in_a_file(kind, tmp_path):
    model, again = kept(kind), kept(kind, save_state=False)
    free = model_of(kind(UNITS, learn_initial_state=True, name="rnn"))
    before = again.layers[0].get_state()
    model.layers[0].set_state(some(kind))
    model.save_weights(path := tmp_path / "model.weights.h5")
    for other in (again, free):
        other.load_weights(path)
        assert same(other.get_weights()[:3], model.get_weights())
    assert same(again.layers[0].get_state(), before)
    assert not np.any(free.get_weights()[3:])


def test_states_of_another_batch_are_refused_and_none_is_set(kind, tmp_path):
    model = model_of(kind(UNITS, stateful=True, save_state=True, name="rnn"), batch=2)
    model(X[:2])
    model.save_weights(path := tmp_path / "model.weights.h5")
    again = kept(kind)
    before = again.layers[0].get_state()
    shapes = {1: "1 state of shape ({0}, 5)", 2: "2 states, of shape ({0}, 5) and shape ({0}, 5)"}[STATES[kind]]
    sentence = (
        f"{kind.__name__} 'rnn' got a file with {shapes.format(2)}; expected {shapes.format(4)}, (batch, units), as it "
        "was built. Load the file into a model of that batch, or into layers with save_state=False."
    )
    with pytest.raises(ValueError, match=re.escape(sentence)):
        again.load_weights(path)
    assert same(again.layers[0].get_state(), before)


# --- in configs and copies -----------------------------------------------------------------------------------------


def test_configs_and_clones_keep_the_option(kind):
    model = kept(kind)
    layer = model.layers[0]
    assert layer.get_config()["save_state"] is True
    assert type(layer).from_config(layer.get_config()).save_state
    assert keras.models.clone_model(model).layers[0].save_state
    assert not kind(UNITS, stateful=True).save_state


def test_to_stock_drops_the_option_by_name_and_keeps_the_states(kind, caplog):
    model = kept(kind)
    with caplog.at_level(logging.WARNING, "elman"):
        stock = elman.to_stock(model)
    sentence = "to_stock drops what Keras's own layers do not have: save_state of 'rnn'."
    assert [record.getMessage() for record in caplog.records] == [sentence]
    assert same([array(state) for state in stock.layers[0].states], model.layers[0].get_state())
