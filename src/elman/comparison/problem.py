# SPDX-License-Identifier: Apache-2.0
"""What is compared: data cut into folds, and a judge of what candidates predict there.

In: nothing. Out: records that the tasks make, and that the jobs and the result read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from elman.comparison.model import Array

Predictions = dict[str, list[list[Array]]]  # of each candidate, for each seed and fold


class Judge(Protocol):
    """Scores of all candidates."""

    reference: str | None

    def row(self, name: str) -> dict[str, Any]:
        """The figures of one candidate."""

    def mean_loss(self, name: str) -> float:
        """By which the best candidate is chosen."""

    def differ(self, first: str, second: str, level: float) -> bool:
        """Whether two candidates can be told apart."""


class Problem(NamedTuple):
    """Data cut into folds.

    Attributes:
        task: `"forecast"`, `"classify"` or `"text"`.
        folds: The folds.
        scores: Judges the predictions of all candidates; `None` in a worker.
        history: Measures errors by the length of history, as plain data; `None` where there is none, and in a worker.
        about: Sentences: what is compared.
        notes: Sentences about what was decided.
        facts: The data, as plain data.
        whole: A fold of all that is there, for the model that is kept, if the task has one.
    """

    task: str
    folds: Sequence[Any]
    scores: Callable[[Predictions], Judge] | None
    history: Callable[[], dict[str, Any]] | None
    about: list[str]
    notes: list[str]
    facts: dict[str, Any]
    whole: Callable[[], Any] | None = None
