# SPDX-License-Identifier: Apache-2.0
"""Keras's own tests of SimpleRNN and Bidirectional, from its wheel, with `elman.SimpleRNN` in stock's place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import keras

TESTS = Path(__file__).resolve().parents[1]
FILES = ("simple_rnn_test.py", "bidirectional_test.py")
PASSED, SKIPPED = 17, 1  # by stock, on each backend; what is skipped needs a GPU, or PyTorch's


def test_keras_own_tests_pass_with_the_layer_swapped_in(tmp_path: Path) -> None:
    folder = Path(keras.__file__).parent / "src" / "layers" / "rnn"
    (tmp_path / "pytest.ini").write_text("[pytest]\n")  # not ours: Keras's tests meet deprecations of their own
    command = [sys.executable, "-m", "pytest", "-q", "-p", "swap_layers", "-p", "no:cacheprovider", "--color=no"]
    command += ["-c", str(tmp_path / "pytest.ini"), *(str(folder / name) for name in FILES)]
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
    assert counts == {"passed": PASSED, "skipped": SKIPPED}, done.stdout
    called = re.search(r"time loops of elman\.SimpleRNN: (\d+)", done.stdout)
    assert called, done.stdout
    assert int(called.group(1)) > 0, "stock's layer was tested, not elman's"
