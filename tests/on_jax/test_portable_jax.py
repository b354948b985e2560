# SPDX-License-Identifier: Apache-2.0
"""Files that `elman.portable()` makes on JAX, opened in a process without elman: `jax.export`, and Keras's SavedModel.

Stock Keras's own file is opened next to each. A model is exported after it has run natively, by the very `jax.jit` that
did so. Left out: Keras's ONNX export from JAX, whose converter (jax2onnx) brings Flax, Equinox and Orbax.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import elman
import portable_cases
import size

READER = """
import jax.export

def open_and_run(path, x):
    with open(path, "rb") as file:
        return jax.export.deserialize(bytearray(file.read())).call(x)
"""
READER_OF_SAVED_MODELS = """
import tensorflow as tf

def open_and_run(path, x):
    loaded = tf.saved_model.load(path)
    return loaded.serve(tf.constant(x)).numpy()
"""
# Exports the models into the folders that it is given; TensorFlow is loaded there next to JAX. A stateful model has a
# fixed batch, which the signature of the file has to state.
WRITE_SAVED_MODELS = """
import pathlib, sys
import keras, numpy as np
import tensorflow as tf
import elman, portable_cases
x = portable_cases.inputs()
for folder in map(pathlib.Path, sys.argv[1:]):
    who, name = folder.parent.name, folder.name
    model = portable_cases.model({"stock": keras.layers.SimpleRNN, "elman": elman.SimpleRNN}[who], name)
    folder.parent.mkdir(exist_ok=True)
    np.save(f"{folder}.npy", portable_cases.output(model, x))
    with elman.portable():
        model.export(folder, verbose=False)

x = np.linspace(-1, 1, 30, dtype="float32").reshape(2, 5, 3)
layer = elman.LSTM(4, stateful=True)
model = keras.Sequential([keras.Input(batch_shape=x.shape), layer])
first, second = model.predict(x, verbose=0), model.predict(x, verbose=0)
layer.reset_states()
path = folder.parent / "stateful"
try:
    model.export(path, verbose=False)
except ValueError as error:
    print(error)
model.export(path, verbose=False, input_signature=[keras.InputSpec(shape=x.shape, dtype="float32")])
loaded = tf.saved_model.load(path)
for expected in (first, second):
    np.testing.assert_allclose(loaded.serve(x), expected, atol=1e-6)
"""
SAVED_MODELS = size.by_size(
    ["elman/masked"], ["elman/masked"], ["stock/plain", "stock/masked", "elman/plain", "elman/masked"]
)


def save(path: Path, function: Callable, x: np.ndarray) -> None:
    path.write_bytes(jax.export.export(function)(jax.ShapeDtypeStruct(x.shape, x.dtype)).serialize())


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[portable_cases.Reader]:
    with portable_cases.reader(tmp_path_factory.mktemp("reader"), READER) as reader:
        yield reader


@pytest.mark.slow
def test_an_export_is_portable_by_itself(reader, tmp_path):
    x, model = portable_cases.inputs(), portable_cases.model(elman.SimpleRNN, "masked")
    expected = portable_cases.output(model, x)
    save(tmp_path / "model", jax.jit(lambda x: model(x, training=False)), x)
    portable_cases.assert_same(reader.run(tmp_path / "model", x), expected)
    portable_cases.assert_same(portable_cases.output(model, x), expected)


@pytest.mark.medium
@portable_cases.each_case()
def test_an_exported_function_opens_without_elman(layer, name, reader, tmp_path):
    x, model = portable_cases.inputs(), portable_cases.model(layer, name)
    expected = portable_cases.output(model, x)
    function = jax.jit(lambda x: model(x, training=False))
    portable_cases.assert_same(np.asarray(function(x)), expected)
    with elman.portable():
        save(tmp_path / "model", function, x)
    portable_cases.assert_same(reader.run(tmp_path / "model", x), expected)


def weights() -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    features, units = portable_cases.FEATURES, portable_cases.UNITS
    kernel, recurrent_kernel = (rng.normal(size=s).astype("float32") for s in ((features, units), (units, units)))
    return jnp.asarray(kernel), jnp.asarray(recurrent_kernel)


@pytest.mark.parametrize("options", [{}, {"truncate_gradient": 2, "native": "require"}], ids=["plain", "required"])
def test_the_function_opens_without_elman(options, reader, tmp_path):
    x, operands = portable_cases.inputs(), weights()
    function = jax.jit(lambda x: elman.simple_rnn(x, *operands, **options)[0])
    expected = np.asarray(function(x))
    with elman.portable():
        save(tmp_path / "function", function, x)
    portable_cases.assert_same(reader.run(tmp_path / "function", x), expected)


def test_a_jitted_function_is_traced_apart_inside_and_outside():
    operands = weights()
    function = jax.jit(lambda x: elman.simple_rnn(x, *operands)[0])
    x = portable_cases.inputs()
    assert "elman" in function.lower(x).as_text()
    with elman.portable():
        assert "elman" not in function.lower(x).as_text()
        function(x)
    assert "elman" in function.lower(x).as_text()
    assert "elman" in function.lower(x).compile().as_text()


def test_a_function_traced_first_inside_is_native_outside(monkeypatch):
    operands, x = weights(), portable_cases.inputs()
    function = jax.jit(lambda x: elman.simple_rnn(x, *operands, native="require")[0])
    with elman.portable():
        function(x)
    traces = []
    monkeypatch.setattr(elman._jax, "recurrence", lambda *a: traces.append(a) or elman._jax.plain(*a))
    function(x)
    assert traces


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], str]:
    """The folders of the models that one process exports, and what it prints."""
    parent = tmp_path_factory.mktemp("saved")
    folders = [parent / name for name in SAVED_MODELS]
    path = os.pathsep.join(p for p in (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")) if p)
    command = [sys.executable, "-c", WRITE_SAVED_MODELS, *map(str, folders)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folders, done.stdout


@pytest.mark.medium
@pytest.mark.needs("tensorflow")  # which writes Keras's SavedModel
def test_a_saved_model_opens_without_elman(saved, tmp_path):
    folders, _ = saved
    with portable_cases.reader(tmp_path, READER_OF_SAVED_MODELS) as reader:
        for folder in folders:
            portable_cases.assert_same(reader.run(folder, portable_cases.inputs()), np.load(f"{folder}.npy"))


@pytest.mark.medium
@pytest.mark.needs("tensorflow")
def test_a_stateful_model_is_exported_for_its_own_batch(saved):
    _, printed = saved
    sentence = "is exported for a batch of any size; expected 2, the batch it was built with and keeps states for."
    assert sentence in printed
    assert "input_signature=[keras.InputSpec(shape=(2, time, features), dtype='float32')]" in printed
