# SPDX-License-Identifier: Apache-2.0
"""The table of candidates. A row is all that there is to add: its name, and the function that fits it for each task.

In: nothing. Out: `CANDIDATES`, from the simplest to the largest.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from elman.checks import did_you_mean
from elman.comparison import attention, classifiers, forecasters, rocket, text
from elman.comparison.markov import markov
from elman.comparison.model import Choice, Model
from elman.comparison.zero_shot import zero_shot
from elman.errors import DataError
from elman.forecasting.words import listed

Fit = Callable[[Any, Choice, int], Model]
_EXTRA = 'python -m pip install "elman[compare]"'


class Candidate(NamedTuple):
    """One row.

    Attributes:
        name: As the table of results has it.
        fits: For each task that it takes, the function from a fold, a choice and a seed to a `Model`.
        searched: Whether a search decides units and learning rate.
        recurrent: Whether it has a recurrent layer.
        needs: Packages without which it is skipped.
        loads: What is imported before its time is taken.
        install: How to install them.
    """

    name: str
    fits: Mapping[str, Fit]
    searched: bool = False
    recurrent: bool = False
    needs: Sequence[str] = ()
    loads: Sequence[str] = ()
    install: str = _EXTRA

    @property
    def skipped(self) -> str | None:
        """Why it cannot run here, or `None`."""
        missing = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"{' and '.join(missing)} not installed; {self.install}" if missing else None


CANDIDATES = (
    Candidate("last value", {"forecast": forecasters.last_value}),
    Candidate("seasonal", {"forecast": forecasters.seasonal}),
    Candidate("drift", {"forecast": forecasters.drift}),
    Candidate("majority", {"classify": classifiers.majority, "text": classifiers.majority}),
    Candidate("linear", {"forecast": forecasters.linear, "classify": classifiers.linear, "text": text.bag}),
    Candidate("markov", {"classify": markov, "text": markov}),
    Candidate(
        "boosting",
        {"forecast": forecasters.boosting, "classify": classifiers.boosting},
        needs=("sklearn",),
        loads=("sklearn.ensemble",),
    ),
    Candidate("feedforward", {"forecast": forecasters.feedforward, "classify": classifiers.feedforward}, searched=True),
    *(
        Candidate(
            cell,
            {
                "forecast": forecasters.recurrent(cell),
                "classify": classifiers.recurrent(cell),
                "text": classifiers.recurrent(cell),
            },
            searched=True,
            recurrent=True,
        )
        for cell in ("SimpleRNN", "GRU", "LSTM")
    ),
    Candidate(
        "transformer",
        {"forecast": attention.forecaster, "classify": attention.classifier, "text": attention.classifier},
        searched=True,
        needs=("torch",),
        loads=("torch",),
        install='python -m pip install "elman[torch]"',
    ),
    Candidate(
        "zero-shot",
        {"forecast": zero_shot},
        needs=("chronos", "torch"),
        loads=("torch", "chronos"),
        install="python -m pip install chronos-forecasting",
    ),
    Candidate(
        "MiniROCKET",
        {"classify": rocket.rocket},
        needs=("aeon",),
        loads=("aeon.classification.convolution_based",),
        install="python -m pip install aeon",
    ),
)
BY_NAME = {candidate.name: candidate for candidate in CANDIDATES}


def chosen(task: str, names: Sequence[str] | None) -> list[Candidate]:
    """The candidates of a task, or those of them that were asked for.

    Raises:
        DataError: If a name is not one of them.
    """
    takes = [candidate for candidate in CANDIDATES if task in candidate.fits]
    if names is None:
        return takes
    known = [candidate.name for candidate in takes]
    for name in names:
        if name not in known:
            raise DataError(
                f"only has {name!r}; expected some of {listed(known, 20)}, which take the task {task!r}."
                f"{did_you_mean(name, known)}"
            )
    return [candidate for candidate in takes if candidate.name in names]
