# SPDX-License-Identifier: Apache-2.0
"""The NumPy example of the README runs without a framework and prints what the page shows. The examples that need
Keras run in on_each_backend/test_pages.py."""

import re
from pathlib import Path

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def test_the_example_on_numpy_runs(capsys):
    (block,) = (
        b
        for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        if "= elman.simple_rnn(x" in b and "jax" not in b
    )
    exec(block, {})
    said = re.search(r"print\(.*\)  # (.*?):", block)
    assert said is not None
    assert capsys.readouterr().out.strip() == said[1]
