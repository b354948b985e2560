# SPDX-License-Identifier: Apache-2.0
"""How far back the data reward memory: the error of two plain models by the number of steps that they see.

In: the first fold. Out: errors on its validation part, on which no result is measured, and the fewest steps whose error
is nearly the least. All candidates then see a window of that length.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from elman.comparison import forecasters
from elman.comparison.forecast import Fold, lengths, shortened
from elman.comparison.model import Array, Choice

_LEAST = 8  # steps of a window, if there are so many


class History(NamedTuple):
    """Errors by the length of history.

    Attributes:
        steps: How many steps the models saw.
        errors: For each model its error at each of them.
        enough: The fewest steps whose error is nearly the least.
    """

    steps: list[int]
    errors: dict[str, list[float]]
    enough: int

    @property
    def window(self) -> int:
        """Steps that the candidates see."""
        return min(max(self.enough, _LEAST), self.steps[-1])

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return self._asdict() | {"window": self.window}


def of_forecast(fold: Fold, seed: int) -> History:
    """The history of a table whose fold has the longest windows."""
    steps = lengths(fold.windows.window)
    squares: dict[str, list[Array]] = {"linear": [], "feedforward": []}
    for rows in steps:
        short = fold._replace(windows=shortened(fold.windows, rows))
        squares["linear"].append(forecasters.squares_of_linear(fold, rows)[1])
        starts = short.windows.starts["validation"]
        model = forecasters.feedforward(short, Choice(), seed)
        squares["feedforward"].append((model.predict(starts) - short.windows.truth(starts)) ** 2)
    errors = {name: [float(np.sqrt(np.nanmean(each))) for each in found] for name, found in squares.items()}
    best = min(errors, key=lambda name: min(errors[name]))
    return History(steps, errors, steps[forecasters.fewest(errors[best])])
