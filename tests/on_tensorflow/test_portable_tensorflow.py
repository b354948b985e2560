# SPDX-License-Identifier: Apache-2.0
"""Files that `elman.portable()` makes on TensorFlow, opened in a process without elman: SavedModel, LiteRT and ONNX.

Stock Keras's own file is opened next to each. A model is exported after it has run natively. LiteRT files come from
TensorFlow's converter for a batch of one: of Keras's own `export(format="litert")` stock's file wants Flex.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf

import elman
import portable_cases
from elman import route

READER = """
import onnxruntime
import tensorflow as tf

def open_and_run(path, x):
    if path.endswith(".onnx"):
        session = onnxruntime.InferenceSession(path)
        return session.run(None, {session.get_inputs()[0].name: x})[0]
    if path.endswith(".tflite"):
        interpreter = tf.lite.Interpreter(path)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    loaded = tf.saved_model.load(path)
    (y,) = loaded.signatures["serving_default"](tf.constant(x)).values()
    return y.numpy()
"""
# Keras's own patch of tf2onnx asks NumPy for a name that may come.
pytestmark = pytest.mark.filterwarnings("ignore:In the future `np.object` will be defined:FutureWarning")
each_layer = pytest.mark.parametrize("layer", [keras.layers.SimpleRNN, elman.SimpleRNN], ids=["stock", "elman"])


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[portable_cases.Reader]:
    with portable_cases.reader(tmp_path_factory.mktemp("reader"), READER) as reader:
        yield reader


@pytest.mark.at_most(4)
@portable_cases.each_case()
def test_an_exported_saved_model_opens_without_elman(layer, name, reader, tmp_path):
    x, model = portable_cases.inputs(), portable_cases.model(layer, name)
    expected = portable_cases.output(model, x)
    with elman.portable():
        model.export(tmp_path, verbose=False)
    portable_cases.assert_same(reader.run(tmp_path, x), expected)


@each_layer
def test_a_saved_model_of_tensorflow_opens_without_elman(layer, reader, tmp_path):
    x, model = portable_cases.inputs(), portable_cases.model(layer, "masked")
    expected = portable_cases.output(model, x)
    with elman.portable():
        tf.saved_model.save(model, str(tmp_path))
    portable_cases.assert_same(reader.run(tmp_path, x), expected)


@pytest.mark.parametrize("form", ["saved model", "litert", "required"])
def test_an_export_is_portable_by_itself(form, reader, tmp_path):
    x = portable_cases.inputs(1)
    model = portable_cases.model(elman.SimpleRNN, "required" if form == "required" else "masked", batch=1)
    expected = portable_cases.output(model, x)
    (layer,) = (layer for layer in model.layers if isinstance(layer, elman.SimpleRNN))
    if form == "litert":
        path = tmp_path / "model.tflite"
        path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    else:
        path = tmp_path
        model.export(path, verbose=False)
    if form == "required":
        assert layer.route.path == "native"
        return
    assert layer.route == route.Route("keras", None, route.reason("export"))
    portable_cases.assert_same(reader.run(path, x), expected)
    portable_cases.output(model, x)
    model(x)
    assert layer.route.path == "native"


@pytest.mark.at_most(4)
@portable_cases.each_case()
def test_a_litert_file_opens_without_elman(layer, name, reader, tmp_path):
    x, path = portable_cases.inputs(1), tmp_path / "model.tflite"
    model = portable_cases.model(layer, name, batch=1)
    expected = portable_cases.output(model, x)
    with elman.portable():
        path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    portable_cases.assert_same(reader.run(path, x), expected)


@pytest.mark.needs("onnxruntime", "tf2onnx")
@pytest.mark.at_most(4)
@portable_cases.each_case()
def test_an_onnx_file_opens_without_elman(layer, name, reader, tmp_path):
    x, path = portable_cases.inputs(), tmp_path / "model.onnx"
    model = portable_cases.model(layer, name)
    expected = portable_cases.output(model, x)
    with elman.portable():
        model.export(path, format="onnx", verbose=False)
    portable_cases.assert_same(reader.run(path, x), expected)


class Recurrence(tf.Module):
    """`elman.simple_rnn` with weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        features, units = portable_cases.FEATURES, portable_cases.UNITS
        self.operands = [tf.Variable(rng.normal(size=s), dtype="float32") for s in ((features, units), (units, units))]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return elman.simple_rnn(x, *self.operands, truncate_gradient=2)[0]


def operations(function: tf.types.experimental.ConcreteFunction) -> set[str]:
    return {op.type for op in function.graph.get_operations()}


def test_the_function_is_saved_without_elman(reader, tmp_path):
    x, module = portable_cases.inputs(), Recurrence()
    expected = module(tf.constant(x)).numpy()
    specification = tf.TensorSpec((None, None, portable_cases.FEATURES))
    native = tf.function(module.__call__).get_concrete_function(specification)
    with elman.portable():
        portable = tf.function(module.__call__).get_concrete_function(specification)
    assert "ElmanForward" in operations(native)
    assert "ElmanForward" not in operations(portable)
    tf.saved_model.save(module, str(tmp_path), signatures=portable)
    portable_cases.assert_same(reader.run(tmp_path, x), expected)
