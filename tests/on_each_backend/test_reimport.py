# SPDX-License-Identifier: Apache-2.0
"""elman imported again in one process, as a notebook's autoreload or a second copy on the path does it.

Frameworks register an operator's name once for the process, so the second import has to work with what the first one
registered. A child process does it all, as the imports would be left behind.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import gc, importlib, shutil, sys
import numpy as np
import keras
import elman

def results():
    layer = elman.GRU(3, native="require", return_sequences=True)
    layer.build((2, 5, 4))
    layer.set_weights([np.linspace(-1, 1, w.size, dtype="float32").reshape(w.shape) for w in layer.get_weights()])
    x = np.linspace(-1, 1, 40, dtype="float32").reshape(2, 5, 4)
    model = keras.Sequential([layer, keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse")
    loss = model.train_on_batch(x, np.zeros((2, 5, 1)))
    return np.concatenate([[float(loss)], *(w.ravel() for w in layer.get_weights())])

expected = results()

def check(way):
    gc.collect()
    np.testing.assert_array_equal(results(), expected, way)
    print(way)

importlib.reload(importlib.import_module("elman._" + keras.config.backend()))
check("reloaded")

def forget():
    for name in [name for name in sys.modules if name.partition(".")[0] == "elman"]:
        del sys.modules[name]

forget()
import elman
check("imported again")

for folder in elman.__path__:
    shutil.copytree(folder, sys.argv[1] + "/elman", dirs_exist_ok=True)
forget()
sys.path.insert(0, sys.argv[1])
import elman
assert elman.__file__.startswith(sys.argv[1])
check("a second copy")
"""


@pytest.mark.medium
def test_another_import_in_the_same_process_runs_natively(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["reloaded", "imported again", "a second copy"], done.stderr
