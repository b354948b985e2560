# SPDX-License-Identifier: Apache-2.0
"""The README's code runs as it stands, and prints what it says. Blocks that need a framework run in its folder."""

import re
from pathlib import Path

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_example_on_numpy_runs(capsys):
    exec(BLOCKS[0], {})
    said = re.search(r"print\(.*\)  # (.*?):", BLOCKS[0])
    assert said is not None
    assert capsys.readouterr().out.strip() == said[1]
