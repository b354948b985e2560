# SPDX-License-Identifier: Apache-2.0
"""docs/routes.md has a row for every reason of the route, and each row names a test that exists."""

import re
from pathlib import Path

from elman import route

TESTS = Path(__file__).resolve().parent
PAGE = (TESTS.parent / "docs" / "routes.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \|.*\| `(?:([\w/]+\.py)::(test_\w+))` \|$", PAGE, re.MULTILINE)


def test_every_reason_has_a_row():
    assert sorted(key for key, _, _ in ROWS) == sorted(route.REASONS)


def test_every_row_names_a_test():
    for key, file, test in ROWS:
        assert re.search(rf"^def {test}\(", (TESTS / file).read_text(), re.MULTILINE), f"{key}: {file} has no {test}"
