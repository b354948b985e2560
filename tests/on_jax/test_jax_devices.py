# SPDX-License-Identifier: Apache-2.0
"""Starts the processes that see several devices, `four_devices.py` and an example: JAX counts its devices once."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import size

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "distributed" / "keras_on_jax.py"


@pytest.mark.slow
def test_over_four_devices():
    few = size.by_size(["-k", "keeps_the_batch or sums_gradients"], [], [])
    command = [sys.executable, "-m", "pytest", "-q", *few, str(Path(__file__).with_name("four_devices.py"))]
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    done = subprocess.run(command, env=os.environ | {"XLA_FLAGS": flags})
    assert done.returncode == 0


@pytest.mark.large
def test_keras_trains_over_several_devices_as_on_one(tmp_path):
    weights = {}
    for devices in (1, 2, 8):
        out, programs = tmp_path / f"{devices}.npz", tmp_path / str(devices)
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={programs} --xla_dump_hlo_as_text"
        subprocess.run(
            [sys.executable, str(EXAMPLE), str(devices), str(out)], env=os.environ | {"XLA_FLAGS": flags}, check=True
        )
        weights[devices] = list(np.load(out).values())
        steps = [path.read_text() for path in programs.glob("*jit_train_step*after_optimizations.txt")]
        assert steps
        for step in steps:
            assert "elman" in step
            assert (" all-reduce(" in step) == (devices > 1)
            assert not [move for move in ("all-gather", "all-to-all", "collective-permute") if move in step]
    for devices in (2, 8):
        for found, alone in zip(weights[devices], weights[1], strict=True):
            np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-6)
