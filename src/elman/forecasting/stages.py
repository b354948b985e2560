# SPDX-License-Identifier: Apache-2.0
"""The stages of `elman.fit`, as one bar shows them: each training is one part of it, and so is what follows.

In: calls at the begin of each stage and at each step of a training. Out: `Stage`s. A training that ends early has its
whole part.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from elman.network import Progress
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
        self._done, self._total = 0.0, 0.0

    def begin(self, name: str) -> None:
        """A stage begins, and any training before it has ended."""
        self._done = math.ceil(self._done)
        self._show(Stage(name, self._done, self._total or None))

    def training(self, number: int = 1, of: int = 1) -> Callable[[Progress], None]:
        """A training begins.

        Args:
            number: Which one, from 1.
            of: How many there are.

        Returns:
            The function to call after each step of it.
        """
        name = "training" if of == 1 else f"training {number} of {of}"
        self._total = of + _AFTER

        def told(now: Progress) -> None:
            epochs = now.epoch - 1 + now.step / now.steps
            self._done = number - 1 + epochs / now.epochs
            self._show(Stage(f"{name}, epoch {now.epoch} of at most {now.epochs}", self._done, self._total))
            if self._tell is not None:
                self._tell(now)

        return told

    def end(self) -> None:
        """The run is finished."""
        self._show(Stage("finished", self._total or 1, self._total or 1))
