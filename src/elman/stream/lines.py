# SPDX-License-Identifier: Apache-2.0
"""Lines of CSV and NDJSON as rows of numbers, and results as lines.

In: lines, bytes. Out: rows with their keys, and a sentence for each line that is not a row. A line that is wrong is no
reason to stop.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from elman.errors import DataError

Array = np.ndarray
FORMATS = ("csv", "ndjson")


class Rows(NamedTuple):
    """What some lines hold.

    Attributes:
        x: (rows, features), float64.
        keys: The key of each row; empty if there is no key column.
        lines: The index of each row's line.
        errors: Index and sentence of each line that is not a row.
    """

    x: Array
    keys: list[str]
    lines: list[int]
    errors: list[tuple[int, str]]


class Csv:
    """Comma-separated numbers; a first line that is not numbers is the header.

    Args:
        features: Numbers of a row.
        key: Name of the key column, or `None`.
    """

    def __init__(self, features: int, key: str | None) -> None:
        self.features, self.key, self.column = features, key, -1
        self.columns = features + (key is not None)

    def header(self, line: bytes) -> bool:
        """Reads the first line; whether it is a header.

        Raises:
            DataError: If it does not fit the network.
        """
        names = [name.strip().strip('"') for name in line.decode("utf-8-sig", errors="replace").split(",")]
        # A row of numbers with a wrong one is no header: `read` reports it.
        is_header = self.key is not None or all(_number(name) is None for name in names)
        if self.key is not None:
            if self.key not in names:
                raise DataError(f"the first line has no column {self.key!r}: {names}; expected a header with it.")
            self.column = names.index(self.key)
        if len(names) != self.columns:
            key = "" if self.key is None else f" and the key {self.key!r}"
            raise DataError(f"the first line has {len(names)} columns; expected the network's {self.features}{key}.")
        return is_header

    def read(self, lines: Sequence[bytes]) -> Rows:
        """Rows of lines, all at once where none is wrong."""
        if self.key is None:
            x = self._at_once(lines)
            if x is not None:
                return Rows(x, [], list(range(len(lines))), [])
        return _each(lines, self._row, self.features)

    def _at_once(self, lines: Sequence[bytes]) -> Array | None:
        commas = self.features - 1
        if any(line.count(b",") != commas for line in lines):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            try:
                x = np.fromstring(b",".join(lines), "float64", sep=",")
            except (DeprecationWarning, ValueError):
                return None
        return x.reshape(-1, self.features) if x.size == len(lines) * self.features else None

    def _row(self, line: bytes) -> tuple[list[float], str]:
        cells = line.decode(errors="replace").split(",")
        if len(cells) != self.columns:
            raise ValueError(f"{len(cells)} columns; expected {self.columns}")
        key = cells.pop(self.column).strip() if self.key is not None else ""
        return [float(cell) for cell in cells], key

    def write(self, y: Array, keys: Sequence[str]) -> bytes:
        """A line for each result; the key comes first."""
        form = ",".join(["%.9g"] * y.shape[1])
        if keys:
            return "".join([f"{key},{form % tuple(row)}\n" for key, row in zip(keys, y.tolist(), strict=True)]).encode()
        return (f"{form}\n" * len(y) % tuple(y.ravel().tolist())).encode()


class Ndjson:
    """An object or an array of numbers on each line. The names in the first object say the order for all.

    Args:
        features: Numbers of a row.
        key: Name of the key, or `None`; lines are objects then.

    Attributes:
        names: Those of the numbers, once an object has come.
    """

    def __init__(self, features: int, key: str | None) -> None:
        self.features, self.key = features, key
        self.names: list[str] | None = None

    def header(self, line: bytes) -> bool:
        """Whether the first line is a header: none is."""
        return False

    def read(self, lines: Sequence[bytes]) -> Rows:
        """Rows of lines, all at once where each is one flat object."""
        text = b",".join(lines)
        # NumPy would take a boolean among numbers for a number.
        numbers = text and b"true" not in text and b"false" not in text
        if numbers and all(line.count(b"{") == 1 and line[:1] == b"{" and line[-1:] == b"}" for line in lines):
            try:
                objects = json.loads(b"[" + text + b"]")
                keys = [] if self.key is None else [str(each.pop(self.key)) for each in objects]
                names = self.names or list(objects[0])
                in_order = all(list(each) == names for each in objects)
                x = np.array([list(each.values()) for each in objects] if in_order else [])
            except (ValueError, KeyError, RecursionError):
                return _each(lines, self._row, self.features)
            if x.shape == (len(lines), self.features) and x.dtype.kind in "iuf":
                self.names = names
                return Rows(x.astype("float64"), keys, list(range(len(lines))), [])
        return _each(lines, self._row, self.features)

    def _row(self, line: bytes) -> tuple[list[float], str]:
        found = json.loads(line)
        key, names = "", None
        if isinstance(found, dict):
            if self.key is not None:
                key = str(found.pop(self.key))
            names = self.names or list(found)
            if len(found) == self.features:
                if found.keys() != set(names):
                    raise ValueError(f"the names {', '.join(found)}; expected {', '.join(names)}")
                found = {name: found[name] for name in names}
            found = list(found.values())
        elif self.key is not None or not isinstance(found, list):
            raise ValueError(f"{type(found).__name__}; expected an object{'' if self.key else ' or an array'}")
        if len(found) != self.features:
            raise ValueError(f"{len(found)} numbers; expected {self.features}")
        if not all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in found):
            raise ValueError("a value that is not a number")
        self.names = self.names or names
        return found, key

    def write(self, y: Array, keys: Sequence[str]) -> bytes:
        """An object for each result: `y`, a number or an array, and the key."""
        texts = [[f"{v:.9g}" if math.isfinite(v) else "null" for v in row] for row in y.tolist()]
        values = [row[0] if len(row) == 1 else f"[{', '.join(row)}]" for row in texts]
        if not keys:
            return "".join([f'{{"y": {value}}}\n' for value in values]).encode()
        name = json.dumps(self.key)
        pairs = zip(keys, values, strict=True)
        return "".join([f'{{{name}: {json.dumps(key)}, "y": {value}}}\n' for key, value in pairs]).encode()


def _each(lines: Sequence[bytes], row: Any, features: int) -> Rows:
    rows, keys, good, errors = [], [], [], []
    for i, line in enumerate(lines):
        try:
            values, key = row(line)
            rows.append(np.array(values, "float64"))
        except KeyError as error:
            errors.append((i, f"no key {error}"))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            errors.append((i, str(error)))
        else:
            good.append(i)
            keys.append(key)
    x = np.array(rows).reshape(-1, features)
    return Rows(x, keys, good, errors)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def format_of(first: bytes, features: int, key: str | None, name: str | None) -> Csv | Ndjson:
    """The reader of a format: that of the name, or the one that the first line looks like."""
    name = name or ("ndjson" if first.lstrip()[:1] in (b"{", b"[") else "csv")
    return Ndjson(features, key) if name == "ndjson" else Csv(features, key)
