# SPDX-License-Identifier: Apache-2.0
"""The error message for each way to misuse a layer. It is written here once, and is the same on every backend.

A message must reach the user as a whole, by itself or inside of what Keras or TensorFlow put around it, and the layer
must stay as it was.
"""

from __future__ import annotations

import importlib
import random
import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import elman

BACKEND = keras.config.backend()
X = np.ones((2, 5, 3), "float32")
H = np.ones((2, 4), "float32")
TO_3D = (
    "expected 3 dimensions, (batch, time, features). If each row is a sequence of {n} single values, pass "
    "x.reshape(-1, {n}, 1) (and keras.Input(({n}, 1))). If each row is one time step of {n} features, pass "
    "x.reshape(-1, 1, {n}) (and keras.Input((1, {n}))). If it is the output of a recurrent layer, give that layer "
    "return_sequences=True. If they are indices of words, put keras.layers.Embedding(vocabulary, features) before the "
    "layer."
)
TEXT = (
    "SimpleRNN 'rnn' got text; expected numbers of shape (batch, time, features). Turn words into integers with "
    "keras.layers.TextVectorization and those into features with keras.layers.Embedding."
)
OBJECTS = (
    "SimpleRNN 'rnn' got an array of objects; expected numbers of shape (batch, time, features). For sequences of "
    "different lengths use keras.utils.pad_sequences and a mask (keras.layers.Masking); otherwise convert with "
    "astype('float32')."
)
LENGTH_0 = (
    "SimpleRNN 'rnn' got sequences of length 0; expected at least one time step. Leave out empty sequences, or pad "
    "them and mask the padding."
)
NO_ARRAY = "SimpleRNN 'rnn' got {}; expected one array of shape (batch, time, features). {}"
OWN_STATES = "SimpleRNN 'rnn' got {} as initial_state; expected 1 state of shape ({}, 4), (batch, units). {}"
MASK = (
    "SimpleRNN 'rnn' got a mask of shape {}; expected (batch, time) = ({}, 5), True where a step counts. Pass x's own "
    "mask, for example keras.layers.Masking().compute_mask(x)."
)
PARTIAL = (
    "SimpleRNN 'rnn' is stateful and got a batch of {}; expected 2, the size it was built with and keeps states for. "
    "Pass batch_size=2 and a number of sequences that 2 divides."
)
NO_BATCH = (
    "SimpleRNN 'rnn' is stateful and got a batch of unknown size; expected a fixed one, as it keeps a state for each "
    "sequence. Start the model with keras.Input(batch_shape=(batch, time, features)), or call it on one batch before "
    "fit."
)
ARGUMENTS = (
    "units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer, kernel_regularizer, "
    "recurrent_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, recurrent_constraint, "
    "bias_constraint, dropout, recurrent_dropout, return_sequences, return_state, go_backwards, stateful, unroll, seed"
)


def rnn(units: Any = 4, **arguments: Any) -> elman.SimpleRNN:
    return elman.SimpleRNN(units, name="rnn", **arguments)


def built(**arguments: Any) -> elman.SimpleRNN:
    layer = rnn(**arguments)
    layer(X)
    return layer


def says(kind: type[Exception], sentence: str, misuse: Callable[[], Any]) -> None:
    """The sentence reaches the user, in an error of that kind."""
    with pytest.raises(kind) as caught:
        misuse()
    assert sentence in str(caught.value).replace("\\'", "'")  # TensorFlow escapes what a graph says


def says_when_run(sentence: str, misuse: Callable[[], Any]) -> None:
    """The same for what TensorFlow finds out in a graph, the others before."""
    kind: type[Exception] = ValueError
    if BACKEND == "tensorflow":
        kind = importlib.import_module("tensorflow").errors.InvalidArgumentError
    says(kind, sentence, misuse)


def compiled(*stack: Any) -> keras.Sequential:
    model = keras.Sequential(list(stack))
    model.compile(loss="mse")
    return model


# --- the number of dimensions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [np.ones((7, 5)), np.ones((7, 5), "float32")], ids=["float64", "float32"])
def test_two_dimensions_show_both_likely_reshapes(x):
    says(ValueError, f"SimpleRNN 'rnn' got input of shape (7, 5); {TO_3D.format(n=5)}", lambda: rnn()(x))


@pytest.mark.medium
def test_the_reshapes_that_it_shows_run():
    x = np.ones((7, 5), "float32")
    assert tuple(rnn()(x.reshape(-1, 5, 1)).shape) == tuple(rnn()(x.reshape(-1, 1, 5)).shape) == (7, 4)


@pytest.mark.parametrize("size", [5, None])
def test_two_dimensions_in_a_model(size):
    sentence = f"SimpleRNN 'rnn' got input of shape (?, {size or '?'}); {TO_3D.format(n=size or 'n')}"
    says(ValueError, sentence, lambda: keras.Sequential([keras.Input((size,)), rnn()]))
    says(ValueError, sentence, lambda: rnn()(keras.Input((size,))))


def test_two_dimensions_in_the_tutorials_way_of_naming_the_shape():
    def model() -> Any:
        with pytest.warns(UserWarning, match="Do not pass an `input_shape`"):
            return keras.Sequential([rnn(input_shape=(5,)), layers.Dense(1)])

    says(ValueError, f"SimpleRNN 'rnn' got input of shape (?, 5); {TO_3D.format(n=5)}", model)


def test_two_dimensions_in_fit():
    batch = "?" if BACKEND == "tensorflow" else "8"
    model = compiled(rnn(), layers.Dense(1))
    sentence = f"SimpleRNN 'rnn' got input of shape ({batch}, 5); {TO_3D.format(n=5)}"
    says(ValueError, sentence, lambda: model.fit(np.ones((8, 5), "float32"), np.ones((8, 1)), verbose=0))


def test_two_dimensions_of_integers_lead_to_an_embedding():
    sentence = (
        "SimpleRNN 'rnn' got integers of shape (2, 5); expected 3 dimensions, (batch, time, features). If they are "
        "indices of words, put keras.layers.Embedding(vocabulary, features) before the layer. If each row is"
    )
    says(ValueError, sentence, lambda: rnn()(np.ones((2, 5), "int32")))
    says(ValueError, sentence, lambda: rnn()(keras.ops.ones((2, 5), "int32")))
    says(ValueError, sentence.replace("(2,", "(?,"), lambda: rnn()(keras.Input((5,), dtype="int32")))


def test_four_dimensions():
    sentence = (
        "SimpleRNN 'rnn' got input of shape (2, 5, 3, 1); expected 3 dimensions, (batch, time, features). Flatten all "
        "dimensions after time into features, x.reshape(batch, time, -1)."
    )
    says(ValueError, sentence, lambda: rnn()(X[..., None]))


@pytest.mark.parametrize("shape", [(9,), ()])
def test_fewer_than_two_dimensions(shape):
    sentence = (
        f"SimpleRNN 'rnn' got input of shape {shape}; expected 3 dimensions, (batch, time, features). If it is one "
        "series, x.reshape(1, -1, 1) is one sequence of it; keras.utils.timeseries_dataset_from_array(x[:, None], ...) "
        "cuts it into many."
    )
    says(ValueError, sentence, lambda: rnn()(np.ones(shape, "float32")))


def test_an_unknown_number_of_features():
    sentence = (
        "SimpleRNN 'rnn' got input of shape (?, 5, ?); expected a known number of features. Set it, for example "
        "with keras.Input((None, 3))."
    )
    says(ValueError, sentence, lambda: rnn()(keras.Input((5, None))))


@pytest.mark.backends("tensorflow")  # the only one with tensors of unknown dimensions
def test_an_unknown_number_of_dimensions():
    tf = importlib.import_module("tensorflow")
    layer = built()
    run = tf.function(layer, input_signature=[tf.TensorSpec(None)])
    sentence = (
        "SimpleRNN 'rnn' got a tensor of an unknown number of dimensions; expected 3, (batch, time, features). Set "
        "them with tf.ensure_shape(x, (None, None, features))."
    )
    says(ValueError, sentence, lambda: run(X))


@pytest.mark.parametrize("shape", [(2, 5, 2), (2, 5, 4)])
def test_another_number_of_features_than_it_was_built_with(shape):
    sentence = (
        "SimpleRNN 'rnn' got {} features, input of shape ({}, 5, {}); expected 3, as it was built. Pass the "
        "features it was trained on, or make a new layer."
    )
    n = shape[2]
    layer = built()
    says(ValueError, sentence.format(n, 2, n), lambda: layer(np.ones(shape, "float32")))
    says(ValueError, sentence.format(n, "?", n), lambda: layer(keras.Input(shape[1:])))


# --- a recurrent layer after one that returns only its last output --------------------------------------------------


LAST = (
    "SimpleRNN 'rnn' got input of shape (?, {}) from {}, which returns only its last output; expected the output of "
    "every step, (batch, time, features). Give {} return_sequences=True."
)
BEFORE = {
    "ours": (lambda: elman.SimpleRNN(8, name="first"), 8, "SimpleRNN 'first'", "'first'"),
    "stock SimpleRNN": (lambda: layers.SimpleRNN(8, name="first"), 8, "SimpleRNN 'first'", "'first'"),
    "stock LSTM": (lambda: layers.LSTM(8, name="first"), 8, "LSTM 'first'", "'first'"),
    "stock RNN": (lambda: layers.RNN(layers.GRUCell(8), name="first"), 8, "RNN 'first'", "'first'"),
    "Bidirectional": (
        lambda: layers.Bidirectional(layers.GRU(8), name="both"),
        16,
        "Bidirectional 'both'",
        "the GRU inside 'both'",
    ),
    "Bidirectional of ours": (
        lambda: layers.Bidirectional(elman.SimpleRNN(8), name="both"),
        16,
        "Bidirectional 'both'",
        "the SimpleRNN inside 'both'",
    ),
}


@pytest.mark.medium
@pytest.mark.parametrize("before", BEFORE)
def test_a_stack_without_return_sequences_names_both_layers(before):
    make, size, source, giver = BEFORE[before]
    sentence = LAST.format(size, source, giver)
    says(ValueError, sentence, lambda: keras.Sequential([keras.Input((5, 3)), make(), rnn()]))
    says(ValueError, sentence, lambda: rnn()(make()(keras.Input((5, 3)))))


def test_a_stack_without_return_sequences_through_other_layers():
    between = [layers.Dropout(0.1, name="drop"), layers.Dense(6, name="dense")]
    first = elman.SimpleRNN(8, name="first")
    sentence = LAST.format(6, "SimpleRNN 'first' through Dropout 'drop' and Dense 'dense'", "'first'")
    says(ValueError, sentence, lambda: keras.Sequential([keras.Input((5, 3)), first, *between, rnn()]))


def test_a_stack_without_return_sequences_in_a_nested_model():
    inner = keras.Sequential([keras.Input((5, 3)), layers.GRU(8, name="first")], name="inner")
    says(ValueError, LAST.format(8, "GRU 'first'", "'first'"), lambda: rnn()(inner(keras.Input((5, 3)))))


def test_a_stack_without_return_sequences_through_a_shared_layer_and_a_merge():
    shared, x = layers.Dense(6, name="shared"), keras.Input((5, 3))
    shared(keras.Input((8,)))
    merged = layers.Concatenate(name="merge")([keras.Input((2,)), shared(elman.SimpleRNN(8, name="first")(x))])
    sentence = LAST.format(8, "SimpleRNN 'first' through Dense 'shared' and Concatenate 'merge'", "'first'")
    says(ValueError, sentence, lambda: rnn()(merged))


@pytest.mark.parametrize("run", ["call", "fit"])
def test_a_stack_without_return_sequences_that_is_built_by_its_data(run):
    model = compiled(elman.SimpleRNN(8, name="first"), rnn())
    runs = {"call": lambda: model(X), "fit": lambda: model.fit(X, H, verbose=0)}
    batch = "?" if run == "fit" and BACKEND == "tensorflow" else "2"
    sentence = LAST.format(8, "SimpleRNN 'first'", "'first'").replace("?", batch)
    says(ValueError, sentence, runs[run])


def test_a_last_output_in_an_eager_call_gets_all_advice():
    last = elman.SimpleRNN(8)(X)
    says(ValueError, f"SimpleRNN 'rnn' got input of shape (2, 8); {TO_3D.format(n=8)}", lambda: rnn()(last))


def test_a_state_that_is_passed_on_is_not_mistaken_for_a_last_output():
    _, state = elman.SimpleRNN(8, return_sequences=True, return_state=True)(keras.Input((5, 3)))
    says(ValueError, f"SimpleRNN 'rnn' got input of shape (?, 8); {TO_3D.format(n=8)}", lambda: rnn()(state))


def test_a_stack_in_front_of_a_bidirectional_names_the_argument():
    both = layers.Bidirectional(elman.SimpleRNN(4, name="rnn"))
    sentence = f"SimpleRNN 'forward_rnn' got input of shape (?, 8); {TO_3D.format(n=8)}"
    says(ValueError, sentence, lambda: keras.Sequential([keras.Input((5, 3)), elman.SimpleRNN(8), both]))
    says(ValueError, sentence.replace("?", "2"), lambda: layers.Bidirectional(rnn())(np.ones((2, 8), "float32")))


def test_a_sequence_with_its_states_is_no_input():
    advice = (
        "Pass numpy.asarray(...) of nested lists, the first of what a layer with return_state=True returns, and "
        "initial states as initial_state=[...]."
    )
    first = elman.SimpleRNN(8, return_sequences=True, return_state=True)
    says(TypeError, NO_ARRAY.format("a tuple", advice), lambda: rnn()(first(keras.Input((5, 3)))))
    says(TypeError, NO_ARRAY.format("a list", advice), lambda: rnn()([X, H]))
    says(TypeError, NO_ARRAY.format("a list", advice), lambda: rnn()(X.tolist()))


# --- what is not an array of numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "x", ["a text", b"bytes", np.array([[["a"]]]), np.array([[[b"a"]]]), np.array([["a", "b"]])], ids=repr
)
def test_text(x):
    says(TypeError, TEXT, lambda: rnn()(x))


def test_text_in_a_model():
    says(TypeError, TEXT, lambda: rnn()(keras.Input((5, 3), dtype="string")))


@pytest.mark.backends("tensorflow")  # the only one with tensors of text
def test_a_tensor_of_text():
    says(TypeError, TEXT, lambda: rnn()(importlib.import_module("tensorflow").constant([[["a"]]])))


@pytest.mark.parametrize("x", [np.array([[1, 2], [3]], object), X.astype(object)], ids=["ragged", "boxed"])
def test_objects(x):
    says(TypeError, OBJECTS, lambda: rnn()(x))


@pytest.mark.parametrize(
    ("x", "what"),
    [
        (None, "None"),
        (2.0, "an object of class float"),
        ({"x": X}, "an object of class dict"),
        (range(3), "an object of class range"),
        (keras.layers.Dense, "an object of class type"),
        (keras.layers.Dense(3), "an object of class Dense"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_array_at_all(x, what):
    says(TypeError, NO_ARRAY.format(what, "Pass a tensor, or numpy.asarray(...) of it."), lambda: rnn()(x))


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]", "timedelta64[s]"])
def test_no_real_numbers(dtype):
    sentence = (
        f"SimpleRNN 'rnn' got an array of dtype {dtype}; expected real numbers of shape (batch, time, features). "
        "Convert it to features first: real and imaginary part, hours since a date, the fields of a record."
    )
    says(TypeError, sentence, lambda: rnn()(np.zeros((2, 5, 3), dtype)))


def other_layouts() -> dict[str, tuple[Callable[[], Any], str]]:
    """Tensors that are not dense, by the name that the sentence gives them, and the advice."""
    module = importlib.import_module(BACKEND)
    if BACKEND == "tensorflow":
        return {
            "RaggedTensor": (
                lambda: module.ragged.constant([[[1.0]], [[1.0], [2.0]]]),
                "Its to_tensor() pads with zeros; put keras.layers.Masking() before the layer.",
            ),
            "SparseTensor": (lambda: module.sparse.from_dense(X), "Convert it with tf.sparse.to_dense."),
        }
    if BACKEND == "torch":
        rows = [module.zeros(2, 3), module.zeros(4, 3)]
        return {
            "nested tensor": (
                lambda: module.nested.nested_tensor(rows, layout=module.jagged),
                "Its to_padded_tensor(0.0) pads with zeros; put keras.layers.Masking() before the layer.",
            ),
            "sparse tensor": (lambda: module.ones(2, 5, 3).to_sparse(), "Convert it with to_dense()."),
        }
    sparse = importlib.import_module("jax.experimental.sparse")
    return {"BCOO": (lambda: sparse.BCOO.fromdense(X), "Convert it with todense().")}


@pytest.mark.medium
@pytest.mark.parametrize("kind", other_layouts())
def test_an_array_that_is_not_dense(kind):
    make, advice = other_layouts()[kind]
    sentence = (
        f"SimpleRNN 'rnn' got a {kind}; expected one array of shape (batch, time, features), dense and all sequences "
        f"of one length. {advice}"
    )
    says(TypeError, sentence, lambda: rnn()(make()))


@pytest.mark.medium
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64", "float16", "float64"])
def test_other_numbers_are_cast_as_stock_casts_them(dtype):
    x = (np.random.default_rng(0).normal(size=(2, 5, 3)) > 0).astype(dtype)
    ours, stock = rnn(kernel_initializer="ones"), layers.SimpleRNN(4, kernel_initializer="ones")
    got, expected = ours(x), stock(x)
    stock.set_weights(ours.get_weights())
    assert got.dtype == expected.dtype
    got, expected = (keras.ops.convert_to_numpy(y) for y in (got, stock(x)))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


def test_nan_is_let_through():
    x = X.copy()
    x[0, 2, 0] = np.nan
    y = keras.ops.convert_to_numpy(rnn()(x))
    assert np.isnan(y[0]).all()
    assert np.isfinite(y[1]).all()


# --- length, batch, state and mask ---------------------------------------------------------------------------------


def test_sequences_of_length_0():
    says(ValueError, LENGTH_0, lambda: rnn()(X[:, :0]))
    says(ValueError, LENGTH_0, lambda: rnn()(keras.Input((0, 3))))


@pytest.mark.backends("tensorflow")  # elsewhere the length is known when the layer is called
@pytest.mark.parametrize("native", ["auto", False])
def test_sequences_of_length_0_that_only_a_run_can_know(native):
    tf = importlib.import_module("tensorflow")
    layer = built(native=native)
    run = tf.function(layer, input_signature=[tf.TensorSpec((None, None, 3))])
    assert run(X).shape == (2, 4)
    says_when_run(LENGTH_0, lambda: run(X[:, :0]))


STATES = {
    "width": (H[:, :3], "1 state of shape (2, 3)"),
    "batch": (H[:1], "1 state of shape (1, 4)"),
    "one dimension": (H[0], "1 state of shape (4,)"),
    "three dimensions": (H[None], "1 state of shape (1, 2, 4)"),
    "none in a list": ([], "no states"),
    "two": ([H, H], "2 states, of shape (2, 4) and shape (2, 4)"),
    "text": ("h", "an object of class str"),
    "lists": ([[0.0] * 4], "an object of class list"),
    "nested": ([[H]], "an object of class list"),
    "a dictionary": ({"h": H}, "an object of class dict"),
    "objects": (H.astype(object), "an array of dtype object"),
    "None": ([None], "an object of class NoneType"),
}


@pytest.mark.parametrize("wrong", STATES)
def test_a_wrong_initial_state(wrong):
    state, got = STATES[wrong]
    more = ", to a Bidirectional those of both directions in one list" if got == "no states" else ""
    sentence = OWN_STATES.format(got, 2, f"Pass initial_state=[h]{more}.")
    says(ValueError, sentence, lambda: rnn()(X, initial_state=state))
    says(ValueError, sentence, lambda: rnn()(X, state))


def test_a_wrong_initial_state_in_a_model():
    x, one = keras.Input((5, 3)), keras.Input((4,))
    sentence = OWN_STATES.format("1 state of shape (?, 3)", "?", "Pass initial_state=[h].")
    says(ValueError, sentence, lambda: rnn()(x, initial_state=keras.Input((3,))))
    sentence = OWN_STATES.format("2 states, of shape (?, 4) and shape (?, 4)", "?", "Pass initial_state=[h].")
    says(ValueError, sentence, lambda: rnn()(x, initial_state=[one, one]))


def test_a_mask_in_the_place_of_the_initial_state():
    advice = "Pass initial_state=[h], or a mask as mask=m."
    sentence = OWN_STATES.format("1 state of shape (2, 5)", 2, advice)
    says(ValueError, sentence, lambda: rnn()(X, np.ones((2, 5), bool)))


@pytest.mark.parametrize("shape", [(2, 4), (2, 6), (2, 0), (3, 5), (1, 5), (5,), (2,), (2, 5, 3)], ids=str)
def test_a_mask_of_another_shape(shape):
    mask = np.ones(shape, bool)
    sentence = MASK.format(shape, 2)
    says(ValueError, sentence, lambda: rnn()(X, mask=mask))
    says(ValueError, sentence, lambda: rnn()(X, None, keras.ops.convert_to_tensor(mask)))


def test_a_mask_of_another_length_in_a_model():
    mask = keras.Input((4,), dtype="bool")
    says(ValueError, MASK.format("(?, 4)", "?"), lambda: rnn()(keras.Input((5, 3)), mask=mask))


def test_a_mask_of_text():
    says(TypeError, "SimpleRNN 'rnn' got a mask of dtype str", lambda: rnn()(X, mask=np.full(X.shape[:2], "a")))


@pytest.mark.parametrize(("mask", "what"), [([[True] * 5] * 2, "list"), (True, "bool"), ("all", "str")], ids=repr)
def test_a_mask_that_is_no_array(mask, what):
    sentence = (
        f"SimpleRNN 'rnn' got a {what} as mask; expected (batch, time) = (2, 5), True where a step counts. Pass "
        "numpy.asarray(...)."
    )
    says(TypeError, sentence, lambda: rnn()(X, mask=mask))


def test_a_stateful_layer_that_is_called_with_another_batch():
    layer = built(stateful=True)
    says(ValueError, PARTIAL.format("size 1"), lambda: layer(X[:1]))
    says(ValueError, PARTIAL.format("size 4"), lambda: layer(np.concatenate([X, X])))


@pytest.mark.parametrize("run", ["fit", "evaluate", "predict"])
@pytest.mark.parametrize("build", ["by Input", "by call"])
def test_a_stateful_partial_batch_in(run, build):
    if build == "by Input":
        model = compiled(keras.Input(batch_shape=(2, 5, 3)), rnn(stateful=True))
    else:
        model = compiled(rnn(stateful=True))
        model(X)
    x, y = np.ones((5, 5, 3), "float32"), np.ones((5, 4), "float32")
    runs = {
        "fit": lambda: model.fit(x, y, batch_size=2, verbose=0, shuffle=False),
        "evaluate": lambda: model.evaluate(x, y, batch_size=2, verbose=0),
        "predict": lambda: model.predict(x, batch_size=2, verbose=0),
    }
    says_when_run(PARTIAL.format("another size" if BACKEND == "tensorflow" else "size 1"), runs[run])


def test_a_stateful_layer_without_a_known_batch():
    says(ValueError, NO_BATCH, lambda: rnn(stateful=True)(keras.Input((5, 3))))
    says(ValueError, NO_BATCH, lambda: keras.Sequential([keras.Input((5, 3)), rnn(stateful=True)]))
    says(ValueError, NO_BATCH, lambda: rnn(stateful=True).build((None, 5, 3)))


# --- the call's arguments ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda layer: layer(X, initial_states=[H]), "got an unknown argument 'initial_states'"),
        (lambda layer: layer(inputs=X), "got an unknown argument 'inputs'"),
        (lambda layer: layer(), "got no input"),
        (lambda layer: layer(X, None, None, False, None, None), "got 6 arguments"),
    ],
)
def test_arguments_that_a_call_does_not_take(call, sentence):
    expected = "expected it to be called with sequences, initial_state, mask, training, resets."
    says(TypeError, f"SimpleRNN 'rnn' {sentence}; {expected}", lambda: call(rnn()))


def test_an_argument_of_a_call_that_is_misspelt():
    says(TypeError, "Did you mean 'initial_state'?", lambda: rnn()(X, inital_state=[H]))


# --- the constructor -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", [0, -1, 2.5, 3.0, "10", None, True, [3], float("nan")], ids=repr)
def test_units_that_are_no_positive_integer(units):
    sentence = (
        f"SimpleRNN got units={units!r}; expected a positive integer, the size of its state. Pass for example "
        "SimpleRNN(32)."
    )
    says(ValueError, sentence, lambda: elman.SimpleRNN(units))


@pytest.mark.parametrize("kind", [np.int64, np.int8, np.uint16])
def test_units_may_be_numpys_integers(kind):
    layer = elman.SimpleRNN(kind(4))
    assert tuple(layer(X).shape) == (2, 4)
    assert type(layer.units) is type(layer.get_config()["units"]) is int


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "missing a required argument: 'units'"),
        ((4, *["tanh"] * 30), "too many positional arguments"),
    ],
    ids=["none", "many"],
)
def test_a_wrong_number_of_arguments(arguments, problem):
    sentence = f"SimpleRNN got arguments that do not fit: {problem}; expected SimpleRNN({ARGUMENTS})."
    says(TypeError, sentence, lambda: elman.SimpleRNN(*arguments))


EVERY_ARGUMENT = (
    f"Expected some of {ARGUMENTS}, learn_initial_state, truncate_gradient, clip_state_gradient, native, save_state, "
    "or what every Keras layer takes (name, dtype, trainable)."
)
KERAS_2 = {
    "time_major": (
        "Keras 3 has none, its input is (batch, time, features). Pass keras.ops.transpose(x, (1, 0, 2)).",
        True,
    ),
    "batch_input_shape": (
        "Keras 3 has none. Put keras.Input(batch_shape=(batch, time, features)) before the layer.",
        (2, 5, 3),
    ),
    "input_length": ("Keras 3 has none. Put keras.Input((time, features)) before the layer.", 5),
    "implementation": ("Keras 3 has none here, as there is one implementation. Leave it out.", 1),
    "weights": ("Keras 3 has none. Call set_weights once the layer is built.", []),
    "recurrent_activation": ("It belongs to elman.LSTM and elman.GRU. Leave it out.", "sigmoid"),
    "use_cudnn": ("It belongs to elman.LSTM and elman.GRU. Leave it out.", True),
    "return_sequence": ("Did you mean 'return_sequences'?", True),
    "recurent_dropout": ("Did you mean 'recurrent_dropout'?", 0.1),
    "learn_initial_states": ("Did you mean 'learn_initial_state'?", True),
    "zero_output_for_masks": ("Did you mean 'zero_output_for_mask'?", True),
    "colour": (EVERY_ARGUMENT, 1),
}


@pytest.mark.parametrize("word", KERAS_2)
def test_an_argument_that_is_unknown(word):
    advice, value = KERAS_2[word]
    sentence = f"SimpleRNN got an unknown argument {word!r}. {advice}"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        elman.SimpleRNN(4, **{word: value})


ACTIVATIONS = (
    "Expected one of keras.activations (celu, elu, exponential, gelu, glu, hard_shrink, "
    "hard_sigmoid, hard_silu, hard_swish, hard_tanh, leaky_relu, linear, log_sigmoid, log_softmax, mish, relu, relu6, "
    "selu, sigmoid, silu, soft_shrink, softmax, softplus, softsign, sparse_plus, sparse_sigmoid, sparsemax, "
    "squareplus, swish, tanh, tanh_shrink, threshold), or a callable such as keras.ops.sin."
)
MISSPELT = [
    ("activation", "tahn", "Did you mean 'tanh'?"),
    ("activation", "Tanh", "Did you mean 'tanh'?"),
    ("activation", "ReLU", "Did you mean 'relu'?"),
    ("activation", "LeakyReLU", "Did you mean 'leaky_relu'?"),
    ("activation", 3, ACTIVATIONS),
    ("activation", "", ACTIVATIONS),
    ("kernel_initializer", "glorot_unifrm", "Did you mean 'glorot_uniform'?"),
    ("kernel_initializer", "GlorotUnifrm", "Did you mean 'glorot_uniform'?"),
    ("kernel_initializer", "glorot uniform", "Did you mean 'glorot_uniform'?"),
    ("recurrent_initializer", "Orthogonl", "Did you mean 'orthogonal'?"),
    ("bias_initializer", "constant", "or a callable such as keras.initializers.Constant(0.1)."),
    ("bias_initializer", 0.5, "or a callable such as keras.initializers.Constant(0.1)."),
    ("kernel_regularizer", "l_2", "Did you mean 'l2'?"),
    ("recurrent_regularizer", 0.01, "or a callable such as keras.regularizers.L2(0.01)."),
    ("activity_regularizer", "12", "or a callable such as keras.regularizers.L2(0.01)."),
    ("kernel_constraint", "maxnorm", "Did you mean 'max_norm'?"),
    ("bias_constraint", "NonNegative", "Did you mean 'non_neg'?"),
    ("recurrent_constraint", 2.0, "or a callable such as keras.constraints.MaxNorm(2.0)."),
]


@pytest.mark.parametrize(("argument", "value", "answer"), MISSPELT, ids=str)
def test_a_name_that_is_misspelt(argument, value, answer):
    """The answer comes right after the question, and the list of all names only where no name is near."""
    kind = argument.rpartition("_")[2]
    with pytest.raises(ValueError, match="not the name") as caught:
        elman.SimpleRNN(4, **{argument: value})
    start, dot, rest = str(caught.value).partition(". ")
    article = "an" if kind in {"activation", "initializer"} else "a"
    assert start + dot == f"SimpleRNN got {argument}={value!r}, which is not the name of {article} {kind}. "
    assert rest == answer if answer.startswith("Did you mean") else rest.endswith(answer)


@pytest.mark.parametrize("kind", ["activation", "initializer", "regularizer", "constraint"])
def test_every_name_that_an_error_offers_is_one(kind):
    argument = kind if kind == "activation" else f"kernel_{kind}"
    with pytest.raises(ValueError, match=f"not the name of an? {kind}") as caught:
        elman.SimpleRNN(4, **{argument: "no such name"})
    offered = str(caught.value).partition(" (")[2].partition(")")[0].split(", ")
    assert len(offered) >= 3
    for name in offered:
        assert elman.SimpleRNN(4, **{argument: name})


@keras.saving.register_keras_serializable("tests")
class Halves(keras.initializers.Initializer):
    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return keras.ops.full(shape, 0.5, dtype)


def test_names_callables_and_dictionaries_that_keras_takes_are_taken():
    config = keras.initializers.serialize(keras.initializers.Constant(0.5))
    for arguments in (
        {"kernel_initializer": "tests>Halves"},
        {"activation": lambda x: x / 2},
        {"activation": None},
        {"activation": keras.layers.LeakyReLU()},
        {"kernel_initializer": "GlorotUniform", "bias_initializer": config},
        {"kernel_initializer": keras.initializers.Zeros, "recurrent_initializer": np.eye(4, dtype="float32")},
        {"kernel_regularizer": "L2", "kernel_constraint": "UnitNorm"},
        {"use_bias": np.bool_(True), "return_sequences": 1, "stateful": None, "dropout": 1, "name": "rnn"},
    ):
        assert elman.SimpleRNN(4, **arguments)(X).shape[-1] == 4


def test_checking_a_name_draws_no_random_number():
    random.seed(3)
    stock = layers.SimpleRNN(4, kernel_initializer="he_normal", recurrent_initializer="glorot_normal")
    random.seed(3)
    ours = elman.SimpleRNN(4, kernel_initializer="he_normal", recurrent_initializer="glorot_normal")
    ours.build(X.shape)
    stock.build(X.shape)
    for a, b in zip(ours.get_weights(), stock.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"dropout": "0.2"},
            "SimpleRNN got dropout='0.2'; expected a fraction between 0 and 1. Pass for example dropout=0.2.",
        ),
        (
            {"recurrent_dropout": None},
            (
                "SimpleRNN got recurrent_dropout=None; expected a fraction between 0 and 1. Pass for example "
                "recurrent_dropout=0.2."
            ),
        ),
        *(
            (
                {argument: value},
                f"SimpleRNN got {argument}={value!r}; expected a fraction between 0 and 1. Pass for example",
            )
            for argument in ("dropout", "recurrent_dropout")
            for value in (2, -0.1, float("nan"), float("inf"))
        ),
        (
            {"input_shape": 5},
            (
                "SimpleRNN got input_shape=5; expected (time, features). Pass for example input_shape=(5, 3), or put "
                "keras.Input((5, 3)) before the layer."
            ),
        ),
        (
            {"return_sequences": "False"},
            (
                "SimpleRNN got return_sequences='False'; expected True or False. A word counts as True: pass the value "
                "without quotes, and options by name."
            ),
        ),
        (
            {"learn_initial_state": True, "stateful": True},
            (
                "learn_initial_state=True and stateful=True are both given; expected one of them, as a stateful layer "
                "starts from the states of the last batch. Leave out one."
            ),
        ),
        (
            {"save_state": True},
            (
                "save_state=True is given without stateful=True; expected both, as only a stateful layer has states "
                "from batch to batch. Pass stateful=True, or leave out save_state."
            ),
        ),
        (
            {"units": -(10**100)},
            (
                "SimpleRNN got units=-10000000000000000000000000000000000000000000000000000000...; expected a positive "
                "integer, the size of its state. Pass for example SimpleRNN(32)."
            ),
        ),
        ({"truncate_gradient": 0}, "truncate_gradient is 0; expected a positive integer (time steps), or None."),
        ({"truncate_gradient": 2.0}, "truncate_gradient is 2.0; expected a positive integer (time steps), or None."),
        (
            {"clip_state_gradient": "1"},
            "clip_state_gradient is '1'; expected a positive number (an L2 norm, at least 1.18e-38), or None.",
        ),
        (
            {"clip_state_gradient": 0.0},
            "clip_state_gradient is 0.0; expected a positive number (an L2 norm, at least 1.18e-38), or None.",
        ),
        ({"native": True}, 'native is True; expected "auto", "require" or False.'),
        ({"native": "off"}, 'native is \'off\'; expected "auto", "require" or False.'),
    ],
    ids=str,
)
def test_an_argument_of_another_kind(arguments, sentence):
    says(ValueError, sentence, lambda: elman.SimpleRNN(**{"units": 4, **arguments}))


def test_a_number_that_is_too_long_to_print():
    sentence = "clip_state_gradient is an object of class int that is too long to print; expected a positive number"
    says(ValueError, sentence, lambda: elman.SimpleRNN(4, clip_state_gradient=10**5000))


@pytest.mark.parametrize("extra", ["learn_initial_state", "save_state"])
def test_a_switch_of_the_extras(extra):
    sentence = f"{extra} is 'yes'; expected True or False."
    says(TypeError, sentence, lambda: elman.SimpleRNN(4, **{extra: "yes"}))


def test_options_in_each_others_place():
    sentence = "SimpleRNN got use_bias='glorot_uniform'; expected True or False."
    says(ValueError, sentence, lambda: elman.SimpleRNN(4, "tanh", "glorot_uniform"))


# --- options that are changed later --------------------------------------------------------------------------------


BUILT = (
    "SimpleRNN 'rnn' got learn_initial_state=True after it was built; expected it before, as it decides which weights "
    "there are. Make a new layer with it and pass this one's get_weights()."
)
CHANGES = {  # an option, its new value, and the error on a built layer
    "text": ("return_sequences", "False", "SimpleRNN got return_sequences='False'; expected True or False."),
    "zero steps": (
        "truncate_gradient",
        0,
        "truncate_gradient is 0; expected a positive integer (time steps), or None.",
    ),
    "no norm": ("clip_state_gradient", -1.0, "clip_state_gradient is -1.0; expected a positive number"),
    "no mode": ("native", "off", 'native is \'off\'; expected "auto", "require" or False.'),
    "no states": ("save_state", True, "save_state=True is given without stateful=True; expected both"),
    "other weights": ("learn_initial_state", True, BUILT),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_option_that_is_changed_to_what_it_cannot_be(change):
    name, value, sentence = CHANGES[change]
    layer = built()
    before = layer.get_config()
    says(ValueError, sentence, lambda: setattr(layer, name, value))
    assert layer.get_config() == before


def test_options_that_exclude_each_other_are_refused_when_one_is_changed():
    learned = built(learn_initial_state=True)
    says(
        ValueError, "learn_initial_state=True and stateful=True are both given", lambda: setattr(learned, "stateful", 1)
    )
    kept = built(stateful=True, save_state=True)
    says(ValueError, "save_state=True is given without stateful=True", lambda: setattr(kept, "stateful", False))
    gated = elman.LSTM(4)
    says(ValueError, "LSTM got use_cudnn='yes'; expected one of", lambda: setattr(gated, "use_cudnn", "yes"))


@pytest.mark.parametrize("name", ["activation", "dropout", "recurrent_dropout"])
def test_what_only_the_cell_can_change_names_it(name):
    layer = built()
    sentence = (
        f"SimpleRNN 'rnn' cannot take a new {name} itself; expected it to be set on its cell. Set layer.cell.{name}."
    )
    says(AttributeError, sentence, lambda: setattr(layer, name, 0.0))


@pytest.mark.parametrize("name", ["units", "use_bias", "kernel_initializer", "recurrent_regularizer", "seed"])
def test_what_cannot_change_at_all_names_the_way_out(name):
    layer = built()
    sentence = (
        f"SimpleRNN 'rnn' cannot change {name} after it is made. Make a new layer with it, for example SimpleRNN."
        f"from_config({{**layer.get_config(), '{name}': ...}}), and set its weights."
    )
    says(AttributeError, sentence, lambda: setattr(layer, name, None))


def test_implementation_cannot_change_where_it_is_an_argument():
    gated = elman.GRU(4, implementation=1)
    says(AttributeError, "cannot change implementation after it is made", lambda: setattr(gated, "implementation", 2))
    assert gated.get_config()["implementation"] == 1


def test_an_activity_regularizer_can_be_set_by_its_name():
    layer = built()
    layer.activity_regularizer = "l2"
    layer(X)
    assert len(layer.losses) == 1
    sentence = "SimpleRNN got activity_regularizer='l3', which is not the name of a regularizer."
    says(ValueError, sentence, lambda: setattr(layer, "activity_regularizer", "l3"))


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("activation", "tahn", "SimpleRNNCell got activation='tahn', which is not the name of an activation."),
        ("dropout", 2.0, "SimpleRNNCell got dropout=2.0; expected a fraction between 0 and 1."),
        ("recurrent_dropout", "0.1", "SimpleRNNCell got recurrent_dropout='0.1'; expected a fraction between 0 and 1."),
    ],
)
def test_an_option_of_the_cell_that_is_changed_to_what_it_cannot_be(name, value, sentence):
    layer = built()
    setattr(layer.cell, name, value)
    says(ValueError, sentence, lambda: layer(X))


def test_a_layer_that_becomes_stateful_and_first_needs_its_states_in_a_trace():
    """PyTorch traces nothing in predict; the others need one call on a batch before, as the sentence says."""
    sentence = (
        f"SimpleRNN 'rnn' was made stateful after it was built, and has no states yet; expected them before {BACKEND} "
        "traces its call. Call it, or its model, once on one batch before."
    )
    models = [compiled(keras.Input((5, 3)), rnn()) for _ in range(2)]
    for model in models:
        model.layers[0].stateful = True
    if BACKEND != "torch":
        says(ValueError, sentence, lambda: models[0].predict(X, verbose=0))
        models[1](X)
        models[1].layers[0].reset_state()
    first, second = (models[1].predict(X, batch_size=2, verbose=0) for _ in range(2))
    after = models[1].layers[0](X, initial_state=[first])
    np.testing.assert_allclose(second, keras.ops.convert_to_numpy(after), rtol=0, atol=1e-6)


# --- get_state and set_state ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask", [lambda layer: layer.get_state(), lambda layer: layer.set_state([H])], ids=["get", "set"]
)
def test_states_that_there_are_not(ask):
    sentence = (
        "SimpleRNN 'rnn' is not stateful and keeps no state; expected a stateful layer. Make it with stateful=True."
    )
    says(ValueError, sentence, lambda: ask(built()))
    sentence = (
        "SimpleRNN 'rnn' has no state yet; expected a layer that is built. Call it on one batch, or its build((batch, "
        "time, features)), first."
    )
    says(ValueError, sentence, lambda: ask(rnn(stateful=True)))


GOT = "SimpleRNN 'rnn' got {}; expected 1 state of shape ({}, 4). Pass a list, as get_state returns it."
ROWS = "SimpleRNN 'rnn' got rows={!r}; expected integers from 0 to 1. Pass rows of the batch."
SETS = {
    "none": (([],), GOT.format("no states", 2)),
    "two": (([H, H],), GOT.format("2 states, of shape (2, 4) and shape (2, 4)", 2)),
    "rows missing": (([H[:1]],), GOT.format("1 state of shape (1, 4)", 2)),
    "rows too many": (([H], [0]), GOT.format("1 state of shape (2, 4)", 1)),
    "text": (([np.full((2, 4), "a")],), GOT.format("an array of dtype str32", 2)),
    "complex": (([H + 1j],), GOT.format("an array of dtype complex64", 2)),
    "a word": (("h",), GOT.format("an object of class str", 2)),
    "None": ((None,), GOT.format("an object of class NoneType", 2)),
    "ragged": (([[[1.0], [2.0, 3.0]]],), GOT.format("an object of class list", 2)),
    "a row out of range": (([H[:1]], [2]), ROWS.format([2])),
    "a fraction": (([H[:1]], [0.5]), ROWS.format([0.5])),
    "switches": (([H], [True, False]), ROWS.format([True, False])),
    "a table": (([H], [[0, 1]]), ROWS.format([[0, 1]])),
    "a slice": (([H], slice(0, 2)), ROWS.format(slice(0, 2))),
    "a row twice": (
        ([H], [0, 0]),
        "SimpleRNN 'rnn' got rows=[0, 0]; expected each row once. Leave out the second.",
    ),
    "a row twice, once from the end": (
        ([H], [1, -1]),
        "SimpleRNN 'rnn' got rows=[1, -1]; expected each row once. Leave out the second.",
    ),
}


@pytest.mark.parametrize("wrong", SETS)
def test_a_wrong_set_state_says_so_and_sets_nothing(wrong):
    arguments, sentence = SETS[wrong]
    layer = built(stateful=True)
    before = layer.get_state()
    says(ValueError, sentence, lambda: layer.set_state(*arguments))
    np.testing.assert_array_equal(layer.get_state(), before)


# --- nothing is lost -----------------------------------------------------------------------------------------------


WRONG = {
    "two dimensions": lambda layer: layer(X[0]),
    "features": lambda layer: layer(X[:, :, :2]),
    "length 0": lambda layer: layer(X[:, :0]),
    "batch": lambda layer: layer(X[:1]),
    "state": lambda layer: layer(X, initial_state=H[:1]),
    "mask": lambda layer: layer(X, mask=np.ones((2, 4), bool)),
    "text": lambda layer: layer(np.full((2, 5, 3), "a")),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_failed_call_leaves_weights_and_states(wrong):
    layer, twin = (built(stateful=True, kernel_initializer="ones", recurrent_initializer="identity") for _ in range(2))
    before, state = layer.get_weights(), layer.get_state()
    with pytest.raises((TypeError, ValueError)):
        WRONG[wrong](layer)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(layer.get_state(), state)
    assert state[0].any()
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(each(X)) for each in (layer, twin)))


def test_a_failed_first_call_leaves_a_layer_that_can_be_built():
    layer = rnn()
    for wrong in (X[0], X[:, :0], np.full((2, 5, 3), "a"), None):
        with pytest.raises((TypeError, ValueError)):
            layer(wrong)
    assert not layer.built
    assert tuple(layer(X).shape) == (2, 4)
