# SPDX-License-Identifier: Apache-2.0
"""`resets` in a call of a layer: what follows one is computed as a sequence of its own, natively and in plain
operations, in models that are called, fitted and saved."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import elman
import tolerance

BATCH, TIME, FEATURES, UNITS = 3, 7, 2, 4
RNG = np.random.default_rng(5)
X = RNG.normal(size=(BATCH, TIME, FEATURES)).astype("float32")
RESETS = np.zeros((BATCH, TIME), bool)
RESETS[0, 3] = RESETS[1, 0] = RESETS[1, 1] = RESETS[2, 2] = RESETS[2, 5] = True
LAYERS = [elman.SimpleRNN, elman.LSTM, elman.GRU]


def pieces(row: int) -> list[slice]:
    """The steps of each sequence in a row, in the order of processing."""
    begins = sorted({0, *np.flatnonzero(RESETS[row]).tolist()})
    return [slice(first, end) for first, end in itertools.pairwise((*begins, TIME))]


def apart(layer: Any, row: int, mask: np.ndarray | None, *, backwards: bool) -> np.ndarray:
    """A row's outputs from one call for each of its sequences."""
    found = []
    for part in pieces(row):
        x = X[row : row + 1, ::-1][:, part][:, ::-1] if backwards else X[row : row + 1, part]
        found.append(ops.convert_to_numpy(layer(x, mask=None if mask is None else mask[row : row + 1, part]))[0])
    return np.concatenate(found)


@pytest.mark.slow
@pytest.mark.parametrize("native", ["require", False])
@pytest.mark.parametrize("kind", LAYERS)
def test_what_follows_a_reset_is_a_sequence_of_its_own(kind, native):
    for backwards, learned, mask in itertools.product(
        (False, True), (False, True), (None, (RNG.random((BATCH, TIME)) < 0.7) | RESETS)
    ):
        if backwards and mask is not None:
            continue
        options = {"return_sequences": True, "go_backwards": backwards, "zero_output_for_mask": True}
        layer = kind(UNITS, native=native, learn_initial_state=learned, **options)
        layer.build(X.shape)
        layer.set_weights([RNG.normal(size=w.shape) for w in layer.get_weights()])
        resets = RESETS[:, ::-1].copy() if backwards else RESETS
        got = ops.convert_to_numpy(layer(X, mask=mask, resets=resets))
        assert layer.route.path == ("keras" if native is False else "native")
        expected = np.stack([apart(layer, row, mask, backwards=backwards) for row in range(BATCH)])
        assert tolerance.error(got, expected) <= tolerance.ULPS * tolerance.ulp(expected, np.float32)


def test_threads_that_call_a_layer_at_once_have_their_own_resets():
    layer = elman.SimpleRNN(UNITS, return_sequences=True)
    expected = [ops.convert_to_numpy(layer(X, resets=resets)) for resets in (RESETS, None)]
    before, together = layer._maybe_config_dropout_masks, threading.Barrier(2)

    def meet(*arguments):
        together.wait(60)  # between the call and its time loop
        before(*arguments)

    layer._note("_maybe_config_dropout_masks", meet)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda resets: ops.convert_to_numpy(layer(X, resets=resets)), (RESETS, None)))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.medium
@pytest.mark.parametrize("kind", LAYERS)
def test_a_model_with_resets_is_fitted_and_saved(kind, tmp_path):
    keras.utils.set_random_seed(0)
    x, resets = keras.Input((TIME, FEATURES)), keras.Input((TIME,), dtype="bool")
    h = keras.layers.Masking()(x)
    h = kind(UNITS, return_sequences=True)(h, resets=resets)
    model = keras.Model([x, resets], keras.layers.Dense(1)(kind(UNITS, native=False)(h, resets=resets)))
    model.compile("sgd", "mse")
    data = X.copy()
    data[:, 4] = 0  # a masked step
    begin = model.evaluate([data, RESETS], np.ones((BATCH, 1)), verbose=0)
    model.fit([data, RESETS], np.ones((BATCH, 1)), epochs=3, verbose=0)
    assert model.evaluate([data, RESETS], np.ones((BATCH, 1)), verbose=0) < begin
    y = model.predict([data, RESETS], verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict([data, RESETS], verbose=0), y, atol=1e-6)
    without = model.predict([data, np.zeros_like(RESETS)], verbose=0)
    assert np.abs(y - without).max() > 1e-4
    # The mask of the sequences is kept: a masked step has no effect.
    data[:, 4] = 0
    other = (
        model.layers[3] if isinstance(model.layers[3], kind) else next(v for v in model.layers if isinstance(v, kind))
    )
    free = ops.convert_to_numpy(other(keras.layers.Masking()(data), resets=RESETS))
    np.testing.assert_array_equal(free[:, 4][~RESETS[:, 4]], free[:, 3][~RESETS[:, 4]])


@pytest.mark.parametrize(
    ("resets", "error", "text"),
    [
        (RESETS.astype("float32"), TypeError, "an array of dtype float32"),
        ([[True]], TypeError, "got resets of list"),
        (RESETS.T.copy(), ValueError, r"got resets of shape \(7, 3\); expected booleans \(batch, time\) = \(3, 7\)"),
    ],
)
def test_wrong_resets(resets, error, text):
    with pytest.raises(error, match=text):
        elman.SimpleRNN(UNITS)(X, resets=resets)


def test_resets_that_a_layer_cannot_follow():
    with pytest.raises(ValueError, match="is stateful and got resets"):
        elman.GRU(UNITS, stateful=True)(X, resets=RESETS)
    layer = elman.SimpleRNN(UNITS)
    layer.cell = type("Cell", (keras.layers.SimpleRNNCell,), {})(UNITS)
    with pytest.raises(ValueError, match="has resets, and a cell of the class Cell"):
        layer(X, resets=RESETS)
