# SPDX-License-Identifier: Apache-2.0
"""Starts the process that `four_devices.py` needs: JAX counts its devices once."""

import os
import subprocess
import sys
from pathlib import Path

import size


def test_over_four_devices():
    few = size.by_size(["-k", "keeps_the_batch or sums_gradients"], [], [])
    command = [sys.executable, "-m", "pytest", "-q", *few, str(Path(__file__).with_name("four_devices.py"))]
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    done = subprocess.run(command, env=os.environ | {"XLA_FLAGS": flags})
    assert done.returncode == 0
