# SPDX-License-Identifier: Apache-2.0
"""The stages of `elman.fit`, as one bar shows them: each training is one part of it, and so is what follows.

In: calls at the begin of each stage and at each step of a training. Out: `Stage`s. A training that ends early has its
whole part.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from elman.forecasting.training import Progress
from elman.progress import Show, Stage

_AFTER = 0.1  # what follows the trainings, compared with one of them


class Stages:
    """Tells which stage a run is in.

    Args:
        show: Called with each stage.
        tell: Called with the progress of each step of a training, or `None`.
    """

    def __init__(self, show: Show, tell: Callable[[Progress], None] | None = None) -> None:
        self._show, self._tell = show, tell
        self._done, self._total, self._name = 0.0, 0.0, ""

    def begin(self, name: str) -> None:
        """A stage begins, and any training before it has ended."""
        self._done = math.ceil(self._done)
        self._show(Stage(name, self._done, self._total or None))

    def training(self, now: Progress) -> None:
        """A step of a training has ended. Several trainings may run at the same time."""
        self._done, self._total = now.done, now.trainings + _AFTER
        if not self._name or now.step == now.steps:  # at the end of an epoch, since several trainings take turns
            name = "training" if now.trainings == 1 else f"training {now.training} of {now.trainings}"
            self._name = f"{name}, epoch {now.epoch} of at most {now.epochs}"
        self._show(Stage(self._name, self._done, self._total))
        if self._tell is not None:
            self._tell(now)

    def end(self) -> None:
        """The run is finished."""
        self._show(Stage("finished", self._total or 1, self._total or 1))
