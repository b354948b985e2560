# SPDX-License-Identifier: Apache-2.0
"""The NumPy adapter: checked arrays in, native calls on their addresses, new arrays out.

The shortest of the four adapters, and the only one whose backward is called by hand (the others register
theirs with a framework). No maths: `plain` is the reference.
"""

from __future__ import annotations

from ctypes import addressof, c_char

import numpy as np

from elman import _native, reference
from elman.options import Options

Array = np.ndarray
Operands = tuple[Array, Array, Array, Array | None, tuple[Array, ...], Array | None, Array | None, Array | None]

_view = c_char.from_buffer


def obstacle(x: Array) -> str | None:
    """Nothing about a NumPy array keeps it off the native path."""
    return None


def asarray(value: object, like: Array) -> Array:
    """`value` as an array of this framework, its dtype kept."""
    return np.asarray(value)


def shape(array: Array) -> tuple[int, ...]:
    """The shape; an unknown size would be `None`."""
    return array.shape


def dtype(array: Array) -> str:
    """The name of the dtype, as NumPy spells it."""
    return array.dtype.name


def address(array: Array | None) -> int:
    """Where the data of a C-contiguous array begins; 0 for `None`."""
    if array is None:
        return 0
    try:
        return addressof(_view(array))  # a fifth of the time that array.ctypes takes
    except (TypeError, ValueError):  # read-only, or without a byte to point at
        return array.ctypes.data


def _dense(array: Array | None) -> Array | None:
    return array if array is None or array.flags.c_contiguous else np.ascontiguousarray(array)


def _spec(options: Options, operands: Operands) -> _native.Spec:
    x, _, recurrent_kernel, _, _, mask, input_dropout, recurrent_dropout = operands
    return _native.spec(
        options,
        *x.shape,
        recurrent_kernel.shape[0],
        x.dtype.name,
        "none" if mask is None else "mask" if mask.ndim == 2 else mask.dtype.name,
        0 if input_dropout is None else len(input_dropout),
        0 if recurrent_dropout is None else len(recurrent_dropout),
    )


def _addresses(operands: Operands) -> tuple[int, ...]:
    x, kernel, recurrent_kernel, bias, states, mask, input_dropout, recurrent_dropout = operands
    first, second = (*states, None, None)[:2]
    return (
        address(x),
        address(kernel),
        address(recurrent_kernel),
        address(bias),
        address(first),
        address(second),
        address(mask),
        address(input_dropout),
        address(recurrent_dropout),
    )


def _densify(operands: Operands) -> Operands:
    x, kernel, recurrent_kernel, bias, states, mask, input_dropout, recurrent_dropout = operands
    return (
        _dense(x),
        _dense(kernel),
        _dense(recurrent_kernel),
        _dense(bias),
        tuple(_dense(state) for state in states),
        _dense(mask),
        _dense(input_dropout),
        _dense(recurrent_dropout),
    )  # type: ignore[return-value]


def forward(options: Options, operands: Operands, keep_tape: bool = False) -> tuple[Array, tuple[Array, ...], Array | None]:
    """One native forward.

    Args:
        options: The recurrence's options.
        operands: x, kernel, recurrent_kernel, bias, initial states, mask, input_dropout, recurrent_dropout.
        keep_tape: Keep what `backward` needs.

    Returns:
        `(y, final_states, tape)`.
    """
    operands = _densify(operands)
    spec = _spec(options, operands)
    x, _, recurrent_kernel, *_ = operands
    batch, time, _ = x.shape
    units = recurrent_kernel.shape[0]
    y = np.empty((batch, time, units) if options.return_sequences else (batch, units), x.dtype)
    final = np.empty((batch, units), x.dtype)
    tape = np.empty((batch, time, spec.tape_columns), x.dtype) if keep_tape else None
    _native.forward(spec, *_addresses(operands), address(y), address(final), 0, address(tape))
    return y, (final,), tape


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
    operands = _densify(operands)
    spec = _spec(options, operands)
    x, kernel, recurrent_kernel, bias, *_ = operands
    dx = np.empty_like(x) if want_dx else None
    dkernel, drecurrent_kernel = np.empty_like(kernel), np.empty_like(recurrent_kernel)
    dbias = None if bias is None else np.empty_like(bias)
    dinitial = np.empty((len(x), len(recurrent_kernel)), x.dtype)
    norms = np.empty(x.shape[:2], x.dtype)
    dy, dfinal = _dense(dy), _dense(dfinal_states[0])
    _native.backward(
        spec,
        *_addresses(operands),
        *(address(a) for a in (y, tape, dy, dfinal, None, dx, dkernel, drecurrent_kernel, dbias, dinitial, None, norms)),
    )
    return reference.Gradients(dx, dkernel, drecurrent_kernel, dbias, (dinitial,), norms)  # type: ignore[arg-type]


def recurrence(options: Options, *operands: object) -> tuple[Array, tuple[Array, ...]]:
    """The recurrence, natively: `(y, final_states)`. The operands are those of `forward`, one by one."""
    y, final_states, _ = forward(options, operands)  # type: ignore[arg-type]
    return y, final_states


def plain(options: Options, *operands: object) -> tuple[Array, tuple[Array, ...]]:
    """The recurrence in plain NumPy: the reference. Arguments as `recurrence`."""
    x, kernel, recurrent_kernel, bias, states, mask, input_dropout, recurrent_dropout = operands
    if mask is not None and mask.ndim == 1:  # type: ignore[attr-defined]
        mask = np.arange(x.shape[1]) < mask[:, None]  # type: ignore[attr-defined,index]
    y, final_states, _ = reference.forward(
        x, kernel, recurrent_kernel, bias, states or None, mask, input_dropout, recurrent_dropout, options=options  # type: ignore[arg-type]
    )
    return y, final_states
