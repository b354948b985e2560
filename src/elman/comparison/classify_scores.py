# SPDX-License-Identifier: Apache-2.0
"""How often each candidate is wrong, its log loss and its skill, with intervals from draws of whole clusters.

The interval of an error rate is at least that of Wilson, since draws of examples without an error have none either.

In: the folds, and the probabilities that each candidate predicted. Out: plain numbers for the rows of the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from elman.comparison import pairs
from elman.comparison.model import Array
from elman.comparison.sequences import Fold

_DRAWS, _LEVEL = 1000, (0.025, 0.975)
_LEAST = 1e-7  # probability of the truth

Predictions = Mapping[str, Sequence[Sequence[Array]]]  # for each candidate, seed and fold `(sequences, classes)`


class Scores:
    """The scores of all candidates.

    Args:
        folds: The folds.
        predictions: What each candidate predicted.

    Attributes:
        losses: For each candidate `(sequences,)`: 1 where it is wrong, as a mean over seeds.
        reference: The candidate that skill is measured against, or `None`.
    """

    def __init__(self, folds: Sequence[Fold], predictions: Predictions) -> None:
        self.truth = np.concatenate([fold.truth() for fold in folds])
        clusters = np.concatenate([fold.data.clusters[fold.test] for fold in folds])
        _, self.clusters = np.unique(clusters, return_inverse=True)
        whole = {name: [np.concatenate(folds) for folds in seeds] for name, seeds in predictions.items()}
        self.losses = {
            name: np.mean([each.argmax(1) != self.truth for each in seeds], axis=0) for name, seeds in whole.items()
        }
        rows = np.arange(len(self.truth))
        self._log_losses = {
            name: float(np.mean([-np.log(np.maximum(each[rows, self.truth], _LEAST)) for each in seeds]))
            for name, seeds in whole.items()
        }
        self.reference = "majority" if "majority" in self.losses else None
        self._sizes = np.bincount(self.clusters).astype("float64")
        count = len(self._sizes)
        self._drawn = np.random.default_rng(0).integers(0, count, size=(_DRAWS, count))

    def _draws(self, name: str) -> Array:
        """`(draws,)` error rates."""
        sums = np.bincount(self.clusters, self.losses[name])
        return sums[self._drawn].sum(1) / self._sizes[self._drawn].sum(1)

    def row(self, name: str) -> dict[str, Any]:
        """The figures of one candidate."""
        error, draws = self.mean_loss(name), self._draws(name)
        low, high = np.quantile(draws, _LEVEL)
        # Without a spread the draws say nothing, and the clusters count.
        least, most = pairs.wilson(error, len(self.truth if np.ptp(draws) else self._sizes))
        found = {
            "error": error,
            "accuracy": 1 - error,
            "low": min(float(low), least),
            "high": max(float(high), most),
            "log_loss": self._log_losses[name],
        }
        if self.reference is not None and self.losses[self.reference].any():
            skill = 1 - draws / np.maximum(self._draws(self.reference), 1 / len(self.truth))
            low, high = np.quantile(skill, _LEVEL)
            found |= {
                "skill": 1 - error / self.mean_loss(self.reference), "skill_low": float(low), "skill_high": float(high)
            }  # fmt: skip
        return found

    def mean_loss(self, name: str) -> float:
        """By which the best candidate is chosen."""
        return float(self.losses[name].mean())

    def differ(self, first: str, second: str, level: float) -> bool:
        """Whether two candidates can be told apart."""
        return pairs.paired_bootstrap(self.losses[first], self.losses[second], self.clusters, level)
