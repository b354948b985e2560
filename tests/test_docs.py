# SPDX-License-Identifier: Apache-2.0
"""Every page imports elman before Keras: then elman picks a backend that is installed, where Keras by itself takes
TensorFlow and fails without it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ELMAN = re.compile(r"^(?:import|from) elman\b", re.MULTILINE)
KERAS = re.compile(r"^(?:import|from) (?:keras|tensorflow\.keras|tf_keras)\b", re.MULTILINE)


def programs(page: Path) -> list[str]:
    """The blocks of the README one by one, as readers copy one; those of another page in one, as they build up."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return blocks if page.name == "README.md" else ["\n".join(blocks)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_elman_is_imported_before_keras(page):
    for code in programs(page):
        keras = KERAS.search(code)
        elman = ELMAN.search(code)
        assert keras is None or (elman is not None and elman.start() < keras.start()), code


def test_the_pages_that_use_keras_are_found():
    using = {page.name for page in PAGES if any(KERAS.search(code) for code in programs(page))}
    assert {"README.md", "guide.md", "memory.md", "routes.md"} <= using
