# SPDX-License-Identifier: Apache-2.0
"""Keras's NumPy backend, which is none of ours and needs JAX installed: the layer computes as stock does, and the
route says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

RUN = """
import json, logging, sys
import elman, keras
import numpy as np

logging.basicConfig(stream=sys.stderr)
x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
ours, stock = elman.SimpleRNN(4, return_sequences=True), keras.layers.SimpleRNN(4, return_sequences=True)
y = ours(x)
stock.build(x.shape)
stock.set_weights(ours.get_weights())
try:
    elman.SimpleRNN(4, native="require")(x)
    required = None
except elman.NativeUnavailable as error:
    required = str(error)
same = bool((np.asarray(stock(x)) == np.asarray(y)).all())
print(json.dumps({"backend": keras.config.backend(), "route": ours.route, "required": required, "same": same}))
"""


@pytest.fixture(scope="module")
def done() -> subprocess.CompletedProcess:
    environment = os.environ | {"KERAS_BACKEND": "numpy"}
    return subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, check=True)


@pytest.fixture(scope="module")
def told(done) -> dict:
    return json.loads(done.stdout.splitlines()[-1])


SENTENCE = "Keras runs on numpy, and the native path on TensorFlow, JAX or PyTorch"


@pytest.mark.slow
def test_the_layer_computes_as_stock(told):
    assert told["backend"] == "numpy"
    assert told["same"]


def test_the_route_says_why(told):
    assert told["route"] == ["keras", None, SENTENCE]


def test_one_warning_says_it_too(done):
    assert done.stderr.count(f"runs in Keras's own operations: {SENTENCE}") == 1


def test_the_native_path_cannot_be_required(told):
    assert SENTENCE in told["required"]
