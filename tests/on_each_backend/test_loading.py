# SPDX-License-Identifier: Apache-2.0
"""Files opened in a fresh process: with elman imported before or after Keras and nothing of it touched, and where it
cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np

import elman

LOAD = """
def check(name):
    model = keras.models.load_model(name + ".keras")
    kinds = {type(layer).__module__.partition(".")[0] for layer in model.layers}
    assert ("elman" in kinds) == (name == "ours"), kinds
    y = keras.ops.convert_to_numpy(model(np.load("x.npy")))
    np.testing.assert_allclose(y, np.load("y.npy"), rtol=0, atol=1e-6)
"""
ELMAN_FIRST = f"import elman, keras\nimport numpy as np\n{LOAD}\ncheck('ours')"
KERAS_FIRST = f"""
import sys
sys.modules["elman"] = None  # it cannot be imported
import keras
import numpy as np
{LOAD}
check("stock")
del sys.modules["elman"]
import elman
check("ours")
"""


def written(folder: Path) -> Path:
    """The folder, with a model of elman's layers, of Keras's own, and what they compute."""
    half = elman.SimpleRNN(4, return_sequences=True)
    layers = [keras.layers.Bidirectional(half), elman.SimpleRNN(3), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((5, 2)), *layers])
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("float32")
    model.train_on_batch(x, x[:, 0, :1])
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", np.array(keras.ops.convert_to_numpy(model(x))))
    model.save(folder / "ours.keras")
    elman.to_stock(model).save(folder / "stock.keras")
    return folder


def run(code: str, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_file_loads_where_elman_is_imported_before_keras(tmp_path):
    run(ELMAN_FIRST, written(tmp_path))


def test_a_stock_file_loads_without_elman_and_ours_once_it_is_imported(tmp_path):
    run(KERAS_FIRST, written(tmp_path))


def test_load_model_takes_what_keras_takes(tmp_path):
    path = written(tmp_path) / "ours.keras"
    model = elman.load_model(path, custom_objects=None, compile=False, safe_mode=True)
    assert not model.compiled
    assert elman.load_model(path).compiled
