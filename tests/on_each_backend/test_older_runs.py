# SPDX-License-Identifier: Apache-2.0
"""Runs that an earlier elman wrote, whose model is a Keras model alone."""

import sys

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

import elman
from elman.forecasting.older import network_of
from fit_cases import SMALL, frame

pytestmark = pytest.mark.once
RNG = np.random.default_rng(0)
METRICS = {"target": "b", "window": 6, "ahead": 2, "penalty": 0.1, "table": {"features": ["a", "b"]}}


def older(cell, units, bidirectional, rows):
    """The model that elman 0.1 built, with random weights."""
    kind = getattr(keras.layers, cell)
    inputs = keras.Input((6, 2), name="rows")
    scaled = keras.layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0], name="standardize")(inputs)
    hidden = scaled
    for i, size in enumerate(units):
        own = {"units": size, "return_sequences": i + 1 < len(units)}
        layer = kind(**own, name=f"recurrent_{i + 1}")
        if bidirectional:
            backward = kind(**own, go_backwards=True, name="backward")
            layer = keras.layers.Bidirectional(kind(**own), backward_layer=backward, name=f"recurrent_{i + 1}")
        hidden = layer(hidden)
    change = keras.layers.Dense(2, name="change")(hidden)
    latest = keras.layers.Flatten(name="latest")(scaled[:, -rows:] if rows < 6 else scaled)
    along = keras.layers.Dense(2, name="linear")(latest)
    forecast = keras.layers.Add(name="forecast")([change, along, scaled[:, -1, 1:2]])
    model = keras.Model(inputs, keras.layers.Rescaling(3.0, offset=2.0, name="units")(forecast), name="forecaster")
    model.set_weights([RNG.normal(size=weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize(
    ("cell", "units", "bidirectional", "rows"),
    [("SimpleRNN", [4], False, 6), ("LSTM", [3, 2], False, 4), ("GRU", [3, 2], True, 6)],
)
def test_its_model_is_read_into_a_network(cell, units, bidirectional, rows, tmp_path):
    model = older(cell, units, bidirectional, rows)
    model.save(tmp_path / "model.keras")
    asked = {"cell": cell, "units": units, "bidirectional": bidirectional}
    network = network_of(tmp_path / "model.keras", METRICS | asked)
    x = RNG.normal(size=(5, 6, 2)).astype("float32")
    assert_allclose(network(x), model.predict(x, verbose=0), rtol=1e-4, atol=1e-4)
    with pytest.raises(elman.DataError, match="is not the model of this run"):
        network_of(tmp_path / "model.keras", METRICS | asked | {"units": [7] * len(units)})


def test_it_is_found_in_the_folder_of_a_run(tmp_path, monkeypatch):
    run = elman.fit(frame(), out=tmp_path, **SMALL | {"epochs": 1})
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.keras").touch()
    run = elman.Run(tmp_path, run.metrics | {"versions": {"keras": "3.12"}})
    with pytest.raises(elman.DataError, match=r"model.keras.*damaged"):
        elman.predict(run, frame())
    older("SimpleRNN", [4], False, 6).save(tmp_path / "model.keras")
    monkeypatch.delitem(sys.modules, "elman.loading", raising=False)
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(ImportError, match="Keras is not installed. Install one of"):
        elman.predict(run, frame())
