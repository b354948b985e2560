# SPDX-License-Identifier: Apache-2.0
"""Quantiles of Student's t distribution, for any number of degrees of freedom from 1, without SciPy."""

from __future__ import annotations

import math
from statistics import NormalDist


def half_width(level: float, freedom: float) -> float:
    """The t with P(-t < T < t) = level.

    The formula is algorithm 396 of the Collected Algorithms of the ACM: Hill, "Student's t-quantiles", 1970. Its
    relative error is below 1e-4 from 2 degrees of freedom on; between 1 and 2 it is up to 3 % too wide.

    Args:
        level: Between 0 and 1, as 0.95.
        freedom: Degrees of freedom, 1 or more; not necessarily an integer.
    """
    tails = 1 - level
    if freedom <= 1:
        return 1 / math.tan(tails * math.pi / 2)
    if freedom == 2:
        return math.sqrt(2 / (tails * (2 - tails)) - 2)
    a = 1 / (freedom - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * freedom
    y = (d * tails) ** (2 / freedom)
    if y <= 0.05 + a:
        y = ((1 / (((freedom + 6) / (freedom * y) - 0.089 * d - 0.822) * (freedom + 2) * 3) + 0.5 / (freedom + 4)) * y
             - 1) * (freedom + 1) / (freedom + 2) + 1 / y  # fmt: skip
        return math.sqrt(freedom * y)
    x = NormalDist().inv_cdf(tails / 2)
    y = x**2
    if freedom < 5:
        c += 0.3 * (freedom - 4.5) * (x + 0.6)
    c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
    y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
    return math.sqrt(freedom * math.expm1(a * y**2))
