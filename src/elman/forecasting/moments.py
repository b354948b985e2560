# SPDX-License-Identifier: Apache-2.0
"""Mean and variance of columns that stream by, in float64.

In: parts of a table, one after another. Out: moments of each column. They are sums about each column's first value, so
that a large offset does not cost precision. NaN cells do not count.
"""

from __future__ import annotations

import numpy as np


class Moments:
    """Sums over the columns of a table.

    Args:
        columns: How many there are.
    """

    def __init__(self, columns: int) -> None:
        self.first = np.full(columns, np.nan)
        self.largest, self._count, self._sum, self._squares = np.zeros((4, columns))

    def add(self, values: np.ndarray) -> None:
        """Adds a part, `(rows, columns)`."""
        values = values.astype("float64", copy=False)
        known = np.isfinite(values)
        for i in np.flatnonzero(np.isnan(self.first) & known.any(0)):
            self.first[i] = values[known[:, i].argmax(), i]
        shifted = np.where(known, values - self.first, 0)
        self.largest = np.maximum(self.largest, np.where(known, np.abs(values), 0).max(0, initial=0))
        self._count += known.sum(0)
        self._sum += shifted.sum(0)
        self._squares += (shifted**2).sum(0)

    @property
    def mean(self) -> np.ndarray:
        """`(columns,)`."""
        return self.first + self._sum / np.maximum(self._count, 1)

    @property
    def std(self) -> np.ndarray:
        """`(columns,)`: the standard deviation, with the number of rows as divisor."""
        count = np.maximum(self._count, 1)
        return np.sqrt(np.maximum(self._squares / count - (self._sum / count) ** 2, 0))
