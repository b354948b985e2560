# SPDX-License-Identifier: Apache-2.0
"""What the user asked of `compare`, checked: one record that the tasks and the folder's `run.json` share.

In: the arguments. Out: an `Asked`, or a `DataError` for the first argument of a wrong kind. The columns of a table are
checked where the table is known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from elman.checks import did_you_mean, is_integer, positive_integer
from elman.errors import DataError
from elman.forecasting.settings import TableSettings

OF_FORECASTS = ("known", "exclude", "sort", "duplicates", "calendar")  # arguments that other tasks do not have
TASKS = ("forecast", "classify", "text")
BY = ("words", "characters")
FILLS = ("previous", "split", "keep")
_MOST = 2**31 - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked(TableSettings):
    """The arguments of `elman.compare` that decide its numbers; see there."""

    task: str = "auto"
    seed: int = 0
    folds: int | None = None
    seeds: int = 1
    trials: int = 4
    only: Sequence[str] | None = None
    label: str | None = None
    text: str | None = None
    by: str = "auto"

    def __post_init__(self) -> None:
        _one_of("task", self.task, TASKS)
        _one_of("by", self.by, BY)
        if self.fill == "linear":
            raise DataError(
                "fill is 'linear', which reads the value after a gap, and a forecast does not know that value; "
                f"expected one of {', '.join(FILLS)}. Use 'previous' (--fill previous)."
            )
        super().__post_init__()
        self._check_numbers()
        for name in ("label", "text"):
            if not isinstance(getattr(self, name), str | None):
                raise DataError(f"{name} is {type(getattr(self, name)).__name__}; expected the name of a column.")
        if self.only is not None:
            names = [self.only] if isinstance(self.only, str) else list(self.only)
            if not names:
                raise DataError("only is empty; expected names of candidates. Leave it out for all of them.")
            self._set("only", names)

    def _check_numbers(self) -> None:
        for name in ("seeds", "trials", *(["folds"] if self.folds is not None else [])):
            self._set(name, positive_integer(name, getattr(self, name), error=DataError))
        if self.folds is not None and self.folds < 2:
            raise DataError(f"folds is {self.folds}; expected 2 or more.")
        if not is_integer(self.seed, least=0) or self.seed > _MOST - self.seeds:
            raise DataError(f"seed is {self.seed!r}; expected an integer from 0 to {_MOST - self.seeds}.")
        self._set("seed", int(self.seed))


NAMES = tuple(field.name for field in dataclasses.fields(Asked))


def _one_of(name: str, value: Any, words: Sequence[str]) -> None:
    if value not in ("auto", *words):
        raise DataError(f"{name} is {value!r}; expected one of auto, {', '.join(words)}.{did_you_mean(value, words)}")
