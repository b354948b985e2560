# SPDX-License-Identifier: Apache-2.0
"""Writes a grid of calls with their true results, for native_truth.cc to read where no Python runs.

In: cases. Out: one file. Truth is the reference in float64, and how far a result may be from it is the rule of
tolerance.py, in one number for each tensor.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

import cases
import tolerance
from elman import _native
from elman.operands import flat, pair

Array = np.ndarray
POINTER = 8  # bytes; the last field of an elman_spec, a function that the file leaves out


def block(array: Array | None) -> bytes:
    """An operand: its size in bytes, and its bytes; -1 for none."""
    data = None if array is None else array.tobytes()
    return struct.pack("<q", -1) if data is None else struct.pack("<q", len(data)) + data


def result(truth: Array | None, stock: Array | None, dtype: type) -> bytes:
    """A result: how many numbers, the numbers, and the distance that is allowed; -1 for none."""
    if truth is None:
        return struct.pack("<q", -1)
    wide = truth.astype(np.float64)
    unit = tolerance.ulp(truth, dtype)
    if dtype is np.float64:
        allowed = max(tolerance.FLOAT64_RELATIVE * tolerance.largest(truth), tolerance.ULPS * unit)
    else:
        allowed = max(tolerance.STOCK_FACTOR * tolerance.error(stock, truth), tolerance.ULPS * unit)
    return struct.pack("<q", wide.size) + wide.tobytes() + struct.pack("<d", allowed)


def case_bytes(case: cases.Case, dtype: type) -> bytes:
    """A case in one dtype."""
    truth, stock = cases.by_reference(case, np.longdouble), cases.by_reference(case, np.float32)
    case = case.astype(dtype)
    mask, masks = case.mask, (case.input_dropout, case.recurrent_dropout)
    spec = _native.spec(
        case.options,
        *case.shape,
        np.dtype(dtype).name,
        "none" if mask is None else _native.MASK_OF_DTYPE[mask.dtype.name],
        *(0 if dropout is None else len(dropout) for dropout in masks),
    )
    names = ("dx", "dkernel", "drecurrent_kernel", "dbias", "dinitial_state", "dinitial_carry", "norms")
    names = ("y", "h", "c", *names)
    inputs = [*flat(case.operands), case.dy, *pair(case.dfinals)]
    parts = [spec.memory.raw[:-POINTER] + bytes(POINTER), *map(block, inputs)]
    parts += [result(truth.get(name), stock.get(name), dtype) for name in names]
    return b"".join(parts)


def write(path: Path, grid: Iterable[cases.Case]) -> int:
    """Writes every case in float32 and in float64, and returns how many that are."""
    parts = [case_bytes(case, dtype) for case in grid for dtype in (np.float32, np.float64)]
    path.write_bytes(struct.pack("<q", len(parts)) + b"".join(parts))
    return len(parts)
