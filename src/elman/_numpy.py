# SPDX-License-Identifier: Apache-2.0
"""The NumPy adapter: checked arrays in, native calls on their addresses, new arrays out.

The shortest of the four adapters, and the only one whose backward is called by hand (the others register
theirs with a framework). No maths: `plain` is the reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from ctypes import addressof, c_char
from typing import Any

import numpy as np

from elman import _native, reference
from elman.options import Options

Array = np.ndarray
Operands = tuple[Array, Array, Array, Array | None, tuple[Array, ...], Array | None, Array | None, Array | None]

_view = c_char.from_buffer
_DTYPES = {np.dtype(name): name for name in _native.DTYPES}  # a dtype's own name takes 2 us to ask for


def values(array: Array) -> Array | None:
    """The array's values in NumPy, or `None` where a compiler is tracing and there are none yet."""
    return array


def traced_environment() -> None:
    """`None`: no compiler reads along in the checks, as torch.compile does."""


def obstacle(x: Array) -> str | None:
    """Nothing about a NumPy array keeps it off the native path."""
    return None


def asarray(value: object, like: Array) -> Array:
    """`value` as an array of this framework, its dtype kept but in this machine's order of bytes."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError("got a masked array; expected a plain one. Pass its filled() values, and mask or lengths.")
    array = np.asarray(value)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def shape(array: Array) -> tuple[int, ...]:
    """The shape; an unknown size would be `None`."""
    return array.shape


def dtype(array: Array) -> str:
    """The name of the dtype, as NumPy spells it."""
    return _DTYPES.get(array.dtype) or array.dtype.name


def address(array: Array | None) -> int:
    """Where the data of a C-contiguous array begins; 0 for `None`."""
    return 0 if array is None else array.ctypes.data


def _dense(array: Array | None) -> Array | None:
    return array if array is None or array.flags.c_contiguous else np.ascontiguousarray(array)


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


def _addresses(arrays: Iterable[Array | None]) -> list[int]:
    return [address(array) for array in arrays]


def _in_order(operands: Operands) -> list[Array | None]:
    """The operands one by one, dense, as the native calls take them."""
    x, kernel, recurrent_kernel, bias, states, *rest = operands
    return [_dense(array) for array in (x, kernel, recurrent_kernel, bias, *_both(states), *rest)]


def _both(states: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
    """As many states as the C contract has, `None` for those that the cell has not or that are left out."""
    return (*states, None, None)[:2]


def forward(
    options: Options, operands: Operands, keep_tape: bool = False
) -> tuple[Array, tuple[Array, ...], Array | None]:
    """One native forward.

    Args:
        options: The recurrence's options.
        operands: x, kernel, recurrent_kernel, bias, initial states, mask, input_dropout, recurrent_dropout.
        keep_tape: Keep what `backward` needs.

    Returns:
        `(y, final_states, tape)`.
    """
    spec = _spec(options, operands)
    x = operands[0]
    y = np.empty(spec.y_shape, x.dtype)
    finals = tuple(np.empty(spec.state_shape, x.dtype) for _ in range(reference.CELLS[options.cell].states))
    tape = np.empty((*x.shape[:2], spec.tape_columns), x.dtype) if keep_tape else None
    dense = _in_order(operands)
    _native.forward(spec, *_addresses((*dense, y, *_both(finals), tape)))
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
    """One native backward; the arguments are `forward`'s and its results, and the loss's gradients with respect to
    y and the final states (`None`: zeros)."""
    spec = _spec(options, operands)
    x, kernel, recurrent_kernel, bias, *_ = operands
    dx = np.empty(x.shape, x.dtype) if want_dx else None
    dkernel, drecurrent_kernel = np.empty(kernel.shape, x.dtype), np.empty(recurrent_kernel.shape, x.dtype)
    dbias = None if bias is None else np.empty(bias.shape, x.dtype)
    dinitials = tuple(np.empty(spec.state_shape, x.dtype) for _ in dfinal_states)
    norms = np.empty(x.shape[:2], x.dtype)
    arriving = [_dense(array) for array in (dy, *_both(dfinal_states))]
    dense = _in_order(operands)
    results = (dx, dkernel, drecurrent_kernel, dbias, *_both(dinitials), norms)
    _native.backward(spec, *_addresses((*dense, y, tape, *arriving, *results)))
    return reference.Gradients(dx, dkernel, drecurrent_kernel, dbias, dinitials, norms)  # type: ignore[arg-type]


def recurrence(
    options: Options,
    x: Array,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array | None,
    states: tuple[Array, ...],
    mask: Array | None,
    input_dropout: Array | None,
    recurrent_dropout: Array | None,
    spec: _native.Spec | None = None,
) -> tuple[Array, tuple[Array, ...]]:
    """The recurrence, natively: `(y, final_states)`; `spec` says how, where it is at hand already."""
    if spec is None:
        spec = _spec(options, (x, kernel, recurrent_kernel, bias, states, mask, input_dropout, recurrent_dropout))
    dtype = x.dtype
    y = np.empty(spec.y_shape, dtype)
    final = np.empty(spec.state_shape, dtype)
    carry = np.empty(spec.state_shape, dtype) if options.cell == "lstm" else None
    try:  # a view takes a fifth of the time that `array.ctypes` does
        call = _native.pack_forward(
            spec.address,
            addressof(_view(x)),
            addressof(_view(kernel)),
            addressof(_view(recurrent_kernel)),
            0 if bias is None else addressof(_view(bias)),
            addressof(_view(states[0])) if states else 0,
            0 if carry is None or not states else addressof(_view(states[1])),
            0 if mask is None else addressof(_view(mask)),
            0 if input_dropout is None else addressof(_view(input_dropout)),
            0 if recurrent_dropout is None else addressof(_view(recurrent_dropout)),
            addressof(_view(y)),
            addressof(_view(final)),
            0 if carry is None else addressof(_view(carry)),
            0,
        )
    except (TypeError, ValueError):  # there is none of what is not contiguous, read-only, or empty
        operands = (x, kernel, recurrent_kernel, bias, states, mask, input_dropout, recurrent_dropout)
        return forward(options, operands)[:2]
    if status := spec.forward(call):
        _native.raise_last_error(status)
    return y, (final,) if carry is None else (final, carry)


def plain(options: Options, *operands: Any) -> tuple[Array, tuple[Array, ...]]:
    """The recurrence in plain NumPy: the reference. Arguments as `recurrence`."""
    x, kernel, recurrent_kernel, bias, states, mask, input_dropout, recurrent_dropout = operands
    if mask is not None and mask.ndim == 1:
        mask = np.arange(x.shape[1]) < mask[:, None]
    y, final_states, _ = reference.forward(
        x,
        kernel,
        recurrent_kernel,
        bias,
        states or None,
        mask,
        input_dropout,
        recurrent_dropout,
        options=options,
    )
    return y.astype(x.dtype, copy=False), tuple(state.astype(x.dtype, copy=False) for state in final_states)
