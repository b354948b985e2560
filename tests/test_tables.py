# SPDX-License-Identifier: Apache-2.0
"""Every measured table and figure of a page is what evidence/ holds, and every file of evidence/ is cited by a page."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TABLES = runpy.run_path(str(ROOT / "docs" / "tables.py"))


@pytest.mark.parametrize("page", TABLES["PAGES"])
def test_the_page_has_what_was_measured(page):
    text = (ROOT / page).read_text()
    assert TABLES["written"](text) == text, f"{page} differs from evidence/; run `python docs/tables.py`"


def test_every_block_is_on_a_page():
    shown = [name for page in TABLES["PAGES"] for name, _ in TABLES["BLOCK"].findall((ROOT / page).read_text())]
    assert sorted(shown) == sorted(TABLES["BLOCKS"])


def test_a_changed_figure_is_seen():
    text = (ROOT / "README.md").read_text()
    figure = re.search(r"(?<=\| against the fastest of all \| )[\d.]+", text)
    assert figure is not None
    assert TABLES["written"](text[: figure.start()] + "99" + text[figure.end() :]) == text


def test_every_evidence_file_is_cited():
    cited = {
        Path(link).name
        for page in TABLES["PAGES"]
        for link in re.findall(r"\(([\w./]+\.json)\)", (ROOT / page).read_text())
    }
    assert cited == {path.name for path in (ROOT / "evidence").glob("*.json")}
