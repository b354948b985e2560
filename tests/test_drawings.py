# SPDX-License-Identifier: Apache-2.0
"""The drawings of the README and of docs/architecture.md: what they name exists, and their figures are those of
evidence/."""

import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DRAWN = ROOT / "docs" / "drawings"


@pytest.fixture(scope="module")
def drawings():
    sys.path.insert(0, str(ROOT / "docs"))  # where drawings.py finds tables.py
    try:
        yield runpy.run_path(str(ROOT / "docs" / "drawings.py"))
    finally:
        sys.path.remove(str(ROOT / "docs"))


def test_the_pages_show_each_drawing(drawings):
    pages = ((ROOT / name).read_text() for name in ("README.md", "docs/architecture.md"))
    shown = {name for page in pages for name in re.findall(r"drawings/(\w+)\.svg", page)}
    assert shown == {draw.__name__ for draw in drawings["DRAWINGS"]} == {path.stem for path in DRAWN.iterdir()}


def test_the_house_is_drawn_as_it_is_listed(drawings):
    assert drawings["house"]() == (DRAWN / "house.svg").read_text()


def test_the_rooms_exist(drawings):
    *above, (_, library) = drawings["HOUSE"]
    for name in (name for _, rooms in above for name, _ in rooms):
        assert any((ROOT / "src" / "elman" / f"{name}{end}").exists() for end in ("", ".py")), name
    assert all((ROOT / "native" / name).exists() for name, _ in library)


def test_the_times_are_those_of_the_readme(drawings):
    said = re.search(r"times: (SimpleRNN [\d.]+), (LSTM [\d.]+), (GRU [\d.]+)", (DRAWN / "overview.svg").read_text())
    row = re.search(
        r"\| against the fastest of all \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", (ROOT / "README.md").read_text()
    )
    assert said is not None
    assert row is not None
    assert [text.split()[1] for text in said.groups()] == list(row.groups())
