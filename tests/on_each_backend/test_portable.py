# SPDX-License-Identifier: Apache-2.0
"""`elman.portable()` as a context, on the backend that KERAS_BACKEND names: what runs inside, and what runs again
outside. The files that are made in it have tests of their own, by framework."""

from __future__ import annotations

import importlib
import threading
from typing import Any

import keras
import numpy as np
import pytest

import elman
import portable_cases
from elman import route

ADAPTER = importlib.import_module(f"elman._{keras.backend.backend()}")
PORTABLE = route.Route("keras", None, route.reason("portable"))


@pytest.fixture
def native_calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows with each native call that is made or traced."""
    calls, recurrence = [], ADAPTER.recurrence

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return recurrence(*arguments)

    monkeypatch.setattr(ADAPTER, "recurrence", counted)
    return calls


@pytest.fixture
def layer() -> elman.SimpleRNN:
    return elman.SimpleRNN(portable_cases.UNITS)


def inputs() -> Any:
    return keras.ops.convert_to_tensor(portable_cases.inputs())


def run_function(native: str | bool = "auto") -> Any:
    features, units = portable_cases.FEATURES, portable_cases.UNITS
    kernel, recurrent_kernel = (keras.ops.ones(shape) / 9 for shape in ((features, units), (units, units)))
    return elman.simple_rnn(inputs(), kernel, recurrent_kernel, native=native)[0]


@pytest.mark.medium
def test_inside_a_layer_runs_stock_operations_and_says_why(layer, native_calls):
    with elman.portable():
        layer(inputs())
    assert layer.route == PORTABLE
    assert not native_calls


def test_inside_the_function_runs_plain_operations(native_calls):
    with elman.portable():
        inside = run_function()
    assert not native_calls
    outside = run_function()
    assert native_calls
    portable_cases.assert_same(keras.ops.convert_to_numpy(inside), keras.ops.convert_to_numpy(outside))


def test_after_it_the_native_path_is_taken_again(layer, native_calls):
    with elman.portable():
        inside = layer(inputs())
    outside = layer(inputs())
    assert layer.route.path == "native"
    assert native_calls
    portable_cases.assert_same(keras.ops.convert_to_numpy(outside), keras.ops.convert_to_numpy(inside))


def test_contexts_nest(layer):
    with elman.portable():
        with elman.portable():
            layer(inputs())
            assert layer.route == PORTABLE
        layer(inputs())
        assert layer.route == PORTABLE
    layer(inputs())
    assert layer.route.path == "native"


def test_an_exception_ends_it(layer):
    def fail() -> None:
        with elman.portable():
            layer(inputs())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert layer.route == PORTABLE
    layer(inputs())
    assert layer.route.path == "native"


def test_another_thread_is_not_inside(layer, native_calls):
    layer(inputs())
    native_calls.clear()

    def run() -> None:
        layer(inputs())
        run_function()

    with elman.portable():
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert layer.route.path == "native"
        assert len(native_calls) == 2
        layer(inputs())
        assert layer.route == PORTABLE


def test_it_overrides_what_requires_the_native_path(native_calls, monkeypatch):
    monkeypatch.setenv("ELMAN_NATIVE", "require")
    layer = elman.SimpleRNN(portable_cases.UNITS, native="require")
    with elman.portable():
        layer(inputs())
        run_function(native="require")
    assert layer.route == PORTABLE
    assert not native_calls


def test_it_does_not_warn(layer, caplog):
    with elman.portable():
        layer(inputs())
    assert not caplog.records


@pytest.mark.medium
@pytest.mark.parametrize("name", portable_cases.STOCK | portable_cases.ELMAN)
def test_what_is_predicted_inside_is_what_the_native_path_gives(name):
    x, model = portable_cases.inputs(), portable_cases.model(elman.SimpleRNN, name)
    expected = portable_cases.output(model, x)
    with elman.portable():
        portable_cases.assert_same(keras.ops.convert_to_numpy(model(x)), expected)
    assert {layer.route for layer in portable_cases.recurrent(model)} == {PORTABLE}


def test_a_model_first_run_inside_trains_natively_outside(native_calls):
    """Keras traces its train step again."""
    model = portable_cases.model(elman.SimpleRNN, "plain")
    with elman.portable():
        model(portable_cases.inputs())
    assert not native_calls
    model.compile("sgd", "mse")
    model.train_on_batch(portable_cases.inputs(), np.zeros((2, portable_cases.UNITS), "float32"))
    assert model.layers[-1].route.path == "native"
    assert native_calls
