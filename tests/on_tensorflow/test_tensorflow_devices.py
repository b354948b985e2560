# SPDX-License-Identifier: Apache-2.0
"""Keras trains over two devices of TensorFlow as on one. The example runs in processes of its own, since TensorFlow
counts its devices once."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "distributed" / "keras_on_tensorflow.py"


@pytest.mark.large
def test_keras_trains_over_two_devices_as_on_one(tmp_path):
    weights = []
    for devices in (1, 2):
        out = tmp_path / f"{devices}.npz"
        subprocess.run([sys.executable, str(EXAMPLE), str(devices), str(out)], check=True)
        weights.append(list(np.load(out).values()))
    for alone, found in zip(*weights, strict=True):
        np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-6)
