# SPDX-License-Identifier: Apache-2.0
"""The instruction sets that kernel tests run on, one after the other in one process.

ELMAN_ISA limits the tests to one, ELMAN_TEST_ISA=widest to the last that this machine can run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from elman import _native

_every = _native.library().elman_isas().decode().split(",")
LEVELS = [os.environ["ELMAN_ISA"]] if os.environ.get("ELMAN_ISA") else _every
if os.environ.get("ELMAN_TEST_ISA") == "widest":
    LEVELS = LEVELS[-1:]


def each() -> Iterator[str]:
    """Each level in turn, in use on this thread while the body of the loop runs."""
    try:
        for level in LEVELS:
            assert _native.library().elman_set_isa(level.encode()) == 0
            yield level
    finally:
        _native.library().elman_set_isa(None)
