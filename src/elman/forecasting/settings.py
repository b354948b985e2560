# SPDX-License-Identifier: Apache-2.0
"""What the user asked of `fit`, checked: one record that the table, the network and the folder's `run.json` share. What
it says of the table is a record of its own, which `elman.compare` has too.

In: the arguments. Out: a `Settings`, or a `DataError` for the first argument of a wrong kind. Whether the table has the
columns, and enough rows, is checked later, where the table is known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.cells import BY_KERAS
from elman.checks import boolean, did_you_mean, is_integer, is_real, positive_integer
from elman.errors import DataError

CELLS = tuple(BY_KERAS)
MODELS = ("last_value", "seasonal", "linear", "network")
FILLS = ("linear", "previous", "split", "keep")
DUPLICATES = ("first", "last", "mean")
_TABS = {"\\t": "\t", "tab": "\t"}
_MOST = 2**31 - 1  # of any count


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableSettings:
    """How a table is read, and what of it a forecast sees: the arguments that `elman.fit` and `elman.compare` share.

    Attributes:
        target: The column to forecast, several of them, or `None` for the only column of numbers.
        window: Rows that a forecast is made from, or `None` to choose them.
        ahead: Rows to forecast.
        features: The input columns, or `None` for every column of numbers.
        known: Input columns whose values are known `ahead` rows before, or `None`.
        time: The column of times, or `None` to look for one.
        group: The column that tells several series apart, or `None`.
        fill: What to do with empty cells and gaps in time, one of `FILLS`, or `None` for an error.
        unit: The target's unit, for the report.
        exclude: Columns that are left out, or `None`.
        sort: Whether rows are sorted by time first.
        duplicates: What to do with several rows of one time, one of `DUPLICATES`, or `None` for an error.
        sep: The separator of a text file, a blank for any number of blanks, or `None` to find it.
        encoding: Of a text file, or `None` for UTF-8.
        decimal: The decimal mark of numbers, `.` or `,`, or `None` to find it.
        calendar: Whether the hour, the day, the week and the year of each row are features.
    """

    target: str | list[str] | None = None
    window: int | None = None
    ahead: int = 1
    features: Sequence[str] | None = None
    known: Sequence[str] | None = None
    time: str | None = None
    group: str | None = None
    fill: str | None = None
    unit: str | None = None
    exclude: Sequence[str] | None = None
    sort: bool = False
    duplicates: str | None = None
    sep: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    calendar: bool = False

    def __post_init__(self) -> None:
        self._check_columns()
        self._set("ahead", _count("ahead", self.ahead))
        if self.window is not None:
            self._set("window", _count("window", self.window))
        self._check_known()
        if self.fill is not None:
            _one_of("fill", self.fill, FILLS)
        if self.duplicates is not None:
            _one_of("duplicates", self.duplicates, DUPLICATES)
        for name in ("sort", "calendar"):
            self._set(name, boolean(name, getattr(self, name), DataError))
        self._check_form()

    def _check_columns(self) -> None:
        if isinstance(self.time, list):  # of columns that hold parts of the time
            self._set("time", ",".join(str(_column("time", name)) for name in self.time))
        for role in ("time", "group"):
            self._set(role, _column(role, getattr(self, role)))
        self._set("target", _targets(self.target))
        for role in ("features", "exclude", "known"):
            names = getattr(self, role)
            if names is None:
                continue
            names = [names] if isinstance(names, str) else names
            if not isinstance(names, Sequence | np.ndarray):
                raise DataError(f"{role} is {type(names).__name__}; expected a list of column names.")
            self._set(role, [_column(role, name) for name in names])
        if self.unit is not None and not isinstance(self.unit, str):
            raise DataError(f"unit is {self.unit!r}; expected text such as 'm/s'.")

    def _check_form(self) -> None:
        if self.decimal is not None:
            _one_of("decimal", self.decimal, (".", ","))
        if self.encoding is not None and not isinstance(self.encoding, str):
            raise DataError(f"encoding is {self.encoding!r}; expected a name such as 'latin-1'.")
        if self.sep is None:
            return
        sep = _TABS.get(self.sep, self.sep) if isinstance(self.sep, str) else self.sep
        if not isinstance(sep, str) or len(sep) != 1 or not sep.isascii() or sep in '\n\r"':
            raise DataError(f"sep is {self.sep!r}; expected one character such as ';', or 'tab'.")
        self._set("sep", sep)

    def _check_known(self) -> None:
        if self.known and self.window is not None and self.window < self.ahead:
            raise DataError(
                f"window is {self.window} and ahead is {self.ahead}; expected a window of {self.ahead} or more with "
                f"known, since a window holds the known values of every row ahead. Choose one (--window {self.ahead})."
            )

    def _set(self, name: str, value: Any) -> None:
        """Replaces an argument by the same value as plain Python, which `run.json` can hold."""
        object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """All of them, as JSON can hold them."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(TableSettings):
    """The arguments of `elman.fit` that decide the numbers of a run.

    Attributes:
        units: Sizes of the recurrent layers, after the checks a list.
        cell: One of `CELLS`.
        epochs: Largest number of passes over the data.
        seed: Seed of the initial weights and of the order of windows, from 0 to 2**31 - 1; the first of `seeds`.
        seeds: How many networks are trained, with seeds one after another; the forecast is their mean.
        origins: How many times the models are fitted again and judged on the rows that follow.
        model: The model that the run forecasts with, one of `MODELS`, or `None` for the one that won.
        bidirectional: Whether each layer reads the window from both ends.
        batch_size: Windows per training step, or `None` to choose it by their number.
        learning_rate: Of Adam.
    """

    units: Sequence[int] = (32,)
    cell: str = "SimpleRNN"
    epochs: int = 200
    seed: int = 0
    seeds: int = 3
    origins: int = 3
    model: str | None = None
    bidirectional: bool = False
    batch_size: int | None = None
    learning_rate: float = 3e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("epochs", "seeds", "origins"):
            self._set(name, _count(name, getattr(self, name)))
        if self.batch_size is not None:
            self._set("batch_size", _count("batch_size", self.batch_size))
        self._set("units", _sizes(self.units))
        if not is_integer(self.seed, least=0) or self.seed > _MOST:
            raise DataError(f"seed is {self.seed!r}; expected an integer from 0 to {_MOST}.")
        self._set("seed", int(self.seed))
        _one_of("cell", self.cell, CELLS)
        if self.model is not None:
            self._set("model", model_name(self.model))
        self._set("bidirectional", boolean("bidirectional", self.bidirectional, DataError))
        if not is_real(self.learning_rate) or self.learning_rate <= 0:
            raise DataError(f"learning_rate is {self.learning_rate!r}; expected a positive number.")
        self._set("learning_rate", float(self.learning_rate))


NAMES = tuple(field.name for field in dataclasses.fields(Settings))


def _column(role: str, name: Any) -> str | None:
    """A column's name as text, since that is how the names of pandas' columns are read."""
    if name is None or isinstance(name, str):
        return name
    if is_integer(name) or isinstance(name, tuple):
        return str(name)
    one = "columns" if role in {"features", "exclude", "known"} else "one column"
    raise DataError(f"{role} is {type(name).__name__}; expected the name of {one} of the table.")


def _targets(names: Any) -> str | list[str] | None:
    """The name of the target, or a list of several."""
    if not isinstance(names, list):
        return _column("target", names)
    found = [str(_column("target", name)) for name in names]
    if not found or len(set(found)) < len(found):
        raise DataError(f"target is {names!r}; expected the name of a column, or a list of different ones.")
    return found[0] if len(found) == 1 else found


def _count(name: str, value: Any) -> int:
    count = positive_integer(name, value, error=DataError)
    if count > _MOST:
        raise DataError(f"{name} is {count}; expected a positive integer up to {_MOST}.")
    return count


def _sizes(units: Any) -> list[int]:
    sizes = list(units) if isinstance(units, Sequence | np.ndarray) and not isinstance(units, str) else [units]
    if not sizes:
        raise DataError("units is empty; expected a positive integer, or one for each layer.")
    return [_count("units", size) for size in sizes]


def model_name(value: Any) -> str:
    """The name of a model of a run; spaces count as underscores.

    Raises:
        DataError: If there is none of that name.
    """
    name = value.replace(" ", "_") if isinstance(value, str) else value
    _one_of("model", name, MODELS)
    return str(name)


def _one_of(name: str, value: Any, words: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in words:
        raise DataError(f"{name} is {value!r}; expected one of {', '.join(words)}.{did_you_mean(value, words)}")
