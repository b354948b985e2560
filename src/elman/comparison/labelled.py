# SPDX-License-Identifier: Apache-2.0
"""Labelled sequences from what a user has: arrays, a table with a row for each step, a table with a row for each
sequence, a table of texts.

In: arrays, or a `Source` and column names. Out: `Sequences`, or a `DataError` that names the column or the row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from elman.checks import did_you_mean
from elman.comparison.model import Array
from elman.comparison.sequences import SYMBOLS, Known, Sequences, padded
from elman.errors import DataError
from elman.forecasting import cells, columns, reading
from elman.forecasting.source import Source
from elman.forecasting.times import times
from elman.forecasting.words import listed

_TEXT = ("text", "categories")  # kinds of columns
_NEIGHBOURS = 10  # neighbouring windows whose losses count as dependent
_ONE_HOT = 32  # categories of a column, at most, next to columns of numbers


def of_arrays(x: Any, y: Any, clusters: Any = None) -> Sequences:
    """Sequences from arrays.

    Args:
        x: `(sequences, time, features)` or `(sequences, time)` numbers, integers `(sequences, time)` for categories, or
            a list of arrays `(time, features)` of any lengths.
        y: A label for each.
        clusters: A number or name for each; those with the same one are never parted. `None`: each by itself.

    Raises:
        DataError: If a shape does not fit, or a number is not finite.
    """
    array, mask = _array_of(x)
    labels, classes = classes_of(np.asarray(y), len(array))
    own = np.arange(len(array)) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    symbols = {SYMBOLS: [str(each) for each in np.unique(array)]} if _is_of_categories(array) else {}
    if len(own) != len(array):
        raise DataError(f"there are {len(array)} sequences and {len(own)} groups; expected one for each.")
    found = _of_array(array, mask, Known([], symbols))
    return found._replace(y=labels, classes=classes, clusters=own)


def unlabelled_arrays(x: Any, known: Known) -> Sequences:
    """Sequences from an array, as `of_arrays` read those that were learned from, without labels.

    Raises:
        DataError: If a shape does not fit, a number is not finite, or a category is a new one.
    """
    array, mask = _array_of(x)
    if _is_of_categories(array) != bool(known.symbols):
        expected = "integers (sequences, time)" if known.symbols else "numbers (sequences, time, features)"
        raise DataError(f"x has shape {array.shape} and dtype {array.dtype}; expected {expected}, as in training.")
    return _of_array(array, mask, known)


def _array_of(x: Any) -> tuple[Array, Array | None]:
    """x as one array, and a mask if it is a list of sequences of different lengths."""
    mask = None
    if isinstance(x, Sequence) and not isinstance(x, str):
        parts = [np.atleast_2d(np.asarray(part, "float32").T).T for part in x]
        if not parts or len({part.shape[1:] for part in parts}) > 1 or not all(len(part) for part in parts):
            raise DataError("x is a list of arrays of different widths, or empty; expected (time, features) of each.")
        array, mask = padded(parts, "float32")
    else:
        array = np.asarray(x)
    if array.ndim not in {2, 3} or array.dtype.kind not in "iufb" or not array.shape[1]:
        raise DataError(
            f"x has shape {array.shape} and dtype {array.dtype}; expected numbers (sequences, time, features), or "
            "integers (sequences, time) for categories."
        )
    return array, mask


def _is_of_categories(array: Array) -> bool:
    return array.ndim == 2 and array.dtype.kind in "iu"


def _of_array(array: Array, mask: Array | None, known: Known) -> Sequences:
    """Sequences without labels."""
    count = np.arange(len(array))
    empty = Sequences(None, None, mask, np.zeros(len(array), "int64"), [], count, names=count, known=known)
    if known.symbols:
        symbols = np.array(known.symbols[SYMBOLS])
        codes = _places(array.ravel().astype(str), symbols)
        if (codes < 0).any():
            at = np.unravel_index(int((codes < 0).argmax()), array.shape)
            raise DataError(
                f"x holds {array[at]} in sequence {at[0]}, step {at[1]}; expected one of the categories that were "
                f"learned from: {listed(symbols)}."
            )
        return empty._replace(codes=codes.reshape(array.shape) + 1, symbols=len(symbols))
    with np.errstate(over="ignore"):
        values = array.astype("float32")
    if not np.isfinite(values).all():
        at = tuple(np.argwhere(~np.isfinite(values))[0])
        raise DataError(f"x holds {array[at]} in sequence {at[0]}, step {at[1]}; expected finite numbers of float32.")
    return empty._replace(x=values.reshape(*values.shape[:2], -1))


def _places(values: Array, symbols: Array) -> Array:
    """The place of each value among the symbols, and -1 where it is none of them."""
    order = np.argsort(symbols)
    found = order[np.minimum(np.searchsorted(symbols, values, sorter=order), len(symbols) - 1)]
    return np.where(symbols[found] == values, found, -1)


def hash_of(*parts: Any) -> str:
    """A hash of arrays, or of lists of arrays or texts."""
    digest = hashlib.sha256()
    for part in parts:
        for each in part if isinstance(part, list | tuple) else [part]:
            array = np.asarray(each)
            if array.dtype.kind == "O":  # whose bytes are addresses
                array = array.astype(str)
            digest.update(f"{array.shape}{array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def of_table(
    source: Source, label: str, group: str | None, time: str | None, features: Sequence[str] | None
) -> Sequences:
    """Sequences from a table: a row for each step, where `group` names the sequence; else a row for each sequence.

    Raises:
        DataError: If a column is missing, a label is empty or changes inside a sequence, or a cell is empty.
    """
    frame = read(source, [label, group, time, *(features or ())])
    used = [name for name in features or frame.columns if name not in {label, group, time}]
    if not used:
        raise DataError(f"the table has no column other than {listed(n for n in (label, group, time) if n)}.")
    kinds = columns.kinds(frame.select(used), source.decimal_comma, source.decimal)
    texts = {name: texts_of(source, frame[name]) for name in used if kinds[name] in _TEXT}
    known = Known(used, _symbols(texts, len(texts) < len(used), group), group, time)
    labels = texts_of(source, frame[label])
    found = _sequences(source, frame, known)
    own = labels[_order(source, frame, known)] if group is None else _of_groups(source, frame[group], labels, label)
    y, classes = classes_of(own, len(found.names))
    return found._replace(y=y, classes=classes)


def unlabelled(source: Source, known: Known) -> Sequences:
    """Sequences from a table, as `of_table` read those that were learned from; it need not have labels.

    Of a series of categories it is the last window.

    Raises:
        DataError: If a column is missing, a cell is empty, or a text is a new one; or if there are too few rows.
    """
    frame = read(source, [known.group, known.time, *known.columns])
    return _sequences(source, frame, known) if known.window is None else _latest_symbols(source, frame, known)


def _latest_symbols(source: Source, frame: pl.DataFrame, known: Known) -> Sequences:
    """The last window of a series of categories, whose name is the number of the row that follows.

    Raises:
        DataError: If there are too few rows.
    """
    (column,), window = known.columns, known.window
    assert window is not None
    if frame.height < window:
        raise DataError(f"the table has {frame.height} rows; expected {window} or more, as the run reads. Pass more.")
    codes = _coded(source, frame[column], known.symbols[column])[_order(source, frame, known)][-window:][None] + 1
    own, names = np.arange(1), np.array([frame.height + source.first_row])
    return Sequences(None, codes, None, np.zeros(1, "int64"), [], own, len(known.symbols[column]), names, known)


def _symbols(texts: dict[str, Array], numbers: bool, group: str | None) -> dict[str, list[str]]:
    """The different texts of each column of text.

    Raises:
        DataError: If there are too many, or columns that cannot stand next to each other.
    """
    if not texts:
        return {}
    first = next(iter(texts))
    if group is None:
        if numbers:
            raise DataError(
                f"column {first!r} holds text; expected numbers, one step in each column. Choose features "
                "(--features), or name the column that tells the sequences apart with group (--group)."
            )
        all_of_them = np.unique(np.column_stack(list(texts.values()))).tolist()
        if len(texts) == 1 and len(all_of_them) > len(texts[first]) // 2:
            raise DataError(
                f"column {first!r} holds {len(all_of_them)} different texts in {len(texts[first])} rows; expected "
                "categories, one step in each column. If they are texts to read, name the column with text (--text)."
            )
        return dict.fromkeys(texts, all_of_them)
    found = {name: np.unique(values).tolist() for name, values in texts.items()}
    for name, symbols in found.items():
        if len(symbols) > _ONE_HOT and (numbers or len(texts) > 1):
            raise DataError(
                f"column {name!r} has {len(symbols)} different texts; expected {_ONE_HOT} or fewer next to other "
                "columns. Choose features (--features)."
            )
    return found


def _sequences(source: Source, frame: pl.DataFrame, known: Known) -> Sequences:
    """The sequences of a table, without labels."""
    order = _order(source, frame, known)
    numeric = [name for name in known.columns if name not in known.symbols]
    codes = [_coded(source, frame[name], symbols) for name, symbols in known.symbols.items()]
    values = [_numbers(source, frame[name])[:, None] for name in numeric]
    if known.group is None:
        names = order + source.first_row
        own = np.arange(len(order))
        empty = Sequences(None, None, None, np.zeros(len(order), "int64"), [], own, names=names, known=known)
        if not codes:
            return empty._replace(x=np.concatenate(values, axis=1)[order].astype("float32")[:, :, None])
        return empty._replace(codes=np.column_stack(codes)[order] + 1, symbols=len(known.symbols[known.columns[0]]))
    names, number = np.unique(texts_of(source, frame[known.group]), return_inverse=True)
    ends = np.cumsum(np.bincount(number))[:-1]
    rows = np.split(order[np.argsort(number[order], kind="stable")], ends)
    own = np.arange(len(names))
    empty = Sequences(None, None, None, np.zeros(len(names), "int64"), [], own, names=names, known=known)
    if len(known.columns) == 1 and codes:
        whole, mask = padded([codes[0][each] + 1 for each in rows], "int64")
        return empty._replace(codes=whole, mask=mask, symbols=len(known.symbols[known.columns[0]]))
    for symbols, each in zip(known.symbols.values(), codes, strict=True):
        values.append(np.eye(len(symbols))[each])
    joined = np.concatenate(values, axis=1).astype("float32")
    whole, mask = padded([joined[each] for each in rows], "float32")
    return empty._replace(x=whole, mask=mask)


def _order(source: Source, frame: pl.DataFrame, known: Known) -> Array:
    """The rows in order of time; as they come, if there is no time."""
    return np.arange(frame.height) if known.time is None else _in_time(source, frame[known.time])


def _coded(source: Source, series: pl.Series, symbols: Sequence[str]) -> Array:
    """The place of each cell among the symbols.

    Raises:
        DataError: If a cell is empty, or is none of them.
    """
    texts = texts_of(source, series)
    found = _places(texts, np.array(symbols))
    if (found < 0).any():
        row = int((found < 0).argmax())
        raise DataError(
            f"{source.row(row)}, column {series.name!r}: {cells.shown(texts[row])} is none of the texts that were "
            f"learned from; expected one of {listed(symbols)}. Correct it, or fit again with such rows."
        )
    return found


def is_text(source: Source, name: Any) -> bool:
    """Whether a column of the table holds text."""
    if name not in source.columns:
        return False
    head = next(source.frames([name]), None)
    return head is not None and columns.kinds(head, source.decimal_comma, source.decimal)[name] in _TEXT


def of_symbols(source: Source, target: str, time: str | None, window: int) -> Sequences:
    """Windows of a series of categories, each with the category that follows as its label, in order of time.

    Raises:
        DataError: If a cell is empty, or there are too few rows.
    """
    frame = read(source, [target, time])
    symbols = texts_of(source, frame[target])
    known = Known([target], {target: np.unique(symbols).tolist()}, time=time, window=window)
    order = _order(source, frame, known)
    symbols = symbols[order]
    if len(symbols) <= 2 * window:
        raise DataError(f"the table has {len(symbols)} rows; expected more than {2 * window} for a window of {window}.")
    names, codes = np.unique(symbols, return_inverse=True)
    windows = np.lib.stride_tricks.sliding_window_view(codes[:-1] + 1, window)
    y, classes = classes_of(symbols[window:], len(windows))
    clusters = np.arange(len(y)) // _NEIGHBOURS
    return Sequences(None, windows, None, y, classes, clusters, len(names), order[window:] + source.first_row, known)


def read(source: Source, named: Sequence[str | None]) -> pl.DataFrame:
    """The whole table, if it has the columns that are named."""
    for name in named:
        if name is not None and name not in source.columns:
            raise DataError(
                f"{name!r} is not a column of the table; the columns are {listed(source.columns)}."
                f"{did_you_mean(name, source.columns)}"
            )
    frames = list(source.frames(source.columns))
    if not frames or not sum(frame.height for frame in frames):
        raise DataError(f"{source.name} has a header and no rows.")
    return pl.concat(frames)


def _of_groups(source: Source, group: pl.Series, labels: Array, label: str) -> Array:
    """The label of each group, in the order of their names.

    Raises:
        DataError: If it changes inside a group.
    """
    member = texts_of(source, group)
    _, first, number = np.unique(member, return_index=True, return_inverse=True)
    if (wrong := labels != labels[first][number]).any():
        row = int(wrong.argmax())
        raise DataError(
            f"{source.row(row)}, column {label!r}: {str(labels[row])!r}, and group {str(member[row])!r} began with "
            f"{str(labels[first][number[row]])!r}; expected one label for each group."
        )
    return labels[first]


def classes_of(labels: Array, count: int) -> tuple[Array, list[str]]:
    """The number of each label's class, and the names of the classes.

    Raises:
        DataError: If there is not a label for each sequence, or they are not classes.
    """
    if labels.shape != (count,):
        raise DataError(
            f"the labels have shape {labels.shape}, and there are {count} sequences; expected one for each."
        )
    missing = np.array([each is None or each != each for each in labels.tolist()])
    if missing.any():
        raise DataError(f"the label of sequence {missing.argmax()} (counted from 0) is empty; expected a class.")
    if labels.dtype.kind == "f" and (not np.isfinite(labels).all() or (labels != np.round(labels)).any()):
        raise DataError("the labels are fractions; expected classes: integers or texts.")
    names, numbers = np.unique(labels.astype(str) if labels.dtype.kind == "O" else labels, return_inverse=True)
    if len(names) < 2 or len(names) > count // 2:
        raise DataError(f"the labels have {len(names)} different values in {count} sequences; expected a few classes.")
    return numbers.astype("int64"), [str(name) for name in names]


def _numbers(source: Source, series: pl.Series) -> Array:
    """The cells as numbers.

    Raises:
        DataError: If one is empty, no number, or beyond float32.
    """
    found = cells.numbers(series, source.decimal_comma, decimal=source.decimal)
    wrong = np.flatnonzero(~(np.abs(found.values) <= reading.LARGEST))
    if found.wrong is None and not len(wrong):
        return found.values
    at = int(wrong[0]) if found.wrong is None else found.wrong
    place = f"{source.row(at)}, column {series.name!r}"
    if found.wrong is not None:
        cell = f"{place}: {cells.shown(series[at])}"
        raise DataError(reading.wrong_number(cell, series[at], source.decimal, comma=source.decimal_comma))
    if np.isnan(found.values[at]):
        raise DataError(f"{place} is empty; expected a number. Fill it, leave the row out, or choose other columns.")
    raise DataError(f"{place}: {reading.beyond(found.values[at])}")


def texts_of(source: Source, series: pl.Series) -> Array:
    """The cells as texts.

    Raises:
        DataError: If one is empty.
    """
    text = (series.fill_nan(None) if series.dtype.is_float() else series).cast(pl.String)  # NaN is an empty cell
    if text.null_count():
        at = int(text.is_null().arg_max() or 0)
        raise DataError(f"{source.row(at)}, column {series.name!r} is empty; expected a value.")
    return text.to_numpy().astype(str)


def _in_time(source: Source, series: pl.Series) -> Array:
    """The rows in order of time; those of one time stay as they come.

    Raises:
        DataError: If a cell is not a time, or is empty.
    """
    form = reading.time_form(source, series.head(cells.LOOK))
    found = times(series, form)
    wrong = np.flatnonzero(np.isnan(found.values))
    if found.wrong is not None or len(wrong):
        at = int(wrong[0]) if found.wrong is None else found.wrong
        raise DataError(
            f"{source.row(at)}, column {series.name!r} (the time): {cells.shown(series[at])} is not a time like the "
            "ones before it. Correct it, or delete the row."
        )
    return np.argsort(found.values, kind="stable")
