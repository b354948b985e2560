# SPDX-License-Identifier: Apache-2.0
"""The rows of docs/differences.md that only TensorFlow can show."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import elman

X = np.zeros((0, 6, 3), "float32")


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
@pytest.mark.parametrize("unroll", [False, True])
def test_a_batch_of_0_rows(kind, unroll):
    ours, stock = (
        getattr(module, kind)(5, return_sequences=True, return_state=True, unroll=unroll)
        for module in (elman, keras.layers)
    )
    y, *states = ours(X)
    assert y.shape == (0, 6, 5)
    assert [state.shape for state in states] == [(0, 5)] * len(states)
    if kind == "LSTM":
        with pytest.raises(tf.errors.InvalidArgumentError):
            stock(X)
    else:
        assert stock(X)[0].shape == (0, 6, 5)


def test_accelerate_keeps_the_words_that_a_clone_loses():
    words = keras.layers.TextVectorization()
    words.adapt(np.array(["a b c", "b c"]))
    rnn = [keras.layers.Embedding(9, 3), keras.layers.SimpleRNN(4)]
    model = keras.Sequential([keras.Input((), dtype="string"), words, *rnn])
    assert words.get_vocabulary() == ["", "[UNK]", "c", "b", "a"]
    assert keras.models.clone_model(model).layers[0].get_vocabulary() == ["", "[UNK]"]
    ours = elman.accelerate(model)
    assert ours.layers[0].get_vocabulary() == words.get_vocabulary()
    text = tf.constant(["c a", "b"])
    np.testing.assert_allclose(ours(text), model(text), rtol=0, atol=1e-6)
