# SPDX-License-Identifier: Apache-2.0
"""`isa`: a test that uses this fixture runs once per instruction set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from elman import _native
from isa import LEVELS


@pytest.fixture(params=LEVELS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    library = _native.library()
    assert library.elman_set_isa(request.param.encode()) == 0
    yield request.param
    library.elman_set_isa(None)
