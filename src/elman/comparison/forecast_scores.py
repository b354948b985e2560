# SPDX-License-Identifier: Apache-2.0
"""How wrong the forecasts of each candidate are: RMSE, MASE, skill, the error of each step ahead, with intervals.

In: the folds, and what each candidate predicted. Out: plain numbers for the rows of the table, and the losses by which
two candidates are compared. Windows of several series with the same origin count as one, since they share events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from elman.assessment import ratio_interval, rmse_interval
from elman.comparison import pairs
from elman.comparison.forecast import Fold
from elman.comparison.model import Array

REFERENCES = ("seasonal", "last value")  # what skill is measured against: the first of them that has a row

Predictions = Mapping[str, Sequence[Sequence[Array]]]  # of each candidate, for each seed and fold `(windows, ahead)`


class Scores:
    """The scores of all candidates.

    Args:
        folds: The folds.
        predictions: What each candidate predicted.

    Attributes:
        losses: For each candidate `(origins, ahead)` squared errors, in order of time; NaN where no value was measured.
        reference: The candidate that skill is measured against, or `None`.
    """

    def __init__(self, folds: Sequence[Fold], predictions: Predictions) -> None:
        self.folds, ahead = folds, folds[0].windows.ahead
        self.losses = {name: self._mean(seeds, lambda error, fold: error**2) for name, seeds in predictions.items()}
        self._scaled = {
            name: self._mean(seeds, lambda error, fold: np.abs(error) / fold.scale)
            for name, seeds in predictions.items()
        }
        self.overlap = max(1, -(-ahead // _stride(folds[0])))
        self.reference = next((name for name in REFERENCES if name in self.losses), None)

    def _mean(self, seeds: Sequence[Sequence[Array]], loss: Any) -> Array:
        """The mean over seeds."""
        return np.mean([self._by_origin(each, loss) for each in seeds], axis=0)

    def _by_origin(self, predictions: Sequence[Array], loss: Any) -> Array:
        found = []
        for values, fold in zip(predictions, self.folds, strict=True):
            _, member = np.unique(fold.moment, return_inverse=True)
            losses = loss(values - fold.truth(), fold)
            known = ~np.isnan(losses)
            sums, counts = (
                np.stack([np.bincount(member, column) for column in each.T], axis=1)
                for each in (np.where(known, losses, 0), known)
            )
            found.append(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))
        return np.concatenate(found)

    def row(self, name: str) -> dict[str, Any]:
        """The figures of one candidate."""
        squares = self.squares(name)
        error = rmse_interval(squares, self.overlap)
        found = {
            "error": error.estimate,
            "low": error.low,
            "high": error.high,
            "mase": float(np.nanmean(self._scaled[name])),
            "by_step": np.sqrt(np.nanmean(self.losses[name], 0)).tolist(),
        }
        if self.reference is not None and self.squares(self.reference).any():
            ratio = ratio_interval(squares, self.squares(self.reference), self.overlap)
            found |= {"skill": 1 - ratio.estimate, "skill_low": 1 - ratio.high, "skill_high": 1 - ratio.low}
        return found

    def squares(self, name: str) -> Array:
        """`(origins,)`: the mean squared error over the values that were measured."""
        return np.nanmean(self.losses[name], 1)

    def mean_loss(self, name: str) -> float:
        """By which the best candidate is chosen."""
        return float(self.squares(name).mean())

    def differ(self, first: str, second: str, level: float) -> bool:
        """Whether two candidates can be told apart."""
        return pairs.diebold_mariano(self.squares(first), self.squares(second), self.overlap, level)


def _stride(fold: Fold) -> int:
    """Rows from one test window to the next."""
    starts = fold.held_out
    return int(np.median(np.diff(starts))) if len(starts) > 1 else 1
