# SPDX-License-Identifier: Apache-2.0
"""`python -m elman script.py` for a program of Keras, on the backend that KERAS_BACKEND names."""

from __future__ import annotations

import subprocess
import sys

import keras
import pytest

PROGRAM = """
import keras, numpy
x = numpy.zeros((4, 6, 3), "float32")
model = keras.Sequential([keras.layers.GRU(5, name="first", return_sequences=True), keras.layers.LSTM(2, name="last")])
model(x)
model.predict(x, verbose=0)
keras.layers.SimpleRNN(3, activation="gelu", name="other")(x)
"""


@pytest.mark.medium
def test_a_table_says_what_the_layers_of_a_program_did(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run([sys.executable, "-m", "elman", tmp_path / "program.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stderr[done.stderr.index("elman: the recurrent layers of this program") :].splitlines()
    rows = {line.split("  ")[0]: line for line in lines[2:]}
    for name in ("GRU(5) first", "LSTM(2) last"):
        path, calls, traced, _ = rows[name].removeprefix(name).split()
        assert path == "native"
        assert int(calls) >= 1
        assert int(traced) >= (keras.config.backend() != "torch")
    assert "keras" in rows["SimpleRNN(3) other"]
    assert "activation gelu has no native kernel" in rows["SimpleRNN(3) other"]
