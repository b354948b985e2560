# SPDX-License-Identifier: Apache-2.0
"""NaN and infinity in an operand go through the native library as elman.h says, and as in the reference.

The reference is computed once for all instruction sets.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import cases
import isa
import size
import tolerance

pytestmark = pytest.mark.medium
FORWARD = {"y", "h", "c"}  # the results that are not gradients


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("operand", ["x", "kernel", "recurrent_kernel", "bias", "initial_state"])
def test_nan_and_infinity_go_forward_as_in_the_reference(operand: str, value: float) -> None:
    factors = {**cases.FACTORS, "bias": (True,), "initial_state": (True,), "recurrent_dropout": (False,)}
    for seed, choice in enumerate(cases.pairwise(factors)):
        case = cases.make((3, 4, 2, 19), choice, seed)
        there = getattr(case, operand).copy()
        there.flat[there.size // 2] = value
        case = case.replace(**{operand: there})
        with np.errstate(invalid="ignore"):
            truth = cases.by_reference(case, np.longdouble)
            stock = cases.by_reference(case, np.float32)
        for level in isa.each():
            got = cases.by_native(case, np.float32)
            for name in FORWARD & got.keys():
                tolerance.Grid().check(name, got[name], truth[name], stock[name], f"{level}: {case}")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("operand", [*cases.OPERANDS.values(), "dy", "dfinal", "dfinal_carry"])
def test_nan_and_infinity_go_back_as_in_the_reference(operand: str, value: float) -> None:
    """Which elements of a gradient are NaN, infinite or finite is the same, in rows that end in a vector and not."""
    factors = {**cases.FACTORS, "bias": (True,), "initial_state": (True,), "cotangents": ("both",), "want_dx": (True,)}
    factors["cell"] = ("lstm",) if operand.endswith("carry") else cases.FACTORS["cell"]
    for seed, choice in enumerate(itertools.islice(cases.pairwise(factors), 0, None, size.by_size(3, 3, 1))):
        case = cases.make((3, 4, 2, 16 + 3 * (seed % 2)), choice, seed)
        spoiled = getattr(case, operand).copy()
        spoiled.flat[spoiled.size // 2] = value
        case = case.replace(**{operand: spoiled})
        with np.errstate(all="ignore"):
            expected = cases.by_reference(case, np.float64)
        for level in isa.each():
            got = cases.by_native(case, np.float64)
            for name in expected.keys() - FORWARD:
                kinds = [np.where(np.isfinite(array), 0, array) for array in (got[name], expected[name])]
                assert np.array_equal(*kinds, equal_nan=True), f"{level}: {case}: {name}"
