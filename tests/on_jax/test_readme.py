# SPDX-License-Identifier: Apache-2.0
"""The README's example on JAX runs after the one on NumPy, whose arrays it takes."""

import re
from pathlib import Path

import numpy as np

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def test_the_example_on_jax_runs():
    names = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(block, names)
    assert [gradient.shape for gradient in names["gradients"]] == [(8, 64), (64, 64), (64,)]
    assert all(np.isfinite(gradient).all() for gradient in names["gradients"])
