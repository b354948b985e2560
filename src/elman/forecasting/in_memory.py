# SPDX-License-Identifier: Apache-2.0
"""Tables in memory, NumPy's and pandas', as Polars frames; and the hash of a frame.

In: an object. Out: a frame, whose text stays text. pyarrow is not needed.
"""

from __future__ import annotations

import hashlib
import zoneinfo
from typing import Any

import numpy as np
import polars as pl

from elman.errors import DataError
from elman.forecasting.headers import check_header, free_name
from elman.forecasting.zones import fixed_zone

BATCH = 50_000  # rows


def hash_of(frame: pl.DataFrame) -> str:
    """A hash of names, types and values. The values of nested columns, which are not used, are left out."""
    digest = hashlib.sha256(repr(list(frame.schema.items())).encode())
    flat = [n for n, kind in frame.schema.items() if not kind.is_nested() and kind not in {pl.Binary, pl.Object}]
    for part in frame.select(flat).iter_slices(BATCH):
        digest.update(part.write_csv(include_header=False).encode())
    return digest.hexdigest()


def from_numpy(array: np.ndarray) -> pl.DataFrame:
    """Converts an array; a column without a name is `x0`, `x1` and so on."""
    if array.dtype.names:
        if array.ndim != 1:
            raise DataError(f"table is a structured array of {array.ndim} dimensions; expected 1.")
        return pl.DataFrame({name: _series(name, array[name]) for name in array.dtype.names})
    if array.ndim not in {1, 2}:
        raise DataError(f"table has the shape {array.shape}; expected (rows, columns).")
    columns = array[:, None] if array.ndim == 1 else array
    if not columns.shape[1]:
        raise DataError(f"table has the shape {array.shape}; expected at least one column.")
    return pl.DataFrame([_series(f"x{i}", columns[:, i]) for i in range(columns.shape[1])])


def from_pandas(table: Any) -> pl.DataFrame:
    """Converts through NumPy, so that pyarrow is not needed. An index with a name or times becomes a column."""
    frame = table.to_frame() if not hasattr(table, "columns") else table
    if type(frame.index).__name__ == "PeriodIndex":
        frame = frame.set_axis(frame.index.to_timestamp(), axis=0)
    named = any(name is not None for name in frame.index.names)
    if named or type(frame.index).__name__ == "DatetimeIndex":
        # A name that is there twice is an error below, with a sentence of its own.
        frame = frame.reset_index(names=None if named else free_name("time", frame.columns), allow_duplicates=True)
    names = [str(name) for name in frame.columns]
    check_header(names, "the table")
    return pl.DataFrame([_pandas_series(name, frame.iloc[:, i]) for i, name in enumerate(names)])


def _pandas_series(name: str, series: Any) -> pl.Series:
    kind = getattr(series.dtype, "kind", "O")
    if kind == "M":
        zone = getattr(series.dt, "tz", None)
        if zone is None:
            return pl.Series(name, series.to_numpy().astype("datetime64[us]"))
        moments = series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[us]")
        return pl.Series(name, moments).dt.replace_time_zone("UTC").dt.convert_time_zone(_zone_name(zone))
    if kind in "biuf":
        return _series(name, series.to_numpy(dtype="float64", na_value=np.nan))
    return _series(
        name,
        np.asarray(
            [
                None if missing else value
                for value, missing in zip(series.tolist(), series.isna().tolist(), strict=True)
            ],
            dtype=object,
        ),
    )


def _zone_name(zone: Any) -> str:
    """A zone's name in the time zone database, or that of its fixed offset; UTC for a zone without either."""
    offset = zone.utcoffset(None)
    if offset is not None:
        hours, rest = divmod(offset.total_seconds(), 3600)
        return fixed_zone(int(hours)) if not rest else "UTC"
    name = str(getattr(zone, "key", None) or getattr(zone, "zone", None))
    return name if name in zoneinfo.available_timezones() else "UTC"


def _series(name: str, values: np.ndarray) -> pl.Series:
    if values.ndim != 1:
        raise DataError(f"column {name!r} has the shape {values.shape}; expected one number a row.")
    values = np.ma.filled(values.astype("float64"), np.nan) if isinstance(values, np.ma.MaskedArray) else values
    if values.dtype.kind == "M":
        return pl.Series(name, values.astype("datetime64[us]"))
    if values.dtype.kind == "f":
        return pl.Series(name, np.ascontiguousarray(values, "float64"))
    if values.dtype.kind in "biu":
        return pl.Series(name, np.ascontiguousarray(values))
    if values.dtype.kind in "OUS":
        texts = [None if v is None else v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()]
        return pl.Series(name, texts, dtype=pl.String)
    raise DataError(f"column {name!r} holds {values.dtype}; expected numbers.")
