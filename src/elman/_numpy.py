# SPDX-License-Identifier: Apache-2.0
"""The NumPy adapter: checked arrays in, native calls on their addresses, new arrays out.

The only adapter whose backward is called by hand: the others register theirs with a framework. It computes nothing;
`plain` is the reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from ctypes import addressof, c_char
from typing import Any

import numpy as np

from elman import _native, reference, route
from elman._native import pack_forward
from elman.operands import Operands, flat, pair
from elman.options import Options

Array = np.ndarray
TRACES = False

_view = c_char.from_buffer
_DTYPES = {np.dtype(name): name for name in _native.DTYPES}  # a dtype takes 2 us to give its name


def values(array: Array) -> Array | None:
    """The values of the array. Other adapters return `None` while a compiler traces and there are none yet."""
    return array


def traced_environment() -> None:
    """`None`: no compiler traces the checks, as torch.compile does."""


def facts(x: Array) -> route.Facts:
    """What the route asks about a call on `x`: every NumPy array can take the native path."""
    return route.NATIVE


def asarray(value: object, like: Array) -> Array:
    """`value` as an array of this framework, of its own dtype in the byte order of this machine."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError("got a masked array; expected a plain one. Pass its filled() values, and mask or lengths.")
    array = np.asarray(value)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def shape(array: Array) -> tuple[int, ...]:
    """The shape; in other adapters an unknown size is `None`."""
    return array.shape


def dtype(array: Array) -> str:
    """The name of the dtype, as NumPy spells it."""
    return _DTYPES.get(array.dtype) or array.dtype.name


def address(array: Array | None) -> int:
    """Where the data of a C-contiguous array begins; 0 for `None`."""
    return 0 if array is None else array.ctypes.data


def _dense(arrays: Iterable[Array | None]) -> list[Array | None]:
    return [a if a is None or a.flags.c_contiguous else np.ascontiguousarray(a) for a in arrays]


def _spec(options: Options, operands: Operands) -> _native.Spec:
    x, _, recurrent_kernel, _, _, mask, input_dropout, recurrent_dropout = operands
    return _native.spec(
        options,
        *x.shape,
        recurrent_kernel.shape[0],
        _DTYPES[x.dtype],
        "none" if mask is None else "mask" if mask.ndim == 2 else mask.dtype.name,
        0 if input_dropout is None else len(input_dropout),
        0 if recurrent_dropout is None else len(recurrent_dropout),
    )


def forward(
    options: Options, operands: Operands, keep_tape: bool = False
) -> tuple[Array, tuple[Array, ...], Array | None]:
    """One native forward.

    Args:
        options: The recurrence's options.
        operands: Its arrays.
        keep_tape: Keep what `backward` needs.

    Returns:
        `(y, final_states, tape)`.
    """
    return run(_spec(options, operands), operands, keep_tape)


def run(
    spec: _native.Spec, operands: Operands, keep_tape: bool = False
) -> tuple[Array, tuple[Array, ...], Array | None]:
    """As `forward`, where the spec of the options and operands is known."""
    x, kernel, recurrent_kernel, bias, states, mask, input_dropout, recurrent_dropout = operands
    _, spec_address, tape_columns, y_shape, state_shape, count, native_forward = spec
    dtype = x.dtype
    y, final = np.empty(y_shape, dtype), np.empty(state_shape, dtype)
    other = np.empty(state_shape, dtype) if count > 1 else None
    finals = (final,) if other is None else (final, other)
    tape = np.empty((*x.shape[:2], tape_columns), dtype) if keep_tape else None
    try:  # a view takes a fifth of the time that `array.ctypes` does
        call = pack_forward(
            spec_address,
            addressof(_view(x)),
            addressof(_view(kernel)),
            addressof(_view(recurrent_kernel)),
            0 if bias is None else addressof(_view(bias)),
            addressof(_view(states[0])) if states else 0,
            addressof(_view(states[1])) if len(states) > 1 else 0,
            0 if mask is None else addressof(_view(mask)),
            0 if input_dropout is None else addressof(_view(input_dropout)),
            0 if recurrent_dropout is None else addressof(_view(recurrent_dropout)),
            addressof(_view(y)),
            addressof(_view(final)),
            0 if other is None else addressof(_view(other)),
            0 if tape is None else addressof(_view(tape)),
        )
    except (TypeError, ValueError):  # there is no view of an array that is not contiguous, read-only, or empty
        arrays = _dense(flat(operands))  # kept until the call has ended
        call = pack_forward(spec_address, *map(address, (*arrays, y, *pair(finals), tape)))
    if status := native_forward(call):
        _native.raise_last_error(status)
    return y, finals, tape


def backward(
    options: Options,
    operands: Operands,
    y: Array,
    tape: Array | None,
    dy: Array | None,
    dfinal_states: tuple[Array | None, ...],
    want_dx: bool = True,
) -> reference.Gradients:
    """One native backward. The arguments are those of `forward`, its results, and the gradients of the loss with
    respect to y and the final states (`None` for zeros)."""
    spec = _spec(options, operands)
    x, kernel, recurrent_kernel, bias, *_ = operands
    dx = np.empty(x.shape, x.dtype) if want_dx else None
    dkernel, drecurrent_kernel = np.empty(kernel.shape, x.dtype), np.empty(recurrent_kernel.shape, x.dtype)
    dbias = None if bias is None else np.empty(bias.shape, x.dtype)
    dinitials = tuple(np.empty(spec.state_shape, x.dtype) for _ in dfinal_states)
    norms = np.empty(x.shape[:2], x.dtype)
    arrays = [*_dense(flat(operands)), y, tape, *_dense((dy, *pair(dfinal_states)))]
    results = (dx, dkernel, drecurrent_kernel, dbias, *pair(dinitials), norms)
    _native.backward(spec, *map(address, (*arrays, *results)))
    return reference.Gradients(dx, dkernel, drecurrent_kernel, dbias, dinitials, norms)  # type: ignore[arg-type]


def recurrence(options: Options, *operands: Any) -> tuple[Array, tuple[Array, ...]]:
    """The recurrence, natively: `(y, final_states)`. The operands are the fields of `Operands`."""
    return forward(options, Operands(*operands))[:2]


def plain(options: Options, *operands: Any) -> tuple[Array, tuple[Array, ...]]:
    """The recurrence in plain NumPy: the reference. Arguments as `recurrence`."""
    y, final_states, _ = reference.forward(*operands, options=options)
    dtype = operands[0].dtype
    return y.astype(dtype, copy=False), tuple(state.astype(dtype, copy=False) for state in final_states)
