# SPDX-License-Identifier: Apache-2.0
"""The examples that need NumPy alone, in the README and in docs/functions.md, run without a framework and print what
the page shows. The examples that need a framework run in on_each_backend/test_pages.py."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FRAMEWORK = re.compile(r"^(?:import|from) (?:keras|tensorflow|jax|torch)\b", re.MULTILINE)
BLOCKS = {
    f"{name}-{number}": code
    for name in ("README.md", "docs/functions.md")
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.DOTALL))
    if not FRAMEWORK.search(code)
}


def test_the_pages_have_such_examples():
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("name", BLOCKS)
def test_the_example_runs(name, capsys):
    exec(BLOCKS[name], {})
    (said,) = re.findall(r"print\(.*\)  # (.*?)(?:: .*)?$", BLOCKS[name], re.MULTILINE)
    assert capsys.readouterr().out.strip() == said
