# SPDX-License-Identifier: Apache-2.0
"""The figures that docs/guide.md shows, and the notebook that is made from it. Its code runs in
on_each_backend/test_pages.py."""

import re
import runpy
from pathlib import Path

import jupytext
import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
GUIDE = (DOCS / "guide.md").read_text()
SHOWN = re.findall(r"!\[[^\]]+\]\(figures/([\w.]+)\)", GUIDE)


@pytest.mark.medium
def test_the_script_draws_the_figures_that_the_page_shows(tmp_path):
    runpy.run_path(str(DOCS / "figures.py"))["main"](tmp_path)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(SHOWN) == sorted(path.name for path in (DOCS / "figures").iterdir())
    assert all("<svg" in (tmp_path / name).read_text() for name in drawn)


def test_every_block_of_python_is_a_cell_of_the_notebook():
    cells = jupytext.read(DOCS / "guide.md").cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert code == [block.strip() for block in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)]
    assert "# The SimpleRNN in seven steps" in cells[0].source


def test_every_link_inside_the_page_leads_to_a_heading():
    headings = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^##+ (.*)$", GUIDE, re.M)]
    links = re.findall(r"\]\(#([^)]+)\)", GUIDE)
    assert links
    assert set(links) <= set(headings)
