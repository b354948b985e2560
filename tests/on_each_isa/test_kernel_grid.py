# SPDX-License-Identifier: Apache-2.0
"""The native library against the reference over a grid of shapes, with every pair of options met on the way.

Truth is the reference in long double, computed once for all instruction sets. The yardstick of float32 is the reference
in float32: stock's formula with NumPy's products. `size` says how often the grid repeats with other numbers.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterator

import numpy as np
import pytest

import cases
import isa
import size
import tolerance

pytestmark = pytest.mark.medium
PASSES = size.by_size(1, 1, 5)
ONE_OF = size.by_size(3, 3, 1)  # of so many shapes one is taken
UNITS, ROWS, FEATURES = range(1, 71), range(1, 14), (0, 1, 2, 3, 8, 17, 64, 100)
CHUNKS = {  # units, batch, time, and the features that take turns
    **{f"units {i}-{i + 9}": (UNITS[i - 1 : i + 9], ROWS, (0, 1, 2, 7), FEATURES) for i in UNITS[::10]},
    "many units": ((96, 127, 128, 129, 200, 257), (1, 5, 12, 33), (1, 2, 7), FEATURES),
    "many rows": ((1, 3, 8, 15, 16, 31, 33, 47, 64, 70), (32, 33), (1, 2, 7), FEATURES),
    "long": ((1, 5, 16, 33, 64), (1, 6, 13), (40, 300), FEATURES[1:]),  # with no input the state would die
}


Grids = dict[str, tolerance.Grid]  # by instruction set


@functools.cache
def measured(chunk: str) -> Grids:
    """Every case of a chunk checked by the rule, and the errors found."""
    number = list(CHUNKS).index(chunk)
    grids = {level: tolerance.Grid() for level in isa.LEVELS}
    for turn in range(PASSES):
        first = 10_000 * (number + len(CHUNKS) * turn)
        every = list(shapes(chunk, turn))
        # A choice at random, since a stride would meet a few values alone of the axes whose length it divides.
        for i in random.Random(first).sample(range(len(every)), len(every) // ONE_OF):
            for case in cases.grid([every[i]], first + i):  # the same case, with the same numbers, in each size
                check(case, grids)
    return grids


def shapes(chunk: str, turn: int) -> Iterator[tuple[int, int, int, int]]:
    *sizes, features = CHUNKS[chunk]
    for i, (units, batch, time) in enumerate(itertools.product(*sizes)):
        yield batch, time, features[(i + i // len(features) + turn) % len(features)], units


def check(case: cases.Case, grids: Grids) -> None:
    """One case, in both dtypes, at every instruction set."""
    truth, stock = cases.by_reference(case, np.longdouble), cases.by_reference(case, np.float32)
    for level in isa.each():
        for name, got in cases.by_native(case, np.float64).items():
            tolerance.assert_float64(got, truth[name], f"{level}: {case}: {name}")
        for name, got in cases.by_native(case, np.float32).items():
            grids[level].check(name, got, truth[name], stock[name], f"{level}: {case}")


@pytest.mark.parametrize("chunk", CHUNKS)
def test_every_tensor_is_within_the_rule(chunk: str) -> None:
    measured(chunk)


@pytest.mark.parametrize("level", isa.LEVELS)
def test_the_whole_grid_is_about_as_exact_as_stock_arithmetic(level: str) -> None:
    grid = tolerance.Grid()
    for chunk in CHUNKS:
        grid.extend(measured(chunk)[level])
    grid.assert_root_mean_square()


def test_the_covering_set_meets_every_pair_of_options() -> None:
    for (one, values), (other, others) in itertools.combinations(cases.FACTORS.items(), 2):
        met = {(row[one], row[other]) for row in cases.COVERING}
        assert met == set(itertools.product(values, others)), (one, other)
