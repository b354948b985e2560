# SPDX-License-Identifier: Apache-2.0
"""The NumPy adapter: checked arrays in, native calls on their addresses, new arrays out.

The only adapter whose backward is called by hand: the others register theirs with a framework. It computes nothing;
`plain` is the reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from ctypes import addressof, c_char
from typing import Any, NamedTuple

import numpy as np

from elman import _native, reference, route
from elman._native import pack_forward
from elman.operands import Operands, flat, pair
from elman.options import ACTIVATIONS, Options

Array = np.ndarray
TRACES = False

_view = c_char.from_buffer
_BOOL = np.dtype(bool)
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


def codes(mask: Array | None, resets: Array) -> Array:
    """The codes of steps of `Operands.mask`, for a mask or lengths (`None`: every step counts) and resets."""
    found = (1 + 2 * resets).astype(np.uint8)
    if mask is None:
        return found
    return np.where(mask if mask.ndim == 2 else np.arange(resets.shape[1]) < mask[:, None], found, np.uint8(0))


def shape(array: Array) -> tuple[int, ...]:
    """The shape; in other adapters an unknown size is `None`."""
    return array.shape


def dtype(array: Array) -> str:
    """The name of the dtype, as NumPy spells it."""
    return _DTYPES.get(array.dtype) or array.dtype.name


def address(array: Array | None) -> int:
    """Where the data of a C-contiguous array begins; 0 for `None`."""
    if array is None:
        return 0
    try:
        return addressof(_view(array))  # a fifth of the time that `array.ctypes` takes
    except (TypeError, ValueError):  # there is no view of an array that is read-only or empty
        return array.ctypes.data


def _dense(arrays: Iterable[Array | None]) -> list[Array | None]:
    return [a if a is None or a.flags.c_contiguous else np.ascontiguousarray(a) for a in arrays]


def _spec(options: Options, operands: Operands) -> _native.Spec:
    x, _, recurrent_kernel, _, _, mask, input_dropout, recurrent_dropout = operands
    return _native.spec(
        options,
        *x.shape,
        recurrent_kernel.shape[0],
        _DTYPES[x.dtype],
        "none" if mask is None else _native.MASK_OF_DTYPE[mask.dtype.name],
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


def contiguous(array: Array, dtype: np.dtype) -> Array:
    """The array itself where a call can read it: C-contiguous and of that dtype; else a copy that is."""
    if array.dtype is dtype and array.flags.c_contiguous:
        return array
    return np.ascontiguousarray(array, dtype)


class Results(NamedTuple):
    """Where a backward writes the gradients; `None` for one that is not wanted. Shapes as in `reference.Gradients`."""

    dx: Array | None
    dkernel: Array
    drecurrent_kernel: Array
    dbias: Array | None
    dinitial_states: tuple[Array, ...]


class Recurrence:
    """A recurrence on one shape of input whose arrays stay where they are: between calls only x, the mask and dy move.

    Args:
        options: The recurrence's options.
        operands: Its arrays. Of `x` only shape and dtype count, and `mask` is given with each call.
        results: Where each backward writes the gradients. `None`: there is no backward.

    Attributes:
        y: What the last forward returned.
    """

    def __init__(self, options: Options, operands: Operands, results: Results | None = None) -> None:
        self.kept, self.dtype = (operands, results), operands.x.dtype  # a call has addresses alone
        self.specs = [_spec(options, operands._replace(mask=mask)) for mask in (None, np.empty((0, 0), bool))]
        spec = self.specs[0]
        self.y = np.empty(spec.y_shape, self.dtype)
        self.arguments: tuple[Array | None, ...] = ()
        arrays, tape = list(map(address, flat(operands))), 0
        if results is not None:
            self.tape = np.empty((*operands.x.shape[:2], spec.tape_columns), self.dtype)
            tape = address(self.tape)
            written = (*results[:4], *pair(results.dinitial_states), None)
            self.back = _native.Call("backward", 0, *arrays, address(self.y), tape, 0, 0, 0, *map(address, written))
        self.call = _native.Call("forward", 0, *arrays, address(self.y), 0, 0, tape)

    def forward(self, x: Array, mask: Array | None) -> Array:
        """y, in memory that the next call overwrites."""
        x, mask = contiguous(x, self.dtype), None if mask is None else contiguous(mask, _BOOL)
        self.arguments = (x, mask)  # for the backward as well
        fields = self.call.fields
        fields[0], fields[1], fields[7] = self.specs[mask is not None].address, address(x), address(mask)
        self.call()
        return self.y

    def backward(self, dy: Array) -> None:
        """Writes the gradients, after a forward."""
        dy = contiguous(dy, self.dtype)
        fields, before = self.back.fields, self.call.fields
        fields[0], fields[1], fields[7], fields[12] = before[0], before[1], before[7], address(dy)
        self.back()


class Dense:
    """A dense layer whose arrays stay where they are: between calls only x and dy move.

    Args:
        activation: One of `options.ACTIVATIONS`.
        kernel: (features, units).
        bias: (units,), or `None`.
        y: (rows, units): where the forward writes the output.
        gradients: Memory for those of x, the kernel and the bias: `None` for one that is not wanted. Without it there
            is no backward.
    """

    def __init__(
        self,
        activation: str,
        kernel: Array,
        bias: Array | None,
        y: Array,
        gradients: tuple[Array | None, Array, Array | None] | None = None,
    ) -> None:
        self.kept, self.dtype = (kernel, bias, y, gradients), y.dtype
        sizes = (len(y), *kernel.shape, _native.DTYPES.index(_DTYPES[y.dtype]), ACTIVATIONS.index(activation))
        fields = (*sizes, 0, address(kernel), address(bias), address(y), 0, *map(address, gradients or (None,) * 3))
        self.call, self.back = (_native.Call(name, *fields) for name in ("dense", "dense_backward"))
        self.x = y

    def forward(self, x: Array) -> None:
        """Writes y."""
        self.x = contiguous(x, self.dtype)
        self.call.fields[5] = self.back.fields[5] = address(self.x)
        self.call()

    def backward(self, dy: Array) -> None:
        """Writes the gradients, after a forward."""
        dy = contiguous(dy, self.dtype)
        self.back.fields[9] = address(dy)
        self.back()


def recurrence(options: Options, *operands: Any) -> tuple[Array, tuple[Array, ...]]:
    """The recurrence, natively: `(y, final_states)`. The operands are the fields of `Operands`."""
    return forward(options, Operands(*operands))[:2]


def plain(options: Options, *operands: Any) -> tuple[Array, tuple[Array, ...]]:
    """The recurrence in plain NumPy: the reference. Arguments as `recurrence`."""
    y, final_states, _ = reference.forward(*operands, options=options)
    dtype = operands[0].dtype
    return y.astype(dtype, copy=False), tuple(state.astype(dtype, copy=False) for state in final_states)
