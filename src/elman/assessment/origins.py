# SPDX-License-Identifier: Apache-2.0
"""Rolling origins: several held-out blocks, one after another, each with everything before it to learn from.

In: a number of examples, in order of time. Out: slices of them. Between the last example to train on and the first that
is held out lies a gap as long as the forecast, so that no target of one is a target of the other (Tashman,
"Out-of-sample tests of forecasting accuracy", 2000; Bergmeir and Benitez, "On the use of cross-validation for time
series predictor evaluation", 2012).
"""

from __future__ import annotations

import itertools
from typing import NamedTuple


class Origin(NamedTuple):
    """One moment at which a model is fitted.

    Attributes:
        train: Examples before it; they begin with the first one.
        test: The block that is held out.
    """

    train: slice
    test: slice


def rolling_origins(examples: int, count: int = 3, *, gap: int = 1, held_out: float = 0.15) -> list[Origin]:
    """Cuts the end of a series into blocks that are held out.

    Args:
        examples: How many there are, such as windows, in order of time.
        count: Blocks. Fewer are returned if there are too few examples for so many.
        gap: Rows ahead of a forecast: the last example of `train` is `gap` before the first of `test`.
        held_out: Share of the examples that all blocks have together.

    Returns:
        The origins in order of time. The blocks have the same length, up to one example.

    Raises:
        ValueError: If no example would be left to train on, or none to hold out.
    """
    held = round(held_out * examples)
    first = examples - held
    if held < 1 or first - gap + 1 < 1:
        raise ValueError(
            f"{examples} examples leave {max(first - gap + 1, 0)} to train on and {held} held out, with a gap of "
            f"{gap}; expected at least one of each. Use more examples, or a smaller gap."
        )
    count = min(count, held)
    cuts = [first + held * i // count for i in range(count + 1)]
    return [Origin(slice(0, begin - gap + 1), slice(begin, end)) for begin, end in itertools.pairwise(cuts)]
