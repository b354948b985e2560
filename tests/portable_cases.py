# SPDX-License-Identifier: Apache-2.0
"""Models whose files must open without elman, and a process without elman that opens them.

In: a case's name and a layer class, stock or elman's. Out: a built model, its weights the same for both. Truncated
and clipped gradients, a learned state and `native` are elman's alone; the forward of a stock file shows what the
format can do in this environment, that of elman's file what `elman.portable()` promises.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

import elman
import tolerance

Array = np.ndarray
TIME, FEATURES, UNITS = 5, 3, 4


class Case(NamedTuple):
    """A layer and what is around it."""

    options: dict[str, Any]
    masking: bool = False
    bidirectional: bool = False


STOCK = {
    "plain": Case({}),
    "masked": Case({"return_sequences": True}, masking=True),
    "bidirectional": Case({"return_sequences": True}, masking=True, bidirectional=True),
    "backwards": Case({"return_sequences": True, "go_backwards": True}),
}
ELMAN = {
    "required": Case({"native": "require"}),
    "learned": Case({"learn_initial_state": True}),
    "truncated": Case({"truncate_gradient": 2, "return_sequences": True}),
    "clipped": Case({"clip_state_gradient": 1.0}, masking=True),
}


def each_case(*without: str) -> pytest.MarkDecorator:
    """Parametrizes a test by `layer` and `name`. Stock first: where its file does not work, elman's need not.

    The models of stock that are part of another are of the large size.
    """
    pairs = [(keras.layers.SimpleRNN, name) for name in STOCK] + [(elman.SimpleRNN, name) for name in STOCK | ELMAN]
    chosen = [
        pytest.param(
            layer,
            name,
            id=f"{'elman' if layer is elman.SimpleRNN else 'stock'}-{name}",
            marks=[pytest.mark.large] if layer is not elman.SimpleRNN and name in ("plain", "backwards") else [],
        )
        for layer, name in pairs
        if name not in without
    ]
    return pytest.mark.parametrize(("layer", "name"), chosen)


def model(layer_class: type, name: str, batch: int | None = None) -> keras.Model:
    """A model of the case, its weights random and no bias or initial state zero."""
    case = (STOCK | ELMAN)[name]
    x = keras.Input((TIME, FEATURES), batch_size=batch, name="x")
    layer = layer_class(UNITS, **case.options)
    if case.bidirectional:
        layer = keras.layers.Bidirectional(layer)
    made = keras.Model(x, layer(keras.layers.Masking()(x) if case.masking else x))
    rng = np.random.default_rng(0)
    made.set_weights([rng.normal(size=w.shape).astype("float32") for w in made.get_weights()])
    return made


def inputs(batch: int = 2) -> Array:
    """Sequences in which Masking hides the first step, one in the middle, and the end of the last."""
    x = np.random.default_rng(1).normal(size=(batch, TIME, FEATURES)).astype("float32")
    x[0, [0, 2]] = 0
    x[-1, 3:] = 0
    return x


def output(made: keras.Model, x: Array) -> Array:
    """What the model gives before it is exported; elman's layers do it natively."""
    y = made.predict(x, verbose=0)
    keras.ops.convert_to_numpy(made(x))  # the eager call too, which tells the route on every backend
    for layer in recurrent(made):
        if isinstance(layer, elman.SimpleRNN):
            assert layer.route.path == "native", layer.route
    return y


def recurrent(made: keras.Model) -> list[keras.layers.Layer]:
    """The model's recurrent layers; the two of a Bidirectional in its place."""
    outer = made.layers[-1]
    return [outer.forward_layer, outer.backward_layer] if hasattr(outer, "forward_layer") else [outer]


def assert_same(got: Array, expected: Array) -> None:
    """Two float32 results of the same sums, in whatever order: within the rule's floor of each other."""
    assert got.dtype == np.float32
    allowed = tolerance.ULPS * tolerance.ulp(expected, np.float32)
    assert tolerance.error(got, expected) <= allowed, (got, expected)


# --- the other process -----------------------------------------------------------------------------------------------

_READER = """
import json, sys, traceback
import numpy as np
sys.modules["elman"] = None  # whatever asks for it gets an ImportError
{code}
for line in sys.stdin:
    path, x, y = json.loads(line)
    try:
        np.save(y, open_and_run(path, np.load(x)))
        reply = None
    except Exception:
        reply = traceback.format_exc()
    print("REPLY" + json.dumps(reply), flush=True)
"""


class Reader:
    """A process in which elman cannot be imported."""

    def __init__(self, process: subprocess.Popen, folder: Path) -> None:
        self.process, self.folder = process, folder

    def run(self, path: Path, x: Array) -> Array:
        """The output of a file there; raises what went wrong there."""
        sent, got = self.folder / "x.npy", self.folder / "y.npy"
        np.save(sent, x)
        self.process.stdin.write(json.dumps([str(path), str(sent), str(got)]) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("REPLY"):
                problem = json.loads(line.removeprefix("REPLY"))
                assert problem is None, problem
                return np.load(got)
        raise AssertionError(f"the process without elman ended with status {self.process.wait()}")


@contextlib.contextmanager
def reader(folder: Path, code: str) -> Iterator[Reader]:
    """Starts the process. `code` defines there `open_and_run(path, x) -> y`, and imports what that needs."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", _READER.format(code=code)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, cwd=folder, **pipes) as process:
        yield Reader(process, folder)
        process.stdin.close()
