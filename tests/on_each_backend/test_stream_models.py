# SPDX-License-Identifier: Apache-2.0
"""Streams of Keras models, in memory and in files."""

import keras
import numpy as np
import pytest

import elman


@pytest.mark.once
def test_a_keras_model_row_by_row(tmp_path):
    keras.utils.set_random_seed(0)
    for time in (None, 7):
        model = keras.Sequential(
            [
                keras.Input((time, 3)),
                elman.GRU(4, return_sequences=True),
                keras.layers.SimpleRNN(5),
                keras.layers.Dense(2),
            ]
        )
        x = np.random.default_rng(0).normal(size=(7, 3)).astype("float32")
        expected = model.predict(x[None], verbose=0)[0]
        model.save(tmp_path / "model.keras")
        for source in (model, tmp_path / "model.keras", tmp_path):
            np.testing.assert_allclose(elman.Stream(source).run(x)[-1], expected, atol=1e-6)
    with pytest.raises(ValueError, match="have not come yet"):
        elman.Stream(keras.Sequential([keras.Input((None, 3)), keras.layers.Bidirectional(elman.LSTM(2))]))
