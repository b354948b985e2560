# SPDX-License-Identifier: Apache-2.0
"""The recipes of docs/torch.md for Flax and Equinox run as they stand, where these are installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "torch.md"
RECIPES = re.findall(r"```py\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_recipes_are_found():
    assert ["flax" in RECIPES[0], "equinox" in RECIPES[1], len(RECIPES)] == [True, True, 2]


@pytest.mark.parametrize(
    "number", [pytest.param(i, marks=pytest.mark.needs(name), id=name) for i, name in enumerate(("flax", "equinox"))]
)
def test_a_recipe_runs_and_prints_what_it_says(number, capsys):
    code = RECIPES[number]
    exec(code, {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
