# SPDX-License-Identifier: Apache-2.0
"""Keras's own tests of recurrent layers, from its wheel, with elman's three layers instead of the stock ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import size

TESTS = Path(__file__).resolve().parents[1]
FOLDER = Path(keras.__file__).parent / "src" / "layers" / "rnn"
# The files that name one of the layers are those whose tests elman's can change. The whole folder is run as well in the
# large size, where a plugin that breaks something else would show.
NAMING = [f for f in sorted(FOLDER.glob("*_test.py")) if re.search(r"\b(SimpleRNN|LSTM|GRU)\(", f.read_text())]
# What stock passes and skips. The skipped tests need a GPU, or TensorFlow.
COUNTS = size.by_size(
    *[{"tensorflow": (32, 2), "jax": (29, 3), "torch": (31, 3)}] * 2,
    {"tensorflow": (77, 2), "jax": (76, 3), "torch": (76, 3)},
)[keras.config.backend()]
# Each test_basics trains several models, which JAX compiles: those of LSTM and GRU run there in the large size.
FEWER = keras.config.backend() == "jax" and size.SIZE != "large"
CHOSEN = ["-k", "not test_basics or not (LSTM or GRU)"] if FEWER else []


@pytest.mark.medium
def test_keras_own_tests_pass_with_the_layers_swapped_in(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")  # not ours: Keras's tests meet deprecations of their own
    command = [sys.executable, "-m", "pytest", "-q", "-p", "swap_layers", "-p", "no:cacheprovider", "--color=no"]
    command += ["-c", str(tmp_path / "pytest.ini"), *CHOSEN, *map(str, size.by_size(NAMING, NAMING, [FOLDER]))]
    path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)", done.stdout)}
    assert counts == dict(zip(("passed", "skipped"), COUNTS, strict=True)), done.stdout
    called = dict(re.findall(r"time loops of elman\.(\w+): (\d+)", done.stdout))
    assert set(called) == {"SimpleRNN", "LSTM", "GRU"}, done.stdout
    assert "0" not in called.values(), "stock's layers were tested, not elman's"
