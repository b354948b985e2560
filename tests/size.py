# SPDX-License-Identifier: Apache-2.0
"""How many cases the tests take, by the environment variable ELMAN_TEST_SIZE.

    small    `pytest` by itself: one case of each quick test, and all cases of a file that is named; minutes
    medium   `make test`: every promise of the project
    large    `make evaluate`: hours

A grid takes its length from `by_size`. A test that is too long for a size is marked `medium` or `large` and is not
collected below that size.
"""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

SIZES = ("small", "medium", "large")
SIZE = os.environ.get("ELMAN_TEST_SIZE") or SIZES[0]
if SIZE not in SIZES:
    raise ValueError(f"ELMAN_TEST_SIZE is {SIZE!r}; expected one of {', '.join(SIZES)}. Unset or correct it.")


def by_size(small: T, medium: T, large: T) -> T:
    """The value for the size of this process."""
    return (small, medium, large)[SIZES.index(SIZE)]
