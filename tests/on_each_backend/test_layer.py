# SPDX-License-Identifier: Apache-2.0
"""elman.SimpleRNN in the places where users put it, checked against Keras's: arguments, attributes, masks, states,
files, wrappers, models, training, dtypes, compilers; and its route.

Keras's own tests, which pass on it too, do not cover these. Numbers are compared with a stock layer of the same
weights, or with `elman.simple_rnn` in float64.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import json
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import layers, ops

import elman
import tolerance
from elman import _native, route

BACKEND = keras.config.backend()
B, T, F, U = 4, 6, 3, 5
RNG = np.random.default_rng(7)
X = RNG.normal(size=(B, T, F)).astype("float32")
H = RNG.normal(size=(B, U)).astype("float32")
HOLES = RNG.random((B, T)) < 0.6
HOLES[:, 0] = True  # stock's backends disagree on a masked first step
EXTRAS = {
    "learn_initial_state": True,
    "truncate_gradient": 3,
    "clip_state_gradient": 0.5,
    "native": False,
    "save_state": False,
}


def array(tensor: Any) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


def alike(got: Any, expected: Any) -> None:
    """Two float32 results of one computation."""
    got, expected = array(got), array(expected)
    assert got.dtype == expected.dtype
    unit = tolerance.ulp(expected, np.float32)
    assert tolerance.error(got, expected) <= tolerance.ULPS * unit


def all_alike(got: Any, expected: Any) -> None:
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        alike(a, b)


def twins(**arguments: Any) -> tuple[elman.SimpleRNN, layers.SimpleRNN]:
    """Ours and stock's, with the same weights that are not zero."""
    pair = elman.SimpleRNN(U, **arguments), layers.SimpleRNN(U, **arguments)
    weights = [RNG.normal(size=s).astype("float32") * 0.5 for s in ((F, U), (U, U), (U,))]
    for layer in pair:
        layer.build((B, T, F))
        layer.set_weights(weights)
    return pair


# --- the class -----------------------------------------------------------------------------------------------------


def test_the_constructor_has_stocks_arguments_in_order_and_then_the_extras():
    *stock, rest = inspect.signature(layers.SimpleRNN.__init__).parameters.values()
    parameters = list(inspect.signature(elman.SimpleRNN.__init__).parameters.values())
    assert parameters[: len(stock)] == stock
    assert parameters[-1] == rest
    extras = parameters[len(stock) : -1]
    assert {p.name: p.default for p in extras} == dict.fromkeys(EXTRAS) | {
        "learn_initial_state": False,
        "native": "auto",
        "save_state": False,
    }
    assert all(p.kind is p.KEYWORD_ONLY for p in extras)


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_every_argument_is_documented_in_order(kind):
    layer = getattr(elman, kind)
    arguments = inspect.getdoc(layer).partition("Args:\n")[2].partition("\n\n")[0]
    names = [("**" if p.kind is p.VAR_KEYWORD else "") + p.name for p in inspect.signature(layer).parameters.values()]
    assert re.findall(r"^    ([\w*]+): ", arguments, re.MULTILINE) == names


STUB = ast.parse((Path(elman.__file__).parent / "__init__.pyi").read_text())
CLASSES = [node for node in STUB.body if isinstance(node, ast.ClassDef)]


def stub_parameters(function: ast.FunctionDef) -> list[tuple[str, str | None]]:
    """Name and default of each argument of a function in the stub, without `self`."""
    spec = function.args
    defaults = [None] * (len(spec.args) - len(spec.defaults)) + [ast.unparse(d) for d in spec.defaults]
    named = list(zip([a.arg for a in spec.args], defaults, strict=True))[1:]
    for argument, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True):
        named.append((argument.arg, None if default is None else ast.unparse(default)))
    return [*named, *([(f"**{spec.kwarg.arg}", None)] if spec.kwarg else [])]


@pytest.mark.parametrize("declared", CLASSES, ids=lambda node: node.name)
def test_the_stub_declares_the_real_signatures(declared):
    real = getattr(elman, declared.name)
    for function in declared.body:
        if not isinstance(function, ast.FunctionDef):
            assert function.target.id in inspect.signature(real).parameters
            continue
        if any(ast.unparse(decorator) == "property" for decorator in function.decorator_list):
            assert isinstance(getattr(real, function.name), property)
            continue
        made = function.name == "__init__"
        parameters = inspect.signature(real if made else getattr(real(1), function.name)).parameters.values()
        assert stub_parameters(function) == [
            (
                f"**{p.name}" if p.kind is p.VAR_KEYWORD else p.name,
                None if p.default is p.empty else repr(p.default),
            )
            for p in parameters
        ]


def test_the_stub_declares_every_layer():
    assert [node.name for node in CLASSES] == ["SimpleRNN", "LSTM", "GRU"]


POSITIONAL = {
    "units": U,
    "activation": "relu",
    "use_bias": False,
    "kernel_initializer": "ones",
    "recurrent_initializer": "identity",
    "bias_initializer": "ones",
    "kernel_regularizer": "l1",
    "recurrent_regularizer": "l2",
    "bias_regularizer": "l1",
    "activity_regularizer": "l2",
    "kernel_constraint": "max_norm",
    "recurrent_constraint": "unit_norm",
    "bias_constraint": "non_neg",
    "dropout": 0.1,
    "recurrent_dropout": 0.2,
    "return_sequences": True,
    "return_state": True,
    "go_backwards": True,
    "stateful": True,
    "unroll": True,
    "seed": 3,
}


def test_every_argument_may_be_positional():
    ours, stock = (kind(*POSITIONAL.values(), name="rnn").get_config() for kind in (elman.SimpleRNN, layers.SimpleRNN))
    added = dict.fromkeys(EXTRAS) | {"learn_initial_state": False, "native": "auto", "save_state": False}
    mended = {"seed": 3, "activity_regularizer": keras.regularizers.serialize(keras.regularizers.get("l2"))}
    assert ours == {**stock, **added, **mended}


KINDS = ("SimpleRNN", "LSTM", "GRU")
OF_NUMPY = {
    "units": np.int64(U),
    "activation": np.str_("relu"),
    "use_bias": np.bool_(True),
    "dropout": np.float32(0.5),
    "recurrent_dropout": np.float64(0.25),
    "return_sequences": np.bool_(True),
    "return_state": np.int64(1),
    "go_backwards": np.bool_(False),
    "stateful": np.bool_(False),
    "unroll": np.bool_(True),
    "seed": np.uint32(3),
    "zero_output_for_mask": np.bool_(True),
    "name": np.str_("rnn"),
    "trainable": np.bool_(False),
    "learn_initial_state": np.bool_(True),
    "truncate_gradient": np.int32(4),
    "clip_state_gradient": np.float32(0.5),
    "native": np.bool_(False),
    "save_state": np.bool_(False),
}
OF_NUMPY_GATED = {"implementation": np.int64(1), "use_cudnn": np.bool_(False), "recurrent_activation": np.str_("tanh")}
OF_NUMPY_BY_KIND = {
    "SimpleRNN": OF_NUMPY,
    "LSTM": {**OF_NUMPY, **OF_NUMPY_GATED, "unit_forget_bias": np.bool_(False)},
    "GRU": {**OF_NUMPY, **OF_NUMPY_GATED, "reset_after": np.bool_(False)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_may_be_numpys_scalars_and_become_pythons(kind, tmp_path):
    numpys = OF_NUMPY_BY_KIND[kind]
    pythons = {name: value.item() for name, value in numpys.items()}
    ours, same = (getattr(elman, kind)(**arguments) for arguments in (numpys, pythons))
    config = ours.get_config()
    assert json.loads(json.dumps(config)) == same.get_config()
    assert {name: config[name] for name in pythons if name != "return_state"} == {
        name: value for name, value in pythons.items() if name != "return_state"
    }
    assert [type(value) for value in config.values()] == [type(value) for value in same.get_config().values()]
    model = keras.Sequential([keras.Input((T, F)), ours])
    model.save(path := tmp_path / "model.keras")
    for again in (keras.models.clone_model(model), keras.models.load_model(path)):
        assert again.layers[0].get_config() == config


@pytest.mark.parametrize("kind", KINDS)
def test_options_that_change_may_be_numpys_scalars_too(kind):
    layer = getattr(elman, kind)(U)
    for name in ("return_sequences", "stateful", "unroll", "truncate_gradient", "clip_state_gradient", "native"):
        setattr(layer, name, OF_NUMPY[name])
        assert type(getattr(layer, name)) is type(OF_NUMPY[name].item())
    layer.cell.dropout = np.float32(0.5)
    layer(X)
    assert type(layer.cell.dropout) is float
    json.dumps(layer.get_config())


PROPERTIES = [
    *("units", "activation", "use_bias", "dropout", "recurrent_dropout"),
    *(f"{w}_{kind}" for w in ("kernel", "recurrent", "bias") for kind in ("initializer", "regularizer", "constraint")),
]
ATTRIBUTES = [
    *("return_sequences", "return_state", "go_backwards", "stateful", "unroll", "zero_output_for_mask"),
    *("supports_masking", "states", "state_size", "single_state", "_expected_batch_size", "built", "trainable"),
    *("name", "dtype", "compute_dtype", "input_dtype", "supports_jit", "losses"),
]


@pytest.mark.parametrize("name", [*PROPERTIES, *ATTRIBUTES])
def test_an_attribute_is_stocks(name):
    arguments = {**POSITIONAL, "name": "rnn", "zero_output_for_mask": True, "activity_regularizer": None}
    ours, stock = elman.SimpleRNN(**arguments), layers.SimpleRNN(**arguments)
    got, expected = getattr(ours, name), getattr(stock, name)
    plain = expected is None or isinstance(expected, bool | int | float | str | list) or inspect.isfunction(expected)
    assert got == expected if plain else type(got) is type(expected)
    assert isinstance(getattr(elman.SimpleRNN, name, None), property) or name not in PROPERTIES


def test_what_a_subclass_or_a_tool_looks_for_is_there():
    layer = elman.SimpleRNN(U)
    assert isinstance(layer, layers.SimpleRNN)
    assert type(layer).__name__ == "SimpleRNN"
    assert type(layer.cell) is layers.SimpleRNNCell
    (spec,) = layer.input_spec
    assert isinstance(layer.input_spec, list)
    assert spec.ndim == 3
    keras_own = ["sequences", "initial_state", "mask", "training"]
    assert list(inspect.signature(layer.call).parameters) == [*keras_own, "resets"]
    assert list(inspect.signature(layer.build).parameters) == ["sequences_shape", "initial_state_shape"]
    assert list(inspect.signature(layer.inner_loop).parameters) == ["sequences", "initial_state", "mask", "training"]
    assert layer.compute_output_shape((B, T, F)) == (B, U)
    assert array(layer.get_initial_state(2)[0]).tolist() == [[0.0] * U] * 2
    assert missing_from(layer) == set()


def missing_from(layer: Any) -> set[str]:
    return set(dir(layers.SimpleRNN(U))) - set(dir(layer))


def test_dir_is_the_same_after_a_config_and_the_config_after_json():
    layer = elman.SimpleRNN(U, seed=3, activity_regularizer="l2", **EXTRAS)
    again = elman.SimpleRNN.from_config(json.loads(json.dumps(layer.get_config())))
    assert dir(again) == dir(layer)
    assert again.get_config() == layer.get_config()
    layer(X)
    again(X)
    assert dir(again) == dir(layer)


def test_weights_and_variables_are_stocks_in_order_and_by_path():
    ours, stock = twins(name="rnn")
    assert [(w.path, tuple(w.shape), w.dtype) for w in ours.weights] == [
        (w.path, tuple(w.shape), w.dtype) for w in stock.weights
    ]
    for kind in ("variables", "trainable_variables", "non_trainable_variables"):
        names = [[v.name for v in getattr(layer, kind)] for layer in (ours, stock)]
        assert names[0] == names[1]
    assert ours.count_params() == stock.count_params()


def test_keras_own_classes_are_named_in_one_warning(caplog):
    elman._warn_of_keras_classes.cache_clear()
    names = ("RNN", "SimpleRNNCell", "LSTMCell", "GRUCell")
    assert [getattr(elman, name) for name in names] == [getattr(layers, name) for name in names]
    sentence = (
        "elman.GRUCell, elman.LSTMCell, elman.RNN and elman.SimpleRNNCell are Keras's own classes and run in Keras's "
        "own operations. elman.SimpleRNN, elman.LSTM and elman.GRU run natively, and elman.accelerate(model) replaces "
        "an RNN of Keras's cells by them."
    )
    assert [record.getMessage() for record in caplog.records] == [sentence]


# --- numbers: one call ---------------------------------------------------------------------------------------------

CALLS = {
    "last": ({}, {}),
    "sequences": ({"return_sequences": True}, {}),
    "state": ({"return_sequences": True, "return_state": True}, {}),
    "backwards": ({"return_sequences": True, "go_backwards": True, "return_state": True}, {}),
    "initial state": ({"return_state": True}, {"initial_state": H}),
    "mask": ({"return_sequences": True, "return_state": True}, {"mask": HOLES}),
    "mask of three dimensions": ({"return_sequences": True}, {"mask": HOLES[..., None]}),
    "mask of numbers": ({}, {"mask": HOLES.astype("float32")}),
    "mask with zeros": ({"return_sequences": True, "zero_output_for_mask": True}, {"mask": HOLES}),
    "mask and state backwards": (
        {"go_backwards": True, "return_state": True},
        {"mask": HOLES[:, ::-1].copy(), "initial_state": [H]},
    ),
    "unrolled": ({"unroll": True, "return_sequences": True}, {"initial_state": H}),
    "dropout": ({"dropout": 0.5, "seed": 3}, {"training": True}),
    "recurrent dropout": ({"dropout": 0.3, "recurrent_dropout": 0.5, "seed": 3}, {"training": True}),
    "dropout of all": ({"dropout": 1.0}, {"training": True}),
    "dropout at rest": ({"dropout": 0.5, "recurrent_dropout": 0.5}, {}),
    "a custom activation": ({"activation": "softsign"}, {}),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_call_gives_what_stock_gives(case):
    arguments, call = CALLS[case]
    ours, stock = twins(**arguments)
    for _ in range(2):  # dropout draws again
        got, expected = ours(X, **call), stock(X, **call)
        assert isinstance(got, tuple) is isinstance(expected, tuple)
        all_alike(*(y if isinstance(y, tuple) else (y,) for y in (got, expected)))
    assert ours.route.path == ("keras" if "activation" in arguments else "native")


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("native", ["auto", False])
def test_padding_changes_nothing(side, native):
    layer, _ = twins(return_sequences=True, return_state=True)
    layer.native = native
    y, h = layer(X)
    noise, off = np.full((B, 3, F), 9.0, "float32"), np.zeros((B, 3), bool)
    parts = [(noise, off), (X, np.ones((B, T), bool))]
    padded, mask = (np.concatenate(p, 1) for p in zip(*(parts if side == "left" else parts[::-1]), strict=True))
    y_padded, h_padded = layer(padded, mask=mask)
    alike(h_padded, h)
    alike(y_padded[:, 3:] if side == "left" else y_padded[:, :T], y)
    assert not array(y_padded)[:, :3].any() or side == "right"


@pytest.mark.parametrize("native", ["auto", False])
def test_a_row_that_is_all_masked_gives_zeros_and_keeps_its_state(native):
    layer, _ = twins(return_sequences=True, return_state=True)
    layer.native = native
    mask = np.ones((B, T), bool)
    mask[1] = False
    y, h = layer(X, mask=mask, initial_state=[H])
    assert not array(y)[1].any()
    np.testing.assert_array_equal(array(h)[1], H[1])


@pytest.mark.parametrize("sequences", [False, True])
def test_masks_come_from_masking_and_from_embedding(sequences):
    x = X.copy()
    x[1, 4:], x[2, :2] = 0, 0
    ids = RNG.integers(1, 9, (B, T))
    ids[1, 4:], ids[2, :2] = 0, 0
    for before, data in ((layers.Masking(), x), (layers.Embedding(9, F, mask_zero=True), ids)):
        model = keras.Sequential([before, twins(return_sequences=sequences)[0]])
        y = model(data)
        mask = before.compute_mask(data)
        alike(y, model.layers[1](before(data), mask=mask))
        unmasked = array(model.layers[1](array(before(data))))
        assert np.abs(array(y)[1] - unmasked[1]).max() > 1e-3
        kept = model.layers[1].compute_mask(None, mask)
        assert (kept is not None) == sequences


def test_compute_mask_with_states():
    layer = elman.SimpleRNN(U, return_sequences=True, return_state=True)
    mask = ops.convert_to_tensor(HOLES)
    assert layer.compute_mask(None, mask) == [mask, None]


# --- states --------------------------------------------------------------------------------------------------------


def test_a_stateful_layer_goes_on_where_it_ended():
    layer, _ = twins(stateful=True, return_sequences=True)
    free, _ = twins(return_sequences=True)
    free.set_weights(layer.get_weights())
    whole = array(free(X))
    alike(ops.concatenate([layer(X[:, :2]), layer(X[:, 2:3]), layer(X[:, 3:])], axis=1), whole)
    alike(layer.get_state()[0], whole[:, -1])
    alike(layer(X, initial_state=ops.zeros((B, U))), whole)  # overrides the kept one
    for reset in (layer.reset_state, layer.reset_states):
        reset()
        assert not layer.get_state()[0].any()
        alike(layer(X), whole)


def test_states_are_read_and_set_whole_and_by_rows():
    layer, _ = twins(stateful=True)
    layer.set_state([H])
    (read,) = layer.get_state()
    np.testing.assert_array_equal(read, H)
    read[:] = 7  # a copy
    np.testing.assert_array_equal(layer.get_state()[0], H)
    layer.set_state([ops.convert_to_tensor(H[:2] * 2)], rows=[3, 0])
    expected = H.copy()
    expected[[3, 0]] = H[:2] * 2
    np.testing.assert_array_equal(layer.get_state()[0], expected)
    layer.set_state(H[:1].astype("float64"), rows=-1)
    expected[-1] = H[0]
    np.testing.assert_array_equal(layer.get_state()[0], expected)
    free, _ = twins()
    free.set_weights(layer.get_weights())
    alike(layer(X), free(X, initial_state=[expected]))


def test_states_are_not_weights():
    layer, stock = twins(stateful=True)
    assert len(layer.weights) == len(layer.get_weights()) == len(stock.weights) == 3
    assert layer.variables[-1] is layer.states[0]
    assert layer.non_trainable_variables[-1] is layer.states[0]


def test_the_initial_state_is_learned():
    model = keras.Sequential([keras.Input((T, F)), elman.SimpleRNN(U, learn_initial_state=True), layers.Dense(1)])
    layer = model.layers[0]
    assert [tuple(w.shape) for w in layer.weights] == [(F, U), (U, U), (U,), (U,)]
    assert [w.name for w in layer.trainable_weights][-1] == "initial_state"
    assert not array(layer.weights[-1]).any()
    start = layer.get_weights()
    model.compile("sgd", "mse")
    model.fit(X, np.ones((B, 1), "float32"), epochs=3, verbose=0)
    learned = array(layer.weights[-1])
    assert (learned != 0).all()
    assert layer.route.path == "native"
    free = elman.SimpleRNN(U)
    free.build((B, T, F))
    free.set_weights(layer.get_weights()[:3])
    alike(layer(X), free(X, initial_state=np.tile(learned, (B, 1))))
    alike(layer(X, initial_state=[H]), free(X, initial_state=[H]))  # an explicit one overrides it
    assert len(start) == 4


# --- wrappers and models -------------------------------------------------------------------------------------------


@pytest.mark.medium
@pytest.mark.parametrize(
    ("mode", "sequences"),
    [("concat", False), ("concat", True), ("sum", True), ("mul", False), ("ave", True), (None, True)],
)
def test_bidirectional(mode, sequences):
    ours, stock = (
        layers.Bidirectional(kind(U, return_sequences=sequences, return_state=True), merge_mode=mode)
        for kind in (elman.SimpleRNN, layers.SimpleRNN)
    )
    stock(X)
    ours(X)
    ours.set_weights(stock.get_weights())
    all_alike(ours(X), stock(X))
    mask = np.ones((B, T), bool)
    mask[1, 4:], mask[2, 3:] = False, False
    call = {"initial_state": [H, -H], "mask": mask}
    all_alike(ours(X, **call), stock(X, **call))
    assert ours.forward_layer.route.path == ours.backward_layer.route.path == "native"


def test_time_distributed_over_a_known_number_of_steps():
    x = RNG.normal(size=(B, 2, T, F)).astype("float32")
    inner, _ = twins()
    y = layers.TimeDistributed(inner)(x)
    alike(y[:, 1], inner(x[:, 1]))
    model = keras.Sequential([keras.Input((2, T, F)), layers.TimeDistributed(elman.SimpleRNN(U)), layers.Flatten()])
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((B, 2 * U)), verbose=0)
    assert model.layers[0].layer.route.path == "native"


def test_time_distributed_over_any_number_of_steps():
    model = keras.Sequential([keras.Input((None, T, F)), layers.TimeDistributed(elman.SimpleRNN(U))])
    x = RNG.normal(size=(B, 3, T, F)).astype("float32")
    y = model.predict(x, verbose=0)
    alike(y[:, 1], model.layers[0].layer(x[:, 1]))


@pytest.mark.medium
def test_a_functional_model_hands_states_on():
    def model(kind: Any) -> keras.Model:
        source, target = keras.Input((T, F)), keras.Input((None, F))
        _, state = kind(U, return_state=True)(source)
        return keras.Model([source, target], kind(U, return_sequences=True)(target, initial_state=[state]))

    ours, stock = model(elman.SimpleRNN), model(layers.SimpleRNN)
    ours.set_weights(stock.get_weights())
    alike(ours([X, X[:, :4]]), stock([X, X[:, :4]]))
    ours.compile("adam", "mse")
    stock.compile("adam", "mse")
    y = np.zeros((B, T, U), "float32")
    losses = [each.fit([X, X], y, epochs=3, verbose=0, shuffle=False).history["loss"] for each in (ours, stock)]
    np.testing.assert_allclose(*losses, rtol=1e-4)


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = elman.SimpleRNN(U, return_sequences=True), elman.SimpleRNN(U, stateful=False)
        self.out = layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.out(self.second(self.first(x)))


def test_a_subclassed_model_trains_natively_and_warns_of_nothing(caplog):
    model = Subclassed()
    model.compile("adam", "mse")
    history = model.fit(X, np.ones((B, 1), "float32"), epochs=4, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert model.first.route.path == model.second.route.path == "native"
    assert [record for record in caplog.records if record.name == "elman"] == []


@pytest.mark.medium
def test_constraints_and_regularizers_act_in_fit():
    arguments = {
        "kernel_constraint": "non_neg",
        "recurrent_constraint": keras.constraints.MaxNorm(0.3),
        "bias_constraint": "unit_norm",
        "kernel_regularizer": "l1",
        "recurrent_regularizer": "l2",
        "bias_regularizer": "l2",
    }
    ours, stock = (keras.Sequential([layer]) for layer in twins(**arguments))
    histories = []
    for model in (ours, stock):
        model.compile(keras.optimizers.SGD(0.1), "mse")
        histories.append(model.fit(X, H, epochs=3, batch_size=2, shuffle=False, verbose=0).history["loss"])
        all_alike([sum(model.losses)], [sum(ours.losses)])
    np.testing.assert_allclose(*histories, rtol=1e-5)
    kernel, recurrent_kernel, _ = ours.get_weights()
    assert (kernel >= 0).all()
    assert np.linalg.norm(recurrent_kernel, axis=0).max() <= 0.3 + 1e-6


def test_dropout_acts_in_fit_and_not_in_predict():
    model = keras.Sequential([keras.Input((T, F)), elman.SimpleRNN(U, dropout=0.5, recurrent_dropout=0.5, seed=1)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    losses = model.fit(X, H, epochs=4, verbose=0).history["loss"]
    assert len(set(losses)) == 4
    np.testing.assert_array_equal(*(model.predict(X, verbose=0) for _ in range(2)))
    assert model.layers[0].route.path == "native"


# --- options that are changed on a built layer ---------------------------------------------------------------------


def changed(kind: str, arguments: dict[str, Any], change: Callable[[Any], None], **call: Any) -> tuple[Any, Any]:
    """What a built layer gives after a change, and what a stock layer gives that was made with these arguments."""
    ours, stock = getattr(elman, kind)(U, seed=3), getattr(layers, kind)(U, seed=3, **arguments)
    ours(X)
    change(ours)
    stock.build(X.shape)
    stock.set_weights(ours.get_weights())
    results = (layer(X, **call) for layer in (ours, stock))
    return tuple(result if isinstance(result, tuple) else (result,) for result in results)  # type: ignore[return-value]


def sets(name: str, value: Any) -> Callable[[Any], None]:
    return lambda layer: setattr(layer, name, value)


def sets_on_cell(name: str, value: Any) -> Callable[[Any], None]:
    return lambda layer: setattr(layer.cell, name, value)


CHANGED = {  # a change, and the arguments that a layer with it is made with
    "return_sequences": (sets("return_sequences", True), {"return_sequences": True}, {}),
    "return_state": (sets("return_state", True), {"return_state": True}, {}),
    "go_backwards": (sets("go_backwards", True), {"go_backwards": True}, {}),
    "unroll": (sets("unroll", True), {"unroll": True}, {}),
    "zero_output_for_mask": (
        lambda layer: (setattr(layer, "zero_output_for_mask", True), setattr(layer, "return_sequences", True)),
        {"zero_output_for_mask": True, "return_sequences": True},
        {"mask": HOLES},
    ),
    "activation": (sets_on_cell("activation", keras.activations.relu), {"activation": "relu"}, {}),
    "activation by name": (sets_on_cell("activation", "softsign"), {"activation": "softsign"}, {}),
    "no activation": (sets_on_cell("activation", None), {"activation": None}, {}),
    "dropout": (sets_on_cell("dropout", 0.5), {"dropout": 0.5}, {"training": True}),
    "recurrent dropout": (sets_on_cell("recurrent_dropout", 0.5), {"recurrent_dropout": 0.5}, {"training": True}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CHANGED)
def test_an_option_that_is_changed_does_what_it_says(case, kind):
    change, arguments, call = CHANGED[case]
    all_alike(*changed(kind, arguments, change, **call))


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_that_is_switched_off_drops_nothing(kind):
    layer = getattr(elman, kind)(U, dropout=0.5, recurrent_dropout=0.5)
    layer(X)
    layer.cell.dropout = layer.cell.recurrent_dropout = 0
    np.testing.assert_array_equal(array(layer(X, training=True)), array(layer(X)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_built_layer_that_becomes_stateful_goes_on_where_it_ended(kind, tmp_path):
    layer, free = getattr(elman, kind)(U, return_sequences=True), getattr(elman, kind)(U, return_sequences=True)
    layer.build((None, T, F))
    free(X)
    free.set_weights(layer.get_weights())
    whole = array(free(X))
    layer.stateful = True
    parts = [layer(X[:, :2]), layer(X[:, 2:3]), layer(X[:, 3:])]
    alike(ops.concatenate(parts, axis=1), whole)
    assert layer.get_state()[0].shape == (B, U)
    assert layer.variables[-1] is layer.states[-1]
    layer.reset_state()
    alike(layer(X), whole)
    layer.stateful = False
    for _ in range(2):
        alike(layer(X), whole)


def test_a_model_that_becomes_stateful_predicts_on_where_it_ended():
    model = model_of(elman.SimpleRNN)
    layer = model.layers[0]
    layer.stateful = True
    model(X)
    layer.set_state([H])
    first, second = (model.predict(X, batch_size=B, verbose=0) for _ in range(2))
    free = elman.SimpleRNN(U)
    free.build(X.shape)
    free.set_weights(layer.get_weights())
    alike(layer.get_state()[0], free(X, initial_state=[free(X, initial_state=[H])]))
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_states_that_are_made_later_are_kept_in_mixed_precision(policy):
    layer = elman.SimpleRNN(U, dtype=policy)
    layer(X)
    layer.stateful = True
    y = layer(X)
    assert layer.states[0].dtype == "float32"
    np.testing.assert_array_equal(layer.get_state()[0], array(ops.cast(y, "float32")))


@pytest.mark.parametrize("name", ["truncate_gradient", "clip_state_gradient"])
@pytest.mark.parametrize("native", ["auto", False])
def test_what_limits_gradients_can_be_changed(name, native):
    made, later = (elman.SimpleRNN(U, native=native, **arguments) for arguments in ({name: 1}, {}))
    for layer in (made, later):
        layer.build(X.shape)
    later.set_weights(made.get_weights())
    before = gradients(later)
    for weight in later.trainable_weights if BACKEND == "torch" else ():
        weight.value.grad = None
    setattr(later, name, 1)
    after = gradients(later)
    all_alike(after, gradients(made))
    assert np.abs(after[1] - before[1]).max() > 1e-4


def test_a_compiled_model_takes_a_changed_option_when_it_is_compiled_again():
    model = keras.Sequential([keras.Input((T, F)), elman.SimpleRNN(U)])
    model.compile("sgd", "mse")
    assert model.predict(X, verbose=0).shape == (B, U)
    model.layers[0].return_sequences = True
    model.compile("sgd", "mse")
    assert model.predict(X, verbose=0).shape == (B, T, U)


# --- files and copies ----------------------------------------------------------------------------------------------


def model_of(kind: Any, **arguments: Any) -> keras.Model:
    model = keras.Sequential([keras.Input((T, F)), kind(U, **arguments), layers.Dense(2)])
    model.set_weights([RNG.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    return model


def copies(model: keras.Model, way: str, folder: Path) -> keras.Model:
    if way == "keras":
        model.save(folder / "model.keras")
        return keras.models.load_model(folder / "model.keras")
    if way == "clone":
        clone = keras.models.clone_model(model)
        clone.set_weights(model.get_weights())
        return clone
    return pickle.loads(pickle.dumps(model)) if way == "pickle" else copy.deepcopy(model)


@pytest.mark.parametrize("way", ["keras", "clone", "pickle", "deepcopy"])
def test_a_copy_is_the_same_model(way, tmp_path):
    arguments = {**EXTRAS, "native": "require", "seed": 3, "activity_regularizer": "l2", "dropout": 0.1}
    model = model_of(elman.SimpleRNN, **arguments)
    again = copies(model, way, tmp_path)
    layer = again.layers[0]
    assert type(layer) is elman.SimpleRNN
    assert layer.get_config() == model.layers[0].get_config()
    assert again is not model
    np.testing.assert_array_equal(array(again(X)), array(model(X)))
    assert [w.name for w in layer.weights][-1] == "initial_state"
    assert layer.route.path == "native"


def test_weight_files_go_both_ways(tmp_path):
    path = tmp_path / "model.weights.h5"
    ours, stock = model_of(elman.SimpleRNN), model_of(layers.SimpleRNN)
    stock.save_weights(path)
    ours.load_weights(path)
    alike(ours(X), stock(X))
    other = model_of(elman.SimpleRNN)
    other.save_weights(path)
    stock.load_weights(path)
    alike(other(X), stock(X))


def test_a_stock_file_leaves_the_learned_initial_state_as_it_is(tmp_path):
    path = tmp_path / "model.weights.h5"
    stock = model_of(layers.SimpleRNN)
    stock.save_weights(path)
    model = keras.Sequential([keras.Input((T, F)), elman.SimpleRNN(U, learn_initial_state=True), layers.Dense(2)])
    model.load_weights(path)
    assert not array(model.layers[0].weights[-1]).any()
    alike(model(X), stock(X))
    model.layers[0].weights[-1].assign(H[0])
    model.save_weights(path)
    again = model_of(elman.SimpleRNN, learn_initial_state=True)
    again.load_weights(path)
    np.testing.assert_array_equal(array(again.layers[0].weights[-1]), H[0])


# --- dtypes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "dtype"), [("mixed_bfloat16", ml_dtypes.bfloat16), ("mixed_float16", np.float16)])
def test_half_types_are_computed_in_float32(policy, dtype):
    layer = elman.SimpleRNN(U, return_sequences=True, return_state=True, dtype=policy)
    layer.build((B, T, F))
    y, h = layer(X, initial_state=[H])
    assert keras.backend.standardize_dtype(y.dtype) == keras.backend.standardize_dtype(h.dtype) == np.dtype(dtype).name
    assert {w.dtype for w in layer.weights} == {"float32"}
    rounded = [a.astype(dtype).astype("float64") for a in (X, *layer.get_weights(), H)]
    truth, _ = elman.simple_rnn(*rounded[:-1], rounded[-1])
    half_a_unit = float(ml_dtypes.finfo(dtype).eps) / 2
    error = np.abs(array(ops.cast(y, "float32")) - truth)
    assert (error <= half_a_unit * np.abs(truth).max() + 1e-6).all()
    assert layer.route.path == "native"


def test_a_model_trains_in_half_precision():
    model = keras.Sequential([keras.Input((T, F)), elman.SimpleRNN(U, dtype="mixed_bfloat16", native="require")])
    model.compile("adam", "mse")
    losses = model.fit(X, H, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.medium
def test_float64_is_computed_in_float64():
    with wide():
        layer = elman.SimpleRNN(U, return_sequences=True, dtype="float64")
        x = X.astype("float64")
        y = layer(x)
        truth, _ = elman.simple_rnn(x, *layer.get_weights())
        tolerance.assert_float64(array(y), truth, "y")
        assert layer.route.path == "native"


def wide() -> Any:
    """JAX has float64 only where it is enabled."""
    if BACKEND == "jax":
        return importlib.import_module("jax").enable_x64(True)
    return importlib.import_module("contextlib").nullcontext()


# --- training ------------------------------------------------------------------------------------------------------


def gradients(layer: Any) -> list[np.ndarray]:
    """The gradients of a loss by the weights, as in a training loop that is written in each framework."""
    framework = importlib.import_module(BACKEND)
    weights = [w.value for w in layer.trainable_weights]
    if BACKEND == "tensorflow":
        with framework.GradientTape() as tape:
            loss = ops.sum(layer(X, training=True) ** 2)
        return [g.numpy() for g in tape.gradient(loss, [w.value for w in layer.trainable_weights])]
    if BACKEND == "torch":
        ops.sum(layer(X, training=True) ** 2).backward()
        return [array(w.value.grad) for w in layer.trainable_weights]

    def loss_of(weights: list[Any]) -> Any:
        y, _ = layer.stateless_call(weights, [v.value for v in layer.non_trainable_variables], X, training=True)
        return ops.sum(y**2)

    return [np.asarray(g) for g in framework.grad(loss_of)(weights)]


@pytest.mark.medium
@pytest.mark.parametrize("sequences", [False, True])
def test_a_training_loop_of_ones_own_has_stocks_gradients(sequences):
    all_alike(*(gradients(layer) for layer in twins(return_sequences=sequences)))


@pytest.mark.medium
def test_fit_with_run_eagerly():
    model = model_of(elman.SimpleRNN, native="require")
    model.compile("sgd", "mse", run_eagerly=True)
    losses = model.fit(X, H[:, :2], epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def tutorial(kind: Any) -> tuple[list[float], keras.Model]:
    """The example that every tutorial shows; its losses over 20 steps."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.random((320, 5, 3)).astype("float32")
    y = (x.sum((1, 2)) > 7.5).astype("float32")
    with pytest.warns(UserWarning, match="Do not pass an `input_shape`"):
        model = keras.Sequential(
            [
                kind(units=10, input_shape=(5, 3), return_sequences=False),
                layers.Dense(1, activation="sigmoid"),
            ]
        )
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    losses: list[float] = []
    keep = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]))
    model.fit(x, y, epochs=2, batch_size=32, verbose=0, shuffle=False, callbacks=[keep])
    return losses, model


@pytest.mark.slow
def test_the_tutorials_example_runs_natively_and_learns_as_stock_does():
    ours, model = tutorial(elman.SimpleRNN)
    stock, _ = tutorial(layers.SimpleRNN)
    assert len(ours) == 20
    np.testing.assert_allclose(ours, stock, rtol=0, atol=1e-4)
    assert ours[-1] < ours[0]
    assert model.layers[0].route.path == "native"
    assert model.layers[0].route.detail in {"baseline", "avx2", "avx512", "neon"}


# --- the route -----------------------------------------------------------------------------------------------------


def test_there_is_no_route_before_the_first_call():
    layer = elman.SimpleRNN(U)
    assert layer.route is None
    layer(X)
    assert layer.route == route.Route("native", layer.route.detail, None)


def test_the_route_by_jit_compile():
    model = model_of(elman.SimpleRNN)
    if BACKEND == "torch":  # as jit_compile=True, but for the compiler of the graph, which takes minutes
        torch = importlib.import_module("torch")
        y = torch.compile(model, backend="aot_eager")(ops.convert_to_tensor(X))
        alike(y, model(X))
        expected = route.Route("native", model.layers[0].route.detail, None)
    else:
        model.compile("sgd", "mse", jit_compile=True)
        losses = model.fit(X, H[:, :2], epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
        xla = route.Route("keras", None, route.reason("xla"))
        expected = xla if BACKEND == "tensorflow" else route.Route("native", model.layers[0].route.detail, None)
    assert model.layers[0].route == expected


ACTIVATION = route.reason("activation", activation="softsign", activations="linear, tanh, relu, sigmoid, hard_sigmoid")


@pytest.mark.parametrize(
    ("arguments", "reason", "warned"),
    [
        ({"native": False}, route.reason("asked"), False),
        ({"activation": "softsign"}, ACTIVATION, True),
    ],
    ids=["asked", "activation"],
)
def test_a_layer_says_why_it_is_not_native_and_warns_once(arguments, reason, warned, caplog):
    layer, stock = twins(name="rnn", **{k: v for k, v in arguments.items() if k != "native"})
    layer.native = arguments.get("native", "auto")
    for _ in range(2):
        alike(layer(X), stock(X))
        assert layer.route == route.Route("keras", None, reason)
    messages = [record.getMessage() for record in caplog.records if record.name == "elman"]
    assert messages == [f"SimpleRNN 'rnn' runs in Keras's own operations: {reason}."] * warned


class Doubling(layers.SimpleRNNCell):
    def call(self, sequence: Any, states: Any, training: bool = False) -> Any:
        y, _ = super().call(sequence, states, training=training)
        return 2 * y, [2 * y]


def test_a_cell_of_another_class_is_run_by_keras(caplog):
    ours, stock = (kind(U, name="rnn") for kind in (elman.SimpleRNN, layers.SimpleRNN))
    for layer in (ours, stock):
        layer.cell = Doubling(U, kernel_initializer="ones", recurrent_initializer="ones")
    alike(ours(X), stock(X))
    reason = route.reason("cell", cell="Doubling")
    assert ours.route == route.Route("keras", None, reason)
    assert [r.getMessage() for r in caplog.records] == [f"SimpleRNN 'rnn' runs in Keras's own operations: {reason}."]
    layer = elman.SimpleRNN(U, truncate_gradient=2)
    layer.cell = Doubling(U)
    with pytest.raises(ValueError, match="has truncate_gradient, and a cell of the class Doubling"):
        layer(X)


def test_what_is_required_and_cannot_run_is_an_error():
    layer = elman.SimpleRNN(U, activation="softsign", native="require", name="rnn")
    sentence = f"the native path is required and cannot run: SimpleRNN 'rnn': {ACTIVATION}."
    with pytest.raises(elman.NativeUnavailable) as caught:
        layer(X)
    assert sentence in str(caught.value)
    model = keras.Sequential([keras.Input((T, F)), layer])
    model.compile("sgd", "mse")
    with pytest.raises(RuntimeError) as caught:  # Keras may put its own around it
        model.fit(X, H, verbose=0)
    assert sentence in str(caught.value)


def test_portable_traces_stock_computation_and_warns_of_nothing(caplog):
    layer, stock = twins()
    layer.native = "require"
    with elman.portable():
        alike(layer(X), stock(X))
        assert layer.route == route.Route("keras", None, route.reason("portable"))
    layer(X)
    assert layer.route.path == "native"
    assert [record for record in caplog.records if record.name == "elman"] == []


@pytest.fixture
def elman_native(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets ELMAN_NATIVE, which is read when elman first computes, and forgets what was read before."""

    def set_to(mode: str) -> None:
        monkeypatch.setenv("ELMAN_NATIVE", mode)
        _native.environment.cache_clear()

    yield set_to
    monkeypatch.undo()
    _native.environment.cache_clear()


@pytest.mark.medium
def test_elman_native_off_takes_stock_without_a_warning(elman_native, caplog):
    layer, stock = twins()
    elman_native("off")
    alike(layer(X), stock(X))
    assert layer.route == route.Route("keras", None, route.reason("off"))
    assert [record for record in caplog.records if record.name == "elman"] == []


def test_elman_native_require_refuses_what_is_not_native(elman_native):
    elman_native("require")
    layer = elman.SimpleRNN(U)
    layer(X)
    assert layer.route.path == "native"
    layer = elman.SimpleRNN(U, activation="softsign", name="rnn")
    with pytest.raises(elman.NativeUnavailable) as caught:
        layer(X)
    assert f"the native path is required and cannot run: SimpleRNN 'rnn': {ACTIVATION}." in str(caught.value)
    assert elman.SimpleRNN(U, activation="softsign", native=False)(X).shape == (B, U)  # the argument overrides it


def test_elman_native_that_is_misspelt_is_an_error(elman_native):
    elman_native("never")
    layer = elman.SimpleRNN(U)
    with pytest.raises(ValueError, match="expected auto, require or off") as caught:
        layer(X)
    assert "ELMAN_NATIVE is 'never'; expected auto, require or off. Unset or correct it." in str(caught.value)
