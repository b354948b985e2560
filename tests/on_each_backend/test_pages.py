# SPDX-License-Identifier: Apache-2.0
"""The code on the pages runs as it stands, block after block, and prints what the comments beside it say.

A block that imports a framework runs under that one alone.
"""

import re
from pathlib import Path

import keras
import pytest

from elman import _native

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FRAMEWORKS = {"tensorflow": "import tensorflow", "jax": "import jax", "torch": "import torch"}


def blocks(page):
    backend = keras.config.backend()
    others = [line for name, line in FRAMEWORKS.items() if name != backend]
    found = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    return [block for block in found if not any(line in block for line in others)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs_and_prints_what_it_says(page, capsys):
    names = {}
    for block in blocks(page):
        exec(block, names)
        said = [
            re.split(r": (?=\w+ \w+)", text)[0] for text in re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
        ]
        said = [re.sub(r"detail='\w+'", f"detail='{_native.environment().isa}'", text) for text in said]
        assert capsys.readouterr().out.splitlines() == said
