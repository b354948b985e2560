# SPDX-License-Identifier: Apache-2.0
"""The code on the pages runs as it stands and prints what the page shows: block after block, but each block of the
README by itself, since readers copy one.

The page shows it in the `text` block right after the code, if there is one, else in the comments next to its prints. A
block that imports a framework runs on that one alone.
"""

import re
from pathlib import Path

import keras
import pytest

from elman import _native

ROOT = Path(__file__).resolve().parents[2]
# docs/forecast.md needs no framework and runs in ../test_forecast_page.py.
PAGES = [ROOT / "README.md", *sorted(set((ROOT / "docs").glob("*.md")) - {ROOT / "docs" / "forecast.md"})]
NAMES = [page.name for page in PAGES]
FRAMEWORKS = {"tensorflow": "import tensorflow", "jax": "import jax", "torch": "import torch"}
BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)


def blocks(page):
    """The code of each block, and the lines that it must print."""
    backend = keras.config.backend()
    others = [line for name, line in FRAMEWORKS.items() if name != backend]
    for code, text in BLOCK.findall(page.read_text()):
        if not any(line in code for line in others):
            yield code, text.splitlines() if text else shown_next_to(code)


def shown_next_to(code):
    """The comments, each up to its explanation, with the instruction set of this machine."""
    said = [re.split(r": (?=\w+ \w+)", text)[0] for text in re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)]
    return [re.sub(r"detail='\w+'", f"detail='{_native.environment().isa}'", text) for text in said]


@pytest.mark.medium
@pytest.mark.parametrize("page", [PAGES[0], *(pytest.param(p, marks=pytest.mark.once) for p in PAGES[1:])], ids=NAMES)
def test_the_code_of_a_page_runs_and_prints_what_it_says(page, capsys):
    names = {}
    for code, said in blocks(page):
        if page.name == "README.md":
            names = {}
        exec(code, names)
        assert capsys.readouterr().out.splitlines() == said
