# SPDX-License-Identifier: Apache-2.0
"""Runs a function for each setting and each seed, in threads, and tells how far it is.

A result depends on its setting and its seed alone, so that the number of threads changes no bit: each run has a network
and a generator of its own. Native calls release Python's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from elman.system import processors

Setting = TypeVar("Setting")


class Runs:
    """The seeds of an experiment.

    Args:
        seeds: The seeds.
        tell: Called with the number of runs that have ended and of all that are known, after each.
        threads: How many runs at a time.
    """

    def __init__(
        self, seeds: Sequence[int], tell: Callable[[int, int], None] | None = None, threads: int | None = None
    ) -> None:
        self.seeds = tuple(seeds)
        self.threads = threads or processors()
        self._tell, self._done, self._total = tell, 0, 0

    def first(self, count: int) -> Runs:
        """The same for the first seeds alone, at least two of them. They are not counted."""
        return Runs(self.seeds[: max(2, count)], threads=self.threads)

    def each(self, function: Callable[[int], Any]) -> np.ndarray:
        """The results of one setting, seed after seed: (seeds, ...)."""
        return self.grid(lambda _, seed: function(seed), [None])[0]

    def grid(self, function: Callable[[Any, int], Any], settings: Sequence[Any]) -> list[np.ndarray]:
        """The results of each setting: for each an array (seeds, ...), in the order of the settings.

        Args:
            function: A setting and a seed in; a number or a tuple of numbers out.
            settings: The settings.
        """
        jobs = [(setting, seed) for setting in settings for seed in self.seeds]
        self._total += len(jobs)

        def run(job: tuple[Any, int]) -> Any:
            with np.errstate(all="ignore"):  # a training that diverges overflows
                return function(*job)

        results = []
        with ThreadPoolExecutor(self.threads) as pool:
            for result in pool.map(run, jobs):
                results.append(result)
                self._done += 1
                if self._tell:
                    self._tell(self._done, self._total)
        count = len(self.seeds)
        return [np.array(results[i : i + count]) for i in range(0, len(results), count)]
