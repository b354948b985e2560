# SPDX-License-Identifier: Apache-2.0
"""The README's example on NumPy runs where no framework is, and prints what it says. What needs Keras runs in
on_each_backend/test_pages.py."""

import re
from pathlib import Path

import numpy as np

import elman

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def test_the_example_on_numpy_runs(capsys):
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "elman.simple_rnn(x" in b)
    rng = np.random.default_rng(0)
    exec(block, {"np": np, "elman": elman, "rng": rng, "x": rng.normal(size=(256, 5, 3)).astype("float32")})
    said = re.search(r"print\(.*\)  # (.*?):", block)
    assert said is not None
    assert capsys.readouterr().out.strip() == said[1]
